"""Which cell of a calorimeter a hit is in, by its place: compiled, as images are."""

from typing import Any

import numpy as np
from numba import boolean, float64, int64, void
from numpy.typing import NDArray

from hepcnn.grids import BoxLayer, CylinderGrid, PlacedGrid, VoxelLayer
from hepcnn.images.compiled import compile_loop

_COLUMN, _INDEX = float64[::1], int64[::1]


@compile_loop(
    void(_COLUMN, _COLUMN, _COLUMN, _COLUMN, _COLUMN, _INDEX, _COLUMN, _INDEX, _COLUMN, _INDEX, boolean, _INDEX)
)
def _find(
    across: Any, up: Any, inwards: Any, fronts: Any, backs: Any, first_start: Any, first_edges: Any, second_start: Any,
    second_edges: Any, shape: Any, cylinder: bool, pixel: Any
) -> None:  # pragma: no cover - compiled  # fmt: skip
    """The flat pixel of each place, -1 outside. Edges of layer k are those from ``start[k]`` to ``start[k + 1]``."""
    for i in range(len(across)):
        pixel[i] = -1
        layer = np.searchsorted(fronts, inwards[i], side="right") - 1
        if layer < 0 or not inwards[i] < backs[layer]:
            continue
        edges = second_edges[second_start[layer] : second_start[layer + 1]]
        value = np.hypot(across[i], up[i]) if cylinder else up[i]
        second = np.searchsorted(edges, value, side="right") - 1
        if not (0 <= second < len(edges) - 1 and value == value):
            continue
        edges = first_edges[first_start[layer] : first_start[layer + 1]]
        n_first = len(edges) - 1
        if cylinder:
            # An angle of pi is -pi's: both touch the first cell.
            first = np.int64((np.arctan2(up[i], across[i]) + np.pi) * (n_first / (2 * np.pi))) % n_first
        else:
            first = np.searchsorted(edges, across[i], side="right") - 1
            if not (0 <= first < n_first and across[i] == across[i]):
                continue
        pixel[i] = (layer * shape[0] + first) * shape[1] + second


def find_placed(grid: PlacedGrid, x: Any, y: Any, z: Any) -> NDArray[np.int64]:
    """The flat pixel number of hits at x, y, z in mm, (n,) each; -1 for what is outside.

    Lower edges belong to a cell, upper ones do not; NaN is outside, and so is what lies between two layers.
    """
    arguments: list[Any] = [np.ascontiguousarray(values, dtype=np.float64) for values in grid.turn(x, y, z)]
    arguments += [np.array(grid.fronts), np.array(grid.backs)]
    for edges in zip(*map(_edges_of, grid.cells.layers), strict=True):
        arguments += [np.cumsum([0, *map(len, edges)]), np.concatenate(edges)]
    pixel = np.empty(len(arguments[0]), dtype=np.int64)
    arguments += [np.array(grid.shape[1:]), isinstance(grid.cells, CylinderGrid), pixel]
    _find(*arguments)
    return pixel


def _edges_of(layer: VoxelLayer | BoxLayer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if isinstance(layer, BoxLayer):
        return np.array(layer.x_edges), np.array(layer.y_edges)
    return np.linspace(-np.pi, np.pi, layer.n_alpha + 1), np.array(layer.r_edges)
