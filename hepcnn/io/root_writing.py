"""Trees and RNTuples block by block into ROOT files; with `hepcnn.io.root` the only place where one is opened."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import numpy as np
import uproot

from hepcnn.atomic import atomic_path
from hepcnn.errors import HepcnnError

Column = Any
"""A NumPy array (n,) or an awkward array (n, var)."""
TableFormat = Literal["ttree", "rntuple"]
FORMATS: tuple[TableFormat, ...] = ("ttree", "rntuple")
GROUP = ":"


def write_table(
    path: str | os.PathLike[str],
    name: str,
    chunks: Iterable[Mapping[str, Column]],
    *,
    form: TableFormat = "ttree",
    counters: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
    check: Callable[[Path], None] | None = None,
) -> int:
    """Write a tree or an RNTuple, block by block; the file appears under its name when it is whole.

    Parameters
    ----------
    path
        The ROOT file to write; replaced if it exists.
    name
        Of the tree or RNTuple.
    chunks
        Blocks of columns, each (n,) or jagged (n, var). All blocks have the same columns.
    form
        Which of the two.
    counters
        Of a tree: the counter of each jagged column, shared by those of one collection. Of a column that is not named
        it is ``n`` and the part of its name before the first underscore: ``part_px`` and ``part_py`` are counted by
        ``npart``. An RNTuple needs none.
    metadata
        Texts stored beside the tree, each under its name.
    check
        Called with the file before it gets its name; what it raises keeps it from getting it.

    Returns
    -------
    int
        Entries written.

    Raises
    ------
    HepcnnError
        When there is no block at all, since the columns are then unknown; or the installed uproot writes no RNTuples.
    """
    n_entries = 0
    with atomic_path(path) as partial:
        with uproot.recreate(partial) as file:
            writer = None
            for chunk in chunks:
                columns = dict(chunk) if form == "rntuple" else _group_jagged(chunk, counters or {})
                columns = {key: _plain(column) for key, column in columns.items()}
                if writer is None:
                    writer = _make_writer(file, name, columns, form)
                writer.extend(columns)
                n_entries += len(next(iter(chunk.values())))
            for key, text in (metadata or {}).items():
                file[key] = text
        if writer is None:
            raise HepcnnError(f"{path}: nothing to write: no block of entries for tree '{name}'")
        if check is not None:
            check(partial)
    return n_entries


def _make_writer(file: Any, name: str, columns: Mapping[str, Column], form: TableFormat) -> Any:
    types = {key: _type_of(column) for key, column in columns.items()}
    if form == "ttree":
        # Groups are called after their counters, which uproot wants to be other names; columns keep their own.
        counter_of, name_of = (lambda group: group.removesuffix(GROUP)), (lambda _, inner: inner)
        return file.mktree(name, types, counter_name=counter_of, field_name=name_of)
    if not hasattr(file, "mkrntuple"):
        raise HepcnnError(f"uproot {uproot.__version__} writes no RNTuples: pip install 'uproot>=5.7'")
    return file.mkrntuple(name, types)


def _group_jagged(chunk: Mapping[str, Column], counters: Mapping[str, str]) -> dict[str, Column]:
    grouped: dict[str, Column] = {}
    collections: dict[str, dict[str, ak.Array]] = {}
    for name, column in chunk.items():
        if isinstance(column, ak.Array) and column.ndim > 1:
            counter = counters.get(name, "n" + name.partition("_")[0])
            collections.setdefault(counter, {})[name] = column
        else:
            grouped[name] = column
    for counter, fields in collections.items():
        grouped[counter + GROUP] = ak.zip(fields)
    return grouped


def _plain(column: Column) -> Column:
    return column if isinstance(column, ak.Array) and column.ndim > 1 else np.asarray(column)


def _type_of(column: Column) -> Any:
    return column.type.content if isinstance(column, ak.Array) else column.dtype
