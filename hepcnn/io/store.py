"""hepcnn's own files: ``images.h5`` and ``scores.h5``, readable with plain h5py."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hepcnn.atomic import atomic_path
from hepcnn.errors import InputError, did_you_mean
from hepcnn.io.hdf5 import open_hdf5

IMAGES_FORMAT, SCORES_FORMAT = "hepcnn-images", "hepcnn-scores"
VERSION = 1
REQUIRED_ATTRIBUTES = {
    IMAGES_FORMAT: ("version", "grid", "channels", "class_names", "preprocess", "jet_features", "radius", "sources"),
    SCORES_FORMAT: ("version", "class_names"),
}
REQUIRED_JET_COLUMNS = ("pt", "eta", "phi", "mass")
CHUNK = 1 << 15
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

    def __init__(self, file: Any, *, n_channels: int, jet_features: tuple[str, ...], index_dtype: Any) -> None:
        self._file = file
        self._n_jets = self._n_pixels = 0
        options: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        pixels = file.create_group("pixels")
        pixels.create_dataset("indptr", data=np.zeros(1, np.int64), maxshape=(None,), chunks=(CHUNK,), **options)
        pixels.create_dataset("index", (0,), index_dtype, maxshape=(None,), chunks=(CHUNK,), **options)
        pixels.create_dataset(
            "value", (0, n_channels), np.float32, maxshape=(None, n_channels), chunks=(CHUNK, n_channels), **options
        )
        jets = file.create_group("jets")
        for name, dtype in JET_DTYPES.items():
            jets.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(CHUNK,), **options)
        features = file.create_group("features")
        for name in jet_features:
            features.create_dataset(name, (0,), np.float32, maxshape=(None,), chunks=(CHUNK,), **options)

    def append(
        self,
        indptr: NDArray[np.int64],
        index: NDArray[np.integer[Any]],
        value: NDArray[np.float32],
        jets: Mapping[str, NDArray[Any]],
        features: Mapping[str, NDArray[Any]],
    ) -> None:
        """Add a block of jets: its pixels as in `hepcnn.images.pixelate.Pixels`, one column per jet quantity."""
        n_jets, n_pixels = len(indptr) - 1, len(index)
        _extend(self._file["pixels/indptr"], self._n_jets + 1, indptr[1:] + self._n_pixels)
        _extend(self._file["pixels/index"], self._n_pixels, index)
        _extend(self._file["pixels/value"], self._n_pixels, value)
        for group, columns in (("jets", jets), ("features", features)):
            for name, column in columns.items():
                _extend(self._file[group][name], self._n_jets, column)
        self._n_jets += n_jets
        self._n_pixels += n_pixels

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Store what describes the file; anything but a text or a number is stored as JSON."""
        _set_attributes(self._file, attributes)


def _extend(dataset: Any, start: int, values: NDArray[Any]) -> None:
    dataset.resize(start + len(values), axis=0)
    dataset[start:] = values


def _set_attributes(file: Any, attributes: Mapping[str, Any]) -> None:
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
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        _set_attributes(file, {"format": IMAGES_FORMAT, "version": VERSION})
        index_dtype = np.uint16 if n_pixels <= 1 << 16 else np.uint32
        yield ImageWriter(file, n_channels=n_channels, jet_features=jet_features, index_dtype=index_dtype)


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

    ``score`` (N, K) float32 are probabilities, ``label`` (N,) numbers into ``class_names``, ``weight`` (N,), ``jets``
    the columns ``pt, eta, phi, mass, …`` (N,) in GeV and radians. ``split`` says which jets these are.
    """

    score: NDArray[np.float32]
    label: NDArray[np.int64]
    weight: NDArray[np.float32]
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
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
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
