"""How fast hits become voxels, against how fast constituents of jets become pixels.

``python -m benchmarks.voxels [--constituents 3000000] [--repeat 3]`` writes as many hits of showers as constituents of
jets, converts both files in turns in this process, and prints constituents and hits a second of processor time, so
that other work on the machine counts little. Hits are laid out as ``hepcnn generate showers`` does: with their cell
and, in a row of its own, found by their place. Goal: at least as many hits a second as constituents.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from benchmarks.jets import write_jets
from hepcnn.calorimeters import Calorimeter, read_calorimeter
from hepcnn.config import ImagesConfig, parse_model
from hepcnn.convert.files import convert_files
from hepcnn.convert.inputs import LabelledFiles
from hepcnn.io.root import write_tree
from hepcnn.io.schema import SCHEMA_FOLDER

A_JET, A_SHOWER, BLOCK = 50, 600, 1000
DETECTOR = "sampling45"
SHOWERS: dict[str, Any] = {"channels": ["energy"], "preprocess": [], "jet_features": ["pt", "n_constituents"]}


def make_showers(n_showers: int, detector: Calorimeter, *, seed: int) -> dict[str, Any]:
    """Columns of a tree of showers: hits in layers that a gamma distribution picks, near the axis."""
    random = np.random.default_rng(seed)
    counts = random.poisson(A_SHOWER, n_showers)
    n = int(counts.sum())
    layer = np.minimum(random.gamma(4.0, 3.0, n).astype(int), detector.n_layers - 1)
    radius, angle = random.exponential(30.0, n), random.uniform(-np.pi, np.pi, n)
    cell = np.maximum(detector.cell_of(layer, radius * np.cos(angle), radius * np.sin(angle)), 0)
    x, y, z, layer = (values[cell] for values in detector.cell_centres)
    hits = {"cell": cell.astype(np.int32), "layer": layer.astype(np.int32)}
    hits |= {name: values.astype(np.float32) for name, values in (("x", x), ("y", y), ("z", z))}
    hits["energy"] = random.exponential(0.05, n).astype(np.float32)
    energy = random.uniform(1, 1000, n_showers).astype(np.float32)
    columns: dict[str, Any] = {"particle_pdg": np.full(n_showers, 11, np.int32), "particle_energy": energy}
    columns |= {f"particle_{name}": random.normal(0, 0.1, n_showers).astype(np.float32) for name in ("theta", "phi")}
    columns["event"] = random.integers(0, 2**64, n_showers, dtype=np.uint64)
    return columns | {f"hit_{name}": ak.unflatten(values, counts) for name, values in hits.items()}


def write_showers(path: Path, n_showers: int, detector: Calorimeter) -> Path:
    """Write a file of such showers, with its geometry."""

    def blocks() -> Iterator[dict[str, Any]]:
        for start in range(0, n_showers, BLOCK):
            yield make_showers(min(BLOCK, n_showers - start), detector, seed=start)

    write_tree(path, "showers", blocks(), metadata={"geometry": json.dumps(detector.to_record())})
    return path


def write_place_schema(path: Path) -> str:
    """The family of showers, whose hits are found by their places."""
    text = (SCHEMA_FOLDER / "showers.yaml").read_text(encoding="utf-8")
    text = text.replace("    geometry: geometry\n", "")
    path.write_text(
        text.replace("- cell: hit_cell", "- shower: true\n        x: hit_x\n        y: hit_y\n        z: hit_z")
    )
    return str(path)


def make_conversions(folder: Path, n: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is compared: each gives the data card of a conversion."""
    detector = read_calorimeter(DETECTOR)
    jets = write_jets(folder / "jets.root", n // A_JET, seed=1)
    showers = write_showers(folder / "showers.root", n // A_SHOWER, detector)
    by_place = {**SHOWERS, "grid": {"kind": "calorimeter", "detector": DETECTOR}}

    def conversion(source: Path, schema: str, settings: dict[str, Any]) -> Callable[[], dict[str, Any]]:
        images = parse_model(ImagesConfig, settings, where="benchmark")
        group = LabelledFiles([source], schema, "all")
        return lambda: convert_files([group], folder / "images.h5", class_names=["all"], images=images)

    return {
        "constituents of jets, 40 × 40 pixels, 5 channels": conversion(jets, "hepcnn", {}),
        "constituents of jets, 40 × 40 pixels, 1 channel": conversion(
            jets, "hepcnn", {"channels": ["pt"], "preprocess": ["centre"], "jet_features": ["pt", "n_constituents"]}
        ),
        "hits with their cell, 45 × 16 × 9 voxels": conversion(
            showers, "showers", {**SHOWERS, "grid": {"kind": "native"}, "truth": ["energy", "theta", "phi"]}
        ),
        "hits by their place, the same voxels": conversion(
            showers, write_place_schema(folder / "places.yaml"), by_place
        ),
    }


def main() -> None:
    """Run in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--constituents", type=int, default=3_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        conversions = make_conversions(Path(name), options.constituents)
        rates: dict[str, list[float]] = {title: [] for title in conversions}
        for turn in range(options.repeat + 1):
            for title, convert in conversions.items():
                start = time.process_time()
                card = convert()
                if turn:  # the first round fills caches and compiles
                    rates[title].append(card["constituents"] / (time.process_time() - start))
    medians = {title: statistics.median(values) for title, values in rates.items()}
    first = next(iter(medians.values()))
    print("| | million a second of processor time | times the first |\n| --- | ---: | ---: |")
    for title, rate in medians.items():
        print(f"| {title} | {rate / 1e6:.2f} | {rate / first:.2f} |")
    print("\ngoal: hits at least as fast as constituents")


if __name__ == "__main__":
    main()
