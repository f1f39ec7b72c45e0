"""Every backend against the double-precision oracle: values and all gradients, on every geometry."""

import pytest
import sparse_oracle
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_oracle import compare, random_sites
from torch import nn

from hepcnn import sparse
from hepcnn.errors import ConfigError
from hepcnn.sparse import SparseTensor, SubmanifoldConv2d

SUBMANIFOLD = {d: getattr(sparse, f"SubmanifoldConv{d}d") for d in (1, 2, 3)}
STRIDED = {d: getattr(sparse, f"SparseConv{d}d") for d in (1, 2, 3)}
SHAPES = {1: (17,), 2: (9, 7), 3: (6, 5, 4)}
CLOSING = [(3, 2, 1, 1), (2, 2, 0, 1), (4, 2, 1, 1), (3, 1, 2, 2), (5, 3, 2, 1), (1, 2, 0, 1)]
pytestmark = pytest.mark.usefixtures("place")


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


def test_a_shift_along_a_periodic_axis_shifts_the_result():
    layer = SubmanifoldConv2d(2, 3, 3, periodic=(False, True)).double()
    coords = random_sites((5, 8), 2, 9)
    features = torch.randn(len(coords), 2, dtype=torch.float64)
    moved = coords.clone()
    moved[:, 2] = (moved[:, 2] + 3) % 8
    one, other = (on_place(layer, SparseTensor(c, features, (5, 8), 2)).features for c in (coords, moved))
    torch.testing.assert_close(one, other, **sparse_oracle.TOLERANCE)


@pytest.mark.parametrize("shape", [(6, 12), (12, 6), (6, 6)])
@pytest.mark.parametrize("periodic", [(False, True), (True, False), (True, True)])
@pytest.mark.parametrize(
    "geometry", [(3, 2, 1, 1), (2, 2, 0, 1), (4, 2, 1, 1), (3, 1, 2, 2), (5, 3, 2, 1), (1, 2, 0, 1)]
)
def test_strided_layers_go_round_periodic_axes(shape, periodic, geometry):
    layer = sparse.SparseConv2d(2, 3, *geometry, periodic=periodic)
    compare(layer, random_sites(shape, 3, 7, skip=1), shape, 3)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (5, 2, 2), (2, 2, 0)])
def test_a_strided_periodic_layer_equals_circular_padding_in_torch(dims, kernel, stride, padding):
    shape = (6, 4, 8)[:dims]
    layer = STRIDED[dims](2, 3, kernel, stride, padding, periodic=True).double()
    dense = getattr(nn, f"Conv{dims}d")(2, 3, kernel, stride, padding, padding_mode="circular").double()
    dense.load_state_dict(layer.state_dict())
    image = torch.rand(2, 2, *shape, dtype=torch.float64) + 0.1
    torch.testing.assert_close(
        on_place(layer, SparseTensor.from_dense(image)).to_dense().cpu().double(),
        dense(image),
        **sparse_oracle.TOLERANCE,
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3, 2, 1), "no multiple of the stride 2"),
        ((2, 3, 2), "2 x padding must lie from -1 to 1"),
        ((5, 1, 1), "2 x padding must lie from 4 to 4"),
        ((3, 1, 10), "longer than a periodic axis of 9"),
    ],
)
def test_windows_that_do_not_close_a_circle_are_refused(arguments, words):
    x = SparseTensor(random_sites((9,), 2, 4), torch.randn(8, 2), (9,), 2)
    with pytest.raises(ConfigError, match=words):
        sparse.SparseConv1d(2, 3, *arguments, periodic=True)(x)


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
    torch.testing.assert_close(
        on_place(layer, SparseTensor.from_dense(image)).to_dense().cpu().double(), expected, **sparse_oracle.TOLERANCE
    )


def test_non_contiguous_input():
    coords = random_sites((9, 7), 2, 15)
    features = torch.randn(len(coords), 4, dtype=torch.float64)
    layer = SubmanifoldConv2d(4, 3, 3).double()
    expected = on_place(layer, SparseTensor(coords, features, (9, 7), 2)).features
    strided = torch.stack([coords, coords], dim=2)[:, :, 1]
    assert not strided.is_contiguous()
    got = on_place(layer, SparseTensor(strided, features.t().contiguous().t(), (9, 7), 2)).features
    torch.testing.assert_close(got, expected, **sparse_oracle.TOLERANCE)


@pytest.mark.parametrize("make", [lambda: SubmanifoldConv2d(2, 3, 3), lambda: sparse.SparseConv2d(2, 3, 3, 2, 1)])
def test_permuted_sites_and_single_images_give_the_same(make):
    layer = make().double()
    coords = random_sites((9, 7), 3, 15)
    features = torch.randn(len(coords), 2, dtype=torch.float64)
    whole = on_place(layer, SparseTensor(coords, features, (9, 7), 3)).to_dense()
    order = torch.randperm(len(coords))
    permuted = on_place(layer, SparseTensor(coords[order], features[order], (9, 7), 3)).to_dense()
    torch.testing.assert_close(permuted, whole, **sparse_oracle.TOLERANCE)
    for image in range(3):
        mine = coords[:, 0] == image
        alone = coords[mine] * torch.tensor([0, 1, 1], dtype=torch.int32)
        single = on_place(layer, SparseTensor(alone, features[mine], (9, 7), 1)).to_dense()
        torch.testing.assert_close(single[0], whole[image], **sparse_oracle.TOLERANCE)


def on_place(layer, x):
    """Apply a layer where the chosen backend is, in its precision."""
    coords, features = x.coords.to(sparse_oracle.DEVICE), x.features.to(sparse_oracle.DEVICE, sparse_oracle.DTYPE)
    return layer.to(sparse_oracle.DEVICE, sparse_oracle.DTYPE)(
        SparseTensor(coords, features, x.spatial_shape, x.batch_size)
    )


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
        kernel, dilation, padding, stride = axis(1, 4), axis(1, 2), axis(0, 3), axis(1, 3)
        kernel = tuple(
            min(k, (s + 2 * p - 1) // d + 1) for k, s, p, d in zip(kernel, shape, padding, dilation, strict=True)
        )
        periodic = tuple(
            data.draw(st.booleans()) and p <= n and n % s == 0 and (n + 2 * p - d * (k - 1) - 1) // s + 1 == n // s
            for n, k, s, p, d in zip(shape, kernel, stride, padding, dilation, strict=True)
        )
        layer = STRIDED[dims](*channels, kernel, stride, padding, dilation, periodic=periodic)
    compare(layer, coords, shape, batch_size)
