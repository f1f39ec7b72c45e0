"""Run by a test with TRITON_INTERPRET=1: the Triton backend against the oracle, step by step on the CPU."""

import sparse_oracle
import torch
from sparse_oracle import compare, random_sites

from hepcnn import sparse
from hepcnn.sparse import SparseTensor, use_backend


def check_values() -> None:
    """Values and gradients of small layers of every kind."""
    sparse_oracle.DTYPE, sparse_oracle.TOLERANCE = torch.float32, {"rtol": 1e-4, "atol": 1e-4}
    cases = [
        (sparse.SubmanifoldConv1d(3, 5, 3), (17,), 12),
        (sparse.SubmanifoldConv2d(3, 5, 3), (9, 7), 30),
        (sparse.SubmanifoldConv2d(17, 33, 5, dilation=2), (9, 7), 12),
        (sparse.SubmanifoldConv2d(2, 3, 3, periodic=(False, True), bias=False), (5, 8), 12),
        (sparse.SubmanifoldConv3d(4, 2, 3), (6, 5, 4), 20),
        (sparse.SparseConv2d(3, 2, 3, 2, 1), (9, 7), 8),
        (sparse.SparseConv3d(70, 3, 2, 2), (6, 4, 4), 8),
        (sparse.SubmanifoldConv2d(3, 5, 3), (9, 7), 0),
        (sparse.SubmanifoldConv2d(3, 5, 3), (1, 1), 1),
    ]
    for layer, shape, n in cases:
        compare(layer, random_sites(shape, 3, n, skip=1), shape, 3)


def check_way_back() -> None:
    """A transposed convolution against the reference backend."""
    coords = random_sites((9, 7), 3, 12)
    x = SparseTensor(coords, torch.randn(len(coords), 2), (9, 7), 3)
    small = sparse.SparseConv2d(2, 3, 3, 2, 1)(x)
    up = sparse.SparseInverseConv2d(3, 4, 3, 2, 1)
    with use_backend("torch"):
        expected = up(small, x).features
    torch.testing.assert_close(up(small, x).features, expected, rtol=1e-4, atol=1e-4)


def check_padding() -> None:
    """Rows that are no sites change no bit of the others, and stay zero behind a bias."""
    coords = random_sites((9, 7), 3, 12)
    features = torch.randn(len(coords), 4)
    for layer in (sparse.SubmanifoldConv2d(4, 5, 3), sparse.SparseConv2d(4, 5, 3, 2, 1)):
        results = []
        for rows in (len(coords), 100):
            leaf = features.clone().requires_grad_()
            out = layer(SparseTensor(coords, leaf, (9, 7), 3).pad(rows))
            assert not out.features[~out.sites.real()[:, 0]].any()
            found = out.unpad().features
            results.append([found, *torch.autograd.grad(found.square().sum(), [leaf, *layer.parameters()])])
        for plain, padded in zip(*results, strict=True):
            torch.testing.assert_close(padded, plain, rtol=1e-5, atol=1e-6)


def check_bits_and_types() -> None:
    """Several splits of the rows, twice the same bits, and half precision."""
    coords = random_sites((64, 40), 1, 1100)
    for kind, tolerance in ((torch.float32, 1e-3), (torch.bfloat16, 2e-2)):
        torch.manual_seed(0)
        layer = sparse.SubmanifoldConv2d(4, 6, 3).to(kind)
        features = torch.randn(len(coords), 4).to(kind)
        results = []
        for backend in ("triton", "triton", "torch"):
            layer.to(torch.float32 if backend == "torch" else kind)
            x = features.to(layer.weight.dtype).detach().requires_grad_()
            with use_backend(backend):
                out = layer(SparseTensor(coords, x, (64, 40), 1)).features
            results.append([out, *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])])
        for one, again, reference in zip(*results, strict=True):
            assert torch.equal(one, again)
            assert (one.float() - reference).norm() <= tolerance * reference.norm()


if __name__ == "__main__":
    torch.manual_seed(1)
    with use_backend("triton"):
        check_values()
        check_way_back()
        check_padding()
        check_bits_and_types()
