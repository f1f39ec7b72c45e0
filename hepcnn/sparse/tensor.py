"""What flows through a sparse network: `SparseTensor`, and the masked dense form of the same thing.

Shapes: N active sites, C channels, d spatial dimensions, B batch size, S the spatial shape.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from hepcnn.errors import InputError
from hepcnn.sparse.sites import Sites, check_coords, check_form, check_pixels


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
        check_form(coords, features, shape, batch_size)
        check_coords(coords, shape, batch_size)
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
    def from_pixels(cls, indptr: Tensor, index: Tensor, value: Tensor, spatial_shape: Sequence[int]) -> Self:
        """Take the pixels of ``images.h5``, without a dense detour.

        Parameters
        ----------
        indptr
            (B+1,) integers: image j has the pixels from ``indptr[j]`` to ``indptr[j+1]``, counted from
            ``indptr[0]``, so that a slice of the file's will do.
        index
            (N,) integers: the flat number of each pixel, in C order over the grid.
        value
            (N, C) floating point, on the same device.
        spatial_shape
            Cells per axis.

        Raises
        ------
        InputError
            When shapes or devices do not fit, ``indptr`` decreases, or a pixel is outside the grid or given twice in
            one image.
        """
        shape = tuple(int(size) for size in spatial_shape)
        check_pixels(indptr, index, value)
        counts, pixel, axes = indptr.long().diff(), index.long(), []
        image = torch.repeat_interleave(torch.arange(len(counts), device=pixel.device), counts, output_size=len(pixel))
        cells = math.prod(shape)
        outside = (pixel < 0) | (pixel >= cells)
        if bool(outside.any()):
            row = int(outside.nonzero()[0])
            raise InputError(f"index[{row}] = {int(pixel[row])} is no pixel of a grid of {shape}, {cells} cells")
        for size in reversed(shape):
            axes.append(pixel.remainder(size))
            pixel = pixel.div(size, rounding_mode="floor")
        coords = torch.stack([image, *reversed(axes)], dim=1).int()
        check_form(coords, value, shape, len(counts))
        check_coords(coords, shape, len(counts))
        return cls.on_sites(Sites(coords, shape, len(counts), in_order=True), value)

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
        sites = Sites(
            coords, self.spatial_shape, self.batch_size, in_order=self.sites.in_order, padded=self.sites.padded
        )
        return SparseTensor.on_sites(sites, features)

    def pad(self, rows: int | None = None) -> "SparseTensor":
        """Add rows that are no sites, so that batches of different sizes have one shape.

        On a padded tensor no layer asks the device how many sites there are, and so a training step can be captured in
        a CUDA graph. Padding has the image -1 in ``coords`` and zeros in ``features``, which every layer keeps; it
        counts in no mean, norm or pool. Results on the sites are those of the tensor without padding; a strided layer's
        result has as many rows as it could have at most.

        Parameters
        ----------
        rows
            How many rows there shall be; by default `bucket_rows` of the present ones.

        Raises
        ------
        InputError
            When there are more rows already.
        """
        present = len(self.sites)
        rows = bucket_rows(present) if rows is None else rows
        if rows < present:
            raise InputError(f"{present} sites cannot be padded to {rows} rows: choose at least {present}")
        coords = functional.pad(self.coords, (0, 0, 0, rows - present), value=-1)
        features = functional.pad(self.features, (0, 0, 0, rows - present))
        sites = Sites(coords, self.spatial_shape, self.batch_size, in_order=self.sites.in_order, padded=True)
        return SparseTensor.on_sites(sites, features)

    def unpad(self) -> "SparseTensor":
        """Leave out the rows that are no sites."""
        if not self.sites.padded:
            return self
        real = self.sites.real()[:, 0]
        sites = Sites(self.coords[real], self.spatial_shape, self.batch_size, in_order=self.sites.in_order)
        return SparseTensor.on_sites(sites, self.features[real])

    def to_dense(self) -> Tensor:
        """(B, C, S), zero on inactive sites, in channels-last memory order."""
        channels, cells = self.features.shape[1], self.batch_size * self.sites.cells
        # Padding goes to one more row.
        flat = self.features.new_zeros(cells + int(self.sites.padded), channels)
        flat = flat.index_copy(0, self.sites.flat_index(), self.features)[:cells]
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


def bucket_rows(n: int) -> int:
    """The next of 8, 9, … 15 times a power of two: at most an eighth more, and few sizes in all; at least 64."""
    step = 1 << max(3, (max(n, 1) - 1).bit_length() - 4)
    return max(64, -(-n // step) * step)


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
