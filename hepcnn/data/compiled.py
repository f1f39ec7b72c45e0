"""Compiled loops over the pixels of many jets, on the CPU.

Each writes the rows of its own jets only, so that any number of threads gives the same to the bit. Shapes: N jets held,
B asked for, C channels. Indices are trusted: what reads them from a file checks them.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

MOST_THREADS, LEAST_JETS = 8, 64


def _fill_dense(
    first: int, last: int, jets: Any, indptr: Any, index: Any, value: Any, images: Any
) -> None:  # pragma: no cover - compiled
    """Clear ``images`` (B, n_pixels, C) and put the pixels of ``jets`` (B,) there."""
    for row in range(first, last):
        # Cleared while it is in the cache, just before it is written.
        image = images[row]
        image[:] = 0.0
        for place in range(indptr[jets[row]], indptr[jets[row] + 1]):
            pixel = index[place]
            for channel in range(value.shape[1]):
                image[pixel, channel] = value[place, channel]


def _gather_pixels(
    first: int, last: int, jets: Any, indptr: Any, index: Any, value: Any, ends: Any, out_index: Any, out_value: Any
) -> None:  # pragma: no cover - compiled
    """Lay the pixels of ``jets`` (B,) end to end, those of row r from ``ends[r]``."""
    for row in range(first, last):
        start = indptr[jets[row]]
        shift = ends[row] - start
        for place in range(start, indptr[jets[row] + 1]):
            out_index[place + shift] = index[place]
            for channel in range(value.shape[1]):
                out_value[place + shift, channel] = value[place, channel]


def _fill_coords(
    first: int, last: int, jets: Any, indptr: Any, index: Any, value: Any, ends: Any, shape: Any, coords: Any, out: Any
) -> None:  # pragma: no cover - compiled
    """As `_gather_pixels`, with the pixel's number spread over the axes of the grid: (n, 1 + axes)."""
    for row in range(first, last):
        start = indptr[jets[row]]
        shift = ends[row] - start
        for place in range(start, indptr[jets[row] + 1]):
            rest = np.int64(index[place])
            for axis in range(len(shape) - 1, -1, -1):
                coords[place + shift, 1 + axis] = rest % shape[axis]
                rest //= shape[axis]
            coords[place + shift, 0] = row
            for channel in range(value.shape[1]):
                out[place + shift, channel] = value[place, channel]


_compile = numba.njit(nogil=True, cache=True)
_dense, _gathered, _coords = _compile(_fill_dense), _compile(_gather_pixels), _compile(_fill_coords)


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="hepcnn-pixels")


def _spread(kernel: Callable[..., None], n_jets: int, threads: int, *arrays: Any) -> None:
    """Run a kernel over all rows, in steps that threads take from one heap.

    On a busy machine a helper may not get its turn: then nobody waits for it, and this thread does its steps too.
    """
    threads = max(1, min(threads, MOST_THREADS, n_jets // LEAST_JETS))
    step = max(1, n_jets // (4 * threads) if threads > 1 else n_jets)
    heap = iter(range(0, n_jets, step))

    def work() -> None:
        for first in heap:
            kernel(first, min(first + step, n_jets), *arrays)

    helpers = [_workers().submit(work) for _ in range(threads - 1)]
    work()
    for helper in helpers:
        if not helper.cancel():
            helper.result()


def offsets_after(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each jet's pixels begin when they are laid end to end, and where the last ones end: (B + 1,) for (B,)."""
    ends = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=ends[1:])
    return ends


def fill_dense(
    images: NDArray[np.float32],
    jets: NDArray[np.int64],
    indptr: NDArray[np.int64],
    index: NDArray[np.integer[Any]],
    value: NDArray[np.float32],
    *,
    threads: int = 1,
) -> None:
    """Put jets' pixels into ``images`` (B, n_pixels, C), whatever it held before."""
    _spread(_dense, len(jets), threads, jets, indptr, index, value, images)


def gather_pixels(
    jets: NDArray[np.int64],
    indptr: NDArray[np.int64],
    index: NDArray[np.integer[Any]],
    value: NDArray[np.float32],
    *,
    out: tuple[NDArray[np.integer[Any]], NDArray[np.float32]] | None = None,
    threads: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.integer[Any]], NDArray[np.float32]]:
    """The pixels of some jets, in their order: ``indptr`` (B + 1,), ``index`` (n,) and ``value`` (n, C).

    ``out`` are arrays to fill instead of fresh ones, with room for just these pixels.
    """
    ends = offsets_after(indptr[jets + 1] - indptr[jets])
    if out is None:
        out = np.empty(ends[-1], index.dtype), np.empty((ends[-1], value.shape[1]), np.float32)
    _spread(_gathered, len(jets), threads, jets, indptr, index, value, ends, *out)
    return ends, *out


def gather_coords(
    jets: NDArray[np.int64],
    indptr: NDArray[np.int64],
    index: NDArray[np.integer[Any]],
    value: NDArray[np.float32],
    shape: tuple[int, ...],
    *,
    threads: int = 1,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The same pixels as a sparse batch: ``coords`` (n, 1 + axes), the row of the jet first, and ``value`` (n, C)."""
    ends = offsets_after(indptr[jets + 1] - indptr[jets])
    coords = np.empty((ends[-1], 1 + len(shape)), np.int32)
    out = np.empty((ends[-1], value.shape[1]), np.float32)
    sizes = np.asarray(shape, dtype=np.int64)
    _spread(_coords, len(jets), threads, jets, indptr, index, value, ends, sizes, coords, out)
    return coords, out
