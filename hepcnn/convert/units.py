"""Units that cannot be right: places in cm or m, energies in MeV."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError
from hepcnn.grids import PlacedGrid
from hepcnn.images.grids import find_pixels
from hepcnn.io.batch import JetBatch

LOOKED_AT = 20_000
"""Hits that decide about lengths."""
FEWEST = 20
FACTORS = {10.0: "cm", 1000.0: "m", 0.1: "tenths of a mm", 0.001: "micrometres"}
MOST_ENERGY = 14_000.0
"""GeV: no beam has more, and so no particle that a calorimeter stops."""
RATIOS = (2e-3, 20.0)
"""What sums of hits may be of a particle's energy: less than the per cent that silicon sees of a shower in tungsten,
uncalibrated, and more than any response. A calibrated sum that is wrong by 1000 is outside from either end."""


def check_lengths(batch: JetBatch, grid: PlacedGrid) -> None:
    """Check that the places of hits are in mm.

    Parameters
    ----------
    batch
        Showers with ``x, y, z``.
    grid
        The cells, and where they are.

    Raises
    ------
    InputError
        When hardly a hit is inside the calorimeter, but most would be in another unit; or when hits that stand in few
        planes fill few layers, but each plane would be a layer of its own in another unit.
    """
    x, y, z = (batch.flat.fields[name][:LOOKED_AT] for name in grid.needs)
    if len(x) < FEWEST:
        return
    inside = find_pixels(grid, {"x": x, "y": y, "z": z}) >= 0
    for factor, unit in FACTORS.items():
        moved = {name: values * factor for name, values in zip(grid.needs, (x, y, z), strict=True)}
        scaled = find_pixels(grid, moved) >= 0
        if inside.mean() < 0.01 and scaled.mean() > 0.5:
            found = f"{inside.sum()} of {len(x)} hits are inside the calorimeter, {scaled.sum()} would be"
        elif factor > 1 and _fill_few_layers(grid, (x, y, z), factor, scaled):
            found = "hits stand in more planes than they fill layers, each plane would be a layer"
        else:
            continue
        raise InputError(
            f"{batch.where}: {found} if places were in {unit}: hepcnn takes mm; a schema of your own says 'length_unit'"
        )


def _fill_few_layers(
    grid: PlacedGrid, places: tuple[NDArray[np.float64], ...], factor: float, scaled: NDArray[np.bool_]
) -> bool:
    """Whether hits in few planes are where a length in another unit would put them."""
    if scaled.mean() < 0.5:
        return False
    _, _, depth = grid.turn(*places)
    planes = len(np.unique(np.round(depth, 4)))
    if planes > len(grid.fronts):
        return False
    _, _, moved = grid.turn(*(values * factor for values in places))
    fronts = np.array(grid.fronts)
    filled, apart = (len(np.unique(np.searchsorted(fronts, values, side="right"))) for values in (depth, moved))
    return filled * 2 < planes == apart


def check_energies(batch: JetBatch, chosen: NDArray[np.bool_], truth: Mapping[str, NDArray[np.float32]]) -> None:
    """Check that sums of hits are in GeV.

    Parameters
    ----------
    batch
        Showers.
    chosen
        Those that are looked at, (n_jets,).
    truth
        With ``energy`` the sums are compared to it.

    Raises
    ------
    InputError
        When the showers' median is more than any beam's energy, or hardly anything or many times that of the particle.
    """
    total = batch.pt[chosen]
    filled = total > 0
    if not filled.any():
        return
    middle = float(np.median(total[filled]))
    if middle > MOST_ENERGY:
        raise InputError(
            f"{batch.where}: the middle one of these showers has {middle:.3g} GeV, more than any particle of an "
            "accelerator: are energies in MeV? Say 'energy_unit' in a schema of your own"
        )
    if "energy" not in truth:
        return
    energy = truth["energy"][chosen][filled]
    usable = energy > 0
    ratio = float(np.median(total[filled][usable] / energy[usable])) if usable.any() else 1.0
    if not RATIOS[0] < ratio < RATIOS[1]:
        raise InputError(
            f"{batch.where}: showers hold {ratio:.3g} times the energy of their particle in the middle: is one of the "
            "two in MeV? Say 'energy_unit', or the 'unit' of the truth, in a schema of your own"
        )
