"""Archives of NumPy arrays (npz): ready-made images, mostly."""

import os
import zipfile
from collections.abc import Sequence
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError, SchemaError, did_you_mean
from hepcnn.io.heads import open_bytes

BASE = "/"


class NpzFile:
    """An npz file as one table; use `hepcnn.io.tables.open_tables`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = str(path)
        try:
            with open_bytes(path) as file, np.load(file, allow_pickle=False) as archive:
                self._arrays = {name: np.asarray(archive[name]) for name in archive.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: this npz file is damaged, or holds pickled objects: {error}") from error

    def names(self) -> list[str]:
        """The one table."""
        return [BASE]

    def table(self, name: str) -> "NpzTable":
        """The one table; raises ``SchemaError`` for another name."""
        if name != BASE:
            raise SchemaError(f"{self.path}: no table '{name}' in an npz file, only '{BASE}'")
        return NpzTable(self.path, {key: array for key, array in self._arrays.items() if array.ndim})


class NpzTable:
    """Arrays of equal length, all in memory."""

    def __init__(self, path: str, arrays: dict[str, NDArray[Any]]) -> None:
        self.path, self.name, self._arrays = path, BASE, arrays
        lengths = [len(array) for array in arrays.values()]
        self.n_entries = max(set(lengths), key=lengths.count) if lengths else 0
        self.columns = {
            key: f"{array.dtype}{list(array.shape[1:])}" if array.ndim > 1 else str(array.dtype)
            for key, array in arrays.items()
        }

    def check(self, names: Sequence[Any]) -> None:
        """Raise ``SchemaError`` for an array that is not there, naming the nearest."""
        for name in names:
            if name not in self._arrays:
                raise SchemaError(f"{self.path}: no array '{name}'{did_you_mean(str(name), self._arrays)}")

    def borders(self, names: Sequence[Any]) -> list[int]:
        """The first and the last entry."""
        self.check(names)
        return [0, self.n_entries]

    def read(self, names: Sequence[Any], start: int, stop: int) -> dict[Any, ak.Array]:
        """Some arrays of the entries ``start`` to ``stop``, the latter excluded."""
        self.check(names)
        for name in names:
            if len(self._arrays[name]) < stop:
                raise InputError(
                    f"{self.path}: array '{name}' has {len(self._arrays[name])} entries, others {self.n_entries}"
                )
        return {name: ak.from_numpy(self._arrays[name][start:stop]) for name in names}
