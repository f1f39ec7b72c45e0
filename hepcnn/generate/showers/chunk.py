"""A chunk of showers: particles that arrive, what they leave, and what is read out of it."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hepcnn.calorimeters import Calorimeter
from hepcnn.config import ShowersConfig
from hepcnn.generate.showers.decays import make_axis, make_neutral_pions, make_photons
from hepcnn.generate.showers.electromagnetic import make_showers
from hepcnn.generate.showers.hadronic import make_pions
from hepcnn.generate.showers.particles import find_particle
from hepcnn.generate.showers.tables import Floats, Rows, Tables, make_tables

SHOWERS_PER_CHUNK = 500
"""The unit of work; each has its own seeds."""
CELLS_AT_ONCE = 2**17


@dataclass(frozen=True)
class ShowerChunk:
    """Showers of one chunk.

    Attributes
    ----------
    particles
        Columns of those that arrive, (n,): ``pdg, energy, x, y, theta, phi`` in GeV, mm and radians.
    counts
        Cells read out of each, (n,) int32.
    cells, energies
        Their numbers, int32, and energies in GeV, float32, shower by shower.
    """

    particles: dict[str, NDArray[np.generic]]
    counts: NDArray[np.int32]
    cells: NDArray[np.int32]
    energies: NDArray[np.float32]


def make_chunk(particle: str, calorimeter: Calorimeter, settings: ShowersConfig, seed: int, chunk: int) -> ShowerChunk:
    """Make the showers of one chunk; particle, calorimeter, settings, seed and its number decide all of it."""
    name = int.from_bytes(hashlib.sha256(particle.encode()).digest()[:4], "big")
    seeds = np.random.SeedSequence([seed, name, chunk]).spawn(3)
    arriving, showering, reading = (np.random.Generator(np.random.PCG64(one)) for one in seeds)
    particles = draw_particles(arriving, particle, settings, SHOWERS_PER_CHUNK)
    tables = _tables(calorimeter.model_dump_json())
    rows = make_rows(showering, particle, calorimeter, tables, particles)
    counts, cells, energies = simulate(calorimeter, tables, rows, SHOWERS_PER_CHUNK, showering, reading)
    return ShowerChunk(particles, counts, cells, energies)


def draw_particles(
    rng: np.random.Generator, particle: str, settings: ShowersConfig, n: int
) -> dict[str, NDArray[np.generic]]:
    """Particles at the face: uniform in ln E, over the solid angle up to ``max_angle``, and over a disc.

    Returns
    -------
    dict of array (n,)
        ``pdg`` (int32), and float64 ``energy`` in GeV, ``x, y`` in mm, ``theta, phi`` in radians, theta to the normal.
    """
    low, high = np.log(settings.energy)
    cosine = rng.uniform(np.cos(settings.max_angle), 1.0, n)
    radius, turn = settings.spread * np.sqrt(rng.random(n)), rng.uniform(-np.pi, np.pi, n)
    return {
        "pdg": rng.choice(np.array(find_particle(particle).pdg, dtype=np.int32), n),
        "energy": np.exp(rng.uniform(low, high, n)),
        "x": radius * np.cos(turn),
        "y": radius * np.sin(turn),
        "theta": np.arccos(cosine),
        "phi": rng.uniform(-np.pi, np.pi, n),
    }


def make_rows(
    rng: np.random.Generator,
    particle: str,
    calorimeter: Calorimeter,
    tables: Tables,
    particles: dict[str, NDArray[np.generic]],
) -> Rows:
    """The rows of particles' showers, in the order of the particles; see `hepcnn.generate.showers.tables`."""
    energy, x, y, theta, phi = (np.asarray(particles[k], float) for k in ("energy", "x", "y", "theta", "phi"))
    owner, nought = np.arange(len(energy)), np.zeros(len(energy))
    axis = make_axis(x, y, nought, np.tan(theta) * np.cos(phi), np.tan(theta) * np.sin(phi))
    family = find_particle(particle).family
    if family == "pion":
        rows = make_pions(rng, calorimeter, tables, owner=owner, energy=energy, axis=axis)
    elif family == "pi0":
        rows = make_neutral_pions(rng, calorimeter, tables, owner=owner, energy=energy, axis=axis)
    else:
        make = make_photons if family == "photon" else make_showers
        rows = make(rng, calorimeter, tables, owner=owner, energy=energy, axis=axis, start=nought)
    return rows[np.argsort(rows["owner"], kind="stable")]


def simulate(
    calorimeter: Calorimeter,
    tables: Tables,
    rows: Rows,
    n: int,
    showering: np.random.Generator,
    reading: np.random.Generator,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Deposit rows and read cells out: counts (n,), and the cells' numbers and energies in GeV."""
    from hepcnn.generate.showers import compiled  # numba takes seconds to come

    at_once = max(CELLS_AT_ONCE // calorimeter.n_cells, 1)
    state = showering.integers(1, 2**63, 2, dtype=np.uint64)
    offsets, noise, thresholds = calorimeter.offsets, calorimeter.noise, calorimeter.thresholds
    dead = np.zeros(calorimeter.n_cells, dtype=np.bool_)
    dead[calorimeter.dead_cells] = True
    counts, parts = np.zeros(n, dtype=np.int32), []
    for first in range(0, n, at_once):
        last = min(first + at_once, n)
        cells: Floats = np.zeros((last - first, calorimeter.n_cells))
        begin, end = np.searchsorted(rows["owner"], (first, last))
        compiled.deposit(rows[begin:end], tables.layers, tables.radii2, showering, state, first, cells)
        compiled.read_out(cells, offsets, noise, thresholds, dead, reading, counts[first:last])
        total = int(counts[first:last].sum())
        numbers, energies = np.empty(total, dtype=np.int32), np.empty(total, dtype=np.float32)
        compiled.collect(cells, numbers, energies)
        parts.append((numbers, energies))
    return counts, np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


@lru_cache(maxsize=4)
def _tables(record: str) -> Tables:
    return make_tables(Calorimeter.model_validate_json(record))
