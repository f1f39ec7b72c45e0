"""Grids from records and from the command line, and the pixel of each constituent."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.grids import (
    KINDS,
    Axis,
    BoxGrid,
    CellGrid,
    CylinderGrid,
    DetectorGrid,
    GivenGrid,
    Grid,
    GridConfig,
    LayersGrid,
    NativeGrid,
    WindowGrid,
)
from hepcnn.records import parse_model

__all__ = [
    "Axis",
    "BoxGrid",
    "CellGrid",
    "CylinderGrid",
    "DetectorGrid",
    "GivenGrid",
    "Grid",
    "GridConfig",
    "LayersGrid",
    "NativeGrid",
    "WindowGrid",
    "describe_grid",
    "find_pixels",
    "grid_from_record",
    "parse_grid",
]

COUNTED_AXES = ("layer", "ring", "depth", "row", "column")
LENGTHS = ("r", "x", "y")
Points = Mapping[str, NDArray[np.float64]]


def grid_from_record(record: Mapping[str, Any]) -> Grid:
    """Make a grid from what its ``model_dump()`` gave; a record without ``kind`` is a window's.

    Raises
    ------
    ConfigError
        For a kind that does not exist, or keys and values that the kind does not take.
    """
    kind = record.get("kind", "window")
    if kind not in KINDS:
        raise ConfigError(f"grid: no kind '{kind}'{did_you_mean(str(kind), KINDS)}")
    return parse_model(KINDS[kind], dict(record), where="grid")


def describe_grid(grid: Grid) -> str:
    """A grid in words: ``40 × 40 pixels: deta -0.8 to 0.8, dphi -0.8 to 0.8``."""
    shape = " × ".join(map(str, grid.shape))
    ranges = [
        f"{axis.name} {axis.edges[0]:g} to {axis.edges[-1]:g}{' mm' if axis.name in LENGTHS else ''}"
        for axis in grid.axes
        if axis.name not in COUNTED_AXES
    ]
    return f"{shape} pixels" + (f": {', '.join(ranges)}" if ranges else "")


def parse_grid(text: str, *, half_width: float = 0.8, eta_max: float = 5.0) -> Grid | NativeGrid:
    """Make a grid from what the command line gives.

    Parameters
    ----------
    text
        ``40x40``: a window in (deta, dphi); ``28x1x1``: the same in each of 28 layers; ``detector:64x64``: the whole
        detector in (eta, phi); ``native``: what the files say.
    half_width, eta_max
        Of the window, of the detector.

    Raises
    ------
    ConfigError
        For anything else.
    """
    kind, _, numbers = text.strip().rpartition(":")
    if (kind, numbers) == ("", "native"):
        return NativeGrid()
    counts = [int(part) if part.isdecimal() else None for part in re.split("[x×]", numbers)]
    names = {("", 2): "window", ("", 3): "layers", ("detector", 2): "detector"}
    name = names.get((kind, len(counts)))
    if name is None or None in counts:
        raise ConfigError(
            f"grid '{text}': expected 40x40 (a window), 28x1x1 (layers of windows), detector:64x64, or native"
        )
    sizes = dict(zip(("n_layers", "n_eta", "n_phi")[-len(counts) :], counts, strict=True))
    reach = {"eta_max": eta_max} if name == "detector" else {"half_width": half_width}
    return parse_model(KINDS[name], sizes | reach, where=f"grid '{text}'")


def find_pixels(grid: Grid, points: Points) -> NDArray[np.int64]:
    """The flat pixel number of each constituent, -1 for what is outside.

    Parameters
    ----------
    grid
        The grid.
    points
        Columns (n,): ``deta, dphi`` of a grid that follows the jet, ``eta, phi`` of the detector's, and what the grid
        ``needs``. Lower edges belong to a pixel, upper ones do not; NaN is outside.
    """
    from hepcnn.images import compiled  # numba takes seconds to come

    n = len(next(iter(points.values())))
    if isinstance(grid, CellGrid):
        cell, numbers = np.zeros(n, dtype=np.int64), grid.pixel_of_cell
        compiled.add_axis(points["cell"], 0.0, 1.0, len(numbers), False, cell)
        return cell if isinstance(grid, GivenGrid) else np.where(cell < 0, -1, numbers[cell])
    pixel = np.zeros(n, dtype=np.int64)
    for axis in grid.axes:
        column, low, high, n_bins = points[axis.name], axis.edges[0], axis.edges[-1], len(axis.edges) - 1
        if axis.periodic:
            column = compiled.wrap_angles(column)
        compiled.add_axis(column, low, n_bins / (high - low), n_bins, axis.periodic, pixel)
    return pixel
