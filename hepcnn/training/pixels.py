"""The pixels of a batch that hold something, as a list: what dense and sparse images have in common.

Shapes: B jets of a batch, n pixels, C channels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hepcnn.sparse import SparseTensor
from hepcnn.sparse.sites import Sites


@dataclass(frozen=True)
class ActivePixels:
    """``row`` (n,) is the jet of a pixel, ``cell`` (n, axes) its place in the grid, ``value`` (n, C) what it holds.

    One place may be there several times; its content is then the sum.
    """

    row: Tensor
    cell: Tensor
    value: Tensor
    n_jets: int
    shape: tuple[int, ...]

    def flat_index(self) -> Tensor:
        """The number of each pixel in C order over jets and grid, (n,)."""
        flat = self.row
        for size, column in zip(self.shape, self.cell.unbind(1), strict=True):
            flat = flat * size + column
        return flat

    def join(self, other: "ActivePixels") -> "ActivePixels":
        """These and others of the same jets."""
        return self.join_all([self, other])

    @staticmethod
    def join_all(parts: "Sequence[ActivePixels]") -> "ActivePixels":
        """Several lists of the same jets as one."""
        row, cell, value = (torch.cat([getattr(part, name) for part in parts]) for name in ("row", "cell", "value"))
        return replace(parts[0], row=row, cell=cell, value=value)


def take_pixels(images: Tensor | SparseTensor) -> ActivePixels:
    """List the pixels of a batch of images, (B, C, axes) or sparse, that hold anything."""
    if isinstance(images, SparseTensor):
        coords = images.coords.long()
        return ActivePixels(coords[:, 0], coords[:, 1:], images.features, images.batch_size, images.spatial_shape)
    places = images.movedim(1, -1)
    active = (places != 0).any(dim=-1).nonzero()
    value = places[tuple(active.unbind(1))]
    return ActivePixels(active[:, 0], active[:, 1:], value, len(images), tuple(images.shape[2:]))


def put_pixels(pixels: ActivePixels, *, sparse: bool) -> Tensor | SparseTensor:
    """Images that hold what a list of pixels says, each place the sum of its entries, and no site without content."""
    n_cells, n_channels, flat = math.prod(pixels.shape), pixels.value.shape[1], pixels.flat_index()
    if not sparse:
        images = pixels.value.new_zeros(pixels.n_jets * n_cells, n_channels).index_add_(0, flat, pixels.value)
        return images.view(pixels.n_jets, *pixels.shape, n_channels).movedim(-1, 1)
    filled = (pixels.value != 0).any(dim=1)
    places, number = torch.unique(flat[filled], return_inverse=True)
    value = pixels.value.new_zeros(len(places), n_channels).index_add_(0, number, pixels.value[filled])
    columns, rest = [], places
    for size in reversed(pixels.shape):
        columns.append(rest.remainder(size))
        rest = rest.div(size, rounding_mode="floor")
    coords = torch.stack([rest, *reversed(columns)], dim=1).int()
    return SparseTensor.on_sites(Sites(coords, pixels.shape, pixels.n_jets, in_order=True), value)
