"""What a run leaves behind for the tracking and the report."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hepcnn.atomic import atomic_path
from hepcnn.errors import InputError


@dataclass(frozen=True)
class RunRecord:
    """One training of one tagger.

    ``parameters`` are flat configuration values, ``history`` one record per epoch, ``metrics`` as in ``metrics.json``,
    ``sources`` the images it was trained on with their hashes, ``counts`` the jets by class and split. ``metrics`` are
    those by signal class; ``energy`` is what the file says of energies, for a tagger that measures them.
    """

    study: str
    tagger: str
    seed: int
    is_baseline: bool
    parameters: Mapping[str, Any]
    metrics: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    n_parameters: int
    train_seconds: float
    counts: Mapping[str, Mapping[str, int]]
    sources: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]
    bundle_id: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    energy: Mapping[str, Any] = field(default_factory=dict)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their path, as in ``images.grid.n_eta``."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def hash_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tables(folder: Path) -> list[str]:
    """The Markdown tables that an evaluation wrote into a folder."""
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("table*.md"))]


def write_json(path: str | os.PathLike[str], values: Any) -> None:
    """Write JSON; the file appears under its name when it is whole."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read JSON.

    Raises
    ------
    InputError
        When the file is missing or damaged.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot open this file: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON: {error}") from error


def write_record(path: str | os.PathLike[str], record: RunRecord) -> None:
    """Write ``run.json``."""
    write_json(path, asdict(record))


def read_record(path: str | os.PathLike[str]) -> RunRecord:
    """Read ``run.json``.

    Raises
    ------
    InputError
        When it is missing, damaged, or not such a record.
    """
    values = read_json(path)
    try:
        return RunRecord(**values)
    except TypeError as error:
        raise InputError(f"{path}: not the record of a run: {error}") from error
