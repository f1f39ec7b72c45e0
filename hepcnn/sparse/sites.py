"""Where a batch of images is active, and the checks of what a caller says about it.

Shapes: N active sites, C channels, d spatial dimensions, B batch size.
"""

import math
from typing import Any

import torch
from torch import Tensor

from hepcnn.errors import InputError


class Sites:
    """Where a batch is active, with everything that was ever derived from it.

    The kernel maps of all layers on one coordinate set are kept here, so that they are built once.

    Parameters
    ----------
    coords
        (N, 1+d) int32: batch index, then one index per spatial axis. Trusted.
    spatial_shape
        Cells per axis.
    batch_size
        Number of images, empty ones included.
    in_order
        Whether the sites are known to be sorted by image.
    padded
        Whether some rows may be no sites: those have the image -1, come last, and their features are kept at zero. The
        number of rows is then known without asking the device how many sites there are.
    """

    __slots__ = ("_flat", "_real", "_segments", "batch_size", "coords", "in_order", "maps", "padded", "spatial_shape")

    def __init__(
        self,
        coords: Tensor,
        spatial_shape: tuple[int, ...],
        batch_size: int,
        *,
        in_order: bool = False,
        padded: bool = False,
    ) -> None:
        self.coords = coords
        self.spatial_shape = spatial_shape
        self.batch_size = batch_size
        self.in_order = in_order
        self.padded = padded
        self.maps: dict[Any, Any] = {}
        self._flat: Tensor | None = None
        self._real: Tensor | None = None
        self._segments: tuple[Tensor | None, Tensor] | None = None

    def __len__(self) -> int:
        return self.coords.shape[0]

    @property
    def cells(self) -> int:
        """Cells in one image."""
        return math.prod(self.spatial_shape)

    def real(self) -> Tensor:
        """(N, 1): which rows are sites."""
        if self._real is None:
            self._real = self.coords[:, :1] >= 0
        return self._real

    def clear_padding(self, features: Tensor) -> Tensor:
        """Features (N, C) with zeros where a row is no site; for those that are not padded, the same ones."""
        return torch.where(self.real(), features, 0.0) if self.padded else features

    def flat_index(self) -> Tensor:
        """(N,) int64: the number of each site in C order over batch and axes; the one after the last for padding."""
        if self._flat is None:
            columns = self.coords.long().unbind(1)
            flat = columns[0]
            for size, column in zip(self.spatial_shape, columns[1:], strict=True):
                flat = flat * size + column
            self._flat = torch.where(self.real()[:, 0], flat, self.batch_size * self.cells) if self.padded else flat
        return self._flat

    def segments(self) -> tuple[Tensor | None, Tensor]:
        """The permutation that sorts sites by image (None if they are known to be) and the sites per image (B,)."""
        if self._segments is None:
            image, n_images = self.coords[:, 0].long(), self.batch_size
            if self.padded:
                image, n_images = torch.where(image < 0, n_images, image), n_images + 1
            lengths = torch.zeros(n_images, dtype=torch.int64, device=image.device)
            lengths.scatter_add_(0, image, torch.ones_like(image))
            order = None if self.in_order else torch.argsort(image, stable=True)
            self._segments = order, lengths[: self.batch_size]
        return self._segments


def check_form(coords: Tensor, features: Tensor, shape: tuple[int, ...], batch_size: int) -> None:
    if coords.ndim != 2 or coords.shape[1] != 1 + len(shape):
        raise InputError(
            f"coords must be (sites, 1 + {len(shape)}) for the spatial shape {shape}, got {tuple(coords.shape)}"
        )
    if coords.dtype != torch.int32:
        raise InputError(f"coords must be torch.int32, got {coords.dtype}: pass coords.int()")
    if features.ndim != 2 or features.shape[0] != coords.shape[0]:
        raise InputError(f"features must be ({coords.shape[0]}, channels) as coords has, got {tuple(features.shape)}")
    if not features.dtype.is_floating_point:
        raise InputError(f"features must be floating point, got {features.dtype}")
    if features.device != coords.device:
        raise InputError(f"coords are on {coords.device} and features on {features.device}: move them together")
    if not shape or min(shape) < 1 or batch_size < 0:
        raise InputError(f"impossible spatial shape {shape} or batch size {batch_size}")
    if coords.shape[0] >= 2**31:
        raise InputError(f"{coords.shape[0]} sites are more than int32 can number: split the batch")
    if batch_size > 2**31 or max(shape) > 2**31:
        raise InputError(f"coordinates of int32 do not reach across batch size {batch_size} and spatial shape {shape}")
    if batch_size * math.prod(shape) >= 2**63:
        raise InputError(f"{batch_size} images of {shape} have more cells than int64 can number")


def check_coords(coords: Tensor, shape: tuple[int, ...], batch_size: int) -> None:
    if coords.shape[0] == 0:
        return
    limits = torch.tensor((batch_size, *shape), device=coords.device)
    wrong = ((coords < 0) | (coords >= limits)).any(dim=1)
    if bool(wrong.any()):
        row = int(wrong.nonzero()[0])
        raise InputError(
            f"coords[{row}] = {coords[row].tolist()} is outside batch size {batch_size} and spatial shape {shape}; "
            f"{int(wrong.sum())} of {coords.shape[0]} are"
        )
    unique, counts = torch.unique(Sites(coords, shape, batch_size).flat_index(), return_counts=True)
    if unique.shape[0] != coords.shape[0]:
        first = int(unique[counts > 1][0])
        row = int((Sites(coords, shape, batch_size).flat_index() == first).nonzero()[0])
        raise InputError(
            f"coords[{row}] = {coords[row].tolist()} appears more than once; "
            f"{coords.shape[0] - unique.shape[0]} of {coords.shape[0]} rows are duplicates"
        )


def check_pixels(indptr: Tensor, index: Tensor, value: Tensor) -> None:
    """Raise an `InputError` unless the arrays are ragged pixels of one layout and device."""
    for name, array in (("indptr", indptr), ("index", index)):
        if array.ndim != 1 or array.dtype.is_floating_point or array.dtype.is_complex or array.dtype == torch.bool:
            raise InputError(f"{name} must be a vector of integers, got {array.dtype} of {tuple(array.shape)}")
        if array.device != value.device:
            raise InputError(f"{name} is on {array.device} and value on {value.device}: move them together")
    ends = indptr.long()
    if len(ends) < 1 or bool((ends.diff() < 0).any()):
        raise InputError("indptr must hold at least one number and never decrease")
    pixels = int(ends[-1] - ends[0])
    if pixels != len(index) or value.ndim != 2 or len(value) != len(index):
        raise InputError(
            f"indptr counts {pixels} pixels, index holds {len(index)} and value is {tuple(value.shape)}: "
            "they must agree, and value be (pixels, channels)"
        )
