"""Photons: how they convert, and how a neutral pion becomes two of them. Shape letter: N particles."""

import numpy as np
from numpy.typing import NDArray

from hepcnn.calorimeters import Calorimeter
from hepcnn.generate.showers.electromagnetic import make_showers
from hepcnn.generate.showers.particles import NEUTRAL_PION_MASS
from hepcnn.generate.showers.tables import Floats, Rows, Tables

CONVERSION_X0 = 9 / 7
"""Mean free path of photons of high energy in radiation lengths (PDG)."""


def make_axis(x: Floats, y: Floats, z: Floats, slope_x: Floats, slope_y: Floats) -> dict[str, Floats]:
    """Axes through points in mm, by their slopes dx/dz and dy/dz."""
    cosine = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    return {"x": x, "y": y, "z": z, "slope_x": slope_x, "slope_y": slope_y, "cosine": cosine}


def share_pair(rng: np.random.Generator, n: int) -> Floats:
    """What part of a photon's energy one electron of its pair gets, (n,).

    By 1 - 4/3 x (1 - x), pair production with complete screening (PDG, passage of particles through matter).
    """
    share = np.empty(n)
    left = np.arange(n)
    while len(left):
        x, chance = rng.random((2, len(left)))
        share[left] = x
        left = left[chance > 1 - 4 / 3 * x * (1 - x)]
    return share


def make_photons(
    rng: np.random.Generator,
    calorimeter: Calorimeter,
    tables: Tables,
    *,
    owner: NDArray[np.int64],
    energy: Floats,
    axis: dict[str, Floats],
    start: Floats,
) -> Rows:
    """Rows of photons: two electrons along the photon's axis, from where it converts; see `make_showers`.

    ``start`` is where the photons begin, in radiation lengths from the face.
    """
    converted = start + rng.exponential(CONVERSION_X0, len(energy)) * axis["cosine"]
    share = share_pair(rng, len(energy))
    return make_showers(
        rng,
        calorimeter,
        tables,
        owner=np.concatenate([owner, owner]),
        energy=np.concatenate([share * energy, (1 - share) * energy]),
        axis={name: np.concatenate([values, values]) for name, values in axis.items()},
        start=np.concatenate([converted, converted]),
    )


def decay_pions(rng: np.random.Generator, energy: Floats, direction: Floats) -> tuple[Floats, Floats]:
    """The two photons of neutral pions, isotropic where the pion rests.

    Parameters
    ----------
    rng
        Draws the decay's angles.
    energy
        Of the pions in GeV, at least their mass, (N,).
    direction
        Unit vectors, (N, 3).

    Returns
    -------
    array (2, N), array (2, N, 3)
        Energies in GeV and unit vectors of the photons.
    """
    cosine, phi = rng.uniform(-1, 1, len(energy)), rng.uniform(-np.pi, np.pi, len(energy))
    sine = np.sqrt(1 - cosine**2)
    helper = np.where(np.abs(direction[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(helper, direction)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    across = np.cos(phi)[:, None] * first + np.sin(phi)[:, None] * np.cross(direction, first)
    gamma = energy / NEUTRAL_PION_MASS
    boost = np.sqrt(np.maximum(gamma**2 - 1, 0.0))
    half = NEUTRAL_PION_MASS / 2
    energies, momenta = [], []
    for sign in (1, -1):
        along = half * (boost + gamma * sign * cosine)
        energies.append(half * (gamma + boost * sign * cosine))
        momenta.append(along[:, None] * direction + (half * sign * sine)[:, None] * across)
    return np.array(energies), np.array(momenta) / np.array(energies)[:, :, None]


def make_neutral_pions(
    rng: np.random.Generator,
    calorimeter: Calorimeter,
    tables: Tables,
    *,
    owner: NDArray[np.int64],
    energy: Floats,
    axis: dict[str, Floats],
) -> Rows:
    """Rows of neutral pions that decay ``calorimeter.distance`` in front of the face, on their way to it.

    Photons that fly away from the face are lost.
    """
    slopes, cosine = np.column_stack([axis["slope_x"], axis["slope_y"]]), axis["cosine"]
    direction = np.column_stack([slopes * cosine[:, None], cosine])
    energies, directions = decay_pions(rng, energy, direction)
    kept = directions[:, :, 2].ravel() > 1e-3
    flat = directions.reshape(-1, 3)[kept]
    origin = np.column_stack([axis["x"], axis["y"]]) - slopes * calorimeter.distance
    place = np.tile(origin, (2, 1))[kept] + flat[:, :2] / flat[:, 2:] * calorimeter.distance
    return make_photons(
        rng,
        calorimeter,
        tables,
        owner=np.tile(owner, 2)[kept],
        energy=energies.ravel()[kept],
        axis=make_axis(place[:, 0], place[:, 1], np.zeros(len(place)), *(flat[:, :2] / flat[:, 2:]).T),
        start=np.zeros(len(place)),
    )
