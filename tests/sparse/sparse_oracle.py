"""Masked dense convolution in double precision, written without anything from hepcnn.sparse."""

import torch
from torch.nn import functional

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
    dense = torch.zeros(batch_size, *shape, features.shape[1], dtype=features.dtype)
    dense = dense.index_put(tuple(coords.long().t()), features)
    return dense.movedim(-1, 1)


def oracle(coords, features, weight, bias, shape, batch_size, *, stride, padding, dilation, periodic, same_sites):
    """Return masked values (B, C', *shape') and the mask of output sites; all arguments are tuples per axis."""
    values = scatter(coords, features, shape, batch_size)
    mask = scatter(coords, torch.ones(len(coords), 1, dtype=features.dtype), shape, batch_size)
    pads, wrapped = list(padding), mask
    for axis, wrap in enumerate(periodic):
        if wrap:
            index = torch.arange(-padding[axis], shape[axis] + padding[axis]) % shape[axis]
            values = values.index_select(axis + 2, index)
            wrapped = wrapped.index_select(axis + 2, index)
            pads[axis] = 0
    conv = CONV[len(shape)]
    out = conv(values, weight, bias, stride=stride, padding=tuple(pads), dilation=dilation)
    if same_sites:
        new_mask = mask
    else:
        ones = torch.ones(1, 1, *weight.shape[2:], dtype=weight.dtype)
        new_mask = (conv(wrapped, ones, None, stride=stride, padding=tuple(pads), dilation=dilation) > 0.5).to(
            out.dtype
        )
    return out * new_mask, new_mask
