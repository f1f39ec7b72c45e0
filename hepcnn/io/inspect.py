"""What is this file? Format, contents, the schema that fits, and what the nearest one lacks."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hepcnn.errors import InputError
from hepcnn.io.heads import HDF5_MAGIC, ROOT_MAGIC, read_head
from hepcnn.io.reader import iterate_jets
from hepcnn.io.root import TreeInfo, list_trees
from hepcnn.io.schema import list_schemas, read_schema
from hepcnn.io.store import open_hdf5


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
        When the file is missing, empty, damaged, or neither ROOT nor HDF5; also when it fits a schema but its content
        cannot be read.
    """
    head = read_head(path, expected="a ROOT or HDF5 file")
    if head.startswith(ROOT_MAGIC):
        return _inspect_root(path, count)
    if head.startswith(HDF5_MAGIC):
        return _inspect_hdf5(path)
    raise InputError(f"{path}: neither a ROOT nor an HDF5 file (it starts with {head[:8]!r})")


def _inspect_root(path: str | os.PathLike[str], count: bool) -> FileDescription:
    trees = list_trees(path)
    candidates = _match_all(trees)
    fitting = [fit for fit in candidates if not fit.missing]
    # Of several families that fit, the one that makes use of most branches says most about the file.
    best = max(fitting, key=lambda fit: fit.n_needed).schema.partition(":")[0] if fitting else None
    fits = [fit for fit in fitting if fit.schema.partition(":")[0] == best]
    if fits and best not in [fit.schema for fit in fits]:
        best = fits[0].schema  # the family's first choice is not in the file, another collection is
    if count:
        fits = [_count(path, fit) for fit in fits]
    partial = [fit for fit in candidates if fit.missing and len(fit.missing) < fit.n_needed]
    nearest = min(partial, key=lambda fit: len(fit.missing) / fit.n_needed, default=None) if best is None else None
    contents = [{"tree": t.name, "entries": t.n_entries, "branches": len(t.branches)} for t in trees]
    notes = [f"'{t.name}' has no entries" for t in trees if t.n_entries == 0]
    if not trees:
        notes.append("the file holds no tree: there is nothing in it to convert")
    return FileDescription(str(path), "ROOT", Path(path).stat().st_size, contents, best, fits, nearest, notes)


def _match_all(trees: Sequence[TreeInfo]) -> list[CollectionFit]:
    by_name = {tree.name: tree for tree in trees}
    found = []
    for name in list_schemas():
        schema = read_schema(name)
        present = set(by_name[schema.tree].branches) if schema.tree in by_name else set()
        for key, collection in schema.collections.items():
            needed = [*collection.branches, *schema.event_keys]
            missing = [branch for branch in needed if branch not in present]
            if schema.tree not in by_name:
                missing = [f"tree '{schema.tree}'", *missing]
            label = name if key == schema.default else f"{name}:{key}"
            found.append(CollectionFit(label, collection.title, missing, len(needed)))
    return found


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


def _inspect_hdf5(path: str | os.PathLike[str]) -> FileDescription:
    contents: list[dict[str, Any]] = []
    with open_hdf5(path) as file:
        kind = file.attrs.get("format")

        def visit(name: str, item: Any) -> None:
            if hasattr(item, "shape"):
                contents.append({"dataset": name, "shape": list(item.shape), "dtype": str(item.dtype)})

        file.visititems(visit)
    notes = [f"hepcnn's own format '{kind}'"] if kind else ["no schema reads this HDF5 file"]
    return FileDescription(str(path), "HDF5", Path(path).stat().st_size, contents, None, [], None, notes)
