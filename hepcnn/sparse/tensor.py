"""What flows through a sparse network: `SparseTensor`, and the masked dense form of the same thing.

Shapes: N active sites, C channels, d spatial dimensions, B batch size, S the spatial shape.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

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
    """

    __slots__ = ("_flat", "_segments", "batch_size", "coords", "maps", "spatial_shape")

    def __init__(self, coords: Tensor, spatial_shape: tuple[int, ...], batch_size: int) -> None:
        self.coords = coords
        self.spatial_shape = spatial_shape
        self.batch_size = batch_size
        self.maps: dict[Any, Any] = {}
        self._flat: Tensor | None = None
        self._segments: tuple[Tensor | None, Tensor] | None = None

    def __len__(self) -> int:
        return self.coords.shape[0]

    @property
    def cells(self) -> int:
        """Cells in one image."""
        return math.prod(self.spatial_shape)

    def flat_index(self) -> Tensor:
        """(N,) int64: the number of each site in C order over batch and axes."""
        if self._flat is None:
            columns = self.coords.long().unbind(1)
            flat = columns[0]
            for size, column in zip(self.spatial_shape, columns[1:], strict=True):
                flat = flat * size + column
            self._flat = flat
        return self._flat

    def segments(self) -> tuple[Tensor | None, Tensor]:
        """The permutation that sorts sites by image (None if they are sorted) and the sites per image (B,)."""
        if self._segments is None:
            image = self.coords[:, 0].long()
            lengths = torch.bincount(image, minlength=self.batch_size)
            in_order = bool((image[1:] >= image[:-1]).all())
            self._segments = (None if in_order else torch.argsort(image, stable=True)), lengths
        return self._segments


class SparseTensor:
    """Features on the active sites of a batch of images.

    Parameters
    ----------
    coords
        (N, 1+d) int32, batch index first, no duplicates, in any order; N = 0 is allowed.
    features
        (N, C) floating point, on the same device.
    spatial_shape
        Cells per axis, d of them.
    batch_size
        Number of images; images without an active site count.

    Raises
    ------
    InputError
        When a shape, dtype or device does not fit, or a coordinate is negative, out of range or given twice.
    """

    __slots__ = ("features", "sites")

    def __init__(self, coords: Tensor, features: Tensor, spatial_shape: Sequence[int], batch_size: int) -> None:
        shape = tuple(int(size) for size in spatial_shape)
        _check_form(coords, features, shape, batch_size)
        _check_coords(coords, shape, batch_size)
        self.sites = Sites(coords.contiguous(), shape, int(batch_size))
        self.features = features

    @classmethod
    def trusted(cls, coords: Tensor, features: Tensor, spatial_shape: Sequence[int], batch_size: int) -> Self:
        """Construct without looking at the values: for coordinates that are right by construction."""
        return cls.on_sites(Sites(coords.contiguous(), tuple(spatial_shape), batch_size), features)

    @classmethod
    def on_sites(cls, sites: Sites, features: Tensor) -> Self:
        """Put features on known sites and share their kernel maps."""
        self = cls.__new__(cls)
        self.sites = sites
        self.features = features
        return self

    @classmethod
    def from_dense(cls, values: Tensor) -> Self:
        """Take the sites where any channel of (B, C, S) values is non-zero."""
        if values.ndim < 3:
            raise InputError(f"values must be (batch, channels, axes…), got the shape {tuple(values.shape)}")
        return cls.from_masked(MaskedDense.from_dense(values))

    @classmethod
    def from_masked(cls, masked: "MaskedDense") -> Self:
        """Take the sites that the mask marks, in C order."""
        active = masked.mask[:, 0] != 0
        coords = active.nonzero().int()
        features = masked.values.movedim(1, -1)[active]
        return cls.trusted(coords, features, tuple(masked.values.shape[2:]), masked.values.shape[0])

    @property
    def coords(self) -> Tensor:
        """(N, 1+d) int32."""
        return self.sites.coords

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        """Cells per axis."""
        return self.sites.spatial_shape

    @property
    def batch_size(self) -> int:
        """Number of images."""
        return self.sites.batch_size

    @property
    def dtype(self) -> torch.dtype:
        """That of the features."""
        return self.features.dtype

    @property
    def device(self) -> torch.device:
        """That of features and coordinates."""
        return self.features.device

    def replace(self, features: Tensor) -> "SparseTensor":
        """Keep the sites and their kernel maps, change the features."""
        if features.shape[:1] != self.coords.shape[:1]:
            raise InputError(f"{len(self.sites)} sites need as many rows of features, got {tuple(features.shape)}")
        return SparseTensor.on_sites(self.sites, features)

    def to(self, *args: Any, **kwargs: Any) -> "SparseTensor":
        """Move or cast as `torch.Tensor.to` does; the coordinates stay int32."""
        features = self.features.to(*args, **kwargs)
        if features.device == self.coords.device:
            return SparseTensor.on_sites(self.sites, features)
        coords = self.coords.to(features.device, non_blocking=bool(kwargs.get("non_blocking", False)))
        return SparseTensor.trusted(coords, features, self.spatial_shape, self.batch_size)

    def to_dense(self) -> Tensor:
        """(B, C, S), zero on inactive sites, in channels-last memory order."""
        channels = self.features.shape[1]
        flat = self.features.new_zeros(self.batch_size * self.sites.cells, channels)
        flat = flat.index_copy(0, self.sites.flat_index(), self.features)
        return flat.view(self.batch_size, *self.spatial_shape, channels).movedim(-1, 1)

    def to_masked(self) -> "MaskedDense":
        """The masked dense form; a site whose features are all zero stays active."""
        ones = self.replace(self.features.new_ones(len(self.sites), 1))
        return MaskedDense(self.to_dense(), ones.to_dense())

    def __repr__(self) -> str:
        return (
            f"SparseTensor(sites={len(self.sites)}, channels={self.features.shape[1]}, "
            f"spatial_shape={self.spatial_shape}, batch_size={self.batch_size}, {self.dtype}, {self.device})"
        )


@dataclass(frozen=True)
class MaskedDense:
    """A dense activation that knows its active sites: the same network runs on it, for instance inside ONNX.

    Attributes
    ----------
    values
        (B, C, S), zero wherever the mask is zero.
    mask
        (B, 1, S) of the dtype of the values: one on active sites, zero elsewhere.
    """

    values: Tensor
    mask: Tensor

    @classmethod
    def from_dense(cls, values: Tensor) -> Self:
        """Mark the sites where any channel is non-zero."""
        return cls(values, (values != 0).any(dim=1, keepdim=True).to(values.dtype))


Activation = SparseTensor | MaskedDense


def _check_form(coords: Tensor, features: Tensor, shape: tuple[int, ...], batch_size: int) -> None:
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
    if batch_size * math.prod(shape) >= 2**63:
        raise InputError(f"{batch_size} images of {shape} have more cells than int64 can number")


def _check_coords(coords: Tensor, shape: tuple[int, ...], batch_size: int) -> None:
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
