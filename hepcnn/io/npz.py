"""Archives of NumPy arrays (npz): ready-made images, mostly. Their arrays are streamed, never held whole."""

import contextlib
import math
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import awkward as ak
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hepcnn.errors import InputError, SchemaError, did_you_mean
from hepcnn.io.heads import open_bytes

BASE = "/"
BORDER = 1000
"""Entries are read in multiples of this."""
READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
DAMAGES = (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)
"""What NumPy and zipfile raise for damaged files: each means the same to the user."""


@contextlib.contextmanager
def open_npz(path: str | os.PathLike[str]) -> Iterator["NpzFile"]:
    """Open an npz file, on disk or remote, for reading.

    Raises
    ------
    InputError
        When it is missing, damaged or cut short.
    """
    with open_bytes(path) as file:
        try:
            archive = zipfile.ZipFile(file)
        except DAMAGES as error:
            # zipfile keeps to itself that a server gave nothing.
            why = getattr(file, "failure", None) or error
            raise InputError(f"{path}: this npz file is damaged or cut short: {why}") from error
        with archive:
            yield NpzFile(str(path), archive)


class NpzFile:
    """An open npz file as one table; use `hepcnn.io.tables.open_tables`."""

    def __init__(self, path: str, archive: zipfile.ZipFile) -> None:
        self.path, self._archive = path, archive

    def names(self) -> list[str]:
        """The one table."""
        return [BASE]

    def table(self, name: str) -> "NpzTable":
        """The one table; raises ``SchemaError`` for another name."""
        if name != BASE:
            raise SchemaError(f"{self.path}: no table '{name}' in an npz file, only '{BASE}'")
        members = [member for member in self._archive.namelist() if member.endswith(".npy")]
        return NpzTable(self.path, {member[:-4]: _Array(self.path, self._archive, member) for member in members})


class _Array:
    """One array of an archive, read from the front to the back."""

    def __init__(self, path: str, archive: zipfile.ZipFile, member: str) -> None:
        self._where, self._archive, self._member = f"{path}: array '{member[:-4]}'", archive, member
        self._stream: Any = None
        self._position = 0
        self._whole: NDArray[Any] | None = None
        with self._told():
            self._open()

    @property
    def holds_numbers(self) -> bool:
        """Whether it holds numbers or truth values, not texts or pickled objects."""
        return self.dtype.kind in "biuf"

    def __str__(self) -> str:
        if self.dtype.hasobject:
            return "pickled objects"
        return f"{self.dtype}{list(self.shape[1:])}" if len(self.shape) > 1 else str(self.dtype)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """The entries ``start`` to ``stop``, the latter excluded."""
        if not self.holds_numbers:
            raise InputError(f"{self._where} holds no numbers, but {self}; pickled objects are never loaded")
        with self._told():
            if self._fortran:
                return self._read_whole()[start:stop]
            if start < self._position:
                self._open()
            size = math.prod(self.shape[1:])
            self._skip((start - self._position) * size * self.dtype.itemsize)
            values = self._numbers((stop - start) * size)
            self._position = stop
            return values.reshape(stop - start, *self.shape[1:])

    def _open(self) -> None:
        self._stream = self._archive.open(self._member)
        version = npy.read_magic(self._stream)
        if version not in READERS:
            raise ValueError(f"npy version {version}")
        self.shape, self._fortran, self.dtype = READERS[version](self._stream)
        self._position = 0

    def _read_whole(self) -> NDArray[Any]:
        if self._whole is None:
            self._open()
            self._whole = self._numbers(math.prod(self.shape)).reshape(self.shape, order="F")
        return self._whole

    def _numbers(self, count: int) -> NDArray[Any]:
        values = np.frombuffer(self._take(count * self.dtype.itemsize), self.dtype)
        # awkward holds no numbers of the other byte order.
        return values.astype(self.dtype.newbyteorder("="), copy=False)

    def _take(self, n_bytes: int) -> bytes:
        taken = self._stream.read(n_bytes)
        if len(taken) < n_bytes:
            raise EOFError(f"{n_bytes - len(taken)} bytes are missing")
        return bytes(taken)

    def _skip(self, n_bytes: int) -> None:
        while n_bytes > 0:
            n_bytes -= len(self._take(min(n_bytes, 1 << 24)))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DAMAGES as error:
            raise InputError(f"{self._where} is damaged or cut short: {error}") from error


class NpzTable:
    """Arrays of equal length; those of other lengths can be listed but not read beside them.

    ``columns`` gives the type and shape of each by name, ``n_entries`` the length that most have.
    """

    def __init__(self, path: str, arrays: dict[str, _Array]) -> None:
        self.path, self.name = path, BASE
        self._arrays = {name: array for name, array in arrays.items() if array.shape}
        lengths = [array.shape[0] for array in self._arrays.values()]
        self.n_entries = max(set(lengths), key=lambda length: (lengths.count(length), length), default=0)
        self.columns = {name: str(array) for name, array in self._arrays.items()}

    def check(self, names: Sequence[Any]) -> None:
        """Raise ``SchemaError`` for an array that is not there, naming the nearest."""
        for name in names:
            if name not in self._arrays:
                raise SchemaError(f"{self.path}: no array '{name}'{did_you_mean(str(name), self._arrays)}")

    def borders(self, names: Sequence[Any]) -> list[int]:
        """Entries at which these arrays may be cut: thousands, and the first and the last.

        Raises
        ------
        InputError
            When arrays differ in length.
        """
        self.check(names)
        lengths = {name: self._arrays[name].shape[0] for name in names}
        for name, length in lengths.items():
            if length != lengths[names[0]]:
                raise InputError(
                    f"{self.path}: arrays differ in length: '{names[0]}' has {lengths[names[0]]} entries, "
                    f"'{name}' {length}"
                )
        stop = lengths[names[0]] if names else self.n_entries
        return [*range(0, stop, BORDER), stop]

    def read(self, names: Sequence[Any], start: int, stop: int) -> dict[Any, ak.Array]:
        """Some arrays of the entries ``start`` to ``stop``, the latter excluded.

        Raises
        ------
        InputError
            When one is damaged, holds no numbers, or is shorter.
        """
        self.check(names)
        for name in names:
            if self._arrays[name].shape[0] < stop:
                raise InputError(f"{self.path}: array '{name}' has {self._arrays[name].shape[0]} entries, not {stop}")
        return {name: ak.from_numpy(self._arrays[name].read(start, stop)) for name in names}
