"""Sparse modules: gradients, the same bits every time, exchange with torch, and what they refuse."""

import pytest
import torch
from sparse_oracle import random_sites, scatter
from torch import nn

from hepcnn import sparse
from hepcnn.errors import ConfigError, InputError
from hepcnn.sparse import SparseTensor, SubmanifoldConv2d, available_backends, use_backend
from hepcnn.sparse.tensor import MaskedDense

SUBMANIFOLD = {d: getattr(sparse, f"SubmanifoldConv{d}d") for d in (1, 2, 3)}
STRIDED = {d: getattr(sparse, f"SparseConv{d}d") for d in (1, 2, 3)}


@pytest.mark.parametrize("make", [lambda: SubmanifoldConv2d(2, 3, 3), lambda: sparse.SparseConv2d(2, 3, 3, 2, 1)])
def test_gradcheck(make):
    layer = make().double()
    coords = random_sites((5, 4), 2, 6)
    x = torch.randn(len(coords), 2, dtype=torch.float64, requires_grad=True)

    def run(x, weight, bias):
        with torch.no_grad():
            tensor = SparseTensor(coords, x, (5, 4), 2)
        parameters = {"weight": weight, "bias": bias}
        return torch.func.functional_call(layer, parameters, (tensor.replace(x),)).features

    assert torch.autograd.gradcheck(run, (x, layer.weight, layer.bias))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [(5, 32), (16, 24), (33, 65), (3, 1)])
@pytest.mark.parametrize(("batch_size", "n"), [(48, 60), (2, 5)])
@pytest.mark.parametrize("kind", ["submanifold", "strided"])
def test_repeated_runs_and_thread_counts_give_the_same_bits(kind, batch_size, n, channels, dtype):
    """A matrix library rounds some of these shapes differently with two or three threads, if it is asked naively."""
    torch.manual_seed(0)
    layer = SubmanifoldConv2d(*channels, 5) if kind == "submanifold" else sparse.SparseConv2d(*channels, 3, 2, 1)
    layer = layer.to(dtype)
    coords = random_sites((40, 40), batch_size, n)
    features = torch.randn(len(coords), channels[0], dtype=dtype)
    seen, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 2, 3, 1):
            torch.set_num_threads(threads)
            x = features.clone().requires_grad_()
            out = layer(SparseTensor(coords, x, (40, 40), batch_size)).features
            seen.append((out, *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])))
    finally:
        torch.set_num_threads(before)
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_state_dict_exchanges_with_torch(dims):
    dense = getattr(nn, f"Conv{dims}d")(3, 5, 3)
    for layer in (SUBMANIFOLD[dims](3, 5, 3), STRIDED[dims](3, 5, 3)):
        layer.load_state_dict(dense.state_dict())
        dense.load_state_dict(layer.state_dict())
        assert torch.equal(layer.weight, dense.weight)


def test_layers_on_one_set_of_sites_share_the_map():
    x = SparseTensor(random_sites((9, 7), 2, 15), torch.randn(30, 2), (9, 7), 2)
    y = SubmanifoldConv2d(2, 2, 3)(SubmanifoldConv2d(2, 2, 3)(x))
    assert y.sites is x.sites
    assert len(x.sites.maps) == 1
    down, other = (sparse.SparseConv2d(2, 2, 3, 2, 1)(x) for _ in range(2))
    assert down.sites is other.sites
    assert len(x.sites.maps) == 2


def test_autocast_reaches_the_backend():
    x = SparseTensor(random_sites((9, 7), 2, 15), torch.randn(30, 2, requires_grad=True), (9, 7), 2)
    layer = SubmanifoldConv2d(2, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x).features
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(out.float(), layer(x).features, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SubmanifoldConv2d(2, 3, 4), "must be odd"),
        (lambda: SubmanifoldConv2d(2, 3, (3, 3, 3)), "2 of them"),
        (lambda: sparse.SparseConv2d(2, 3, 3, stride=0), "stride must be"),
        (lambda: sparse.SparseConv2d(2, 3, 3, padding=-1), "padding must be"),
        (lambda: SubmanifoldConv2d(0, 3, 3), "channels must be positive"),
        (lambda: SubmanifoldConv2d(2, 3, 3, backend="trch"), "did you mean 'torch'"),
    ],
)
def test_impossible_layers_say_so(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_impossible_inputs_say_so():
    x = SparseTensor(random_sites((9, 7), 2, 15), torch.randn(30, 2), (9, 7), 2)
    with pytest.raises(InputError, match="expects 2 axes and 3 channels, got 2 axes and 2"):
        SubmanifoldConv2d(3, 3, 3)(x)
    with pytest.raises(InputError, match="expects 3 axes"):
        sparse.SubmanifoldConv3d(2, 3, 3)(x)
    with pytest.raises(InputError, match="got Tensor"):
        SubmanifoldConv2d(2, 3, 3)(x.to_dense())
    with pytest.raises(InputError, match="cast one of them"):
        SubmanifoldConv2d(2, 3, 3).double()(x)
    with pytest.raises(ConfigError, match="does not fit the grid"):
        sparse.SparseConv2d(2, 3, 11)(x)
    with pytest.raises(ConfigError, match="longer than a periodic axis"):
        SubmanifoldConv2d(2, 3, 3, dilation=8, periodic=True)(x)


def test_backends_by_name():
    assert {"torch", "dense"} <= set(available_backends())
    with pytest.raises(ConfigError, match="unknown sparse backend 'tritn'"), use_backend("tritn"):
        pass
    coords = random_sites((9, 7), 2, 15)
    x = SparseTensor(coords, torch.randn(30, 2), (9, 7), 2)
    layer = SubmanifoldConv2d(2, 3, 3)
    with use_backend("torch"):
        one = layer(x).features
        layer.backend = "dense"
        torch.testing.assert_close(layer(x).features, one)


def test_a_backend_that_cannot_serve_the_device_is_refused():
    class Elsewhere:
        name = "elsewhere"

        def supports(self, device):
            return device.type == "cuda"

        def convolve(self, *arguments):
            raise AssertionError(arguments)

    sparse.register_backend(Elsewhere())
    x = SparseTensor(random_sites((9, 7), 2, 15), torch.randn(30, 2), (9, 7), 2)
    with pytest.raises(ConfigError, match="'elsewhere' cannot compute on the device 'cpu'"):
        SubmanifoldConv2d(2, 3, 3, backend="elsewhere")(x)


def test_masked_dense_keeps_its_zeros():
    coords = random_sites((9, 7), 2, 10)
    values = scatter(coords, torch.randn(20, 2), (9, 7), 2)
    out = SubmanifoldConv2d(2, 3, 3)(MaskedDense.from_dense(values))
    assert torch.equal(out.values != 0, (out.mask != 0).expand_as(out.values))
