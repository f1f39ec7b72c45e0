"""How far from its middle an image is filled: the size of jets, as pixels show it."""

import numpy as np
from numpy.typing import NDArray

from hepcnn.grids import Grid
from hepcnn.images.pixelate import Pixels

DIRECTIONS = ("deta", "dphi")


def measure_reach(pixels: Pixels, grid: Grid) -> NDArray[np.float64]:
    """Find the distance of the farthest filled pixel from the middle of each image.

    Parameters
    ----------
    pixels
        Images of N jets.
    grid
        Their grid.

    Returns
    -------
    array (N,) float64
        Distances in (eta, phi), from the middle of the image to that of the pixel. NaN for an image without pixels, and
        for all where the grid does not follow the jet.

    Notes
    -----
    For jets of radius R with many constituents it is near R, whatever their pT: images of jets of another radius than
    the training's show.
    """
    names = [axis.name for axis in grid.axes]
    reach = np.full(len(pixels), np.nan)
    filled = pixels.indptr[:-1] < pixels.indptr[1:]
    if not grid.follows_jet or not set(DIRECTIONS) <= set(names) or not filled.any():
        return reach
    numbers = np.unravel_index(pixels.index.astype(np.int64), grid.shape)
    squared = np.zeros(len(pixels.index))
    for axis, number in zip(grid.axes, numbers, strict=True):
        if axis.name in DIRECTIONS:
            middles = (axis.edges[:-1] + axis.edges[1:]) / 2
            squared += middles[number] ** 2
    reach[filled] = np.sqrt(np.maximum.reduceat(squared, pixels.indptr[:-1][filled]))
    return reach
