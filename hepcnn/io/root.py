"""ROOT files: with `hepcnn.io.root_writing` the only place that opens one."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import uproot

from hepcnn.errors import InputError, SchemaError, did_you_mean
from hepcnn.io.heads import ROOT_MAGIC, is_remote, read_head, size_of
from hepcnn.io.nested import NestedColumns, pick, split_name
from hepcnn.io.root_writing import Column, write_table


@dataclass(frozen=True)
class TreeInfo:
    """What a tree holds: its name, the number of entries, and the C++ type of each branch by name."""

    name: str
    n_entries: int
    branches: Mapping[str, str]


def _decompress_faster() -> None:
    """Let uproot take ISA-L for zlib's format: reading takes a quarter less time."""
    decompressor: Any = getattr(uproot.compression, "_decompress_ZLIB", None)
    if getattr(decompressor, "library", None) == "zlib":
        decompressor.library = "isal"


_decompress_faster()


@contextlib.contextmanager
def open_root(path: str | os.PathLike[str]) -> Iterator["RootFile"]:
    """Open a ROOT file, on disk or remote, for reading.

    Raises
    ------
    InputError
        When it is missing, no ROOT file, damaged or cut short.
    """
    head = read_head(path, expected="a ROOT file")
    if not head.startswith(ROOT_MAGIC):
        raise InputError(f"{path}: not a ROOT file (it starts with {head[:8]!r}, not {ROOT_MAGIC!r})")
    try:
        # Plain reads: fsspec's event loop, uproot's default for local files too, costs a sixth of the time.
        file = uproot.open(path) if is_remote(path) else uproot.open(Path(path), handler=uproot.MultithreadedFileSource)
    except Exception as error:  # uproot raises a dozen kinds for damaged files: each means the same to the user
        raise InputError(f"{path}: this ROOT file is damaged or cut short: {_first_line(error)}") from error
    with file:
        expected, found = int(file.file.fEND), size_of(path)
        if expected == 0:
            raise InputError(f"{path}: this ROOT file is damaged: its header says that it holds nothing")
        if found < expected:
            raise InputError(f"{path}: this ROOT file is cut short: {found} of {expected} bytes are there")
        yield RootFile(str(path), file)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


class RootFile:
    """An open ROOT file; use `open_root`."""

    def __init__(self, path: str, file: Any) -> None:
        self.path, self._file = path, file

    def names(self) -> list[str]:
        """The trees and RNTuples, the newest cycle of each."""
        try:
            classes = self._file.classnames(cycle=False)
        except Exception as error:
            raise InputError(f"{self.path}: this ROOT file is damaged: {_first_line(error)}") from error
        return [key for key, kind in classes.items() if kind == "TTree" or kind.endswith("RNTuple")]

    def text(self, name: str) -> str | None:
        """A text that stands beside the trees; None where there is none of this name."""
        if name not in self._file.keys(recursive=False, cycle=False):
            return None
        try:
            return str(self._file[name])
        except Exception as error:
            raise InputError(f"{self.path}: text '{name}' is damaged: {_first_line(error)}") from error

    def table(self, name: str) -> "RootTable":
        """One tree or RNTuple; raises ``SchemaError`` where there is none of this name."""
        names = self.names()
        if name not in names:
            hint = did_you_mean(name, names) or "; it holds no tree"
            raise SchemaError(f"{self.path}: no tree '{name}' in this file{hint}")
        try:
            return RootTable(self.path, name, self._file[name])
        except Exception as error:
            raise InputError(f"{self.path}: tree '{name}' is damaged: {_first_line(error)}") from error


class RootTable:
    """A tree or an RNTuple; ``columns`` gives each branch's type by its name."""

    def __init__(self, path: str, name: str, source: Any) -> None:
        self.path, self.name, self._source = path, name, source
        self.n_entries = int(source.num_entries)
        self._is_tree = hasattr(source, "common_entry_offsets") and hasattr(source, "itervalues")
        if isinstance(source, uproot.behaviors.RNTuple.HasFields):
            self._is_tree = False
            # ATLAS writes a colon where its trees have a dot.
            self._names = {key.replace(":", "."): key for key in source.keys(recursive=True)}
            self.columns: Mapping[str, str] = {name: str(source[key].typename) for name, key in self._names.items()}
        else:
            self._branches: dict[str, Any] = {}
            for branch in source.itervalues(recursive=True):
                self._branches.setdefault(branch.name, branch)
            self.columns = NestedColumns(self._branches.keys(), self._type_of, self._form_of)

    def _type_of(self, name: str) -> str:
        return str(self._branches[name].typename)

    def _form_of(self, name: str) -> Any:
        try:
            return self._branches[name].interpretation.awkward_form(None)
        except Exception:  # what uproot cannot read at all has no form, and so no fields
            return None

    def check(self, names: Sequence[Any]) -> None:
        """Raise ``SchemaError`` for a column that is not there, naming the nearest."""
        for name in names:
            if name not in self.columns:
                hint = did_you_mean(str(name), self.columns)
                raise SchemaError(f"{self.path}: tree '{self.name}' has no branch '{name}'{hint}")

    def read(self, names: Sequence[Any], start: int, stop: int) -> dict[Any, ak.Array]:
        """Some columns of the entries ``start`` to ``stop``, the latter excluded; raises ``InputError`` if damaged."""
        self.check(names)
        parts = {name: split_name(name) for name in names}
        columns = {
            column: self._read_one(column, start, stop) for column in dict.fromkeys(c for c, _ in parts.values())
        }
        return {name: pick(columns[column], fields) for name, (column, fields) in parts.items()}

    def _read_one(self, name: str, start: int, stop: int) -> ak.Array:
        try:
            if self._is_tree:
                return self._branches[name].array(entry_start=start, entry_stop=stop, library="ak")
            return self._source[self._names[name]].array(entry_start=start, entry_stop=stop)
        except Exception as error:
            raise InputError(
                f"{self.path}: cannot read branch '{name}' of tree '{self.name}', entries {start} to {stop} "
                f"(damaged or cut short): {_first_line(error)}"
            ) from error

    def list_writable(self, *, any_type: bool = False) -> tuple[list[str], dict[str, str], list[str]]:
        """Which columns hold numbers or lists of numbers, so that they can be written again.

        Parameters
        ----------
        any_type
            Whether lists of lists count, too.

        Returns
        -------
        tuple
            The columns; the counter of each list of a tree, where it has one; and the columns that cannot be written.
        """
        whole = self._source.keys(recursive=False)
        found: list[str] = []
        counters: dict[str, str] = {}
        refused: list[str] = []
        for key in whole:
            column = self._branches[key] if self._is_tree else self._source[key]
            kind = _column_kind(column, is_tree=self._is_tree)
            (found if kind is not None and (kind < 2 or any_type) else refused).append(key)
            counter = getattr(column, "count_branch", None) if kind == 1 else None
            if counter is not None:
                counters[key] = str(counter.name)
        return found, counters, refused

    def borders(self, names: Sequence[Any]) -> list[int]:
        """Entries at which the baskets of all these columns end."""
        self.check(names)
        if not self._is_tree:
            ends = {int(c.num_first_entry) + int(c.num_entries) for c in self._source.ntuple.cluster_summaries}
            return sorted({0, *ends, self.n_entries})
        wanted = {split_name(name)[0] for name in names}
        try:
            return [int(n) for n in self._source.common_entry_offsets(filter_branch=lambda b: b.name in wanted)]
        except Exception as error:
            raise InputError(f"{self.path}: tree '{self.name}' is damaged: {_first_line(error)}") from error


def _column_kind(column: Any, *, is_tree: bool) -> int | None:
    """0 for a number an entry, 1 for a list of numbers, more for lists in lists; None for anything else."""
    if is_tree and len(column.branches):
        return None  # an object split into branches, of which this one holds the count
    try:
        form: Any = column.interpretation.awkward_form(None) if is_tree else column.to_akform()[0]
    except Exception:  # what uproot cannot read cannot be written
        return None
    if not is_tree and form.is_record and len(form.fields) == 1:
        form = form.contents[0]
    depth = 0
    while form.is_list and not form.is_regular:
        if form.parameter("__array__") in ("string", "bytestring"):
            return None
        form, depth = form.content, depth + 1
    return depth if form.is_numpy and not form.inner_shape else None


def list_trees(path: str | os.PathLike[str]) -> list[TreeInfo]:
    """List the trees and RNTuples of a ROOT file, the newest cycle of each.

    Returns
    -------
    list of TreeInfo
        Empty where the file holds none.

    Raises
    ------
    InputError
        When the file cannot be opened or is damaged.
    """
    with open_root(path) as file:
        tables = [file.table(name) for name in file.names()]
        return [TreeInfo(table.name, table.n_entries, table.columns) for table in tables]


def read_text(path: str | os.PathLike[str], name: str) -> str | None:
    """A text that stands beside the trees of a ROOT file; None where there is none of this name.

    Raises
    ------
    InputError
        When the file cannot be opened or is damaged.
    """
    with open_root(path) as file:
        return file.text(name)


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
    with open_root(path) as file:
        table = file.table(tree)
        stop = table.n_entries if entry_stop is None else entry_stop
        return ak.zip(table.read(branches, entry_start, stop), depth_limit=1)


def write_tree(
    path: str | os.PathLike[str],
    tree: str,
    chunks: Iterable[Mapping[str, Column]],
    *,
    metadata: Mapping[str, str] | None = None,
) -> int:
    """Write a TTree with counters of the usual names; see `write_table`, whose ``name`` is ``tree``."""
    return write_table(path, tree, chunks, metadata=metadata)
