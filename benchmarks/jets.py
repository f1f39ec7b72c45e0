"""Files of made-up jets for benchmarks: some 50 constituents each, in the layout of generated files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from hepcnn.io.root import write_tree

BLOCK = 10_000
PRONG_DISTANCE = 0.35


def make_jets(n_jets: int, *, n_prongs: int, seed: int) -> dict[str, Any]:
    """Columns of a tree with one jet an entry: pT 550 to 650 GeV, constituents around ``n_prongs`` axes."""
    random = np.random.default_rng(seed)
    counts = np.clip(random.poisson(50, n_jets), 1, None)
    jet = np.repeat(np.arange(n_jets), counts)
    n = len(jet)
    axis_eta, axis_phi = random.uniform(-1.5, 1.5, n_jets), random.uniform(-np.pi, np.pi, n_jets)
    angle = random.uniform(0, 2 * np.pi, n_jets)[jet] + 2 * np.pi * random.integers(0, n_prongs, n) / n_prongs
    distance = 0.0 if n_prongs == 1 else PRONG_DISTANCE
    eta = axis_eta[jet] + distance * np.cos(angle) + random.normal(0, 0.08, n)
    phi = axis_phi[jet] + distance * np.sin(angle) + random.normal(0, 0.08, n)
    pt = random.exponential(1.0, n) + 0.02
    pt *= (random.uniform(550, 650, n_jets) / np.bincount(jet, pt))[jet]
    charge = random.integers(-1, 2, n)
    energy = pt * np.cosh(eta)
    ecal = np.where(charge == 0, energy, 0.1 * energy)
    parts = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "energy": energy}
    sums = {name: np.bincount(jet, values) for name, values in parts.items()}
    jet_pt = np.hypot(sums["px"], sums["py"])
    columns: dict[str, Any] = {"jet_pt": jet_pt, "jet_energy": sums["energy"]}
    columns |= {"jet_eta": np.arcsinh(sums["pz"] / jet_pt), "jet_phi": np.arctan2(sums["py"], sums["px"])}
    columns = {name: values.astype(np.float32) for name, values in columns.items()}
    parts |= {"charge": charge.astype(float), "ecal": ecal, "hcal": energy - ecal}
    return columns | {f"part_{name}": ak.unflatten(v.astype(np.float32), counts) for name, v in parts.items()}


def write_jets(path: Path, n_jets: int, *, seed: int, n_prongs: int = 3) -> Path:
    """Write a file of such jets, zlib-compressed as uproot does by default, in clusters of 10 000."""

    def blocks() -> Iterator[dict[str, Any]]:
        for start in range(0, n_jets, BLOCK):
            n = min(BLOCK, n_jets - start)
            event = np.arange(start, start + n) + seed * 1_000_000_000
            yield make_jets(n, n_prongs=n_prongs, seed=seed * 1_000_000 + start) | {"event_number": event}

    write_tree(path, "tree", blocks())
    return path
