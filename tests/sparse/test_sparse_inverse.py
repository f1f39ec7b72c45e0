"""Transposed sparse convolutions: against torch's, as adjoints of the strided ones, and what they refuse."""

import pytest
import sparse_oracle
import torch
from sparse_oracle import random_sites
from torch import nn

from hepcnn import sparse
from hepcnn.errors import InputError
from hepcnn.sparse import SparseTensor

STRIDED = {d: getattr(sparse, f"SparseConv{d}d") for d in (1, 2, 3)}
INVERSE = {d: getattr(sparse, f"SparseInverseConv{d}d") for d in (1, 2, 3)}
SHAPES = {1: (17,), 2: (9, 7), 3: (7, 6, 5)}
GEOMETRIES = [(3, 2, 1, 1), (2, 2, 0, 1), (5, 2, 2, 1), (3, 1, 2, 2), (3, 3, 0, 1), (1, 2, 0, 1)]


def make(shape, channels, n=6):
    coords = random_sites(shape, 3, n, skip=1)
    place = {"device": sparse_oracle.DEVICE, "dtype": sparse_oracle.DTYPE}
    return SparseTensor(coords.to(sparse_oracle.DEVICE), torch.randn(len(coords), channels, **place), shape, 3)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.usefixtures("place")
def test_inverse_equals_torch_at_the_remembered_sites(dims, geometry):
    kernel, stride, padding, dilation = geometry
    shape = SHAPES[dims]
    down = STRIDED[dims](2, 3, *geometry).to(sparse_oracle.DEVICE, sparse_oracle.DTYPE)
    up = INVERSE[dims](3, 4, *geometry).to(sparse_oracle.DEVICE, sparse_oracle.DTYPE)
    x = make(shape, 2)
    small = down(x)
    extra = [n - ((m - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1)
             for n, m in zip(shape, small.spatial_shape, strict=True)]  # fmt: skip
    # What no window reached is cut off by torch: output_padding is less than the stride, so it can say it.
    dense = getattr(nn, f"ConvTranspose{dims}d")(
        3, 4, kernel, stride, padding, output_padding=tuple(extra), dilation=dilation
    ).double()
    dense.load_state_dict(up.state_dict())

    features = small.features.detach().clone().requires_grad_()
    small = small.replace(features)
    expected_x = small.to_dense().detach().cpu().double().requires_grad_()
    mask = x.to_masked().mask.cpu().double()
    expected = dense(expected_x) * mask
    grad = torch.randn_like(expected)
    expected_grads = torch.autograd.grad(expected, [expected_x, *dense.parameters()], grad)
    for entry, target in ((small, x), (small.to_masked(), x.to_masked())):
        out = up(entry, target)
        values = out.to_dense() if isinstance(out, SparseTensor) else out.values
        torch.testing.assert_close(values.cpu().double(), expected, **sparse_oracle.TOLERANCE)
        got = torch.autograd.grad(values, [features, *up.parameters()], grad.to(values))
        got = [small.replace(got[0]).to_dense(), *got[1:]]
        wanted = [expected_grads[0] * small.to_masked().mask.detach().cpu().double(), *expected_grads[1:]]
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one.detach().cpu().double(), other, **sparse_oracle.TOLERANCE)
    assert up(small, x).sites is x.sites


@pytest.mark.parametrize("periodic", [False, (True, False), True])
@pytest.mark.parametrize("geometry", [(3, 2, 1, 1), (2, 2, 0, 1), (5, 2, 2, 1), (4, 2, 1, 1)])
@pytest.mark.usefixtures("place")
def test_inverse_is_the_adjoint(periodic, geometry):
    shape = (8, 6)
    down = sparse.SparseConv2d(2, 3, *geometry, bias=False, periodic=periodic)
    up = sparse.SparseInverseConv2d(3, 2, *geometry, bias=False, periodic=periodic)
    up.load_state_dict(down.state_dict())
    down, up = (layer.to(sparse_oracle.DEVICE, sparse_oracle.DTYPE) for layer in (down, up))
    x = make(shape, 2)
    y = down(x)
    other = y.replace(torch.randn_like(y.features))
    torch.testing.assert_close(
        (y.features * other.features).sum(), (x.features * up(other, x).features).sum(), **sparse_oracle.TOLERANCE
    )
    torch.testing.assert_close(
        up(other.to_masked(), x.to_masked()).values, up(other, x).to_dense(), **sparse_oracle.TOLERANCE
    )


def test_inverse_gradcheck():
    x = make((6, 5), 2)
    small = sparse.SparseConv2d(2, 3, 3, 2, 1).double()(x)
    up = sparse.SparseInverseConv2d(3, 2, 3, 2, 1).double()
    features = torch.randn_like(small.features).requires_grad_()

    def run(features, weight, bias):
        parameters = {"weight": weight, "bias": bias}
        return torch.func.functional_call(up, parameters, (small.replace(features), x)).features

    assert torch.autograd.gradcheck(run, (features, up.weight, up.bias))


def test_equal_coordinates_will_do_and_others_are_refused():
    x = make((9, 7), 2)
    small = sparse.SparseConv2d(2, 3, 3, 2, 1).double()(x)
    up = sparse.SparseInverseConv2d(3, 2, 3, 2, 1).double()
    rebuilt = SparseTensor(small.coords.clone(), small.features, small.spatial_shape, 3)
    torch.testing.assert_close(up(rebuilt, x).features, up(small, x).features)
    swapped = SparseTensor(small.coords.flip(0), small.features, small.spatial_shape, 3)
    with pytest.raises(InputError, match="or in another order"):
        up(swapped, x)
    with pytest.raises(InputError, match="the way back leads from"):
        up(small, make((9, 7), 2, n=5))
    with pytest.raises(InputError, match="two SparseTensors or two MaskedDense"):
        up(small, x.to_masked())
    with pytest.raises(InputError, match="expects 2 axes and 3 channels"):
        up(x, x)
    with pytest.raises(InputError, match="not to"):
        up(small.to_masked(), make((5, 5), 2).to_masked())


def test_no_active_site_comes_back_as_none():
    x = SparseTensor(torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 2), (6, 5), 2)
    small = sparse.SparseConv2d(2, 3, 3, 2, 1)(x)
    assert sparse.SparseInverseConv2d(3, 2, 3, 2, 1)(small, x).features.shape == (0, 2)
