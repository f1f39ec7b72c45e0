"""The pixels of several ``images.h5`` files laid end to end, read from disk when they are asked for."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.data.compiled import gather_pixels, offsets_after
from hepcnn.errors import InputError
from hepcnn.io.image_blocks import ImageColumns, read_pixels

READ_BLOCK = 1 << 16
Runs = tuple[NDArray[np.int64], NDArray[np.integer[Any]], NDArray[np.float32]]
"""``indptr`` (N+1,), ``index`` (n,) and ``value`` (n, C) of N jets."""


class PixelFiles:
    """Reads pixels by the numbers of jets, counted through all files.

    Parameters
    ----------
    files
        The files, in order.
    n_grid_pixels
        Pixels of the grid: no number of a pixel may reach it.
    """

    def __init__(self, files: Sequence[ImageColumns], *, n_grid_pixels: int) -> None:
        self._paths = [file.path for file in files]
        self._indptr = [file.indptr for file in files]
        self._first = np.cumsum([0] + [len(file) for file in files])
        self._n_grid_pixels = n_grid_pixels
        self.n_channels = files[0].n_channels
        self.index_dtype = np.result_type(*[file.index_dtype for file in files])

    def __len__(self) -> int:
        return int(self._first[-1])

    @property
    def bytes_per_pixel(self) -> int:
        """What one pixel takes in memory."""
        return self.index_dtype.itemsize + 4 * self.n_channels

    def read_range(self, start: int, stop: int) -> Runs:
        """Read the pixels of the jets ``start`` to ``stop``, the latter excluded.

        Raises
        ------
        InputError
            When a file is damaged, or a pixel lies outside the grid.
        """
        parts = [
            (file, max(start - int(first), 0), min(stop, int(last)) - int(first))
            for file, (first, last) in enumerate(zip(self._first, self._first[1:], strict=False))
            if start < last and stop > first
        ]
        counts = [np.diff(self._indptr[file][a : b + 1]) for file, a, b in parts]
        ends = offsets_after(np.concatenate([np.zeros(0, np.int64), *counts]))
        index, value = self._allocate(int(ends[-1]))
        done = 0
        for file, a, b in parts:
            first, last = int(self._indptr[file][a]), int(self._indptr[file][b])
            here = slice(done, done + last - first)
            read_pixels(self._paths[file], first, last, index=index[here], value=value[here])
            self._check(file, index[here])
            done = here.stop
        return ends, index, value

    def read_jets(self, jets: NDArray[np.int64], *, block: int = READ_BLOCK) -> Runs:
        """Read the pixels of some jets, whose numbers rise; beside the result one block of jets is in memory."""
        counts = [np.diff(indptr) for indptr in self._indptr]
        ends = offsets_after(np.concatenate(counts)[jets])
        index, value = self._allocate(int(ends[-1]))
        done = 0
        for part in split_by_block(jets, block):
            here = slice(int(ends[done]), int(ends[done + len(part)]))
            self.gather(part, out=(index[here], value[here]))
            done += len(part)
        return ends, index, value

    def gather(self, jets: NDArray[np.int64], *, out: tuple[NDArray[np.integer[Any]], NDArray[np.float32]]) -> None:
        """Read from the first of some jets, whose numbers rise, to the last, and keep the pixels of them alone."""
        first = int(jets[0])
        indptr, index, value = self.read_range(first, int(jets[-1]) + 1)
        gather_pixels(jets - first, indptr, index, value, out=out)

    def _allocate(self, n: int) -> tuple[NDArray[np.integer[Any]], NDArray[np.float32]]:
        return np.empty(n, self.index_dtype), np.empty((n, self.n_channels), np.float32)

    def _check(self, file: int, index: NDArray[np.integer[Any]]) -> None:
        # The compiled loops write where these numbers point.
        if len(index) and (int(index.max()) >= self._n_grid_pixels or int(index.min()) < 0):
            raise InputError(
                f"{self._paths[file]}: a pixel has the number {int(index.max())}, the grid has {self._n_grid_pixels} "
                "pixels: this file is damaged"
            )


def split_by_block(jets: NDArray[np.int64], block: int) -> Iterator[NDArray[np.int64]]:
    """Cut rising numbers of jets at the multiples of ``block``; blocks without one of them are left out."""
    if len(jets) == 0:
        return
    edges = np.searchsorted(jets, np.arange(0, int(jets[-1]) + block + 1, block))
    for start, stop in itertools.pairwise(edges):
        if stop > start:
            yield jets[start:stop]
