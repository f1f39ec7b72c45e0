"""Whether the cells of showers are those of the grid."""

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError
from hepcnn.grids import CellGrid, Grid, PlacedGrid
from hepcnn.io.batch import JetBatch

STRAYS = "cells that the grid has not"


def check_cells(batch: JetBatch, grid: Grid) -> None:
    """Check that a grid has the cells of showers.

    Raises
    ------
    InputError
        For showers on a grid without cells; for files that hold another number of cells than the grid, naming both.
    """
    if batch.is_shower and not isinstance(grid, CellGrid | PlacedGrid):
        kind = grid.model_dump()["kind"]
        raise InputError(
            f"{batch.where}: showers have no direction, and so no image on a grid of kind '{kind}': choose native, "
            "calorimeter or binning"
        )
    if isinstance(grid, CellGrid) and batch.n_cells not in (None, grid.n_cells):
        raise InputError(
            f"{batch.where}: an entry has {batch.n_cells} cells, but the grid has {grid.n_cells}: this grid, or its "
            "binning file, is that of other data"
        )


def find_strays(batch: JetBatch, grid: Grid) -> NDArray[np.bool_]:
    """Which showers have a cell that the grid does not have, (n_jets,); none where cells have no numbers."""
    cell = batch.flat.fields.get("cell")
    if cell is None or not isinstance(grid, CellGrid) or not len(cell):
        return np.zeros(len(batch), dtype=np.bool_)
    # In most blocks all is well, which two passes without temporaries tell.
    if cell.min() >= 0 and cell.max() < grid.n_cells:
        return np.zeros(len(batch), dtype=np.bool_)
    return batch.flat.any(~((cell >= 0) & (cell < grid.n_cells)))


def describe_stray(batch: JetBatch, grid: CellGrid | Grid, stray: NDArray[np.bool_]) -> str:
    """Say which cell of which entry does not exist."""
    n_cells = grid.n_cells if isinstance(grid, CellGrid) else grid.n_pixels
    at = int(np.flatnonzero(stray)[0])
    first, last = batch.flat.offsets[at : at + 2]
    cells = batch.flat.fields["cell"][first:last]
    wrong = cells[~((cells >= 0) & (cells < n_cells))][0]
    return (
        f"{batch.where}, entry {batch.entry[at]}: cell {wrong:.0f} does not exist, the grid has cells 0 to "
        f"{n_cells - 1} ({stray.sum()} of {len(batch)} showers in this block); --skip-bad leaves such showers out and "
        "counts them"
    )
