"""Jets of several files as one sample: their columns in memory, their pixels in memory or on disk."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hepcnn.data.compiled import fill_dense, gather_pixels, offsets_after
from hepcnn.data.pixel_files import PixelFiles
from hepcnn.errors import InputError
from hepcnn.images.grids import grid_from_record
from hepcnn.io.image_blocks import ImageColumns, read_image_columns

SHARED_ATTRIBUTES = ("grid", "channels", "preprocess", "jet_features", "truth", "class_names")


@dataclass(frozen=True)
class JetColumns:
    """What is known of jets beside their pixels.

    ``indptr`` (N+1,) counts the jets' pixels laid end to end; ``label`` (N,) numbers into ``class_names``; ``jets``,
    ``features`` and ``truth`` (what a generator knew) are columns (N,) by name; ``attributes`` are those that the files
    share.
    """

    indptr: NDArray[np.int64]
    label: NDArray[np.int64]
    weight: NDArray[np.float32]
    jets: Mapping[str, NDArray[Any]]
    features: Mapping[str, NDArray[np.float32]]
    class_names: tuple[str, ...]
    attributes: Mapping[str, Any]
    sources: Sequence[Mapping[str, Any]]
    truth: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, kw_only=True)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis of the grid."""
        return grid_from_record(self.attributes["grid"]).shape

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which axes of the grid close into a circle."""
        return grid_from_record(self.attributes["grid"]).periodic

    @property
    def channels(self) -> tuple[str, ...]:
        """What the pixels hold."""
        return tuple(self.attributes["channels"])

    def select(self, jets: NDArray[np.int64]) -> Self:
        """The jets with these numbers, in this order."""
        return replace(self, **self._select_columns(jets))

    def _select_columns(self, jets: NDArray[np.int64]) -> dict[str, Any]:
        return {
            "indptr": offsets_after(np.diff(self.indptr)[jets]),
            "label": self.label[jets],
            "weight": self.weight[jets],
            "jets": {name: column[jets] for name, column in self.jets.items()},
            "features": {name: column[jets] for name, column in self.features.items()},
            "truth": {name: column[jets] for name, column in self.truth.items()},
        }

    def describe_origin(self, jets: NDArray[np.int64]) -> list[str]:
        """Say of each of these jets in which file it was, and in which entry."""
        files = (self.sources[number]["path"] for number in self.jets["source_file"][jets])
        return [f"{file}, entry {entry}" for file, entry in zip(files, self.jets["source_entry"][jets], strict=True)]

    def stack_features(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Jet-level numbers side by side, (N, F).

        Raises
        ------
        InputError
            For one that the files do not hold.
        """
        missing = [name for name in names if name not in self.features]
        if missing:
            raise InputError(f"the images hold no jet feature {missing}; they hold {list(self.features)}")
        columns = [self.features[name] for name in names]
        return np.stack(columns, axis=1) if columns else np.zeros((len(self), 0), np.float32)


@dataclass(frozen=True)
class ImageDataset(JetColumns):
    """Jets with their pixels, all in memory (a jet takes some hundred bytes).

    ``index`` (nnz,), ``value`` (nnz, C) as in ``images.h5``.
    """

    index: NDArray[np.integer[Any]]
    value: NDArray[np.float32]

    def select(self, jets: NDArray[np.int64]) -> Self:
        """The jets with these numbers, in this order."""
        _, index, value = gather_pixels(np.asarray(jets, np.int64), self.indptr, self.index, self.value)
        return replace(self, **self._select_columns(jets), index=index, value=value)

    def to_dense(self, jets: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Dense images (N, C, and the axes of the grid) of some jets, by default all."""
        jets = np.arange(len(self)) if jets is None else np.asarray(jets, np.int64)
        n_channels, shape = self.value.shape[1], self.shape
        images = np.empty((len(jets), int(np.prod(shape)), n_channels), dtype=np.float32)
        fill_dense(images, jets, self.indptr, self.index, self.value)
        return np.ascontiguousarray(images.transpose(0, 2, 1)).reshape(len(jets), n_channels, *shape)


def read_columns(
    paths: Sequence[str | os.PathLike[str]], *, class_names: Sequence[str] = ()
) -> tuple[JetColumns, PixelFiles]:
    """Read what ``images.h5`` files hold beside pixels into one sample, in the order given.

    Parameters
    ----------
    paths
        The files. They must agree in grid, channels, preprocessing, jet features and classes.
    class_names
        If given, the classes that the files must have.

    Returns
    -------
    JetColumns
        The jets of all files.
    PixelFiles
        Reads their pixels.

    Raises
    ------
    InputError
        When a file cannot be read, or two do not fit together; the message names both and what differs.
    """
    if not paths:
        raise InputError("no images file given")
    files = [read_image_columns(path) for path in paths]
    first = files[0]
    for file in files[1:]:
        _check_alike(first, file)
    names = tuple(first.attributes["class_names"])
    if class_names and tuple(class_names) != names:
        raise InputError(f"{first.path}: made for the classes {names}, not {tuple(class_names)}: convert again")
    columns = _join(files, names)
    return columns, PixelFiles(files, n_grid_pixels=int(np.prod(columns.shape)))


def read_dataset(paths: Sequence[str | os.PathLike[str]], *, class_names: Sequence[str] = ()) -> ImageDataset:
    """Read ``images.h5`` files into memory, pixels and all; see `read_columns`."""
    return add_pixels(*read_columns(paths, class_names=class_names))


def add_pixels(columns: JetColumns, files: PixelFiles, jets: NDArray[np.int64] | None = None) -> ImageDataset:
    """Read the pixels of jets.

    Parameters
    ----------
    columns
        All jets of the files, or those of ``jets``.
    files
        Where the pixels are.
    jets
        The numbers of the columns' jets, rising; by default all.
    """
    _, index, value = files.read_range(0, len(columns)) if jets is None else files.read_jets(jets)
    known = {known.name: getattr(columns, known.name) for known in fields(JetColumns)}
    return ImageDataset(**known, index=index, value=value)


def _check_alike(first: ImageColumns, other: ImageColumns) -> None:
    for name in SHARED_ATTRIBUTES:
        if first.attributes[name] != other.attributes[name]:
            raise InputError(
                f"{other.path}: its {name} is {other.attributes[name]}, but that of {first.path} is "
                f"{first.attributes[name]}: convert both alike"
            )


def _join(files: list[ImageColumns], class_names: tuple[str, ...]) -> JetColumns:
    jets = {name: np.concatenate([file.jets[name] for file in files]) for name in files[0].jets}
    first_source = np.cumsum([0] + [len(file.attributes["sources"]) for file in files])
    jets["source_file"] = np.concatenate(
        [file.jets["source_file"] + start for file, start in zip(files, first_source[:-1], strict=True)]
    )
    return JetColumns(
        indptr=offsets_after(np.concatenate([np.diff(file.indptr) for file in files])),
        label=jets.pop("label").astype(np.int64),
        weight=jets.pop("weight"),
        jets=jets,
        features={name: np.concatenate([file.features[name] for file in files]) for name in files[0].features},
        truth={name: np.concatenate([file.truth[name] for file in files]) for name in files[0].truth},
        class_names=class_names,
        attributes={name: files[0].attributes[name] for name in (*SHARED_ATTRIBUTES, "radius")},
        sources=[source for file in files for source in file.attributes["sources"]],
    )
