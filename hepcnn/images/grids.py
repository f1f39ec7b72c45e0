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
    BinningGrid,
    BoxGrid,
    CalorimeterGrid,
    CellGrid,
    CylinderGrid,
    DetectorGrid,
    GivenGrid,
    Grid,
    GridConfig,
    GridSource,
    LayersGrid,
    NativeGrid,
    PlacedGrid,
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
    "GridSource",
    "LayersGrid",
    "NativeGrid",
    "PlacedGrid",
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


def parse_grid(text: str, *, half_width: float = 0.8, eta_max: float = 5.0) -> Grid | GridSource:
    """Make a grid from what the command line gives.

    Parameters
    ----------
    text
        ``40x40``: a window in (deta, dphi); ``28x1x1``: the same in each of 28 layers; ``detector:64x64``: the whole
        detector in (eta, phi); ``native``: what the files say; ``calorimeter:sampling45`` or ``calorimeter:mine.yaml``:
        the cells of a detector; ``binning:file.xml:photon``: the voxels of a binning file.
    half_width, eta_max
        Of the window, of the detector.

    Raises
    ------
    ConfigError
        For anything else.
    """
    if (source := _parse_source(text.strip())) is not None:
        return source
    kind, _, numbers = text.strip().rpartition(":")
    counts = [int(part) if part.isdecimal() else None for part in re.split("[x×]", numbers)]
    names = {("", 2): "window", ("", 3): "layers", ("detector", 2): "detector"}
    name = names.get((kind, len(counts)))
    if name is None or None in counts:
        raise ConfigError(
            f"grid '{text}': expected 40x40 (a window), 28x1x1 (layers of windows), detector:64x64, native, "
            "calorimeter:NAME or binning:FILE:PARTICLE"
        )
    sizes = dict(zip(("n_layers", "n_eta", "n_phi")[-len(counts) :], counts, strict=True))
    reach = {"eta_max": eta_max} if name == "detector" else {"half_width": half_width}
    return parse_model(KINDS[name], sizes | reach, where=f"grid '{text}'")


def _parse_source(text: str) -> GridSource | None:
    """What stands for a grid: ``native``, ``calorimeter:NAME``, ``binning:FILE:PARTICLE``."""
    kind, _, rest = text.partition(":")
    file, _, particle = rest.rpartition(":")
    if text == "native":
        return NativeGrid()
    if kind == "calorimeter" and rest:
        return CalorimeterGrid(detector=rest)
    return BinningGrid(file=file, particle=particle) if kind == "binning" and file and particle else None


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
        cell = np.zeros(n, dtype=np.int64)
        compiled.add_axis(points["cell"], 0.0, 1.0, grid.n_cells, False, cell)
        return cell if isinstance(grid, GivenGrid) else np.where(cell < 0, -1, grid.pixel_of_cell[cell])
    if isinstance(grid, PlacedGrid):
        from hepcnn.images.places import find_placed  # compiled, too

        return find_placed(grid, *(points[name] for name in grid.needs))
    pixel = np.zeros(n, dtype=np.int64)
    for axis in grid.axes:
        column, low, high, n_bins = points[axis.name], axis.edges[0], axis.edges[-1], len(axis.edges) - 1
        if axis.periodic:
            column = compiled.wrap_angles(column)
        compiled.add_axis(column, low, n_bins / (high - low), n_bins, axis.periodic, pixel)
    return pixel
