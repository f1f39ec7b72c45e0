"""Sparse images of several files as one sample in memory."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError
from hepcnn.io.store import ImageFile, read_images

SHARED_ATTRIBUTES = ("grid", "channels", "preprocess", "jet_features", "class_names")


@dataclass(frozen=True)
class ImageDataset:
    """Jets with their pixels, all in memory (a jet takes some hundred bytes).

    ``indptr`` (N+1,), ``index`` (nnz,), ``value`` (nnz, C) as in ``images.h5``; ``label`` (N,) numbers into
    ``class_names``; ``jets`` and ``features`` are columns (N,) by name; ``attributes`` are those the files share.
    """

    indptr: NDArray[np.int64]
    index: NDArray[np.integer[Any]]
    value: NDArray[np.float32]
    label: NDArray[np.int64]
    weight: NDArray[np.float32]
    jets: Mapping[str, NDArray[Any]]
    features: Mapping[str, NDArray[np.float32]]
    class_names: tuple[str, ...]
    attributes: Mapping[str, Any]
    sources: Sequence[Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.label)

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels in eta and phi."""
        return self.attributes["grid"]["n_eta"], self.attributes["grid"]["n_phi"]

    @property
    def channels(self) -> tuple[str, ...]:
        """What the pixels hold."""
        return tuple(self.attributes["channels"])

    def select(self, jets: NDArray[np.int64]) -> "ImageDataset":
        """The jets with these numbers, in this order."""
        counts = np.diff(self.indptr)[jets]
        indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
        take = np.arange(indptr[-1]) - np.repeat(indptr[:-1], counts) + np.repeat(self.indptr[jets], counts)
        return replace(
            self,
            indptr=indptr,
            index=self.index[take],
            value=self.value[take],
            label=self.label[jets],
            weight=self.weight[jets],
            jets={name: column[jets] for name, column in self.jets.items()},
            features={name: column[jets] for name, column in self.features.items()},
        )

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

    def to_dense(self, jets: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Dense images (N, C, n_eta, n_phi) of some jets, by default all."""
        part = self if jets is None else self.select(jets)
        n_channels, shape = part.value.shape[1], self.shape
        images = np.zeros((len(part), shape[0] * shape[1], n_channels), dtype=np.float32)
        images[np.repeat(np.arange(len(part)), np.diff(part.indptr)), part.index] = part.value
        return np.ascontiguousarray(images.transpose(0, 2, 1)).reshape(len(part), n_channels, *shape)


def read_dataset(paths: Sequence[str | os.PathLike[str]], *, class_names: Sequence[str] = ()) -> ImageDataset:
    """Read ``images.h5`` files into one sample, in the order given.

    Parameters
    ----------
    paths
        The files. They must agree in grid, channels, preprocessing, jet features and classes.
    class_names
        If given, the classes that the files must have.

    Raises
    ------
    InputError
        When a file cannot be read, or two do not fit together; the message names both and what differs.
    """
    if not paths:
        raise InputError("no images file given")
    files = [read_images(path) for path in paths]
    first = files[0]
    for file in files[1:]:
        _check_alike(first, file)
    names = tuple(first.attributes["class_names"])
    if class_names and tuple(class_names) != names:
        raise InputError(f"{first.path}: made for the classes {names}, not {tuple(class_names)}: convert again")
    return _join(files, names)


def _check_alike(first: ImageFile, other: ImageFile) -> None:
    for name in SHARED_ATTRIBUTES:
        if first.attributes[name] != other.attributes[name]:
            raise InputError(
                f"{other.path}: its {name} is {other.attributes[name]}, but that of {first.path} is "
                f"{first.attributes[name]}: convert both alike"
            )


def _join(files: list[ImageFile], class_names: tuple[str, ...]) -> ImageDataset:
    offsets = np.cumsum([0] + [len(file.index) for file in files])
    indptr = [file.indptr[1:] + offset for file, offset in zip(files, offsets[:-1], strict=True)]
    jets = {name: np.concatenate([file.jets[name] for file in files]) for name in files[0].jets}
    first_source = np.cumsum([0] + [len(file.attributes["sources"]) for file in files])
    jets["source_file"] = np.concatenate(
        [file.jets["source_file"] + start for file, start in zip(files, first_source[:-1], strict=True)]
    )
    return ImageDataset(
        indptr=np.concatenate([np.zeros(1, np.int64), *indptr]),
        index=np.concatenate([file.index for file in files]),
        value=np.concatenate([file.value for file in files]),
        label=jets.pop("label").astype(np.int64),
        weight=jets.pop("weight"),
        jets=jets,
        features={name: np.concatenate([file.features[name] for file in files]) for name in files[0].features},
        class_names=class_names,
        attributes={name: files[0].attributes[name] for name in (*SHARED_ATTRIBUTES, "radius")},
        sources=[source for file in files for source in file.attributes["sources"]],
    )
