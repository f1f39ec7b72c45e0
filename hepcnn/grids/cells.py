"""Grids of numbered cells: cylinders and boxes of calorimeters, and images that exist already."""

import itertools
import math
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from hepcnn.grids.base import Axis, Bins, Grid, equal_bins
from hepcnn.records import StrictModel


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


class CellGrid(Grid):
    """Base of grids whose constituents bring the number of their ``cell``, which stands for a pixel of the image."""

    needs: ClassVar[tuple[str, ...]] = ("cell",)

    @property
    def pixel_of_cell(self) -> NDArray[np.int64]:
        """The image's pixel of each cell, (n_cells,)."""
        raise NotImplementedError

    @property
    def n_cells(self) -> int:
        """Cells of the calorimeter; the image may have pixels that stand for none."""
        return len(self.pixel_of_cell)


class CylinderGrid(CellGrid):
    """Voxels of a shower along a cylinder's axis, as CaloChallenge has them: layers, cut in alpha, cut in r.

    The constituents' ``cell`` is the number of a voxel in the file: layer by layer, in each by alpha from -pi, in each
    by r. The image is dense, (layers, most alpha, most r): a layer that has fewer bins fills the first ones.
    """

    kind: Literal["cylinder"] = "cylinder"
    layers: tuple[VoxelLayer, ...] = pydantic.Field(min_length=1)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """layer, alpha (periodic), r in mm where all layers have the same rings, else the number of the ring."""
        rings = {layer.r_edges for layer in self.layers}
        most_alpha, most_r = (max(counts) for counts in zip(*self._counts, strict=True))
        radius = Axis("r", np.array(rings.pop())) if len(rings) == 1 else equal_bins("ring", -0.5, most_r - 0.5, most_r)
        n_layers = len(self.layers)
        angle = equal_bins("alpha", -math.pi, math.pi, most_alpha, periodic=True)
        return equal_bins("layer", -0.5, n_layers - 0.5, n_layers), angle, radius

    @property
    def _counts(self) -> list[tuple[int, int]]:
        return [(layer.n_alpha, len(layer.r_edges) - 1) for layer in self.layers]

    @pydantic.field_serializer("layers")
    def _list_layers(self, layers: tuple[VoxelLayer, ...]) -> list[dict[str, Any]]:
        return [{"r_edges": list(layer.r_edges), "n_alpha": layer.n_alpha} for layer in layers]

    @property
    def pixel_of_cell(self) -> NDArray[np.int64]:
        """The image's pixel of each voxel of the file, (n_voxels,)."""
        return _number_cells(tuple(self._counts))


class BoxLayer(StrictModel):
    """One layer of a box: the edges of its cells in mm, across and upwards."""

    x_edges: tuple[float, ...] = pydantic.Field(min_length=2)
    y_edges: tuple[float, ...] = pydantic.Field(min_length=2)

    @pydantic.field_validator("x_edges", "y_edges")
    @classmethod
    def _rise(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if not all(low < high for low, high in itertools.pairwise(edges)):
            raise ValueError("edges must rise")
        return edges


class BoxGrid(CellGrid):
    """Rectangular cells of a calorimeter in layers, which may be cut differently.

    The constituents' ``cell`` is the number of a cell: layer by layer, in each by x, in each by y. The image is dense,
    (layers, most x, most y): a layer that has fewer cells fills the first ones.
    """

    kind: Literal["box"] = "box"
    layers: tuple[BoxLayer, ...] = pydantic.Field(min_length=1)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """layer; x and y in mm where all layers have the same cells, else the number of column and row."""
        n_layers, (most_x, most_y) = len(self.layers), (max(counts) for counts in zip(*self._counts, strict=True))
        layer = equal_bins("layer", -0.5, n_layers - 0.5, n_layers)
        if len(set(self.layers)) == 1:
            first = self.layers[0]
            return layer, Axis("x", np.array(first.x_edges)), Axis("y", np.array(first.y_edges))
        return (
            layer,
            equal_bins("column", -0.5, most_x - 0.5, most_x),
            equal_bins("row", -0.5, most_y - 0.5, most_y),
        )

    @property
    def _counts(self) -> list[tuple[int, int]]:
        return [(len(layer.x_edges) - 1, len(layer.y_edges) - 1) for layer in self.layers]

    @pydantic.field_serializer("layers")
    def _list_layers(self, layers: tuple[BoxLayer, ...]) -> list[dict[str, Any]]:
        return [{"x_edges": list(layer.x_edges), "y_edges": list(layer.y_edges)} for layer in layers]

    @property
    def pixel_of_cell(self) -> NDArray[np.int64]:
        """The image's pixel of each cell of the calorimeter, (n_cells,)."""
        return _number_cells(tuple(self._counts))


@cache
def _number_cells(counts: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    most_first, most_second = (max(column) for column in zip(*counts, strict=True))
    parts = []
    for layer, (n_first, n_second) in enumerate(counts):
        first, second = np.divmod(np.arange(n_first * n_second), n_second)
        parts.append((layer * most_first + first) * most_second + second)
    pixels = np.concatenate(parts)
    pixels.flags.writeable = False
    return pixels


class GivenGrid(CellGrid):
    """Images that exist already: the constituents' ``cell`` is the pixel, in C order over the shape.

    The record holds ``shape``, of one to three axes.
    """

    kind: Literal["given"] = "given"
    dimensions: tuple[Bins, ...] = pydantic.Field(alias="shape", min_length=1, max_length=3)

    @pydantic.model_serializer
    def _as_record(self) -> dict[str, Any]:
        return {"kind": self.kind, "shape": list(self.dimensions)}

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Numbers of pixels: row and column, or such."""
        names = ("depth", "row", "column")[-len(self.dimensions) :]
        return tuple(equal_bins(name, -0.5, n - 0.5, n) for name, n in zip(names, self.dimensions, strict=True))

    @property
    def n_cells(self) -> int:
        """As many as pixels."""
        return self.n_pixels

    @property
    def pixel_of_cell(self) -> NDArray[np.int64]:
        """Each cell is its own pixel."""
        return np.arange(self.n_pixels)
