"""Pooling, batch norm and activations: sparse against masked dense against torch."""

import pytest
import torch
from sparse_oracle import random_sites
from torch import nn
from torch.nn import functional

from hepcnn import sparse
from hepcnn.errors import ConfigError, InputError
from hepcnn.sparse import SparseTensor
from hepcnn.sparse.backends.dense import convolve_dense
from hepcnn.sparse.window import Window

TOLERANCE = {"rtol": 1e-10, "atol": 1e-11}
SHAPES = {1: (17,), 2: (9, 7), 3: (6, 5, 4)}


def make(dims=2, n=8, channels=3, seed=0):
    """An event batch whose second image is empty, with positive and negative features."""
    coords = random_sites(SHAPES[dims], 3, n, seed=seed, skip=1)
    features = torch.randn(len(coords), channels, dtype=torch.float64, requires_grad=True)
    return SparseTensor(coords, features, SHAPES[dims], 3), features


def agree(layer, x, features):
    """Sparse and masked dense results and gradients are the same."""
    outs = [layer(x), layer(x.to_masked())]
    values = [
        o if isinstance(o, torch.Tensor) else o.to_dense() if isinstance(o, SparseTensor) else o.values for o in outs
    ]
    torch.testing.assert_close(*values, **TOLERANCE)
    if isinstance(outs[0], SparseTensor):
        assert torch.equal(outs[0].to_masked().mask, outs[1].mask)
    weights = torch.randn(values[0].shape, dtype=torch.float64)
    grads = [torch.autograd.grad(v, features, weights)[0] for v in values]
    torch.testing.assert_close(*grads, **TOLERANCE)
    return values[0]


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("geometry", [(2,), (3, 2, 1), (3, 1, 1), (2, 3)])
@pytest.mark.parametrize("kind", [sparse.SparseMaxPool, sparse.SparseAvgPool])
def test_window_pools(dims, geometry, kind):
    x, features = make(dims)
    agree(kind(*geometry), x, features)


def test_max_pool_equals_torch_where_all_are_positive():
    image = torch.rand(2, 3, 8, 8, dtype=torch.float64) + 0.1
    out = sparse.SparseMaxPool(2)(SparseTensor.from_dense(image)).to_dense()
    assert torch.equal(out, functional.max_pool2d(image, 2))


def test_max_pool_ignores_inactive_sites():
    x = SparseTensor(torch.tensor([[0, 1, 1]], dtype=torch.int32), -torch.ones(1, 1), (4, 4), 1)
    assert sparse.SparseMaxPool(2)(x).features.tolist() == [[-1.0]]


def test_average_pool_counts_active_sites():
    coords = torch.tensor([[0, 0, 0], [0, 1, 1], [0, 2, 2]], dtype=torch.int32)
    x = SparseTensor(coords, torch.tensor([[1.0], [3.0], [5.0]]), (4, 4), 1)
    assert sparse.SparseAvgPool(2)(x).features.tolist() == [[2.0], [5.0]]


@pytest.mark.parametrize("kind", [sparse.GlobalSumPool, sparse.GlobalAvgPool, sparse.GlobalMaxPool])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_global_pools(kind, dims):
    x, features = make(dims)
    pooled = agree(kind(), x, features)
    assert pooled.shape == (3, 3)
    assert not pooled[1].any()
    mine = features[x.coords[:, 0] == 2]
    expected = {"Sum": mine.sum(0), "Avg": mine.mean(0), "Max": mine.amax(0)}[kind.__name__[6:9]]
    torch.testing.assert_close(pooled[2], expected, **TOLERANCE)


@pytest.mark.parametrize("kind", [sparse.GlobalSumPool, sparse.GlobalAvgPool, sparse.GlobalMaxPool])
def test_global_pools_of_nothing(kind):
    x = SparseTensor(torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 2), (4, 4), 2)
    assert torch.equal(kind()(x), torch.zeros(2, 2))


@pytest.mark.parametrize("kind", [sparse.SparseMaxPool, sparse.SparseAvgPool])
def test_window_pools_of_nothing(kind):
    x = SparseTensor(torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 2), (4, 4), 2)
    assert kind(2)(x).features.shape == (0, 2)
    with pytest.raises(ConfigError, match="more than half"):
        kind(2, padding=2)(x)


def test_pool_gradients():
    x, features = make()
    for layer in (sparse.SparseMaxPool(3, 2, 1), sparse.SparseAvgPool(3, 2, 1)):
        assert torch.autograd.gradcheck(lambda f, layer=layer: layer(x.replace(f)).features, (features,))
    for layer in (sparse.GlobalMaxPool(), sparse.GlobalAvgPool(), sparse.GlobalSumPool()):
        assert torch.autograd.gradcheck(lambda f, layer=layer: layer(x.replace(f)), (features,))


def test_pools_give_the_same_bits_for_any_number_of_threads():
    coords = random_sites((40, 40), 64, 60)
    x = SparseTensor(coords, torch.randn(len(coords), 8), (40, 40), 64)
    net = nn.Sequential(sparse.SparseAvgPool(3, 2, 1), sparse.SparseMaxPool(2), sparse.GlobalSumPool())
    before, seen = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 2, 3):
            torch.set_num_threads(threads)
            seen.append(net(x))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(seen[0], other) for other in seen)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_sees_active_sites_only(training):
    x, features = make(n=20)
    norm, reference = sparse.SparseBatchNorm(3).double(), nn.BatchNorm2d(3).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    reference.load_state_dict(norm.state_dict())
    norm.train(training)
    reference.train(training)
    expected = reference(features.t()[None, :, :, None])[0, :, :, 0].t()
    torch.testing.assert_close(norm(x).features, expected, **TOLERANCE)
    torch.testing.assert_close(norm.running_var, reference.running_var, **TOLERANCE)
    norm.train(training)
    agree(norm, x, features)


@pytest.mark.parametrize("n", [0, 1])
def test_batch_norm_of_too_few_sites_uses_what_it_knows(n):
    norm = sparse.SparseBatchNorm(2).train()
    x = SparseTensor(torch.zeros(n, 3, dtype=torch.int32), torch.ones(n, 2), (4, 4), 2)
    assert norm(x).features.shape == (n, 2)
    assert torch.equal(norm.running_mean, torch.zeros(2))
    with pytest.raises(InputError, match="batch norm of 2 channels"):
        norm(x.replace(torch.ones(n, 3)))


def test_layer_norm_equals_torch():
    x, features = make(n=20)
    norm, reference = sparse.SparseLayerNorm(3).double(), nn.LayerNorm(3).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    reference.load_state_dict(norm.state_dict())
    torch.testing.assert_close(norm(x).features, reference(features), **TOLERANCE)
    agree(norm, x, features)
    with pytest.raises(InputError, match="layer norm of 3 channels got 2"):
        norm(x.replace(features[:, :2]))


@pytest.mark.parametrize("function", [nn.ReLU(), nn.GELU(), nn.Sigmoid()])
def test_activations_leave_inactive_sites_at_zero(function):
    x, features = make()
    dense = agree(sparse.SparseActivation(function), x, features)
    assert torch.equal((dense != 0).any(1, keepdim=True) | (x.to_masked().mask != 0), x.to_masked().mask != 0)


def test_to_dense_layer():
    x, _ = make()
    assert torch.equal(sparse.ToDense()(x), sparse.ToDense()(x.to_masked()))
    with pytest.raises(InputError, match="got Tensor"):
        sparse.ToDense()(x.features)


def test_circular_padding_equals_torch():
    image, weight = torch.randn(2, 3, 6, 7), torch.randn(4, 3, 3, 3)
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (True, True), True)
    expected = functional.conv2d(functional.pad(image, (1, 1, 1, 1), mode="circular"), weight)
    torch.testing.assert_close(convolve_dense(image, weight, None, window), expected)
