"""Files of calorimeter hits, written by uproot and h5py alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import uproot
from numpy.typing import NDArray

from hepcnn.calorimeters import Calorimeter, read_calorimeter

CALOGAN = {"layer_0": (3, 96), "layer_1": (12, 12), "layer_2": (12, 6)}


@dataclass(frozen=True)
class Showers:
    """Made-up showers: hits of all laid end to end, ``counts`` of each, and the particles' columns."""

    counts: NDArray[np.int64]
    cell: NDArray[np.int32]
    energy: NDArray[np.float32]
    particles: dict[str, NDArray[Any]]

    def hits(self, at: int) -> slice:
        """Where the hits of a shower stand."""
        ends = np.cumsum(self.counts)
        return slice(int(ends[at] - self.counts[at]), int(ends[at]))


def make_showers(n_showers: int, n_cells: int, *, seed: int = 1, most_hits: int = 60) -> Showers:
    """Showers of which some cells have several hits, some hits are negative and every tenth shower has none."""
    random = np.random.default_rng(seed)
    counts = np.where(np.arange(n_showers) % 10 == 9, 0, random.integers(1, most_hits, n_showers))
    n_hits = int(counts.sum())
    # Few cells of all, so that hits share them.
    cell = random.choice(random.integers(0, n_cells, 200), n_hits).astype(np.int32)
    energy = random.normal(0.4, 0.3, n_hits).astype(np.float32)
    particles = {
        "particle_pdg": random.choice([11, 211, 22], n_showers).astype(np.int32),
        "particle_energy": np.exp(random.uniform(0, np.log(1000), n_showers)).astype(np.float32),
        "particle_theta": random.uniform(0, 0.3, n_showers).astype(np.float32),
        "particle_phi": random.uniform(-np.pi, np.pi, n_showers).astype(np.float32),
        "particle_x": random.normal(0, 3, n_showers).astype(np.float32),
        "particle_y": random.normal(0, 3, n_showers).astype(np.float32),
        "event": random.integers(0, 2**64, n_showers, dtype=np.uint64),
    }
    return Showers(counts, cell, energy, particles)


def write_hits(
    path: Path, showers: Showers, geometry: str | Calorimeter | None = "sampling45", *, scale: float = 1.0
) -> Path:
    """A file of hits as `hepcnn generate showers` lays it out; a geometry of None leaves that out.

    Places of hits are in mm times ``scale``.
    """
    detector = read_calorimeter(geometry) if isinstance(geometry, str) else geometry
    columns = {"cell": showers.cell, "energy": showers.energy}
    if detector is not None:
        # Cells that do not exist have a place in the file, too.
        known = np.clip(showers.cell, 0, detector.n_cells - 1)
        *places, layer = (values[known] for values in detector.cell_centres)
        columns["layer"] = layer.astype(np.int32)
        columns |= {name: (scale * column).astype(np.float32) for name, column in zip("xyz", places, strict=True)}
    hits = ak.unflatten(ak.zip(columns), showers.counts)
    types = {name: values.dtype for name, values in showers.particles.items()} | {"hit": hits.type.content}
    with uproot.recreate(path) as file:
        tree = file.mktree("showers", types, counter_name=lambda _: "n_hits")
        tree.extend({**showers.particles, "hit": hits})
        if detector is not None:
            file["geometry"] = json.dumps(detector.to_record())
    return path


def write_calogan(path: Path, n_showers: int, *, seed: int = 1) -> Path:
    """A CaloGAN file: three layers in MeV, the particle's energy in GeV."""
    random = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        for name, shape in CALOGAN.items():
            energies = random.exponential(50.0, (n_showers, *shape)) * (random.random((n_showers, *shape)) < 0.2)
            file[name] = energies
        file["energy"] = random.uniform(1, 100, (n_showers, 1))
        file["overflow"] = random.exponential(1.0, (n_showers, 3))
    return path
