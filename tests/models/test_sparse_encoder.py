"""The sparse encoder: its levels, and the way back up that makes a U-Net of it."""

import pytest
import torch

from hepcnn.models.sparse_encoder import SparseEncoder, add
from hepcnn.sparse import MaskedDense, SparseInverseConv2d, SparseTensor


def make(seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(3, 2, 13, 10, generator=generator, dtype=torch.float64)
    values *= torch.rand(3, 1, 13, 10, generator=generator) < 0.1
    values[1] = 0
    return values


def test_a_u_net_returns_to_the_pixels_and_equals_its_dense_form():
    torch.manual_seed(0)
    encoder = SparseEncoder(2, (4, 6, 8), depth=2).double()
    ups = [SparseInverseConv2d(8, 6, 3, 2, 1).double(), SparseInverseConv2d(6, 4, 3, 2, 1).double()]
    results = []
    for entry in (SparseTensor.from_dense(make()), MaskedDense.from_dense(make())):
        maps = encoder(entry)
        at = maps.pop()
        for up in ups:
            skip = maps.pop()
            at = add(up(at, skip), skip)
        results.append(at)
    sparse, dense = results
    torch.testing.assert_close(sparse.to_dense(), dense.values)
    assert sparse.coords.tolist() == SparseTensor.from_dense(make()).coords.tolist()
    sparse.features.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_levels_halve_the_resolution():
    maps = SparseEncoder(2, (4, 6, 8)).double()(SparseTensor.from_dense(make()))
    assert [m.spatial_shape for m in maps] == [(13, 10), (7, 5), (4, 3)]
    assert [m.features.shape[1] for m in maps] == [4, 6, 8]


def test_adding_needs_two_of_a_kind():
    x = SparseTensor.from_dense(make())
    with pytest.raises(TypeError, match="cannot add SparseTensor and MaskedDense"):
        add(x, x.to_masked())
