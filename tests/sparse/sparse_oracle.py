"""Masked dense convolution in double precision, of torch alone, and the comparison of a layer with it."""

import torch
from torch.nn import functional

from hepcnn.sparse import SparseTensor

# Where and how precisely to compute what is compared: the fixture `place` sets these.
DEVICE = torch.device("cpu")
DTYPE = torch.float64
TOLERANCE = {"rtol": 1e-10, "atol": 1e-11}
CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


def random_sites(shape, batch_size, n, seed=0, skip=None):
    """``n`` distinct coordinates per image at most, in random order; the image ``skip`` stays empty."""
    generator = torch.Generator().manual_seed(seed)
    cells = int(torch.tensor(shape).prod())
    rows = []
    for image in range(batch_size):
        if image == skip:
            continue
        flat = torch.randperm(cells, generator=generator)[:n]
        columns = []
        for size in reversed(shape):
            columns.append(flat % size)
            flat = flat // size
        rows.append(torch.stack([torch.full_like(flat, image), *reversed(columns)], dim=1))
    coords = torch.cat(rows) if rows else torch.zeros(0, 1 + len(shape), dtype=torch.int64)
    return coords[torch.randperm(len(coords), generator=generator)].int()


def scatter(coords, features, shape, batch_size):
    """(B, C, *shape), one assignment for all sites."""
    dense = torch.zeros(batch_size, *shape, features.shape[1], dtype=features.dtype, device=features.device)
    dense = dense.index_put(tuple(coords.long().t()), features)
    return dense.movedim(-1, 1)


def oracle(coords, features, weight, bias, shape, batch_size, *, stride, padding, dilation, periodic, same_sites):
    """Return masked values (B, C', *shape') and the mask of output sites; all arguments are tuples per axis."""
    values = scatter(coords, features, shape, batch_size)
    mask = scatter(coords, torch.ones(len(coords), 1, dtype=features.dtype), shape, batch_size)
    pads = list(padding)
    for axis, wrap in enumerate(periodic):
        if wrap:
            index = torch.arange(-padding[axis], shape[axis] + padding[axis]) % shape[axis]
            values, mask = (t.index_select(axis + 2, index) for t in (values, mask))
            pads[axis] = 0
    conv = CONV[len(shape)]
    out = conv(values, weight, bias, stride=stride, padding=tuple(pads), dilation=dilation)
    if same_sites:
        new_mask = scatter(coords, torch.ones(len(coords), 1, dtype=features.dtype), shape, batch_size)
    else:
        ones = torch.ones(1, 1, *weight.shape[2:], dtype=weight.dtype)
        new_mask = (conv(mask, ones, None, stride=stride, padding=tuple(pads), dilation=dilation) > 0.5).to(out.dtype)
    return out * new_mask, new_mask


def oracle_of(layer, coords, features, weight, bias, shape, batch_size):
    """The oracle with a layer's geometry."""
    w = layer.window
    return oracle(
        coords, features, weight, bias, shape, batch_size, stride=w.stride, padding=w.padding, dilation=w.dilation,
        periodic=w.periodic, same_sites=w.submanifold,
    )  # fmt: skip


def compare(layer, coords, shape, batch_size, seed=1, make=SparseTensor):
    """Values, dX, dW and db of a layer, sparse and masked dense, against the oracle; returns the sparse result."""
    layer = layer.to(DEVICE, DTYPE)
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(len(coords), layer.in_channels, generator=generator, dtype=torch.float64)
    expected_x = data.clone().requires_grad_()
    leaves = [p.detach().cpu().double().requires_grad_() for p in layer.parameters()]
    bias = leaves[1] if len(leaves) > 1 else None
    expected, mask = oracle_of(layer, coords, expected_x, leaves[0], bias, shape, batch_size)
    grad = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    expected_grads = torch.autograd.grad(expected, [expected_x, *leaves], grad, allow_unused=True)
    results = []
    for dense in (False, True):
        x = data.to(DEVICE, DTYPE).requires_grad_()
        tensor = make(coords.to(DEVICE), x, shape, batch_size)
        out = layer(tensor.to_masked() if dense else tensor)
        values = out.values if dense else out.to_dense()
        results.append(out)
        torch.testing.assert_close(values.cpu().double(), expected, **TOLERANCE)
        found = out.mask if dense else out.to_masked().mask
        assert torch.equal(found.cpu().double(), mask)
        grads = torch.autograd.grad(values, [x, *layer.parameters()], grad.to(DEVICE, DTYPE))
        for got, want in zip(grads, expected_grads, strict=True):
            got = got.cpu().double()
            torch.testing.assert_close(got, torch.zeros_like(got) if want is None else want, **TOLERANCE)
    return results[0]
