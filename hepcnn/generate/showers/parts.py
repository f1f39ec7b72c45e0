"""Chunks of showers on disk, and the key under which they serve another call."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from hepcnn.atomic import atomic_path
from hepcnn.calorimeters import Calorimeter
from hepcnn.config import ShowersConfig
from hepcnn.generate.showers.chunk import ShowerChunk

LAYOUT_VERSION = 1
"""Raise it whenever the same settings and seed give other showers."""


def shower_key(particle: str, calorimeter: Calorimeter, settings: ShowersConfig, seed: int) -> str:
    """Digest of everything that decides the content of a chunk; not the number of showers asked for."""
    content = {
        "layout": LAYOUT_VERSION,
        "particle": particle,
        "seed": seed,
        "calorimeter": calorimeter.to_record(),
        "settings": settings.model_dump(mode="json", exclude={"detector", "n_showers"}),
        "numpy": np.__version__,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def write_part(path: Path, chunk: ShowerChunk) -> None:
    """Write a chunk; it appears under its name when it is whole."""
    arrays: dict[str, Any] = {f"particles/{name}": column for name, column in chunk.particles.items()}
    with atomic_path(path) as partial:
        np.savez(partial, counts=chunk.counts, cells=chunk.cells, energies=chunk.energies, **arrays)


def read_part(path: Path) -> ShowerChunk:
    """Read what `write_part` wrote."""
    with np.load(path, allow_pickle=False) as file:
        columns = {name: file[name] for name in file.files}
    particles = {name.removeprefix("particles/"): c for name, c in columns.items() if name.startswith("particles/")}
    return ShowerChunk(particles, columns["counts"], columns["cells"], columns["energies"])
