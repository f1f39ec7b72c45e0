"""What is this file? Format, contents, the schema that fits, and what the nearest one lacks."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hepcnn.io.hdf5 import open_hdf5
from hepcnn.io.heads import size_of
from hepcnn.io.reader import iterate_jets
from hepcnn.io.rules import CellsLink, ColumnRange, Name, choose_columns
from hepcnn.io.schema import JetCollection, Schema, list_schemas, read_schema
from hepcnn.io.tables import Table, format_of, open_tables


@dataclass(frozen=True)
class CollectionFit:
    """How one collection of jets of one schema fits a file; ``missing`` names what is not there."""

    schema: str
    title: str
    missing: Sequence[str]
    n_needed: int
    n_jets: int | None = None
    n_constituents: int | None = None
    problems: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class FileDescription:
    """What a file is.

    ``schema`` is the best-fitting family (or collection), ``fits`` its collections, ``nearest`` the best misfit.
    """

    path: str
    format: str
    size: int
    contents: Sequence[dict[str, Any]]
    schema: str | None
    fits: Sequence[CollectionFit]
    nearest: CollectionFit | None
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def inspect_file(path: str | os.PathLike[str], *, count: bool = True) -> FileDescription:
    """Look into a file.

    Parameters
    ----------
    path
        Any file.
    count
        Whether to read the file for the numbers of jets and constituents; else only its structure is looked at.

    Returns
    -------
    FileDescription
        ``schema`` is None where no family fits.

    Raises
    ------
    InputError
        When the file is missing, empty, damaged, or neither ROOT, HDF5 nor npz; also when it fits a schema but what it
        holds cannot be read.
    """
    kind = format_of(path)
    with open_tables(path) as file:
        tables = [file.table(name) for name in file.names()]
        candidates = _match_all(kind, tables)
        contents = [{"tree": t.name, "entries": t.n_entries, "branches": len(t.columns)} for t in tables]
    notes = [f"'{t.name}' has no entries" for t in tables if t.n_entries == 0 and t.columns]
    if not any(t.columns for t in tables):
        notes.append("the file holds no tree: there is nothing in it to convert")
    if kind != "ROOT":
        contents = [{"dataset": name, "type": of} for t in tables for name, of in _without_series(t).items()]
    notes += _own_format(path, kind)
    best, fits, nearest = _choose(candidates)
    if count:
        fits = [_count(path, fit) for fit in fits]
    return FileDescription(str(path), kind, size_of(path), contents, best, fits, nearest, notes)


def _choose(
    candidates: Sequence[CollectionFit],
) -> tuple[str | None, list[CollectionFit], CollectionFit | None]:
    """The family that fits best with its collections, or the one that comes nearest."""
    fitting = [fit for fit in candidates if not fit.missing]
    if not fitting:
        partial = [fit for fit in candidates if len(fit.missing) < fit.n_needed]
        return None, [], min(partial, key=lambda fit: len(fit.missing) / fit.n_needed, default=None)
    # Of several families that fit, the one that makes use of most branches says most about the file.
    best = max(fitting, key=lambda fit: fit.n_needed).schema.partition(":")[0]
    fits = [fit for fit in fitting if fit.schema.partition(":")[0] == best]
    # Where the family's first choice is not in the file, another collection is.
    return (best if best in [fit.schema for fit in fits] else fits[0].schema), fits, None


def _without_series(table: Table) -> dict[str, str]:
    """The columns but those that are one of many numbered alike, which their series stands for."""
    series = [name[:-1] for name in table.columns if name.endswith("*")]
    return {
        name: of
        for name, of in table.columns.items()
        if not any(name.startswith(stem) and name[len(stem) :].isdigit() for stem in series)
    }


def _own_format(path: str | os.PathLike[str], kind: str) -> list[str]:
    if kind != "HDF5":
        return []
    with open_hdf5(path) as file:
        own = file.attrs.get("format")
    return [f"hepcnn's own format '{own}'"] if own else []


def _match_all(kind: str, tables: Sequence[Table]) -> list[CollectionFit]:
    by_name = {table.name: table for table in tables}
    found = []
    for name in list_schemas():
        schema = read_schema(name)
        if kind not in schema.formats:
            continue
        table = next((by_name[tree] for tree in schema.trees if tree in by_name), None)
        for key, collection in schema.collections.items():
            label = name if key == schema.default else f"{name}:{key}"
            found.append(_match(label, schema, collection, table))
    return found


def _match(label: str, schema: Schema, collection: JetCollection, table: Table | None) -> CollectionFit:
    available = {} if table is None else table.columns
    chosen = choose_columns(collection, available)
    needed = [*chosen.columns, *schema.keys(available)]
    missing = [str(name) for name in needed if not _has(available, name)]
    if isinstance(chosen.link, CellsLink) and chosen.link.count is not None and not missing:
        column = str(chosen.link.values)
        if _width(available[column]) != chosen.link.count:
            missing = [f"'{column}' of {chosen.link.count} cells (there are {_width(available[column])})"]
    if table is None:
        missing = [f"tree '{schema.trees[0]}'", *missing]
    n_needed = sum(name.count if isinstance(name, ColumnRange) else 1 for name in needed)
    return CollectionFit(label, collection.title, missing, n_needed)


def _has(available: Mapping[str, str], name: Name) -> bool:
    if isinstance(name, ColumnRange):
        return str(name.first + name.step * (name.count - 1)) in available
    return name in available


def _width(described: str) -> int:
    """Numbers an entry of a column described like ``float32[28, 28]``."""
    _, _, shape = described.partition("[")
    return math.prod(int(size) for size in shape.rstrip("]").split(",")) if shape else 1


def _count(path: str | os.PathLike[str], fit: CollectionFit) -> CollectionFit:
    n_jets = n_constituents = 0
    problems: dict[str, int] = {}
    for batch in iterate_jets(path, fit.schema):
        n_jets += len(batch)
        n_constituents += batch.flat.n
        for reason, mask in batch.problems.items():
            problems[reason] = problems.get(reason, 0) + int(np.sum(mask))
    problems = {reason: count for reason, count in problems.items() if count}
    return CollectionFit(fit.schema, fit.title, [], fit.n_needed, n_jets, n_constituents, problems)
