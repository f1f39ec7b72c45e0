"""New HDF5 files of hepcnn's own: columns that grow, chunks deflated fast, and a disk that may be full."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from hepcnn.atomic import interrupts_held


class Column:
    """A dataset that grows by blocks of rows, written in whole chunks."""

    def __init__(self, dataset: Any) -> None:
        self._dataset, self._chunk = dataset, dataset.chunks[0]
        self._tail = np.zeros((0, *dataset.shape[1:]), dataset.dtype)
        self._n_written = 0

    def append(self, values: NDArray[Any]) -> None:
        """Add rows, converted to the type of the dataset."""
        values = np.asarray(values, dtype=self._dataset.dtype)
        if len(self._tail):
            n_missing = min(self._chunk - len(self._tail), len(values))
            self._tail, values = np.concatenate([self._tail, values[:n_missing]]), values[n_missing:]
            if len(self._tail) < self._chunk:
                return
            self._write(self._tail)
        n_whole = len(values) - len(values) % self._chunk
        self._write(values[:n_whole])
        self._tail = values[n_whole:].copy()

    def _write(self, rows: NDArray[Any]) -> None:
        if not len(rows):
            return
        start = self._n_written
        self._n_written += len(rows)
        self._dataset.resize(self._n_written, axis=0)
        if self._dataset.compression is None:
            self._dataset[start:] = rows
            return
        for first in range(0, len(rows), self._chunk):
            place = (start + first, *(0,) * (rows.ndim - 1))
            self._dataset.id.write_direct_chunk(place, deflate(rows[first : first + self._chunk]))

    def finish(self) -> None:
        """Write what fills no chunk."""
        if len(self._tail):
            self._dataset.resize(self._n_written + len(self._tail), axis=0)
            self._dataset[self._n_written :] = self._tail


def deflate(rows: NDArray[Any]) -> bytes:
    """A chunk as HDF5's filters shuffle and gzip would write it.

    ISA-L deflates some five times as fast as the zlib that HDF5 has, and any reader inflates its chunks.
    """
    shuffled = np.ascontiguousarray(rows).view(np.uint8).reshape(-1, rows.dtype.itemsize).T
    return bytes(isal_zlib.compress(np.ascontiguousarray(shuffled), 1))


class Disk(io.FileIO):
    """A file for HDF5, which does not survive a disk that is full, and so is not told.

    ``error`` is what went wrong; whatever is written after that is lost.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data."""
        rest = memoryview(data).cast("B")
        n_bytes = len(rest)
        try:
            while self.error is None and len(rest):
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return n_bytes

    def truncate(self, size: int | None = None) -> int:
        """Change the length."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def check(self) -> None:
        """Raise what went wrong."""
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def new_file(path: os.PathLike[str], **options: Any) -> Iterator[tuple[Any, Disk]]:
    """A new HDF5 file, and the file on disk below it; raises ``OSError`` at the end if it could not be written."""
    with Disk(path, "w+b") as disk:
        with interrupts_held():
            file = h5py.File(disk, "w", **options)
        try:
            yield file, disk
        finally:
            with interrupts_held():
                file.close()
        disk.check()
