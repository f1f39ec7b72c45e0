"""Parts of ``images.h5``: what is known of the jets without their pixels, and the pixels of some jets."""

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from numpy.typing import NDArray

from hepcnn.errors import InputError
from hepcnn.io.hdf5 import open_hdf5
from hepcnn.io.store import read_image_attributes, read_truth

THREADS = 2


@dataclass(frozen=True)
class ImageColumns:
    """An ``images.h5`` without its pixels.

    ``indptr`` (N+1,) says where each jet's pixels stand in the file; ``jets``, ``features`` and ``truth`` are columns
    (N,) by name; ``n_channels`` is the number of values that a pixel holds, ``index_dtype`` the type of its number.
    """

    path: str
    indptr: NDArray[np.int64]
    jets: dict[str, NDArray[Any]]
    features: dict[str, NDArray[np.float32]]
    truth: dict[str, NDArray[np.float32]]
    attributes: dict[str, Any]
    n_channels: int
    index_dtype: np.dtype[Any]

    def __len__(self) -> int:
        return len(self.indptr) - 1


def read_image_columns(path: str | os.PathLike[str]) -> ImageColumns:
    """Read all of an ``images.h5`` but its pixels.

    Raises
    ------
    InputError
        When it is not one, is of a newer version, or jets and pixels do not fit together.
    """
    attributes = read_image_attributes(path)
    with open_hdf5(path) as file:
        try:
            indptr = file["pixels/indptr"][:]
            columns = ImageColumns(
                path=str(path),
                indptr=indptr,
                jets={name: file["jets"][name][:] for name in file["jets"]},
                features={name: file["features"][name][:] for name in file.get("features", {})},
                truth=read_truth(file, path, len(indptr) - 1),
                attributes=attributes,
                n_channels=int(file["pixels/value"].shape[1]),
                index_dtype=file["pixels/index"].dtype,
            )
            n_pixels = min(len(file["pixels/index"]), len(file["pixels/value"]))
        except (KeyError, OSError) as error:
            raise InputError(f"{path}: this images file is incomplete: {error}") from error
    ends = columns.indptr
    if len(ends) == 0 or ends[0] != 0 or np.any(ends[1:] < ends[:-1]) or ends[-1] != n_pixels:
        raise InputError(f"{path}: pixels/indptr must rise from 0 to the {n_pixels} pixels of the file, but does not")
    return columns


def read_pixels(
    path: str | os.PathLike[str], first: int, last: int, *, index: NDArray[np.integer[Any]], value: NDArray[np.float32]
) -> None:
    """Read the pixels ``first`` to ``last`` (the latter excluded) of an ``images.h5`` into arrays.

    Parameters
    ----------
    path
        The file.
    first, last
        Rows of ``/pixels``; those of jet j are ``indptr[j]`` to ``indptr[j + 1]``.
    index, value
        (last - first,) and (last - first, C), filled.

    Raises
    ------
    InputError
        When the file is damaged or cut short.
    """
    if first == last:
        return
    with open_hdf5(path) as file:
        try:
            for name, out in (("index", index), ("value", value)):
                _read_rows(file[f"pixels/{name}"], first, last, out)
        # isal's stub calls its error an instance.
        except (KeyError, OSError, ValueError, IsalError) as error:  # type: ignore[misc]
            raise InputError(f"{path}: damaged or cut short at pixels {first} to {last}: {error}") from error


def _read_rows(dataset: Any, first: int, last: int, out: NDArray[Any]) -> None:
    """Read rows of a dataset, by ISA-L where HDF5's own filters are those that hepcnn writes.

    HDF5 inflates one chunk at a time under one lock; so chunks inflate side by side, and each twice as fast.
    """
    ours = dataset.compression == "gzip" and dataset.shuffle and not dataset.fletcher32 and dataset.scaleoffset is None
    if not ours or dataset.chunks[1:] != dataset.shape[1:] or dataset.dtype != out.dtype:
        dataset.read_direct(out, np.s_[first:last])
        return
    size, width = dataset.chunks[0], (0,) * (dataset.ndim - 1)

    def inflate(start: int, packed: bytes) -> None:
        planes = np.frombuffer(isal_zlib.decompress(packed), np.uint8).reshape(out.dtype.itemsize, -1)
        rows = np.ascontiguousarray(planes.T).view(out.dtype).reshape(size, *out.shape[1:])
        low, high = max(first, start), min(last, start + size)
        out[low - first : high - first] = rows[low - start : high - start]

    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="hepcnn-inflate") as workers:
        for start in range(first - first % size, last, size):
            skipped, packed = dataset.id.read_direct_chunk((start, *width))
            if skipped:
                raise ValueError(f"the chunk at {start} lacks a filter")
            waiting.append(workers.submit(inflate, start, packed))
            # Not more packed chunks in memory than there is work for.
            if len(waiting) > 2 * THREADS:
                waiting.popleft().result()
        for future in waiting:
            future.result()
