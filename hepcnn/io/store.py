"""hepcnn's own files: ``images.h5`` and ``scores.h5``, readable with plain h5py."""

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from hepcnn.atomic import atomic_path, interrupts_held
from hepcnn.errors import InputError, did_you_mean
from hepcnn.io.hdf5 import open_hdf5

IMAGES_FORMAT, SCORES_FORMAT = "hepcnn-images", "hepcnn-scores"
VERSION = 1
REQUIRED_ATTRIBUTES = {
    IMAGES_FORMAT: ("version", "grid", "channels", "class_names", "preprocess", "jet_features", "radius", "sources"),
    SCORES_FORMAT: ("version", "class_names"),
}
REQUIRED_JET_COLUMNS = ("pt", "eta", "phi", "mass")
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


class _Column:
    """A dataset that grows by blocks of rows, written in whole chunks."""

    def __init__(self, dataset: Any) -> None:
        self._dataset, self._chunk = dataset, dataset.chunks[0]
        self._tail = np.zeros((0, *dataset.shape[1:]), dataset.dtype)
        self._n_written = 0

    def append(self, values: NDArray[Any]) -> None:
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
            self._dataset.id.write_direct_chunk(place, _deflate(rows[first : first + self._chunk]))

    def finish(self) -> None:
        """Write what fills no chunk."""
        if len(self._tail):
            self._dataset.resize(self._n_written + len(self._tail), axis=0)
            self._dataset[self._n_written :] = self._tail


def _deflate(rows: NDArray[Any]) -> bytes:
    """A chunk as HDF5's filters shuffle and gzip would write it.

    ISA-L deflates some five times as fast as the zlib that HDF5 has, and any reader inflates its chunks.
    """
    shuffled = np.ascontiguousarray(rows).view(np.uint8).reshape(-1, rows.dtype.itemsize).T
    return bytes(isal_zlib.compress(np.ascontiguousarray(shuffled), 1))


class ImageWriter:
    """Fills an ``images.h5`` block by block; use `open_image_writer`."""

    def __init__(
        self, file: Any, disk: "_Disk", *, n_channels: int, jet_features: tuple[str, ...], index_dtype: Any
    ) -> None:
        self._file, self._disk = file, disk
        self._n_pixels = 0
        self._columns: dict[str, _Column] = {}
        with interrupts_held():
            self._add_columns(n_channels, jet_features, index_dtype)

    def _add_columns(self, n_channels: int, jet_features: tuple[str, ...], index_dtype: Any) -> None:
        self._add("pixels/indptr", np.int64)
        self._columns["pixels/indptr"].append(np.zeros(1, np.int64))
        self._add("pixels/index", index_dtype)
        # Values hardly shrink, and deflating them would take as long as reading the input.
        self._add("pixels/value", np.float32, n_channels, compress=False)
        for name, dtype in JET_DTYPES.items():
            self._add(f"jets/{name}", dtype)
        self._file.create_group("features")
        for name in jet_features:
            self._add(f"features/{name}", np.float32)

    def _add(self, name: str, dtype: Any, *width: int, compress: bool = True) -> None:
        options: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if compress else {}
        dataset = self._file.create_dataset(
            name, (0, *width), dtype, maxshape=(None, *width), chunks=(CHUNK, *width), **options
        )
        self._columns[name] = _Column(dataset)

    def append(
        self,
        indptr: NDArray[np.int64],
        index: NDArray[np.integer[Any]],
        value: NDArray[np.float32],
        jets: Mapping[str, NDArray[Any]],
        features: Mapping[str, NDArray[Any]],
    ) -> None:
        """Add a block of jets: its pixels as in `hepcnn.images.pixelate.Pixels`, one column per jet quantity."""
        with interrupts_held():
            self._columns["pixels/indptr"].append(indptr[1:] + self._n_pixels)
            self._columns["pixels/index"].append(index)
            self._columns["pixels/value"].append(value)
            for group, columns in (("jets", jets), ("features", features)):
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
        """Read columns of the jets back, block by block, after `finish`."""
        datasets = {name: self._file["jets"][name] for name in names}
        for start in range(0, len(datasets[names[0]]), BLOCK):
            with interrupts_held():
                block = {name: dataset[start : start + BLOCK] for name, dataset in datasets.items()}
            yield block

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Store what describes the file; anything but a text or a number is stored as JSON."""
        _set_attributes(self._file, attributes)


def index_dtype(n_pixels: int) -> Any:
    """The type in which numbers of so many pixels are stored."""
    return np.uint16 if n_pixels <= 1 << 16 else np.uint32


def _set_attributes(file: Any, attributes: Mapping[str, Any]) -> None:
    with interrupts_held():
        for name, value in attributes.items():
            file.attrs[name] = value if isinstance(value, str | int | float) else json.dumps(value)


@contextlib.contextmanager
def open_image_writer(
    path: str | os.PathLike[str], *, n_pixels: int, n_channels: int, jet_features: tuple[str, ...] = ()
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
    """
    # Since version 1.8 of HDF5 attributes, such as a list of many sources, may be longer than 64 kB.
    with atomic_path(path) as partial, _new_file(partial, libver=("v108", "v108")) as (file, disk):
        _set_attributes(file, {"format": IMAGES_FORMAT, "version": VERSION})
        writer = ImageWriter(
            file, disk, n_channels=n_channels, jet_features=jet_features, index_dtype=index_dtype(n_pixels)
        )
        yield writer
        writer.finish()


class _Disk(io.FileIO):
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
def _new_file(path: os.PathLike[str], **options: Any) -> Iterator[tuple[Any, _Disk]]:
    """A new HDF5 file, and the file on disk below it; raises ``OSError`` at the end if it could not be written."""
    with _Disk(path, "w+b") as disk:
        with interrupts_held():
            file = h5py.File(disk, "w", **options)
        try:
            yield file, disk
        finally:
            with interrupts_held():
                file.close()
        disk.check()


@dataclass(frozen=True)
class ImageFile:
    """A whole ``images.h5`` in memory: pixels as in the file, jets' and features' columns by name, attributes."""

    path: str
    indptr: NDArray[np.int64]
    index: NDArray[np.integer[Any]]
    value: NDArray[np.float32]
    jets: dict[str, NDArray[Any]]
    features: dict[str, NDArray[np.float32]]
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
        attributes = _read_attributes(file, path, IMAGES_FORMAT)
        try:
            return ImageFile(
                path=str(path),
                indptr=file["pixels/indptr"][:],
                index=file["pixels/index"][:],
                value=file["pixels/value"][:],
                jets={name: file["jets"][name][:] for name in file["jets"]},
                features={name: file["features"][name][:] for name in file.get("features", {})},
                attributes=attributes,
            )
        except (KeyError, OSError) as error:
            raise InputError(f"{path}: this images file is incomplete: {error}") from error


def read_image_attributes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read only what describes an ``images.h5``; raises as `read_images`."""
    with open_hdf5(path) as file:
        return _read_attributes(file, path, IMAGES_FORMAT)


def _read_attributes(file: Any, path: str | os.PathLike[str], expected: str) -> dict[str, Any]:
    found = file.attrs.get("format")
    if found != expected:
        raise InputError(
            f"{path}: expected a file of format '{expected}', found {f'{found!r}' if found else 'no format attribute'}"
        )
    missing = [name for name in REQUIRED_ATTRIBUTES[expected] if name not in file.attrs]
    if missing:
        raise InputError(f"{path}: incomplete: no attribute {', '.join(missing)}")
    if file.attrs["version"] > VERSION:
        raise InputError(f"{path}: version {file.attrs['version']} is newer than this hepcnn knows ({VERSION})")
    return {name: _parse_attribute(value) for name, value in file.attrs.items()}


def _parse_attribute(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class Scores:
    """The scores of a tagger on labelled jets.

    ``score`` (N, K) are probabilities, ``label`` (N,) numbers into ``class_names``, ``weight`` (N,), ``jets``
    the columns ``pt, eta, phi, mass, …`` (N,) in GeV and radians. ``split`` says which jets these are.
    """

    score: NDArray[np.floating[Any]]
    label: NDArray[np.int64]
    weight: NDArray[np.floating[Any]]
    jets: dict[str, NDArray[Any]]
    class_names: tuple[str, ...]
    bundle_id: str = ""
    split: str = "test"
    model: str = ""
    seed: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)


def write_scores(path: str | os.PathLike[str], scores: Scores) -> None:
    """Write a ``scores.h5``; it appears under its name when it is whole."""
    with atomic_path(path) as partial, _new_file(partial) as (file, _), interrupts_held():
        for name in ("score", "label", "weight"):
            file.create_dataset(name, data=getattr(scores, name), compression="gzip", compression_opts=1)
        for name, column in scores.jets.items():
            file.create_dataset(f"jets/{name}", data=column, compression="gzip", compression_opts=1)
        fields = ("bundle_id", "split", "model", "seed", "extra")
        attributes = {"format": SCORES_FORMAT, "version": VERSION, "class_names": list(scores.class_names)}
        _set_attributes(file, attributes | {name: getattr(scores, name) for name in fields})


def read_scores(path: str | os.PathLike[str]) -> Scores:
    """Read a ``scores.h5``.

    Raises
    ------
    InputError
        When it is not one, or a dataset is missing or has another length.
    """
    with open_hdf5(path) as file:
        attributes = _read_attributes(file, path, SCORES_FORMAT)
        for name in ("score", "label", "weight", "jets"):
            if name not in file:
                raise InputError(f"{path}: no dataset '{name}'{did_you_mean(name, file)}")
        for name in REQUIRED_JET_COLUMNS:
            if name not in file["jets"]:
                raise InputError(f"{path}: no dataset 'jets/{name}'{did_you_mean(name, file['jets'])}")
        try:
            columns = {name: file["jets"][name][:] for name in file["jets"]}
            score, label, weight = file["score"][:], file["label"][:].astype(np.int64), file["weight"][:]
        except OSError as error:
            raise InputError(f"{path}: damaged or cut short: {error}") from error
    lengths = {"label": len(label), "weight": len(weight)} | {f"jets/{name}": len(v) for name, v in columns.items()}
    for name, length in lengths.items():
        if length != len(score):
            raise InputError(f"{path}: '{name}' has {length} jets, 'score' has {len(score)}")
    optional = {
        name: attributes[name] for name in ("bundle_id", "split", "model", "seed", "extra") if name in attributes
    }
    return Scores(score, label, weight, columns, tuple(attributes["class_names"]), **optional)
