"""Showers of charged pions, after GFLASH (G. Grindhammer, M. Rudowicz, S. Peters, NIM A290 (1990) 469).

As there, a shower has three parts: neutral pions of the first interaction, those of later ones, and the rest, which is
seen less. Numbers are not those of the paper, which were tuned to H1: docs/showers.md says where each is from. Shape
letter: N pions. Depths in interaction lengths are perpendicular to the layers, energies in GeV.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepcnn.calorimeters import Calorimeter
from hepcnn.generate.showers.decays import make_axis, make_photons
from hepcnn.generate.showers.electromagnetic import fill_rows
from hepcnn.generate.showers.particles import PION_MASS
from hepcnn.generate.showers.tables import HADRONIC, TRACK, Floats, Rows, Tables

GROOM_POWER, GROOM_SCALE = 0.82, 1.0
"""k and E0 in GeV of 1 - (E / E0)^(k - 1) (T.A. Gabriel et al., NIM A338 (1994) 336)."""
LEAST_FRACTION = 0.05
FRACTION_WEIGHT = 10.0
"""nu of the fraction's beta distribution: a standard deviation of 0.30 sqrt(f (1 - f))."""
FIRST_SHARE, SHARE_WEIGHT = 1 / 3, 5.0
"""Mean part of the energy that goes into neutral pions in one interaction, and nu of its beta distribution."""
KICK = 0.3
"""Mean transverse momentum of a photon in GeV."""
SHAPE_SPREAD, DEPTH_SPREAD, RADIUS_SPREAD = 0.25, 0.25, 0.5
LATE_SHAPE, DEPTH_FACTOR = 0.75, 0.85
"""Shape of the later photons' depths to that of the cascade, and the cascade's depth to Bock's: with these, 95 % of the
energy are contained where C.W. Fabjan's 0.2 ln E + 0.7 + 2.5 E^0.13 interaction lengths say, within some 10 %."""


@dataclass(frozen=True)
class Interactions:
    """Where pions interact: ``depth`` in interaction lengths and ``z`` in mm, and ``energy`` with which they do, (N,).

    ``energy`` is 0 for those that stop before, or leave at the back; ``z_end`` is where their track ends.
    """

    depth: Floats
    z: Floats
    energy: Floats
    z_end: Floats


def mean_em_fraction(energy: Floats) -> Floats:
    """Mean part of the energy that becomes neutral pions, of pions with energies in GeV."""
    return np.maximum(1 - (np.maximum(energy, GROOM_SCALE) / GROOM_SCALE) ** (GROOM_POWER - 1), LEAST_FRACTION)


def longitudinal_shape(energy: Floats) -> tuple[Floats, Floats]:
    """Shape and rate per interaction length of a cascade's gamma distribution from its start.

    R.K. Bock, T. Hansl-Kozanecka, T.P. Shah, NIM 186 (1981) 533.
    """
    log_energy = np.log(np.maximum(energy, 1.0))
    return 0.6165 + 0.3183 * log_energy, 0.9099 - 0.0237 * log_energy


def median_radius(energy: Floats) -> tuple[Floats, Floats]:
    """Median radius of a cascade at its start, and its growth by interaction length, in interaction lengths.

    The form is GFLASH's. The numbers are those of CMSSW's fit to pions that start in CMS's hadron calorimeter of brass,
    divided by its interaction length of 164 mm.
    """
    log_energy = np.log(np.maximum(energy, 1.0))
    return 0.118 + 0.0021 * log_energy, np.maximum(0.476 - 0.0973 * log_energy, 0.02)


def interact(
    rng: np.random.Generator, calorimeter: Calorimeter, tables: Tables, energy: Floats, cosine: Floats
) -> Interactions:
    """Let pions of total energies in GeV ionise and interact; the free path is the nuclear interaction length."""
    depth = rng.exponential(1.0, len(energy)) * cosine
    places = np.column_stack([calorimeter.fronts, calorimeter.backs]).ravel()
    per_layer = calorimeter.by_layer([stack.mip_energy * stack.e_mip for stack in calorimeter.stacks])
    lost = np.concatenate([[0.0], np.repeat(np.cumsum(per_layer), 2)[:-1]])
    z = tables.find_z(depth, unit="lambda")
    loss = np.interp(z, places, lost) / cosine
    kinetic = energy - PION_MASS
    stops = loss >= kinetic
    leaves = depth >= tables.depths_lambda[-1]
    # Where layers touch, a loss stands for one place; np.interp needs it to rise.
    end = np.interp(kinetic * cosine, lost + 1e-12 * np.arange(len(lost)), places)
    z_end = np.where(stops, end, np.where(leaves, np.inf, z))
    return Interactions(depth, z, np.where(stops | leaves, 0.0, energy - loss), z_end)


def make_pions(
    rng: np.random.Generator,
    calorimeter: Calorimeter,
    tables: Tables,
    *,
    owner: NDArray[np.int64],
    energy: Floats,
    axis: dict[str, Floats],
) -> Rows:
    """Rows of charged pions: their tracks, their cascades, and the photons of their neutral pions."""
    hits = interact(rng, calorimeter, tables, energy, axis["cosine"])
    tracks = fill_rows(TRACK, {"owner": owner, **axis, "energy": energy, "z_end": hits.z_end})
    showers = np.flatnonzero(hits.energy > 0)
    owner, energy, depth, z = owner[showers], hits.energy[showers], hits.depth[showers], hits.z[showers]
    way = z - axis["z"][showers]
    slope_x, slope_y = axis["slope_x"][showers], axis["slope_y"][showers]
    begin = make_axis(axis["x"][showers] + way * slope_x, axis["y"][showers] + way * slope_y, z, slope_x, slope_y)

    mean = mean_em_fraction(energy)
    fraction = rng.beta(FRACTION_WEIGHT * mean, FRACTION_WEIGHT * (1 - mean))
    first = np.clip(FIRST_SHARE / mean, 0.05, 0.95)
    first = rng.beta(SHARE_WEIGHT * first, SHARE_WEIGHT * (1 - first))
    neutral = fraction * energy

    shape, rate = longitudinal_shape(energy)
    wide, deep = (np.exp(s * rng.standard_normal(len(energy))) for s in (SHAPE_SPREAD, DEPTH_SPREAD))
    shape, rate = shape * wide, rate * wide / (DEPTH_FACTOR * deep)
    radius, slope = median_radius(energy)
    # Log-normal with the relative width RADIUS_SPREAD and mean 1.
    sigma2 = np.log(RADIUS_SPREAD**2 + 1)
    factor = np.exp(np.sqrt(sigma2) * rng.standard_normal(len(energy)) - sigma2 / 2)
    radius, slope = radius * factor, slope * factor
    cascades = fill_rows(
        HADRONIC,
        {"owner": owner, **begin, "energy": energy - neutral, "start": depth, "alpha": shape, "beta": rate}
        | {"radius": radius, "radius_slope": slope},
    )

    parent, photon = _share(rng, 2 * (1 + rng.poisson(0.4 * np.log(np.maximum(energy, 1.0)))), first * neutral)
    early = make_photons(
        rng, calorimeter, tables, owner=owner[parent], energy=photon, axis=_kick(rng, begin, parent, photon),
        start=tables.find_depth(z, unit="x0")[parent],
    )  # fmt: skip
    later = (1 - first) * neutral
    parent, photon = _share(rng, 1 + rng.poisson(1.5 * later**0.6), later)
    behind = rng.gamma(LATE_SHAPE * shape[parent], 1 / rate[parent])
    aside = 0.5 * (radius[parent] + slope[parent] * np.minimum(behind, 6.0))
    turned = _kick(rng, begin, parent, photon)
    place = depth[parent] + behind * turned["cosine"]
    moved = _put_aside(rng, calorimeter, tables, turned, place, aside)
    start = np.where(place < tables.depths_lambda[-1], tables.find_depth(moved["z"], unit="x0"), np.inf)
    late = make_photons(rng, calorimeter, tables, owner=owner[parent], energy=photon, axis=moved, start=start)
    return np.concatenate([tracks, cascades, early, late])


def _share(rng: np.random.Generator, counts: NDArray[np.int64], total: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Break energies into so many parts, uniformly: the pion of each part, and the part."""
    parent = np.repeat(np.arange(len(counts)), counts)
    part = rng.exponential(1.0, len(parent))
    sums = np.bincount(parent, weights=part, minlength=len(counts))
    return parent, part / np.maximum(sums, 1e-300)[parent] * total[parent]


def _kick(
    rng: np.random.Generator, axis: dict[str, Floats], parent: NDArray[np.int64], photon: Floats
) -> dict[str, Floats]:
    """The pions' axes, turned by photons' transverse momenta; angles stay small."""
    angle = np.minimum(rng.exponential(KICK, len(photon)) / np.maximum(photon, 1e-9), 0.5)
    phi = rng.uniform(-np.pi, np.pi, len(photon))
    x, y, z, slope_x, slope_y = (axis[name][parent] for name in ("x", "y", "z", "slope_x", "slope_y"))
    return make_axis(x, y, z, slope_x + angle * np.cos(phi), slope_y + angle * np.sin(phi))


def _put_aside(
    rng: np.random.Generator,
    calorimeter: Calorimeter,
    tables: Tables,
    axis: dict[str, Floats],
    place: Floats,
    aside: Floats,
) -> dict[str, Floats]:
    """Axes moved to a depth in interaction lengths, and aside by radii whose median in interaction lengths is given."""
    z = tables.find_z(place, unit="lambda")
    way = z - axis["z"]
    quantile, phi = rng.random(len(place)), rng.uniform(-np.pi, np.pi, len(place))
    layer = np.minimum(np.searchsorted(calorimeter.depths_lambda[1:], place), calorimeter.n_layers - 1)
    radius = aside * tables.layers["lambda_int"][layer] * np.sqrt(quantile / (1 - quantile))
    x = axis["x"] + way * axis["slope_x"] + radius * np.cos(phi)
    y = axis["y"] + way * axis["slope_y"] + radius * np.sin(phi)
    return make_axis(x, y, z, axis["slope_x"], axis["slope_y"])
