"""What a pixel is: one record gives dense shapes, flat pixel numbers, axes of plots, and what closes into a circle.

`hepcnn.images.grids` finds the pixels of constituents.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pydantic
from numpy.typing import NDArray

from hepcnn.records import StrictModel

Bins = Annotated[int, pydantic.Field(ge=1, le=4096)]
MOST_PIXELS = 2**26


@dataclass(frozen=True)
class Axis:
    """An axis of an image: its name, the (n + 1,) edges of its pixels, and whether the last pixel touches the first."""

    name: str
    edges: NDArray[np.float64]
    periodic: bool = False


class Grid(StrictModel):
    """Base of all grids. ``kind`` tells them apart in records; pixels are numbered in C order over ``shape``.

    ``needs`` are the constituent fields beside pt, eta and phi that say which pixel a constituent belongs to.
    ``follows_jet`` tells whether the image moves with the jet, so that centring and turning it have a meaning.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    follows_jet: ClassVar[bool] = False

    @pydantic.model_validator(mode="after")
    def _fits_into_memory(self) -> Self:
        if self.n_pixels > MOST_PIXELS:
            raise ValueError(f"{' × '.join(map(str, self.shape))} pixels are more than {MOST_PIXELS}")
        return self

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of the image, in the order of ``shape``."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return tuple(len(axis.edges) - 1 for axis in self.axes)

    @property
    def n_pixels(self) -> int:
        """Pixels of an image."""
        return math.prod(self.shape)

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which axes close into a circle."""
        return tuple(axis.periodic for axis in self.axes)


class WindowGrid(Grid):
    """A square window in (deta, dphi) around the jet, ``2 half_width`` wide, of ``n_eta × n_phi`` equal pixels."""

    follows_jet: ClassVar[bool] = True
    kind: Literal["window"] = "window"
    n_eta: Bins = 40
    n_phi: Bins = 40
    half_width: float = pydantic.Field(default=0.8, gt=0, le=math.pi)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """deta, dphi."""
        width = self.half_width
        return _equal_bins("deta", -width, width, self.n_eta), _equal_bins("dphi", -width, width, self.n_phi)


class LayersGrid(Grid):
    """Such a window in each of ``n_layers`` layers of a calorimeter; the constituents' ``layer`` counts from 0."""

    needs: ClassVar[tuple[str, ...]] = ("layer",)
    follows_jet: ClassVar[bool] = True
    kind: Literal["layers"] = "layers"
    n_layers: Bins
    n_eta: Bins = 1
    n_phi: Bins = 1
    half_width: float = pydantic.Field(default=0.8, gt=0, le=math.pi)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """layer, deta, dphi."""
        width = self.half_width
        return (
            _equal_bins("layer", -0.5, self.n_layers - 0.5, self.n_layers),
            _equal_bins("deta", -width, width, self.n_eta),
            _equal_bins("dphi", -width, width, self.n_phi),
        )


class DetectorGrid(Grid):
    """The whole detector: ``n_eta`` equal pixels in ``|eta| < eta_max``, ``n_phi`` around the beam from -pi to pi."""

    kind: Literal["detector"] = "detector"
    n_eta: Bins = 64
    n_phi: Bins = 64
    eta_max: float = pydantic.Field(default=5.0, gt=0, le=20)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """eta, phi; phi is periodic."""
        return (
            _equal_bins("eta", -self.eta_max, self.eta_max, self.n_eta),
            _equal_bins("phi", -math.pi, math.pi, self.n_phi, periodic=True),
        )


class VoxelLayer(StrictModel):
    """One layer of a cylinder: edges of its rings in mm, and into how many equal angles each ring is cut."""

    r_edges: tuple[float, ...] = pydantic.Field(min_length=2)
    n_alpha: Bins = 1

    @pydantic.field_validator("r_edges")
    @classmethod
    def _rise(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if edges[0] < 0 or not all(low < high for low, high in itertools.pairwise(edges)):
            raise ValueError("radii must rise, from 0 or more")
        return edges


class CylinderGrid(Grid):
    """Voxels of a shower along a cylinder's axis, as CaloChallenge has them: layers, cut in alpha, cut in r.

    The constituents' ``cell`` is the number of a voxel in the file: layer by layer, in each by alpha from -pi, in each
    by r. The image is dense, (layers, most alpha, most r): a layer that has fewer bins fills the first ones.
    """

    needs: ClassVar[tuple[str, ...]] = ("cell",)
    kind: Literal["cylinder"] = "cylinder"
    layers: tuple[VoxelLayer, ...] = pydantic.Field(min_length=1)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """layer, alpha (periodic), r in mm where all layers have the same rings, else the number of the ring."""
        rings = {layer.r_edges for layer in self.layers}
        most_alpha, most_r = (max(counts) for counts in zip(*self._counts, strict=True))
        radius = (
            Axis("r", np.array(rings.pop())) if len(rings) == 1 else _equal_bins("ring", -0.5, most_r - 0.5, most_r)
        )
        n_layers = len(self.layers)
        angle = _equal_bins("alpha", -math.pi, math.pi, most_alpha, periodic=True)
        return _equal_bins("layer", -0.5, n_layers - 0.5, n_layers), angle, radius

    @property
    def _counts(self) -> list[tuple[int, int]]:
        return [(layer.n_alpha, len(layer.r_edges) - 1) for layer in self.layers]

    @pydantic.field_serializer("layers")
    def _list_layers(self, layers: tuple[VoxelLayer, ...]) -> list[dict[str, Any]]:
        return [{"r_edges": list(layer.r_edges), "n_alpha": layer.n_alpha} for layer in layers]

    @property
    def pixel_of_cell(self) -> NDArray[np.int64]:
        """The image's pixel of each voxel of the file, (n_voxels,)."""
        return _number_voxels(tuple(self._counts))


@cache
def _number_voxels(counts: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    most_alpha, most_r = (max(column) for column in zip(*counts, strict=True))
    parts = []
    for layer, (n_alpha, n_r) in enumerate(counts):
        alpha, radius = np.divmod(np.arange(n_alpha * n_r), n_r)
        parts.append((layer * most_alpha + alpha) * most_r + radius)
    return np.concatenate(parts)


class GivenGrid(Grid):
    """Images that exist already: the constituents' ``cell`` is the pixel, in C order over the shape.

    The record holds ``shape``, of one to three axes.
    """

    needs: ClassVar[tuple[str, ...]] = ("cell",)
    kind: Literal["given"] = "given"
    dimensions: tuple[Bins, ...] = pydantic.Field(alias="shape", min_length=1, max_length=3)

    @pydantic.model_serializer
    def _as_record(self) -> dict[str, Any]:
        return {"kind": self.kind, "shape": list(self.dimensions)}

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Numbers of pixels: row and column, or such."""
        names = ("depth", "row", "column")[-len(self.dimensions) :]
        return tuple(_equal_bins(name, -0.5, n - 0.5, n) for name, n in zip(names, self.dimensions, strict=True))


class NativeGrid(StrictModel):
    """Stands for the grid that the files themselves say; what converts files puts that in its place."""

    kind: Literal["native"] = "native"


KINDS: Mapping[str, type[Grid]] = {
    "window": WindowGrid,
    "detector": DetectorGrid,
    "layers": LayersGrid,
    "cylinder": CylinderGrid,
    "given": GivenGrid,
}


def _kind_of(record: Any) -> Any:
    return record.get("kind", "window") if isinstance(record, Mapping) else getattr(record, "kind", None)


GridConfig = Annotated[
    Annotated[WindowGrid, pydantic.Tag("window")]
    | Annotated[DetectorGrid, pydantic.Tag("detector")]
    | Annotated[LayersGrid, pydantic.Tag("layers")]
    | Annotated[CylinderGrid, pydantic.Tag("cylinder")]
    | Annotated[GivenGrid, pydantic.Tag("given")]
    | Annotated[NativeGrid, pydantic.Tag("native")],
    pydantic.Discriminator(
        _kind_of,
        custom_error_type="grid_kind",
        custom_error_message=f"expected a kind among {', '.join(KINDS)}, native",
    ),
]
"""What a config may say of the grid: a window where it names no ``kind``."""


@cache
def _equal_bins(name: str, low: float, high: float, n_bins: int, *, periodic: bool = False) -> Axis:
    edges = np.linspace(low, high, n_bins + 1)
    edges.flags.writeable = False
    return Axis(name, edges, periodic)
