"""Toy showers that take no generator, in CaloChallenge's layout: electrons early and narrow, pions late and wide."""

import itertools
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hepcnn.config import StudyConfig, parse_model

N_VOXELS = 368
LAYERS = np.cumsum([0, 8, 160, 190, 5, 5])
"""Where the layers of data set 1's photons begin among the voxels."""
SHARES = {"electron": (0.1, 0.5, 0.35, 0.04, 0.01), "pion": (0.05, 0.2, 0.35, 0.2, 0.2)}
STOCHASTIC = {"electron": 0.1, "pion": 0.4}
"""b of the sum's resolution, sqrt(GeV)."""


def make_toy_showers(n: int, *, kind: str, seed: int) -> tuple[Any, Any]:
    """Energies of voxels (n, 368) and incident energies (n,), GeV. A pion shows less of what it leaves at the end."""
    random = np.random.default_rng(seed)
    energy = np.exp(random.uniform(np.log(2), np.log(200), n))
    seen = energy * np.maximum(1 + STOCHASTIC[kind] / np.sqrt(energy) * random.normal(size=n), 0.05)
    late = random.uniform(0.5, 1.5, n) if kind == "pion" else np.ones(n)
    shares = np.array(SHARES[kind]) * np.stack([*[np.ones(n)] * 3, late, late], axis=1)
    shares /= shares.sum(axis=1, keepdims=True)
    response = np.array([1.0, 1.0, 1.0, 0.5, 0.5])
    cells = np.zeros((n, N_VOXELS))
    for layer, (start, stop) in enumerate(itertools.pairwise(LAYERS)):
        parts = random.exponential(1, (n, stop - start)) * (random.random((n, stop - start)) < 0.15)
        parts[:, 0] += 1e-3
        parts /= parts.sum(axis=1, keepdims=True)
        cells[:, start:stop] = parts * (seen * shares[:, layer] * response[layer])[:, None]
    return cells, energy


def write_toy_showers(path: Path, n: int, *, kind: str, seed: int) -> Path:
    """Write such a file, in MeV."""
    cells, energy = make_toy_showers(n, kind=kind, seed=seed)
    with h5py.File(path, "w") as file:
        file.create_dataset("incident_energies", data=1000 * energy[:, None])
        file.create_dataset("showers", data=1000 * cells)
    return path


def make_shower_study(folder: Path, *, n: int = 240, **changed: Any) -> StudyConfig:
    """A study of both kinds, whose files are written."""
    samples = {
        kind: {
            "files": [str(write_toy_showers(folder / f"{kind}.hdf5", n, kind=kind, seed=number))],
            "schema": "calochallenge:photons",
        }
        for number, kind in enumerate(("electron", "pion"), 1)
    }
    content: dict[str, Any] = {
        "study": "showers",
        "results": str(folder / "results"),
        "samples": samples,
        "tasks": ["identity", "energy"],
        "images": {
            "grid": {"kind": "native"},
            "channels": ["energy"],
            "preprocess": [],
            "jet_features": ["pt", "n_constituents"],
            "truth": ["energy"],
        },
        "models": {"flat": {"network": "layers/cnn", "options": {"widths": [8, 8]}}},
        "baselines": [],
        "training": {"epochs": 2, "batch_size": 64, "jet_features": ["pt", "n_constituents"]},
        "split": {"train": 0.5, "val": 0.2, "test": 0.3},
    }
    return parse_model(StudyConfig, content | changed, where="test")
