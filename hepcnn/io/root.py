"""ROOT files: the only module that opens one."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from hepcnn.atomic import atomic_path
from hepcnn.errors import HepcnnError, InputError, SchemaError, did_you_mean
from hepcnn.io.heads import ROOT_MAGIC, read_head

Column = Any
"""A NumPy array (n,) or an awkward array (n, var)."""


@dataclass(frozen=True)
class TreeInfo:
    """What a tree holds: its name, the number of entries, and the C++ type of each branch by name."""

    name: str
    n_entries: int
    branches: Mapping[str, str]


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    _check_is_root(path)
    try:
        file = uproot.open(path)
    except Exception as error:  # uproot raises a dozen kinds for damaged files: each means the same to the user
        raise InputError(f"{path}: this ROOT file is damaged or cut short: {_first_line(error)}") from error
    with file:
        expected, found = int(file.file.fEND), Path(path).stat().st_size
        if expected == 0:
            raise InputError(f"{path}: this ROOT file is damaged: its header says that it holds nothing")
        if found < expected:
            raise InputError(f"{path}: this ROOT file is cut short: {found} of {expected} bytes are there")
        yield file


def _check_is_root(path: str | os.PathLike[str]) -> None:
    head = read_head(path, expected="a ROOT file")
    if not head.startswith(ROOT_MAGIC):
        raise InputError(f"{path}: not a ROOT file (it starts with {head[:8]!r}, not {ROOT_MAGIC!r})")


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def list_trees(path: str | os.PathLike[str]) -> list[TreeInfo]:
    """List the trees of a ROOT file, the newest cycle of each.

    Returns
    -------
    list of TreeInfo
        Empty where the file holds none.

    Raises
    ------
    InputError
        When the file cannot be opened or is damaged.
    """
    with _opened(path) as file:
        try:
            names = [key for key, kind in file.classnames(cycle=False).items() if kind == "TTree"]
            return [_describe_tree(file[name]) for name in names]
        except Exception as error:
            raise InputError(f"{path}: a tree in this ROOT file cannot be read: {_first_line(error)}") from error


def _describe_tree(tree: Any) -> TreeInfo:
    branches = {branch.name: str(branch.typename) for branch in tree.itervalues(recursive=True)}
    return TreeInfo(tree.name, int(tree.num_entries), branches)


def read_branches(
    path: str | os.PathLike[str],
    tree: str,
    branches: Sequence[str],
    *,
    entry_start: int = 0,
    entry_stop: int | None = None,
) -> ak.Array:
    """Read branches of a range of entries.

    Parameters
    ----------
    path
        The ROOT file.
    tree
        The name of the tree.
    branches
        The names of the branches, which become the fields of the result.
    entry_start, entry_stop
        The range of entries, the stop excluded; by default all.

    Returns
    -------
    ak.Array
        One record an entry, in the file's order.

    Raises
    ------
    InputError
        When the file or the baskets of this range cannot be read.
    SchemaError
        When the tree or a branch does not exist; the message names the nearest that do.
    """
    with _opened(path) as file:
        return _read(file, path, tree, branches, entry_start, entry_stop)


def iterate_branches(
    path: str | os.PathLike[str],
    tree: str,
    branches: Sequence[str],
    *,
    step: int = 20_000,
    entry_start: int = 0,
    entry_stop: int | None = None,
) -> Iterator[tuple[int, ak.Array]]:
    """Read branches block by block, so that memory does not grow with the file.

    Parameters
    ----------
    path, tree, branches
        As for `read_branches`.
    step
        Entries a block.
    entry_start, entry_stop
        The range of entries, the stop excluded; by default all.

    Yields
    ------
    tuple of int and ak.Array
        The first entry of the block, and the block. Nothing for a tree without entries.

    Raises
    ------
    InputError, SchemaError
        As `read_branches`; the message names the range of entries.
    """
    with _opened(path) as file:
        n_entries = int(_get_tree(file, path, tree).num_entries)
        stop = n_entries if entry_stop is None else min(entry_stop, n_entries)
        for start in range(entry_start, stop, step):
            yield start, _read(file, path, tree, branches, start, min(start + step, stop))


def plan_ranges(
    path: str | os.PathLike[str], tree: str, branches: Sequence[str], *, target: int
) -> list[tuple[int, int]]:
    """Cut a tree into ranges of about ``target`` entries that end, where they can, where baskets end.

    Returns
    -------
    list of tuple of int
        First entry, and the entry after the last; none for a tree without entries. The ranges depend on the file and on
        ``target`` alone. A cluster of baskets much longer than ``target`` is cut in its middle.

    Raises
    ------
    InputError, SchemaError
        As `read_branches`.
    """
    with _opened(path) as file:
        source = _get_tree(file, path, tree)
        _check_branches(source, path, tree, branches)
        n_entries = int(source.num_entries)
        try:
            borders = list(source.common_entry_offsets(filter_branch=lambda branch: branch.name in set(branches)))
        except Exception as error:  # see _opened
            raise InputError(f"{path}: tree '{tree}' is damaged: {_first_line(error)}") from error
    ranges, start = [], 0
    for border in [*borders[1:], n_entries]:
        while border - start > 2 * target:
            ranges.append((start, start + target))
            start += target
        if border - start >= target or (border == n_entries and start < border):
            ranges.append((start, border))
            start = border
    return ranges


def _get_tree(file: Any, path: str | os.PathLike[str], tree: str) -> Any:
    try:
        trees = [key for key, kind in file.classnames(cycle=False).items() if kind == "TTree"]
        found = file[tree] if tree in trees else None
    except Exception as error:  # see _opened
        raise InputError(f"{path}: tree '{tree}' is damaged: {_first_line(error)}") from error
    if found is None:
        raise SchemaError(f"{path}: no tree '{tree}' in this file{did_you_mean(tree, trees) or '; it holds no tree'}")
    return found


def _check_branches(source: Any, path: str | os.PathLike[str], tree: str, branches: Sequence[str]) -> None:
    existing = set(source.keys(recursive=True, full_paths=False))
    for name in branches:
        if name not in existing:
            raise SchemaError(f"{path}: tree '{tree}' has no branch '{name}'{did_you_mean(name, existing)}")


def _read(
    file: Any, path: str | os.PathLike[str], tree: str, branches: Sequence[str], start: int, stop: int | None
) -> ak.Array:
    source = _get_tree(file, path, tree)
    _check_branches(source, path, tree, branches)
    columns = {}
    for name in branches:
        try:
            columns[name] = source[name].array(entry_start=start, entry_stop=stop, library="ak")
        except Exception as error:
            where = f"entries {start} to {stop if stop is not None else source.num_entries}"
            raise InputError(
                f"{path}: cannot read branch '{name}' of tree '{tree}', {where} (damaged or cut short): "
                f"{_first_line(error)}"
            ) from error
    return ak.zip(columns, depth_limit=1)


def write_tree(
    path: str | os.PathLike[str],
    tree: str,
    chunks: Iterable[Mapping[str, Column]],
    *,
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Write a tree, block by block; the file appears under its name when it is whole.

    Parameters
    ----------
    path
        The ROOT file to write; replaced if it exists.
    tree
        The name of the tree.
    chunks
        Blocks of columns, each (n,) or jagged (n, var). All blocks have the same columns. Jagged columns that share the
        part of their name before the first underscore form one collection with one counter (``part_px`` and
        ``part_py`` are counted by ``npart``).
    metadata
        Texts stored beside the tree, each under its name.

    Returns
    -------
    int
        Entries written.

    Raises
    ------
    HepcnnError
        When there is no block at all, since the columns of the tree are then unknown.
    """
    n_entries = 0
    with atomic_path(path) as partial:
        with uproot.recreate(partial) as file:
            writer = None
            for chunk in chunks:
                grouped = _group_jagged(chunk)
                if writer is None:
                    writer = file.mktree(tree, {name: _branch_type(column) for name, column in grouped.items()})
                writer.extend(grouped)
                n_entries += len(next(iter(chunk.values())))
            for name, text in (metadata or {}).items():
                file[name] = text
        if writer is None:
            raise HepcnnError(f"{path}: nothing to write: no block of entries for tree '{tree}'")
    return n_entries


def _group_jagged(chunk: Mapping[str, Column]) -> dict[str, Column]:
    grouped: dict[str, Column] = {}
    collections: dict[str, dict[str, ak.Array]] = {}
    for name, column in chunk.items():
        if isinstance(column, ak.Array) and column.ndim > 1:
            prefix, _, field = name.partition("_")
            collections.setdefault(prefix, {})[field or prefix] = column
        else:
            grouped[name] = np.asarray(column)
    for prefix, fields in collections.items():
        grouped[prefix] = ak.zip(fields)
    return grouped


def _branch_type(column: Column) -> Any:
    return column.type.content if isinstance(column, ak.Array) else column.dtype
