"""A run's spool as it is read: what it says of the run, whatever happened to the writer.

A spool is a file of lines, each one JSON record with its ``kind``:

- ``start``: the first line. ``uid`` names the run for ever; ``key`` says what it is (study/tagger/seed), ``parent``
  whose part it is; name, stage, tags, time, and who writes.
- ``resume``: another process goes on with the run; ``rewind``: from this step on, steps come again.
- ``params``, ``tags``, ``note`` (Markdown), ``metrics`` (step, time, values), ``artifact`` (a file, relative to the
  spool's folder, and its place in the run), ``dataset`` (an input with its SHA-256).
- ``end``: FINISHED, FAILED or KILLED.

Times are milliseconds since 1970, and never decrease within a spool.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hepcnn.errors import InputError

VERSION = 1
NAME = "track.jsonl"
STATUSES = ("FINISHED", "FAILED", "KILLED")
NEEDED: Mapping[str, tuple[str, ...]] = {
    "start": ("version", "uid", "key", "name", "stage", "study", "time"),
    "resume": ("time",),
    "rewind": ("step", "time"),
    "params": ("values",),
    "tags": ("values",),
    "note": ("text",),
    "metrics": ("step", "time", "values"),
    "artifact": ("path", "place"),
    "dataset": ("name", "path", "sha256"),
    "end": ("status", "time"),
}


@dataclass(frozen=True)
class Point:
    """One value of one metric."""

    key: str
    step: int
    time: int
    value: float


@dataclass
class Spool:
    """What a spool says. ``points`` only ever grows at its end while the file does."""

    path: Path
    start: dict[str, Any]
    points: list[Point] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    note: str = ""
    status: str | None = None
    time: int = 0
    writer: dict[str, Any] = field(default_factory=dict)
    n_resumed: int = 0
    n_repeated: int = 0
    n_cut: int = 0

    @property
    def uid(self) -> str:
        """What names the run for ever."""
        return str(self.start["uid"])


def is_spool(path: Path) -> bool:
    """Whether a file is called as spools are: ``track.jsonl``, or ``track-….jsonl`` once another took its place."""
    return path.name == NAME or (path.name.startswith("track-") and path.suffix == ".jsonl")


def find_spools(places: Iterable[Path]) -> list[Path]:
    """All spools in some folders and below, those of studies before those of their parts."""
    found = {path for place in places for path in Path(place).rglob("track*.jsonl") if is_spool(path)}
    return sorted(found, key=lambda path: (len(path.parts), path))


def read_spool(path: str | os.PathLike[str]) -> Spool:
    """Read a spool, which another process may be writing.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Spool
        Of a metric that has several values at one step, the first counts: after a stop, a training repeats the steps
        since its checkpoint, and what was pushed cannot be taken back.

    Raises
    ------
    InputError
        When the file cannot be read or a line is damaged; the message says which. A last line without its end is no
        damage: it is being written, or its writer was killed. It is left out, and ``n_cut`` counts its bytes.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot open this spool: {error.strerror}") from error
    whole, _, cut = content.rpartition(b"\n")
    lines = whole.split(b"\n") if whole else []
    if not lines:
        raise InputError(f"{path}: this spool has no record: its writer was stopped before the first")
    spool = Spool(Path(path), _parse(path, 1, lines[0]), n_cut=len(cut))
    if spool.start["kind"] != "start":
        raise InputError(f"{path}: line 1 is damaged: a spool starts with 'start', not '{spool.start['kind']}'")
    if spool.start["version"] > VERSION:
        raise InputError(f"{path}: written by a newer hepcnn (spool version {spool.start['version']}, known {VERSION})")
    seen: set[tuple[str, int]] = set()
    for number, line in enumerate(lines, 1):
        _take(spool, _parse(path, number, line), seen)
    return spool


def _parse(path: str | os.PathLike[str], number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}: line {number} is damaged: {error}; the lines around it are whole") from error
    kind = record.get("kind") if isinstance(record, dict) else None
    if not isinstance(kind, str) or kind not in NEEDED:
        raise InputError(f"{path}: line {number} is no record: expected one of {', '.join(NEEDED)}, found {kind!r}")
    if missing := [name for name in NEEDED[kind] if name not in record]:
        raise InputError(f"{path}: line {number}: this '{kind}' has no {', '.join(missing)}")
    found: dict[str, Any] = record
    return found


def _take(spool: Spool, record: dict[str, Any], seen: set[tuple[str, int]]) -> None:
    kind = record["kind"]
    spool.time = max(spool.time, int(record.get("time", 0)))
    if kind == "metrics":
        _take_metrics(spool, record, seen)
    elif kind == "params":
        # The first value stays: MLflow takes no other.
        spool.params |= {name: value for name, value in record["values"].items() if name not in spool.params}
    elif kind == "tags":
        spool.tags |= {name: str(value) for name, value in record["values"].items()}
    elif kind == "artifact":
        spool.artifacts[record["path"]] = record["place"]
    elif kind == "dataset":
        spool.datasets.append(record)
    elif kind == "note":
        spool.note = record["text"]
    elif kind == "end":
        spool.status = record["status"]
    elif kind in ("start", "resume"):
        spool.status, spool.writer = None, {name: record.get(name) for name in ("host", "pid")}
        spool.tags |= {name: str(value) for name, value in record.get("tags", {}).items()}
        spool.n_resumed += kind == "resume"


def _take_metrics(spool: Spool, record: dict[str, Any], seen: set[tuple[str, int]]) -> None:
    step = int(record["step"])
    for key, value in record["values"].items():
        if (key, step) in seen:
            spool.n_repeated += 1
            continue
        seen.add((key, step))
        # JSON has no NaN and no infinity: these are strings.
        spool.points.append(Point(key, step, int(record["time"]), float(value)))
