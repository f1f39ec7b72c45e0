"""``images.h5``: sparse images of jets, readable with plain h5py."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.atomic import atomic_path, interrupts_held
from hepcnn.errors import InputError
from hepcnn.io.attributes import IMAGES_FORMAT, VERSION, read_attributes, set_attributes
from hepcnn.io.hdf5 import open_hdf5
from hepcnn.io.hdf5_writing import Column, Disk, new_file

CHUNK, BLOCK = 1 << 15, 1 << 20
JET_DTYPES: Mapping[str, Any] = {
    "pt": np.float32,
    "eta": np.float32,
    "phi": np.float32,
    "mass": np.float32,
    "label": np.int16,
    "weight": np.float32,
    "source_file": np.int32,
    "source_entry": np.int64,
    "source_jet": np.int32,
    "event_id": np.uint64,
}


class ImageWriter:
    """Fills an ``images.h5`` block by block; use `open_image_writer`."""

    def __init__(self, file: Any, disk: Disk, *, n_channels: int, index_dtype: Any) -> None:
        self._file, self._disk = file, disk
        self._n_pixels = 0
        self._columns: dict[str, Column] = {}
        with interrupts_held():
            self._add_columns(n_channels, index_dtype)

    def _add_columns(self, n_channels: int, index_dtype: Any) -> None:
        self._add("pixels/indptr", np.int64)
        self._columns["pixels/indptr"].append(np.zeros(1, np.int64))
        self._add("pixels/index", index_dtype)
        # Values hardly shrink, and deflating them would take as long as reading the input.
        self._add("pixels/value", np.float32, n_channels, compress=False)
        for name, dtype in JET_DTYPES.items():
            self._add(f"jets/{name}", dtype)

    def add_group(self, group: str, names: tuple[str, ...]) -> None:
        """Add a group of numbers of each jet, float32, before the first block is appended."""
        with interrupts_held():
            self._file.create_group(group)
            for name in names:
                self._add(f"{group}/{name}", np.float32)

    def _add(self, name: str, dtype: Any, *width: int, compress: bool = True) -> None:
        options: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compress else {}
        dataset = self._file.create_dataset(
            name, (0, *width), dtype, maxshape=(None, *width), chunks=(CHUNK, *width), **options
        )
        self._columns[name] = Column(dataset)

    def append(
        self,
        indptr: NDArray[np.int64],
        index: NDArray[np.integer[Any]],
        value: NDArray[np.float32],
        jets: Mapping[str, NDArray[Any]],
        features: Mapping[str, NDArray[Any]],
        truth: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Add a block of jets: its pixels as in `hepcnn.images.pixelate.Pixels`, one column per jet quantity."""
        with interrupts_held():
            self._columns["pixels/indptr"].append(indptr[1:] + self._n_pixels)
            self._columns["pixels/index"].append(index)
            self._columns["pixels/value"].append(value)
            for group, columns in (("jets", jets), ("features", features), ("truth", truth or {})):
                for name, column in columns.items():
                    self._columns[f"{group}/{name}"].append(column)
            self._n_pixels += len(index)
        self._disk.check()

    def finish(self) -> None:
        """Write what still waits for its chunk to be full; nothing can be appended after that."""
        with interrupts_held():
            for column in self._columns.values():
                column.finish()
            self._file.flush()
        self._disk.check()

    def iterate_jets(self, *names: str) -> Iterator[dict[str, NDArray[Any]]]:
        """Read columns of the jets back, block by block, after `finish`: ``pt``, or ``truth/energy``."""
        datasets = {name: self._file[name if "/" in name else f"jets/{name}"] for name in names}
        for start in range(0, len(datasets[names[0]]), BLOCK):
            with interrupts_held():
                block = {name: dataset[start : start + BLOCK] for name, dataset in datasets.items()}
            yield block

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Store what describes the file; anything but a text or a number is stored as JSON."""
        set_attributes(self._file, attributes)


def index_dtype(n_pixels: int) -> Any:
    """The type in which numbers of so many pixels are stored."""
    return np.uint16 if n_pixels <= 1 << 16 else np.uint32


@contextlib.contextmanager
def open_image_writer(
    path: str | os.PathLike[str],
    *,
    n_pixels: int,
    n_channels: int,
    jet_features: tuple[str, ...] = (),
    truth: tuple[str, ...] = (),
) -> Iterator[ImageWriter]:
    """Write an ``images.h5`` that appears under its name when the block ends without an error.

    Parameters
    ----------
    path
        The file to write.
    n_pixels
        Pixels of the grid; decides how wide the flat pixel numbers are stored.
    n_channels
        Channels of each pixel.
    jet_features
        Names of the jet-level numbers stored under ``/features``.
    truth
        Names of the true numbers stored under ``/truth``; without any there is no such group.
    """
    # Since version 1.8 of HDF5 attributes, such as a list of many sources, may be longer than 64 kB.
    with atomic_path(path) as partial, new_file(partial, libver=("v108", "v108")) as (file, disk):
        set_attributes(file, {"format": IMAGES_FORMAT, "version": VERSION})
        writer = ImageWriter(file, disk, n_channels=n_channels, index_dtype=index_dtype(n_pixels))
        writer.add_group("features", jet_features)
        if truth:
            writer.add_group("truth", truth)
        yield writer
        writer.finish()


@dataclass(frozen=True)
class ImageFile:
    """A whole ``images.h5`` in memory: pixels as in the file, columns of jets by name, attributes.

    ``truth`` holds what a generator knew of each jet, (N,) float32 by name; empty where the file has none.
    """

    path: str
    indptr: NDArray[np.int64]
    index: NDArray[np.integer[Any]]
    value: NDArray[np.float32]
    jets: dict[str, NDArray[Any]]
    features: dict[str, NDArray[np.float32]]
    truth: dict[str, NDArray[np.float32]]
    attributes: dict[str, Any]

    def __len__(self) -> int:
        return len(self.indptr) - 1


def read_images(path: str | os.PathLike[str]) -> ImageFile:
    """Read an ``images.h5``.

    Raises
    ------
    InputError
        When it is not one, or is of a newer version.
    """
    with open_hdf5(path) as file:
        attributes = read_attributes(file, path, IMAGES_FORMAT)
        try:
            indptr = file["pixels/indptr"][:]
            return ImageFile(
                path=str(path),
                indptr=indptr,
                index=file["pixels/index"][:],
                value=file["pixels/value"][:],
                jets={name: file["jets"][name][:] for name in file["jets"]},
                features={name: file["features"][name][:] for name in file.get("features", {})},
                truth=read_truth(file, path, len(indptr) - 1),
                attributes=attributes,
            )
        except (KeyError, OSError) as error:
            raise InputError(f"{path}: this images file is incomplete: {error}") from error


def read_truth(file: Any, path: str | os.PathLike[str], n_jets: int) -> dict[str, NDArray[np.float32]]:
    """The columns of ``/truth`` of an open ``images.h5``; none where it has no such group.

    Raises
    ------
    InputError
        When a column's length is not that of the jets, or one of its numbers is NaN or infinite.
    """
    truth = {name: file["truth"][name][:] for name in file.get("truth", {})}
    for name, column in truth.items():
        if column.shape != (n_jets,):
            raise InputError(f"{path}: 'truth/{name}' has the shape {column.shape} for {n_jets} jets")
        if not (finite := np.isfinite(column)).all():
            at = int(np.flatnonzero(~finite)[0])
            raise InputError(f"{path}: 'truth/{name}' of jet {at} is {column[at]}: a truth must be known of all jets")
    return truth


def read_image_attributes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read only what describes an ``images.h5``; raises as `read_images`."""
    with open_hdf5(path) as file:
        return read_attributes(file, path, IMAGES_FORMAT)
