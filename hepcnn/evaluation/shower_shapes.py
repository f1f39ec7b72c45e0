"""Numbers that describe the shape of a shower: what a boosted tree is given instead of cells.

Shapes: N showers, n filled cells of all of them, P pixels of the grid, L layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import InputError
from hepcnn.evaluation.samples import Floats
from hepcnn.grids import BoxGrid, CylinderGrid, Grid

N_GROUPS = 9
"""Groups of layers whose fractions of energy are shapes."""


@dataclass(frozen=True)
class CellPlaces:
    """Where the pixels of a grid of layers are, (P,) each: ``layer``, ``x`` and ``y`` across in mm where the grid knows
    (else numbers of pixels), and ``r``, the distance from the axis. NaN for pixels that no cell has."""

    layer: NDArray[np.int64]
    x: Floats
    y: Floats
    n_layers: int

    @property
    def r(self) -> Floats:
        """Distance from the axis, (P,)."""
        return np.hypot(self.x, self.y)


def find_places(grid: Grid) -> CellPlaces:
    """Where the pixels of a grid of three axes are, the first of which is the layer.

    Raises
    ------
    InputError
        For a grid of another number of axes.
    """
    if len(grid.shape) != 3:
        raise InputError(f"shapes of showers need a grid of layers, with three axes; this one has {len(grid.shape)}")
    n_layers, *across = grid.shape
    x, y = (np.full(grid.shape, np.nan) for _ in range(2))
    for layer in range(n_layers):
        first, second = _centres(grid, layer)
        if isinstance(grid, CylinderGrid):
            first, second = second * np.cos(first), second * np.sin(first)
        x[layer, : first.shape[0], : first.shape[1]] = first
        y[layer, : second.shape[0], : second.shape[1]] = second
    number = np.repeat(np.arange(n_layers), across[0] * across[1])
    return CellPlaces(number, x.ravel(), y.ravel(), n_layers)


def _centres(grid: Grid, layer: int) -> tuple[Floats, Floats]:
    """Middles along both directions of a layer's cells, each (n, m)."""
    if isinstance(grid, CylinderGrid):
        found = grid.layers[layer]
        edges = [np.linspace(-np.pi, np.pi, found.n_alpha + 1), np.array(found.r_edges)]
    elif isinstance(grid, BoxGrid):
        edges = [np.array(grid.layers[layer].x_edges), np.array(grid.layers[layer].y_edges)]
    else:
        edges = [axis.edges - axis.edges.mean() for axis in grid.axes[1:]]
    middles = [(values[1:] + values[:-1]) / 2 for values in edges]
    first, second = np.meshgrid(*middles, indexing="ij")
    return first, second


def sum_layers(indptr: ArrayLike, index: ArrayLike, energy: ArrayLike, places: CellPlaces) -> Floats:
    """Energy in each layer, (N, L); see `make_shapes`."""
    shower, pixel, content = _flatten(indptr, index, energy)
    n, n_layers = len(np.asarray(indptr)) - 1, places.n_layers
    summed = np.bincount(shower * n_layers + places.layer[pixel], content, minlength=n * n_layers)
    return summed.astype(np.float64).reshape(n, n_layers)


def make_shapes(indptr: ArrayLike, index: ArrayLike, energy: ArrayLike, places: CellPlaces) -> Mapping[str, Floats]:
    """Describe showers.

    Parameters
    ----------
    indptr, index
        (N+1,) and (n,) as in ``images.h5``: which pixels each shower fills.
    energy
        (n,) GeV.
    places
        Of the grid.

    Returns
    -------
    dict
        Names to (N,): ``log_energy``, ``n_cells``, ``n_layers``; of layers, energy-weighted: ``depth``, ``depth_rms``,
        ``depth_of_max``, ``fraction_max``; across: ``r``, ``r_rms``, ``offset`` (of the barycentre), ``width`` (about
        it); ``core``, the fraction in the hottest cell, ``core_4`` in the hottest four; and ``layers_<k>``, the
        fraction in each of nine groups of layers. Negative cells count as empty, and a shower without energy has NaN in
        all that is a ratio.
    """
    shower, pixel, content = _flatten(indptr, index, energy)
    n = len(np.asarray(indptr)) - 1

    def total(values: Floats) -> Floats:
        return np.bincount(shower, values, minlength=n).astype(np.float64)

    energy_sum = total(content)
    with np.errstate(divide="ignore", invalid="ignore"):

        def mean(values: Floats) -> Floats:
            return total(content * values) / energy_sum

        layers = sum_layers(indptr, index, content, places)
        fractions = layers / energy_sum[:, None]
        depth, x, y, r = places.layer[pixel].astype(np.float64), places.x[pixel], places.y[pixel], places.r[pixel]
        x_mean, y_mean, depth_mean = mean(x), mean(y), mean(depth)
        width = mean((x - x_mean[shower]) ** 2 + (y - y_mean[shower]) ** 2)
        hottest = _hottest(shower, content, n)
        found = {
            "log_energy": np.log(np.maximum(energy_sum, 1e-6)),
            "n_cells": total((content > 0).astype(np.float64)),
            "n_layers": (layers > 0).sum(axis=1).astype(np.float64),
            "depth": depth_mean,
            "depth_rms": np.sqrt(mean((depth - depth_mean[shower]) ** 2)),
            "depth_of_max": np.where(energy_sum > 0, layers.argmax(axis=1), np.nan),
            "fraction_max": fractions.max(axis=1),
            "r": mean(r),
            "r_rms": np.sqrt(mean(r**2)),
            "offset": np.hypot(x_mean, y_mean),
            "width": np.sqrt(width),
            "core": hottest[:, 0] / energy_sum,
            "core_4": hottest.sum(axis=1) / energy_sum,
        }
    groups = np.array_split(np.arange(places.n_layers), min(N_GROUPS, places.n_layers))
    return found | {f"layers_{k}": fractions[:, group].sum(axis=1) for k, group in enumerate(groups)}


def _flatten(indptr: Any, index: Any, energy: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    starts = np.asarray(indptr, np.int64)
    shower = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    return shower, np.asarray(index, np.int64), np.maximum(np.asarray(energy, np.float64), 0.0)


def _hottest(shower: NDArray[np.int64], content: Floats, n: int, most: int = 4) -> Floats:
    """The largest cells of each shower, (n, most), 0 where it has fewer."""
    order = np.lexsort((-content, shower))
    starts = np.searchsorted(shower[order], np.arange(n))
    rank = np.arange(len(order)) - starts[shower[order]]
    found = np.zeros((n, most))
    kept = rank < most
    found[shower[order][kept], rank[kept]] = content[order][kept]
    return found
