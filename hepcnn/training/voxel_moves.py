"""Showers turned and mirrored at random, by whole voxels; what has no meaning for them is refused by name."""

import math
from dataclasses import replace

import torch
from torch import Generator, Tensor

from hepcnn.config import AugmentConfig
from hepcnn.data.batches import Rows
from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.grids import Grid
from hepcnn.grids.cells import CellGrid
from hepcnn.training.pixels import ActivePixels

MIRRORED = "alpha", "column", "row", "deta", "dphi", "eta", "phi"
"""Axes across a shower: its physics does not know which way they count. Depth and radius have a beginning."""
CIRCLE = "alpha"


def check_voxel_moves(config: AugmentConfig, grid: Grid) -> None:
    """Refuse what has no meaning on a grid of three axes.

    Raises
    ------
    ConfigError
        When an axis to flip does not exist or has a direction; for a shift; for a rotation where no axis is an angle of
        equal steps; for a flip, a rotation or noise where some pixels of the image are no cells.
    """
    names = [axis.name for axis in grid.axes]
    has = f"images over ({', '.join(names)})"
    for name in config.flip:
        if name not in names:
            raise ConfigError(f"training.augment.flip: the images have no axis '{name}'{did_you_mean(name, names)}")
        if name not in MIRRORED:
            raise ConfigError(f"training.augment.flip: a shower begins at one end of '{name}': leave it out")
    if config.shift:
        raise ConfigError(f"training.augment.shift: {has} are not moved by parts of a voxel: leave it out")
    if config.rotate and CIRCLE not in names:
        raise ConfigError(f"training.augment.rotate: {has} have no axis '{CIRCLE}' to turn along: leave it out")
    asked = [name for name in ("flip", "rotate", "noise") if getattr(config, name)]
    if asked and isinstance(grid, CellGrid) and grid.n_cells < grid.n_pixels:
        raise ConfigError(
            f"training.augment.{asked[0]}: layers differ in their cells, so that {grid.n_pixels - grid.n_cells} of "
            f"{grid.n_pixels} pixels of {has} are none: leave it out"
        )


def move_voxels(
    pixels: ActivePixels, config: AugmentConfig, grid: Grid, generator: Generator, rows: Rows
) -> ActivePixels:
    """Mirror showers, each named axis with probability 1/2, and turn them about their axis.

    The angle is uniform up to the largest, rounded to whole voxels: nothing is shared between them, and nothing lost.
    """
    draw = rows.of(torch.rand(len(grid.shape) + 1, rows.total, generator=generator, device=generator.device), axis=1)
    columns: list[Tensor] = []
    for number, axis in enumerate(grid.axes):
        column, size = pixels.cell[:, number], len(axis.edges) - 1
        if axis.name in config.flip:
            column = torch.where(draw[number][pixels.row] < 0.5, size - 1 - column, column)
        if axis.name == CIRCLE and config.rotate:
            step = torch.round((2 * draw[-1] - 1) * config.rotate * size / (2 * math.pi)).long()
            column = (column + step[pixels.row]).remainder(size)
        columns.append(column)
    return replace(pixels, cell=torch.stack(columns, dim=1))
