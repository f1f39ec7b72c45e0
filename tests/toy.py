"""Toy jets that take no generator: prongs of collinear constituents, in the layout of generated files."""

import json
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np

from hepcnn.data.dataset import ImageDataset
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


def make_images(n_jets: int, *, seed: int, shape: tuple[int, ...] = (12, 12), n_channels: int = 1) -> ImageDataset:
    """Images in memory: jets of class 1 have twice the pixels of those of class 0; every ninth has none."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, n_jets)
    counts = np.where(np.arange(n_jets) % 9 == 8, 0, 4 + 4 * label)
    pixels = [random.choice(int(np.prod(shape)), count, replace=False) for count in counts]
    columns = {name: random.exponential(100.0, n_jets).astype(np.float32) for name in ("pt", "eta", "phi", "mass")}
    grid: dict[str, Any] = {"kind": "given", "shape": list(shape)}
    if len(shape) == 2:
        grid = {"kind": "window", "half_width": 0.8, "n_eta": shape[0], "n_phi": shape[1]}
    return ImageDataset(
        indptr=np.concatenate([[0], np.cumsum(counts)]),
        label=label,
        weight=np.ones(n_jets, np.float32),
        jets=columns | {"event_id": random.integers(0, 2**64, n_jets, dtype=np.uint64)},
        features={"mass": random.exponential(1, n_jets).astype(np.float32)},
        class_names=("qcd", "top"),
        attributes={"grid": grid, "channels": [f"c{k}" for k in range(n_channels)]},
        sources=[],
        index=np.concatenate(pixels).astype(np.uint16),
        value=random.exponential(1, (int(counts.sum()), n_channels)).astype(np.float32),
    )


def write_images(dataset: ImageDataset, *paths: Path) -> None:
    """Write a data set as ``images.h5`` files of about equal parts, with h5py alone."""
    edges = np.linspace(0, len(dataset), len(paths) + 1).astype(int)
    for path, start, stop in zip(paths, edges[:-1], edges[1:], strict=True):
        part = dataset.select(np.arange(start, stop))
        with h5py.File(path, "w") as file:
            for name in ("indptr", "index", "value"):
                file[f"pixels/{name}"] = getattr(part, name)
            origin = {"source_file": np.zeros(len(part), np.int32), "source_entry": np.arange(len(part))}
            jets = {"label": part.label, "weight": part.weight} | dict(part.jets) | origin
            for group, columns in (("jets", jets), ("features", part.features)):
                for name, column in columns.items():
                    file[f"{group}/{name}"] = column
            described: dict[str, Any] = dict(part.attributes) | {"class_names": part.class_names, "preprocess": {}}
            described |= {"jet_features": list(part.features)}
            described |= {"sources": [{"path": path.name, "sha256": path.name, "entries": len(part)}]}
            for name, value in described.items():
                file.attrs[name] = json.dumps(value)
            file.attrs.update({"format": "hepcnn-images", "version": 1, "radius": 0.8})
