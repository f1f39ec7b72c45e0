"""Showers in a calorimeter: the public entry to their generator, and the columns of its file."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from hepcnn.calorimeters import Calorimeter, read_calorimeter
from hepcnn.config import ShowersConfig
from hepcnn.errors import ConfigError, HepcnnError
from hepcnn.generate.output import check_output, open_store, terminate_like_interrupt
from hepcnn.generate.parts import PartStore
from hepcnn.generate.showers.chunk import SHOWERS_PER_CHUNK, ShowerChunk
from hepcnn.generate.showers.particles import find_particle
from hepcnn.generate.showers.parts import read_part, shower_key
from hepcnn.generate.workers import WorkerPool
from hepcnn.io.root_writing import write_table

TREE, GEOMETRY_KEY, METADATA_KEY = "showers", "geometry", "hepcnn_generation"
CHUNKS_PER_BLOCK = 4
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ShowerSummary:
    """What `generate_showers` did.

    ``n_hits`` cells were read out. ``seconds`` is the time of this call; ``n_chunks_reused`` chunks of
    `SHOWERS_PER_CHUNK` showers were left from an earlier one. Particle, seed, detector and settings say how to make the
    file again.
    """

    particle: str
    seed: int
    detector: str
    n_showers: int
    n_hits: int
    settings: Mapping[str, Any]
    seconds: float
    n_chunks_reused: int

    def to_json(self) -> str:
        """As JSON, without what differs from call to call (``seconds``, ``n_chunks_reused``)."""
        content = dataclasses.asdict(self)
        return json.dumps({k: v for k, v in content.items() if k not in ("seconds", "n_chunks_reused")})


def generate_showers(
    particle: str,
    n_showers: int,
    seed: int,
    output: Path,
    *,
    settings: ShowersConfig,
    workers: int = 1,
    progress: Progress | None = None,
) -> ShowerSummary:
    """Make showers by the GFLASH parametrisation and write their hits to a ROOT file.

    Parameters
    ----------
    particle
        One of `hepcnn.generate.showers.particles.PARTICLES`.
    n_showers
        How many, at least 1.
    seed
        Not negative. Particle, seed, detector and settings decide the content, the number of workers does not; the
        first showers of a larger sample are those of a smaller one.
    output
        The ROOT file; it appears when it is whole. Until then, finished chunks are kept in ``.<name>.parts`` beside it,
        and a call after an interruption goes on from them.
    settings
        Detector, energies, angles and places. Its ``n_showers`` is not used.
    workers
        Processes that make showers. The caller only waits for them.
    progress
        Called with the number of showers there and the number wanted.

    Returns
    -------
    ShowerSummary
        Also stored as JSON in the file, under ``hepcnn_generation``; the detector is there under ``geometry``.

    Raises
    ------
    ConfigError
        When an argument is not as described, or the detector's file is wrong.
    HepcnnError
        When the output cannot be written, or a worker fails.
    """
    started = time.monotonic()
    find_particle(particle)
    for name, value, least in (("n_showers", n_showers, 1), ("seed", seed, 0), ("workers", workers, 1)):
        if value < least:
            raise ConfigError(f"{name} must be at least {least} (got {value})")
    check_output(output)
    calorimeter = read_calorimeter(settings.detector)
    key = shower_key(particle, calorimeter, settings, seed)
    store = PartStore(output, key, read_part)
    open_store(store, output)
    n_chunks = -(-n_showers // SHOWERS_PER_CHUNK)
    job: dict[str, Any] = {"particle": particle, "seed": seed, "calorimeter": calorimeter.to_record()}
    job["settings"] = settings.model_dump(mode="json")
    try:
        with terminate_like_interrupt():
            n_reused = _complete(store, n_chunks, job, workers, lambda n: (progress or _ignore)(
                min(n * SHOWERS_PER_CHUNK, n_showers), n_showers))  # fmt: skip
            summary = ShowerSummary(
                particle,
                seed,
                calorimeter.name,
                n_showers,
                _count_hits(store, n_showers),
                job["settings"],
                0.0,
                n_reused,
            )
            about = {GEOMETRY_KEY: json.dumps(calorimeter.to_record()), METADATA_KEY: summary.to_json()}
            blocks = make_blocks(_read(store, n_chunks), calorimeter, n_showers, first_event=int(key[:8], 16) << 31)
            write_table(output, TREE, blocks, counters=_counters(), metadata=about)
        store.remove()
    finally:
        store.remove_if_empty()
    return dataclasses.replace(summary, seconds=time.monotonic() - started)


def make_blocks(
    chunks: Iterator[ShowerChunk], calorimeter: Calorimeter, n_showers: int, *, first_event: int
) -> Iterator[dict[str, Any]]:
    """Blocks of the tree's columns, ``n_showers`` entries in all; events are numbered from ``first_event``."""
    waiting: list[ShowerChunk] = []
    written = 0
    for chunk in chunks:
        waiting.append(chunk)
        n_waiting = len(waiting) * SHOWERS_PER_CHUNK
        if len(waiting) == CHUNKS_PER_BLOCK or written + n_waiting >= n_showers:
            n_block = min(n_waiting, n_showers - written)
            yield _make_block(waiting, calorimeter, n_block, first_event + written)
            written, waiting = written + n_block, []


def _make_block(chunks: list[ShowerChunk], calorimeter: Calorimeter, n: int, first_event: int) -> dict[str, Any]:
    particles = {name: np.concatenate([c.particles[name] for c in chunks])[:n] for name in chunks[0].particles}
    counts = np.concatenate([chunk.counts for chunk in chunks])[:n]
    n_hits = int(counts.sum())
    cells = np.concatenate([chunk.cells for chunk in chunks])[:n_hits]
    energies = np.concatenate([chunk.energies for chunk in chunks])[:n_hits]
    x, y, z, layer = calorimeter.cell_centres
    hits = {
        "cell": cells,
        "layer": layer[cells].astype(np.int32),
        **{name: values[cells].astype(np.float32) for name, values in (("x", x), ("y", y), ("z", z))},
        "energy": energies,
    }
    block: dict[str, Any] = {
        f"particle_{name}": values if name == "pdg" else values.astype(np.float32) for name, values in particles.items()
    }
    block["event"] = np.arange(first_event, first_event + n, dtype=np.uint64)
    return block | {f"hit_{name}": ak.unflatten(values, counts) for name, values in hits.items()}


def _counters() -> dict[str, str]:
    return dict.fromkeys([f"hit_{name}" for name in ("cell", "layer", "x", "y", "z", "energy")], "n_hits")


def _complete(
    store: PartStore[ShowerChunk], n_chunks: int, job: dict[str, Any], workers: int, progress: Callable[[int], None]
) -> int:
    """Make the chunks that are missing; returns how many were there."""
    missing = [chunk for chunk in range(n_chunks) if store.read(chunk) is None]
    n_reused = done = n_chunks - len(missing)
    progress(done)
    if not missing:
        return n_reused
    with WorkerPool(min(workers, len(missing)), "hepcnn.generate.showers.worker") as pool:
        while missing or pool.running:
            while missing and pool.n_idle:
                chunk = missing.pop(0)
                pool.submit({**job, "chunk": chunk, "path": str(store.path(chunk).absolute())})
            done += len(pool.wait())
            progress(done)
    return n_reused


def _read(store: PartStore[ShowerChunk], n_chunks: int) -> Iterator[ShowerChunk]:
    for number in range(n_chunks):
        chunk = store.read(number)
        if chunk is None:
            raise HepcnnError(f"{store.path(number)}: this part is gone or damaged; start again to remake it")
        yield chunk


def _count_hits(store: PartStore[ShowerChunk], n_showers: int) -> int:
    n_chunks = -(-n_showers // SHOWERS_PER_CHUNK)
    counts = [chunk.counts for chunk in _read(store, n_chunks)]
    return int(np.concatenate(counts)[:n_showers].sum())


def _ignore(_done: int, _wanted: int) -> None:
    return None
