"""HDF5 files: plain datasets side by side, and the two layouts that pandas writes, read with h5py alone."""

import contextlib
import importlib
import os
import pickletools
from collections.abc import Iterator, Sequence
from typing import Any

import awkward as ak
import h5py
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError, SchemaError, did_you_mean
from hepcnn.io.heads import HDF5_MAGIC, is_remote, open_bytes, read_head
from hepcnn.io.rules import ColumnRange

BASE = "/"
"""The table of a file's plain datasets."""


@contextlib.contextmanager
def open_hdf5(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open an HDF5 file, on disk or remote, for reading.

    Raises
    ------
    InputError
        When it is missing, empty, a Git LFS pointer, cut short or no HDF5 file.
    """
    head = read_head(path, expected="HDF5")
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(open_bytes(path)) if is_remote(path) else path
            file = stack.enter_context(h5py.File(source, "r"))
        except OSError as error:
            kind = "damaged or cut short" if head.startswith(HDF5_MAGIC[:4]) else "not an HDF5 file"
            raise InputError(f"{path}: {kind}: {error}") from error
        yield file


class Hdf5File:
    """An open HDF5 file as tables; use `hepcnn.io.tables.open_tables`."""

    def __init__(self, path: str, file: Any) -> None:
        self.path, self._file = path, file
        _load_filters(path, file)

    def names(self) -> list[str]:
        """``/`` for the plain datasets, and the group of each pandas table."""
        groups: list[str] = []

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group) and item.attrs.get("pandas_type") is not None:
                groups.append(name)

        self._file.visititems(visit)
        return [BASE, *groups]

    def table(self, name: str) -> "Hdf5Table":
        """One table; raises ``SchemaError`` where there is none of this name."""
        names = self.names()
        if name not in names:
            raise SchemaError(f"{self.path}: no table '{name}' in this file{did_you_mean(name, names)}")
        return Hdf5Table(self.path, name, _plain_columns(self._file) if name == BASE else _pandas(self._file[name]))


def _load_filters(path: str, file: Any) -> None:
    """Bring in compressors that h5py has not (Blosc, which PyTables writes) where a file uses them."""
    unknown: set[int] = set()

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            settings = item.id.get_create_plist()
            filters = [settings.get_filter(number)[0] for number in range(settings.get_nfilters())]
            unknown.update(number for number in filters if not h5py.h5z.filter_avail(number))

    file.visititems(visit)
    if unknown:
        importlib.import_module("hdf5plugin")
    lacking = [number for number in unknown if not h5py.h5z.filter_avail(number)]
    if lacking:
        raise InputError(f"{path}: compressed by HDF5 filter {lacking[0]}, which hdf5plugin does not know")


class Hdf5Table:
    """Columns of equal length; those of other lengths can be listed but not read beside them.

    ``columns`` gives the type and shape of each by name. A name that ends in ``*`` stands for all columns that are
    numbered after it (``E_0, E_1, …``), side by side.
    """

    def __init__(self, path: str, name: str, parts: dict[str, tuple[Any, int | None]]) -> None:
        self.path, self.name, self._parts = path, name, parts
        lengths = [len(dataset) for dataset, _ in parts.values()]
        self.n_entries = max(set(lengths), key=lengths.count) if lengths else 0
        self.columns = {key: _describe(dataset, column) for key, (dataset, column) in parts.items()}
        self.columns |= dict.fromkeys(_find_series(self.columns), "series")

    def check(self, names: Sequence[Any]) -> None:
        """Raise ``SchemaError`` for a column that is not there, naming the nearest."""
        for name in names:
            known = isinstance(name, ColumnRange) or name in self.columns
            if not known:
                hint = did_you_mean(str(name), self.columns)
                raise SchemaError(f"{self.path}: table '{self.name}' has no column '{name}'{hint}")

    def borders(self, names: Sequence[Any]) -> list[int]:
        """Nothing is known of where it is best to stop reading: the first and the last entry."""
        self.check(names)
        return [0, self.n_entries]

    def read(self, names: Sequence[Any], start: int, stop: int) -> dict[Any, ak.Array]:
        """Some columns of the entries ``start`` to ``stop``, the latter excluded.

        Raises
        ------
        InputError
            When they cannot be read, or are shorter than the table.
        """
        self.check(names)
        blocks: dict[Any, NDArray[Any]] = {}
        return {name: ak.from_numpy(self._read_one(name, start, stop, blocks)) for name in names}

    def _read_one(self, name: Any, start: int, stop: int, blocks: dict[Any, NDArray[Any]]) -> NDArray[Any]:
        wanted = self._members(name)
        for key in wanted:
            dataset, _ = self._parts[key]
            if len(dataset) < stop:
                raise InputError(f"{self.path}: column '{key}' has {len(dataset)} entries, others {self.n_entries}")
            if dataset.key not in blocks:
                blocks[dataset.key] = self._load(dataset, start, stop)
        found = [(blocks[self._parts[key][0].key], self._parts[key][1]) for key in wanted]
        numbers = [column for _, column in found if column is not None]
        if isinstance(name, str) and not _is_series(name):
            block, column = found[0]
            return block if column is None else block[:, column]
        if len(numbers) == len(found) and all(block is found[0][0] for block, _ in found):
            return np.asarray(found[0][0][:, numbers])
        return np.stack([block if column is None else block[:, column] for block, column in found], axis=1)

    def _members(self, name: Any) -> list[str]:
        if isinstance(name, ColumnRange):
            numbers = range(name.first, name.first + name.step * name.count, name.step)
            missing = [number for number in numbers if str(number) not in self._parts]
            if missing:
                raise SchemaError(f"{self.path}: table '{self.name}' has no column number {missing[0]}")
            return [str(number) for number in numbers]
        if _is_series(name):
            return _find_series(self.columns)[name]
        return [name]

    def _load(self, dataset: "_Block", start: int, stop: int) -> NDArray[Any]:
        try:
            return dataset[start:stop]
        except OSError as error:
            raise InputError(
                f"{self.path}: cannot read '{dataset.name}', entries {start} to {stop} (damaged or cut short): {error}"
            ) from error


class _Block:
    """A dataset, or one field of a compound dataset."""

    def __init__(self, dataset: Any, field: str | None = None) -> None:
        self.dataset, self.field = dataset, field
        self.name, self.key = dataset.name, (dataset.name, field)
        self.dtype = dataset.dtype if field is None else dataset.dtype[field]
        self.shape = (len(dataset), *self.dtype.shape) if field is not None else dataset.shape

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, entries: slice) -> NDArray[Any]:
        values = self.dataset[entries] if self.field is None else self.dataset.fields(self.field)[entries]
        return np.asarray(values)


def _is_series(name: Any) -> bool:
    return isinstance(name, str) and name.endswith("*")


def _find_series(names: Any) -> dict[str, list[str]]:
    numbered: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        stem = name.rstrip("0123456789")
        if stem and stem != name and not _is_series(name):
            numbered.setdefault(f"{stem}*", []).append((int(name[len(stem) :]), name))
    return {series: [name for _, name in sorted(members)] for series, members in numbered.items()}


def _describe(block: _Block, column: int | None) -> str:
    shape = block.shape[1:] if column is None else block.shape[2:]
    base = block.dtype.base
    return f"{base}{list(shape)}" if shape else str(base)


def _plain_columns(file: Any) -> dict[str, tuple[_Block, int | None]]:
    columns: dict[str, tuple[_Block, int | None]] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.ndim == 0 or "pandas_type" in item.parent.attrs:
            return
        for field in item.dtype.names or (None,):
            columns[name if field is None else f"{name}/{field}"] = _Block(item, field), None

    file.visititems(visit)
    return columns


def _pandas(group: Any) -> dict[str, tuple[_Block, int | None]]:
    """Columns of a pandas table by name: one block of numbers holds many columns."""
    columns: dict[str, tuple[_Block, int | None]] = {}
    if "table" in group:  # format="table": a compound dataset, the names pickled in its attributes
        table = group["table"]
        for field in table.dtype.names:
            names = _unpickle_names(table.attrs.get(f"{field}_kind"))
            if len(table.dtype[field].shape) == 1 and len(names) == table.dtype[field].shape[0]:
                columns |= {name: (_Block(table, field), number) for number, name in enumerate(names)}
            else:
                columns[names[0] if len(names) == 1 else field] = _Block(table, field), None
        return columns
    for number in range(int(group.attrs.get("nblocks", 0))):  # format="fixed": one dataset a block
        names = [_text(name) for name in group[f"block{number}_items"][:]]
        block = _Block(group[f"block{number}_values"])
        columns |= {name: (block, place) for place, name in enumerate(names)}
    return columns


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


_WHOLE_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1")


def _unpickle_names(pickled: Any) -> list[str]:
    """The texts (and whole numbers) in a pickled list, without running the pickle, which could do anything."""
    if pickled is None:
        return []
    raw = pickled if isinstance(pickled, bytes) else str(pickled).encode("latin-1")
    names = []
    try:
        for opcode, argument, _ in pickletools.genops(raw):
            if "UNICODE" in opcode.name or "STRING" in opcode.name or opcode.name in _WHOLE_NUMBERS:
                names.append(_text(argument))
    except ValueError:
        return []
    return names
