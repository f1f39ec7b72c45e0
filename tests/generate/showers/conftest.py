"""A calorimeter that sees all: fine, wide, deep, without fluctuations of sampling, noise and thresholds."""

import numpy as np
import pytest

from hepcnn.calorimeters import Calorimeter, parse_calorimeter
from hepcnn.config import ShowersConfig
from hepcnn.generate.showers.chunk import make_rows, simulate
from hepcnn.generate.showers.tables import make_tables


def describe(*, term: float | None = 0.0, hadron: float | None = 0.0, e_h: float = 1.0, **changes: object) -> dict:
    """Lead and argon: 60 layers of 1 X0 or so, rings to many metres."""
    edges = [0.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 100.0, 1e6]
    section = {
        "name": "all",
        "layers": 60,
        "absorber": {"material": "lead", "thickness": 5.0},
        "active": {"material": "argon", "thickness": 3.0},
        "segmentation": {"kind": "cylinder", "r_edges": edges, "n_alpha": 4},
        "sampling_term": term,
        "hadron_term": hadron,
        "e_h": e_h,
    }
    return {"sections": [section | changes]}


def make(**keys: object) -> Calorimeter:
    return parse_calorimeter(describe(**keys), where="test")


def shoot(
    calorimeter: Calorimeter, particle: str, energy: float, n: int, *, seed: int = 1, theta: float = 0.0
) -> np.ndarray:
    """Energies (n, cells) of n particles of one energy on the axis."""
    particles = {name: np.zeros(n) for name in ("pdg", "x", "y", "phi")}
    particles |= {"energy": np.full(n, energy), "theta": np.full(n, theta)}
    rng, reading, tables = np.random.default_rng(seed), np.random.default_rng(seed + 1), make_tables(calorimeter)
    rows = make_rows(rng, particle, calorimeter, tables, particles)
    counts, cells, energies = simulate(calorimeter, tables, rows, n, rng, reading)
    found = np.zeros((n, calorimeter.n_cells))
    found[np.repeat(np.arange(n), counts), cells] = energies
    return found


@pytest.fixture(scope="session")
def perfect() -> Calorimeter:
    return make()


@pytest.fixture(scope="session")
def settings() -> ShowersConfig:
    return ShowersConfig(energy=(2.0, 50.0), max_angle=0.1, spread=10.0)
