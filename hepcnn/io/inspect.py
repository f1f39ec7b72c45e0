"""What is this file? Format, contents, the schema that fits, and what the nearest one lacks."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hepcnn.errors import InputError, MissingExtraError
from hepcnn.io.hdf5 import open_hdf5
from hepcnn.io.heads import size_of
from hepcnn.io.plan import resolve_collection
from hepcnn.io.reader import iterate_jets, plan_jets
from hepcnn.io.rules import CellsLink, ClusterLink, ColumnRange, Name, choose_columns
from hepcnn.io.schema import JetCollection, Schema, list_schemas, read_schema
from hepcnn.io.tables import Table, count_numbers, format_of, image_shape, open_tables

MOST_CLUSTERED = 2000
"""Events that are clustered to be counted: a million takes FastJet ten minutes."""


@dataclass(frozen=True)
class CollectionFit:
    """How one collection of jets of one schema fits a file; ``missing`` names what is not there.

    The numbers are None where nothing was counted, and those of the first events where FastJet makes the jets.
    """

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
    if best is None and nearest is None and any(t.columns for t in tables):
        notes += _say_what_was_sought(kind)
    if count:
        fits = [_count_or_say(path, fit, notes) for fit in fits]
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


def _say_what_was_sought(kind: str) -> list[str]:
    schemas = [schema for schema in map(read_schema, list_schemas()) if kind in schema.formats]
    sought = [
        f"{schema.name} for {', '.join(map(str, schema.collection().columns[:4]))} in '{schema.trees[0]}'"
        for schema in schemas
    ]
    return [
        f"no family finds constituents or images here; they look, for instance, {'; '.join(sought)}; "
        "a schema of your own names what the file has (docs/files.md)"
    ]


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
    misfits = []
    if isinstance(chosen.link, CellsLink) and not missing:
        misfits = _misfits(chosen.link, [available[str(column)] for column in chosen.link.columns])
    if table is None:
        missing = [f"tree '{schema.trees[0]}'", *missing]
    return CollectionFit(label, collection.title, [*missing, *misfits], len(needed) + len(misfits))


def _misfits(link: CellsLink, described: Sequence[str]) -> list[str]:
    """What is wrong with ready-made images: the number of cells, or the shape."""
    names = " and ".join(f"'{column}'" for column in link.columns)
    try:
        if link.count is not None:
            n_cells = sum(map(count_numbers, described))
            return [] if n_cells == link.count else [f"{names} of {link.count} cells (there are {n_cells})"]
        for text in described if not link.binned else ():
            image_shape(text, where=names)
    except InputError:
        return [f"{names} of images (N, H, W) (its entries are {' and '.join(described)})"]
    return []


def _has(available: Mapping[str, str], name: Name) -> bool:
    if isinstance(name, ColumnRange):
        return str(name.first + name.step * (name.count - 1)) in available
    return name in available


def _count_or_say(path: str | os.PathLike[str], fit: CollectionFit, notes: list[str]) -> CollectionFit:
    is_clustered = isinstance(resolve_collection(fit.schema)[1].link, ClusterLink)
    try:
        counted, is_all = _count(path, fit, MOST_CLUSTERED if is_clustered else None)
    except MissingExtraError as error:
        notes.append(f"{fit.schema} is not counted: {error}")
        return fit
    if not is_all:
        notes.append(f"{fit.schema}: clustered in the first {MOST_CLUSTERED} events alone")
    return counted


def _count(path: str | os.PathLike[str], fit: CollectionFit, most: int | None) -> tuple[CollectionFit, bool]:
    """Jets and constituents, and whether they are those of all entries."""
    n_jets = n_constituents = n_entries = 0
    problems: dict[str, int] = {}
    for batch in iterate_jets(path, fit.schema, entry_stop=most):
        n_jets += len(batch)
        n_constituents += batch.flat.n
        n_entries += batch.n_entries
        for reason, mask in batch.problems.items():
            problems[reason] = problems.get(reason, 0) + int(np.sum(mask))
    problems = {reason: count for reason, count in problems.items() if count}
    found = CollectionFit(fit.schema, fit.title, [], fit.n_needed, n_jets, n_constituents, problems)
    return found, most is None or n_entries < most or plan_jets(path, fit.schema)[-1][1] == most
