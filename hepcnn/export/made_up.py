"""Made-up jets for any recipe: some like jets, some as awkward as jets can be."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hepcnn.constituents import Constituents, offsets_of
from hepcnn.images.recipe import ImageRecipe

N_AWKWARD = 8
PRONG_DISTANCE, WIDTH = 0.3, 0.08


def make_up_jets(recipe: ImageRecipe, n_jets: int, *, seed: int) -> Constituents:
    """Jets of three prongs, pT some 100 to 1000 GeV, uniform in phi, with every field that a recipe needs.

    Parameters
    ----------
    recipe
        What its grid, channels and jet-level numbers need is there, beside ``energy, charge, ecal, hcal``.
    n_jets
        How many; jets of no mass, of no meaning beyond their arithmetic.
    seed
        Of the random numbers.

    Returns
    -------
    Constituents
        5 to 60 each, GeV and radians.
    """
    random = np.random.default_rng(seed)
    counts = random.integers(5, 61, n_jets)
    jet = np.repeat(np.arange(n_jets), counts)
    n = len(jet)
    axis_eta, axis_phi = random.uniform(-2.0, 2.0, n_jets)[jet], random.uniform(-np.pi, np.pi, n_jets)[jet]
    turn = random.uniform(0, 2 * np.pi, n_jets)[jet] + 2 * np.pi * random.integers(0, 3, n) / 3
    eta = axis_eta + PRONG_DISTANCE * np.cos(turn) + random.normal(0, WIDTH, n)
    phi = axis_phi + PRONG_DISTANCE * np.sin(turn) + random.normal(0, WIDTH, n)
    phi = np.arctan2(np.sin(phi), np.cos(phi))
    pt = random.exponential(1.0, n) + 0.02
    pt *= (random.uniform(100, 1000, n_jets) / np.bincount(jet, pt, minlength=n_jets))[jet]
    return Constituents(offsets_of(counts), _complete({"pt": pt, "eta": eta, "phi": phi}, recipe, random))


def make_awkward_jets(recipe: ImageRecipe, *, seed: int) -> Constituents:
    """`N_AWKWARD` jets where arithmetic is at its limits.

    One across phi = pi; one of a single constituent; one of two; one whose two lie at pi and at -pi; one on edges of
    pixels of 0.04; one with constituents of zero pT; a square, which has no principal axis; one without constituents.
    """
    half, pi = 0.2, np.pi
    rows: Sequence[Sequence[tuple[float, float, float]]] = [
        [(200.0, 0.3, pi - 0.1), (150.0, 0.1, -pi + 0.2), (50.0, -0.2, pi - 0.3)],
        [(500.0, -1.0, 0.5)],
        [(300.0, 0.5, 1.0), (200.0, 0.75, 1.25)],
        [(100.0, 0.0, pi), (100.0, 0.0, -pi)],
        [(200.0, 0.0, 0.0), (90.0, 0.04, 0.08), (80.0, -0.12, 0.2), (70.0, 0.4, -0.24)],
        [(120.0, 1.0, 2.0), (0.0, 0.0, 0.0), (220.0, 1.2, 2.3), (0.0, 5.0, 1.0)],
        [(100.0, half, half), (100.0, half, -half), (100.0, -half, half), (100.0, -half, -half)],
        [],
    ]
    flat = np.array([item for row in rows for item in row])
    columns = {name: flat[:, k] for k, name in enumerate(("pt", "eta", "phi"))}
    offsets = offsets_of(np.array([len(row) for row in rows]))
    return Constituents(offsets, _complete(columns, recipe, np.random.default_rng(seed)))


def _complete(
    columns: dict[str, NDArray[np.float64]], recipe: ImageRecipe, random: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    pt, n = columns["pt"], len(columns["pt"])
    energy = pt * np.cosh(columns["eta"])
    charge = random.integers(-1, 2, n).astype(np.float64)
    ecal = np.where(charge == 0, energy, 0.1 * energy)
    columns |= {"energy": energy, "charge": charge, "ecal": ecal, "hcal": energy - ecal}
    shape = recipe.grid.shape
    for name in recipe.needs:
        if name in columns:
            continue
        if name == "layer":
            columns[name] = random.integers(0, shape[0], n).astype(np.float64)
        elif name == "cell":
            columns[name] = random.integers(0, recipe.grid.n_pixels, n).astype(np.float64)
        else:
            columns[name] = random.normal(0.0, 1.0, n)
    return columns


def join_jets(parts: Sequence[Constituents]) -> Constituents:
    """Jets of several parts, one after the other, with the fields that all have."""
    names = [name for name in parts[0].fields if all(name in part.fields for part in parts)]
    fields = {name: np.concatenate([part.fields[name] for part in parts]) for name in names}
    return Constituents(offsets_of(np.concatenate([part.counts for part in parts])), fields)
