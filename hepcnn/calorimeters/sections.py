"""Records of a calorimeter's sections: plates, how they are cut into cells, and what electronics does to cells."""

import itertools
from typing import Annotated, Literal

import numpy as np
import pydantic

from hepcnn.calorimeters.materials import Positive
from hepcnn.grids import Bins, BoxLayer, VoxelLayer
from hepcnn.records import StrictModel

NotNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]


class Plate(StrictModel):
    """A plate of a material, ``thickness`` in mm."""

    material: str
    thickness: Positive


class CylinderCells(StrictModel):
    """Rings around the axis with edges in mm, each cut into ``n_alpha`` equal angles from -pi to pi."""

    kind: Literal["cylinder"] = "cylinder"
    r_edges: tuple[NotNegative, ...] = pydantic.Field(min_length=2)
    n_alpha: Bins = 1

    @pydantic.field_validator("r_edges")
    @classmethod
    def _rise(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        for low, high in itertools.pairwise(edges):
            if low >= high:
                raise ValueError(f"radii must rise, but {high:g} follows {low:g}")
        return edges

    @property
    def layer(self) -> VoxelLayer:
        """A layer of such cells."""
        return VoxelLayer(r_edges=self.r_edges, n_alpha=self.n_alpha)

    @property
    def shape(self) -> tuple[int, int]:
        """Cells of a layer: alpha, r."""
        return self.n_alpha, len(self.r_edges) - 1


class BoxCells(StrictModel):
    """``cells`` (across, upwards) of ``pitch`` mm each, the middle of all at ``centre`` (x, y) in mm."""

    kind: Literal["box"] = "box"
    cells: tuple[Bins, Bins]
    pitch: tuple[Positive, Positive]
    centre: tuple[float, float] = (0.0, 0.0)

    @property
    def layer(self) -> BoxLayer:
        """A layer of such cells."""
        x_edges, y_edges = (
            tuple(float(edge) for edge in (np.arange(n + 1) - n / 2) * pitch + middle)
            for n, pitch, middle in zip(self.cells, self.pitch, self.centre, strict=True)
        )
        return BoxLayer(x_edges=x_edges, y_edges=y_edges)

    @property
    def shape(self) -> tuple[int, int]:
        """Cells of a layer: x, y."""
        return self.cells


Cells = Annotated[CylinderCells | BoxCells, pydantic.Field(discriminator="kind")]


class Section(StrictModel):
    """Equal layers, one behind the other, each of ``samplings`` times absorber and active material, then a ``gap``.

    Lengths in mm; the gap is air. Without an absorber the section is homogeneous. ``front`` is where the section begins
    behind the calorimeter's face; by default where the section before it ends. ``sampling_term`` is a of the resolution
    a / sqrt(E) that sampling alone gives electromagnetic showers, and ``hadron_term`` that of hadronic ones without
    their neutral pions, sampling and nuclear binding together; by default those of `Stack`. ``e_h`` is the signal of
    electromagnetic showers to that of hadronic ones without neutral pions, of one energy. ``noise`` is the standard
    deviation in GeV that each cell has in each event; cells below ``threshold``, in GeV, are not read out.
    """

    name: str
    layers: Bins
    samplings: Bins = 1
    absorber: Plate | None = None
    active: Plate
    gap: NotNegative = 0.0
    front: NotNegative | None = None
    segmentation: Cells
    sampling_term: NotNegative | None = None
    hadron_term: NotNegative | None = None
    e_h: Positive = 1.4
    noise: NotNegative = 0.0
    threshold: NotNegative = 0.0

    @property
    def thickness(self) -> float:
        """Thickness of a layer in mm, without its gap."""
        return self.samplings * (self.active.thickness + (self.absorber.thickness if self.absorber else 0.0))

    @property
    def length(self) -> float:
        """Thickness of all layers with their gaps in mm."""
        return self.layers * (self.thickness + self.gap)


class DeadCells(StrictModel):
    """Cells that are never read out: a random ``fraction``, the same for one ``seed``, or the numbers of ``cells``."""

    fraction: float = pydantic.Field(default=0.0, ge=0, lt=1)
    seed: int = pydantic.Field(default=1, ge=0)
    cells: tuple[Annotated[int, pydantic.Field(ge=0)], ...] = ()
