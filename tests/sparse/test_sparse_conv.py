"""Sparse convolutions against the double-precision oracle: values, both gradients, and the same bits every time."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_oracle import oracle, random_sites
from torch import nn

from hepcnn import sparse
from hepcnn.errors import ConfigError
from hepcnn.sparse import SparseTensor, SubmanifoldConv2d, use_backend
from hepcnn.sparse.conv import SparseConvNd
from hepcnn.sparse.kernel_map import map_sites
from hepcnn.sparse.tensor import Sites

SUBMANIFOLD = {d: getattr(sparse, f"SubmanifoldConv{d}d") for d in (1, 2, 3)}
STRIDED = {d: getattr(sparse, f"SparseConv{d}d") for d in (1, 2, 3)}
SHAPES = {1: (17,), 2: (9, 7), 3: (6, 5, 4)}
TOLERANCE = {"rtol": 1e-10, "atol": 1e-11}


def compare(layer: SparseConvNd, coords, shape, batch_size, seed=1):
    """Values, dX, dW and db of a layer, sparse and masked dense, against the oracle."""
    layer = layer.double()
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(len(coords), layer.in_channels, generator=generator, dtype=torch.float64)
    w = layer.window

    expected_x = data.clone().requires_grad_()
    weight = layer.weight.detach().clone().requires_grad_()
    bias = None if layer.bias is None else layer.bias.detach().clone().requires_grad_()
    expected, mask = oracle(
        coords, expected_x, weight, bias, shape, batch_size,
        stride=w.stride, padding=w.padding, dilation=w.dilation, periodic=w.periodic, same_sites=w.submanifold,
    )  # fmt: skip
    grad = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    wanted = [expected_x, weight] + ([] if bias is None else [bias])
    expected_grads = torch.autograd.grad(expected, wanted, grad, allow_unused=True)

    for dense in (False, True):
        x = data.clone().requires_grad_()
        tensor = SparseTensor(coords, x, shape, batch_size)
        out = layer(tensor.to_masked() if dense else tensor)
        values = out.values if dense else out.to_dense()
        torch.testing.assert_close(values, expected, **TOLERANCE)
        found = out.mask if dense else out.to_masked().mask
        assert torch.equal(found, mask)
        grads = torch.autograd.grad(values, [x, *layer.parameters()], grad)
        for got, want in zip(grads, expected_grads, strict=True):
            torch.testing.assert_close(got, torch.zeros_like(got) if want is None else want, **TOLERANCE)
    return out


@pytest.fixture(params=["torch", "dense"], autouse=True)
def backend(request):
    with use_backend(request.param):
        yield request.param


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (3, 2), (1, 1)])
def test_submanifold_equals_oracle(dims, kernel, dilation):
    coords = random_sites(SHAPES[dims], 3, 12, skip=1)
    compare(SUBMANIFOLD[dims](3, 5, kernel, dilation), coords, SHAPES[dims], 3)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(3, 2, 1, 1), (2, 2, 0, 1), (5, 2, 2, 1), (3, 1, 1, 1), (3, 1, 2, 2), (3, 3, 0, 1), (1, 2, 0, 1), (3, 2, 4, 1)],
)
def test_strided_equals_oracle(dims, kernel, stride, padding, dilation):
    shape = SHAPES[dims] if dims < 3 else (7, 6, 5)
    coords = random_sites(shape, 3, 6, skip=2)
    compare(STRIDED[dims](3, 2, kernel, stride, padding, dilation, bias=dims != 2), coords, shape, 3)


@pytest.mark.parametrize("periodic", [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize("shape", [(9, 7), (4, 2), (2, 5), (1, 3)])
def test_periodic_axes_close(periodic, shape):
    kernel = tuple(min(3, 2 * size - 1) for size in shape)
    compare(SubmanifoldConv2d(2, 3, kernel, periodic=periodic), random_sites(shape, 2, 9), shape, 2)


@pytest.mark.parametrize("periodic", [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize("shape", [(9, 8), (4, 2), (2, 5), (6, 3)])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (3, 1, 1), (3, 3, 1)])
def test_periodic_axes_close_for_strided_layers(periodic, shape, kernel, stride, padding):
    layer = sparse.SparseConv2d(2, 3, kernel, stride, padding, periodic=periodic)
    compare(layer, random_sites(shape, 2, 5), shape, 2)
    window = layer.window
    found, _ = map_sites(Sites(random_sites(shape, 2, 5), shape, 2), window)
    for _, start, end in found.slices:
        for rows in (found.in_rows[start:end], found.out_rows[start:end]):
            assert len(rows.unique()) == len(rows)


def test_a_periodic_strided_layer_is_padded_by_half_its_window_at_most():
    with pytest.raises(ConfigError, match="at most half of the window: got 2 for 3 cells"):
        sparse.SparseConv2d(2, 3, 3, padding=2, periodic=(False, True))


def test_a_shift_along_a_periodic_axis_shifts_the_result():
    layer = SubmanifoldConv2d(2, 3, 3, periodic=(False, True)).double()
    coords = random_sites((5, 8), 2, 9)
    features = torch.randn(len(coords), 2, dtype=torch.float64)
    moved = coords.clone()
    moved[:, 2] = (moved[:, 2] + 3) % 8
    one, other = (layer(SparseTensor(c, features, (5, 8), 2)).features for c in (coords, moved))
    torch.testing.assert_close(one, other, **TOLERANCE)


def test_kernel_sizes_may_differ_by_axis():
    coords = random_sites((9, 7), 2, 15)
    compare(SubmanifoldConv2d(2, 3, (5, 3), dilation=(1, 2)), coords, (9, 7), 2)
    compare(sparse.SparseConv2d(2, 3, (2, 3), stride=(2, 1), padding=(0, 1)), coords, (9, 7), 2)


@pytest.mark.parametrize("make", [lambda: SubmanifoldConv2d(2, 3, 3), lambda: sparse.SparseConv2d(2, 3, 3, 2, 1)])
@pytest.mark.parametrize("batch_size", [0, 2])
def test_no_active_site(make, batch_size):
    compare(make(), torch.zeros(0, 3, dtype=torch.int32), (5, 4), batch_size)


@pytest.mark.parametrize("at", [(0, 0), (4, 3), (2, 0), (0, 3)])
def test_a_single_site_anywhere(at):
    coords = torch.tensor([[1, *at]], dtype=torch.int32)
    compare(SubmanifoldConv2d(2, 3, 3), coords, (5, 4), 2)
    compare(sparse.SparseConv2d(2, 3, 3, 2, 1), coords, (5, 4), 2)


def test_every_site_active_equals_dense_convolution():
    layer = SubmanifoldConv2d(3, 4, 5).double()
    image = torch.rand(2, 3, 6, 7, dtype=torch.float64) + 0.1
    expected = nn.functional.conv2d(image, layer.weight, layer.bias, padding=2)
    torch.testing.assert_close(layer(SparseTensor.from_dense(image)).to_dense(), expected, **TOLERANCE)


def test_non_contiguous_input():
    coords = random_sites((9, 7), 2, 15)
    features = torch.randn(len(coords), 4, dtype=torch.float64)
    layer = SubmanifoldConv2d(4, 3, 3).double()
    expected = layer(SparseTensor(coords, features, (9, 7), 2)).features
    strided = torch.stack([coords, coords], dim=2)[:, :, 1]
    assert not strided.is_contiguous()
    got = layer(SparseTensor(strided, features.t().contiguous().t(), (9, 7), 2)).features
    torch.testing.assert_close(got, expected, **TOLERANCE)


@pytest.mark.parametrize("make", [lambda: SubmanifoldConv2d(2, 3, 3), lambda: sparse.SparseConv2d(2, 3, 3, 2, 1)])
def test_permuted_sites_and_single_images_give_the_same(make):
    layer = make().double()
    coords = random_sites((9, 7), 3, 15)
    features = torch.randn(len(coords), 2, dtype=torch.float64)
    whole = layer(SparseTensor(coords, features, (9, 7), 3)).to_dense()
    order = torch.randperm(len(coords))
    permuted = layer(SparseTensor(coords[order], features[order], (9, 7), 3)).to_dense()
    torch.testing.assert_close(permuted, whole, **TOLERANCE)
    for image in range(3):
        mine = coords[:, 0] == image
        alone = coords[mine] * torch.tensor([0, 1, 1], dtype=torch.int32)
        single = layer(SparseTensor(alone, features[mine], (9, 7), 1)).to_dense()
        torch.testing.assert_close(single[0], whole[image], **TOLERANCE)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_geometry_equals_oracle(data):
    dims = data.draw(st.integers(1, 3))

    def axis(low, high):
        return data.draw(st.tuples(*[st.integers(low, high)] * dims))

    shape, batch_size = axis(1, 7), data.draw(st.integers(1, 3))
    coords = random_sites(shape, batch_size, data.draw(st.integers(0, 8)), seed=data.draw(st.integers(0, 99)))
    channels = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    if data.draw(st.booleans()):
        kernel, dilation = tuple(2 * k + 1 for k in axis(0, 2)), axis(1, 2)
        periodic = tuple(
            data.draw(st.booleans()) and d * (k // 2) <= s for d, k, s in zip(dilation, kernel, shape, strict=True)
        )
        layer = SUBMANIFOLD[dims](*channels, kernel, dilation, data.draw(st.booleans()), periodic=periodic)
    else:
        kernel, dilation, padding = axis(1, 4), axis(1, 2), axis(0, 3)
        kernel = tuple(
            min(k, (s + 2 * p - 1) // d + 1) for k, s, p, d in zip(kernel, shape, padding, dilation, strict=True)
        )
        layer = STRIDED[dims](*channels, kernel, axis(1, 3), padding, dilation)
    compare(layer, coords, shape, batch_size)
