"""HDF5 files: plain datasets side by side, and the two layouts that pandas writes, read with h5py alone."""

import contextlib
import importlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import awkward as ak
import h5py
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError, SchemaError, did_you_mean
from hepcnn.io.heads import HDF5_MAGIC, is_remote, open_bytes, read_head
from hepcnn.io.larcv import LarcvTable, list_larcv_tables
from hepcnn.io.pandas_tables import find_pandas_columns, is_pandas
from hepcnn.io.places import NumberBlock, Place, as_slice, find_series
from hepcnn.io.rules import ColumnRange

BASE = "/"
"""The table of a file's plain datasets."""
BORDER = 1000
"""Where a dataset is not cut into chunks, entries are read in multiples of this."""
DAMAGES = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises for damaged files: each means the same to the user."""


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
        with self._told():
            self._items = _list_items(file)
        datasets = [item for item in self._items.values() if isinstance(item, h5py.Dataset)]
        if any(_lacking_filters(dataset) for dataset in datasets):
            # It brings Blosc, which PyTables writes, and others that h5py has not.
            importlib.import_module("hdf5plugin")

    def names(self) -> list[str]:
        """``/`` for the plain datasets, the group of each pandas table, and larcv's kinds of images."""
        return [BASE, *self._pandas(), *self._larcv()]

    def _pandas(self) -> list[str]:
        return [name for name, item in self._items.items() if is_pandas(item)]

    def _larcv(self) -> list[str]:
        with self._told():
            return list_larcv_tables(self._file)

    def table(self, name: str) -> "Hdf5Table | LarcvTable":
        """One table; raises ``SchemaError`` where there is none of this name."""
        names = self.names()
        if name not in names:
            raise SchemaError(f"{self.path}: no table '{name}' in this file{did_you_mean(name, names)}")
        with self._told():
            if name in self._larcv():
                return LarcvTable(self.path, name, self._file)
            columns = self._find_plain() if name == BASE else find_pandas_columns(self._file[name])
            return Hdf5Table(self.path, name, columns)

    def _find_plain(self) -> dict[str, Place]:
        columns: dict[str, Place] = {}
        inside = tuple(f"{name}/" for name in self._pandas())
        for name, item in self._items.items():
            if isinstance(item, h5py.Dataset) and item.ndim and not name.startswith(inside):
                for field in item.dtype.names or (None,):
                    columns[name if field is None else f"{name}/{field}"] = Place(NumberBlock(item, field))
        return columns

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DAMAGES as error:
            raise InputError(f"{self.path}: this HDF5 file is damaged: {error}") from error


def _list_items(file: Any) -> dict[str, Any]:
    items: dict[str, Any] = {}
    file.visititems(lambda name, item: items.__setitem__(name, item))
    return items


def _lacking_filters(dataset: Any) -> list[int]:
    """The compressors of a dataset that are not there, by their registered numbers."""
    settings = dataset.id.get_create_plist()
    numbers = [settings.get_filter(place)[0] for place in range(settings.get_nfilters())]
    return [number for number in numbers if not h5py.h5z.filter_avail(number)]


class Hdf5Table:
    """Columns of equal length; those of other lengths can be listed but not read beside them.

    ``columns`` gives the type and shape of each by name. A name that ends in ``*`` stands for all columns that are
    numbered after it (``E_0, E_1, …``), side by side. ``n_entries`` is the length that most columns have.
    """

    def __init__(self, path: str, name: str, places: dict[str, Place]) -> None:
        self.path, self.name, self._places = path, name, places
        lengths = [place.block.length for place in places.values()]
        self.n_entries = max(set(lengths), key=lambda length: (lengths.count(length), length), default=0)
        self._series = find_series(places)
        self.columns: Mapping[str, str] = {key: str(place) for key, place in places.items()} | {
            name: f"{places[members[0]]}, {len(members)} columns" for name, members in self._series.items()
        }

    def check(self, names: Sequence[Any]) -> None:
        """Raise ``SchemaError`` for a column that is not there, naming the nearest."""
        for name in names:
            self._members(name)

    def borders(self, names: Sequence[Any]) -> list[int]:
        """Entries at which it is best to stop reading these columns: where chunks end, and the first and the last.

        Raises
        ------
        InputError
            When columns differ in length.
        """
        blocks = list({self._places[key].block for name in names for key in self._members(name)})
        if not blocks:
            return [0, self.n_entries]
        widest = max(blocks, key=lambda block: math.prod(block.dataset.shape[1:]) * block.dataset.dtype.itemsize)
        for block in blocks:
            if block.length != widest.length:
                raise InputError(
                    f"{self.path}: columns differ in length: '{widest.name}' has {widest.length} entries, "
                    f"'{block.name}' {block.length}"
                )
        step = widest.dataset.chunks[0] if widest.dataset.chunks else BORDER
        return [*range(0, widest.length, step), widest.length]

    def read(self, names: Sequence[Any], start: int, stop: int) -> dict[Any, ak.Array]:
        """Some columns of the entries ``start`` to ``stop``, the latter excluded.

        Raises
        ------
        InputError
            When they cannot be read, hold no numbers, or are shorter than the table.
        """
        members = {name: self._members(name) for name in names}
        wanted: dict[str, list[NumberBlock]] = {}
        for block in dict.fromkeys(self._places[key].block for keys in members.values() for key in keys):
            if not block.holds_numbers:
                raise InputError(f"{self.path}: '{block.label}' holds no numbers, but {block.described}")
            if block.length < stop:
                raise InputError(f"{self.path}: '{block.name}' has {block.length} entries, others {stop} or more")
            wanted.setdefault(block.name, []).append(block)
        loaded = {name: self._load(blocks, start, stop) for name, blocks in wanted.items()}
        return {name: self._join(name, keys, loaded) for name, keys in members.items()}

    def _members(self, name: Any) -> list[str]:
        if isinstance(name, ColumnRange):
            numbers = range(name.first, name.first + name.step * name.count, name.step)
            missing = [number for number in numbers if str(number) not in self._places]
            if missing:
                raise SchemaError(f"{self.path}: table '{self.name}' has no column number {missing[0]}")
            return [str(number) for number in numbers]
        if name in self._series:
            return self._series[name]
        if name not in self._places:
            hint = did_you_mean(str(name), self.columns)
            raise SchemaError(f"{self.path}: table '{self.name}' has no column '{name}'{hint}")
        return [name]

    def _load(self, blocks: list[NumberBlock], start: int, stop: int) -> NDArray[Any]:
        """All that is wanted of a dataset, read once."""
        dataset, fields = blocks[0].dataset, [block.field for block in blocks if block.field is not None]
        try:
            some = fields and len(fields) < len(dataset.dtype.names)
            return np.asarray(dataset.fields(fields)[start:stop] if some else dataset[start:stop])
        except DAMAGES as error:
            lacking = _lacking_filters(dataset)
            why = f"damaged or cut short: {error}"
            if lacking:
                why = f"it is compressed by HDF5 filter {lacking[0]}, which neither h5py nor hdf5plugin knows"
            raise InputError(f"{self.path}: cannot read '{dataset.name}', entries {start} to {stop}: {why}") from error

    def _join(self, name: Any, keys: list[str], loaded: dict[str, NDArray[Any]]) -> ak.Array:
        """One column of what was read, or several side by side: a view of them where they stand in one block."""
        places = [self._places[key] for key in keys]
        blocks = {place.block for place in places}
        values = {
            block: loaded[block.name] if block.field is None else loaded[block.name][block.field] for block in blocks
        }
        if isinstance(name, str) and name not in self._series:
            block, column = places[0].block, places[0].column
            if block.list_of is not None:
                return _lists(values[block])
            return _awkward(values[block] if column is None else values[block][:, column])
        numbers = [place.column for place in places if place.column is not None]
        if len(blocks) == 1 and len(numbers) == len(places):
            return _awkward(values[places[0].block][:, as_slice(numbers)])
        columns = [
            values[block] if column is None else values[block][:, column]
            for block, column in ((p.block, p.column) for p in places)
        ]
        return _awkward(np.stack(columns, axis=1))


def _awkward(values: NDArray[Any]) -> ak.Array:
    # awkward holds no numbers of the other byte order.
    return ak.from_numpy(values.astype(values.dtype.newbyteorder("="), copy=False))


def _lists(entries: NDArray[Any]) -> ak.Array:
    """Lists of varying lengths, (n,) of arrays."""
    if not len(entries):
        return ak.Array([[]])[:0]
    return ak.unflatten(np.concatenate(list(entries)), [len(entry) for entry in entries])
