"""Toy jets that take no generator: prongs of collinear constituents, in the layout of generated files."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from hepcnn.io.root import write_tree

PRONG_DISTANCE = 0.35


def make_toy_jets(n_jets: int, *, n_prongs: int, seed: int) -> dict[str, Any]:
    """Columns of a tree with one jet an entry, uniform in phi, so that many lie across phi = ±pi."""
    random = np.random.default_rng(seed)
    counts = random.integers(8, 30, n_jets)
    jet = np.repeat(np.arange(n_jets), counts)
    n = len(jet)
    axis_eta, axis_phi = random.uniform(-1.5, 1.5, n_jets), random.uniform(-np.pi, np.pi, n_jets)
    angle = random.uniform(0, 2 * np.pi, n_jets)[jet] + 2 * np.pi * random.integers(0, n_prongs, n) / n_prongs
    distance = 0.0 if n_prongs == 1 else PRONG_DISTANCE
    eta = axis_eta[jet] + distance * np.cos(angle) + random.normal(0, 0.05, n)
    phi = axis_phi[jet] + distance * np.sin(angle) + random.normal(0, 0.05, n)
    pt = random.exponential(1.0, n) + 0.1
    pt *= (random.uniform(550, 650, n_jets) / np.bincount(jet, pt))[jet]
    charge = random.integers(-1, 2, n)
    energy = pt * np.cosh(eta)
    ecal = np.where(charge == 0, energy, 0.1 * energy)
    momentum = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "energy": energy}
    sums = {name: np.bincount(jet, values) for name, values in momentum.items()}
    jet_pt = np.hypot(sums["px"], sums["py"])
    columns: dict[str, Any] = {
        "jet_pt": jet_pt,
        "jet_eta": np.arcsinh(sums["pz"] / jet_pt),
        "jet_phi": np.arctan2(sums["py"], sums["px"]),
        "jet_energy": sums["energy"],
    }
    columns = {name: values.astype(np.float32) for name, values in columns.items()}
    parts = momentum | {"charge": charge.astype(float), "ecal": ecal, "hcal": energy - ecal}
    columns |= {f"part_{name}": ak.unflatten(values.astype(np.float32), counts) for name, values in parts.items()}
    return columns | {"event_number": np.arange(n_jets) + 1_000_000 * seed}


def write_toy_jets(path: Path, *, n_jets: int, n_prongs: int, seed: int, **changed: Any) -> Path:
    """Write such a file, with some columns replaced or (None) left out."""
    columns = make_toy_jets(n_jets, n_prongs=n_prongs, seed=seed) | changed
    write_tree(path, "tree", [{name: values for name, values in columns.items() if values is not None}])
    return path


def make_constituents(n_jets: int, *, seed: int, n_prongs: int = 2) -> ak.Array:
    """Records pt, eta, phi, energy, charge, ecal, hcal of toy jets, (n_jets, var)."""
    columns = make_toy_jets(n_jets, n_prongs=n_prongs, seed=seed)
    px, py, pz = (np.asarray(ak.flatten(columns[f"part_{axis}"]), np.float64) for axis in ("px", "py", "pz"))
    pt = np.hypot(px, py)
    fields = {"pt": pt, "eta": np.arcsinh(pz / pt), "phi": np.arctan2(py, px)}
    fields |= {
        name: np.asarray(ak.flatten(columns[f"part_{name}"]), np.float64)
        for name in ("energy", "charge", "ecal", "hcal")
    }
    return ak.unflatten(ak.zip(fields), ak.num(columns["part_px"]))
