"""Cells found by place: for hits that say where they are, but not in which cell."""

import itertools
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import pydantic
from numpy.typing import NDArray

from hepcnn.grids.base import Axis, Grid
from hepcnn.grids.cells import BoxGrid, CylinderGrid

Floats = NDArray[np.float64]
Direction = Literal["x", "y", "z", "-x", "-y", "-z"]
Place = tuple[float, float, float]


class PlacedGrid(Grid):
    """Cells of a calorimeter that stands somewhere in space; the constituents' ``x, y, z`` are in mm.

    ``fronts`` and ``backs`` are where each layer begins and ends, in mm behind the calorimeter's face; between layers
    there may be gaps. The middle of the face is at ``origin``, and ``axis`` is the direction into the calorimeter; the
    two directions across are those that follow it in the order x, y, z. The image is that of ``cells``.
    """

    needs: ClassVar[tuple[str, ...]] = ("x", "y", "z")
    kind: Literal["placed"] = "placed"
    cells: Annotated[CylinderGrid | BoxGrid, pydantic.Field(discriminator="kind")]
    fronts: tuple[float, ...]
    backs: tuple[float, ...]
    origin: Place = (0.0, 0.0, 0.0)
    axis: Direction = "z"

    @pydantic.model_validator(mode="after")
    def _has_layers(self) -> Self:
        if not len(self.fronts) == len(self.backs) == len(self.cells.layers):
            raise ValueError(f"{len(self.cells.layers)} layers need as many fronts and backs")
        edges = [edge for pair in zip(self.fronts, self.backs, strict=True) for edge in pair]
        if any(low > high for low, high in itertools.pairwise(edges)):
            raise ValueError("layers must follow each other, each with its front before its back")
        return self

    @pydantic.field_serializer("fronts", "backs", "origin")
    def _as_list(self, values: tuple[float, ...]) -> list[float]:
        return list(values)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Those of the cells."""
        return self.cells.axes

    def turn(self, x: Floats, y: Floats, z: Floats) -> tuple[Floats, Floats, Floats]:
        """Places in space, (n,) each, as the calorimeter sees them: across, across, and inwards from its face."""
        moved = [values - start for values, start in zip((x, y, z), self.origin, strict=True)]
        at = "xyz".index(self.axis[-1])
        across, up, inwards = moved[(at + 1) % 3], moved[(at + 2) % 3], moved[at]
        # A half turn about the second direction, so that the three stay right-handed.
        return (across, up, inwards) if len(self.axis) == 1 else (-across, up, -inwards)
