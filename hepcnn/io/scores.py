"""``scores.h5``: what a tagger says of labelled jets, readable with plain h5py."""

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.atomic import atomic_path, interrupts_held
from hepcnn.errors import InputError, did_you_mean
from hepcnn.io.attributes import SCORES_FORMAT, VERSION, read_attributes, set_attributes
from hepcnn.io.hdf5 import open_hdf5
from hepcnn.io.hdf5_writing import new_file

REQUIRED_JET_COLUMNS = ("pt", "eta", "phi", "mass")


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
    with atomic_path(path) as partial, new_file(partial) as (file, _), interrupts_held():
        for name in ("score", "label", "weight"):
            file.create_dataset(name, data=getattr(scores, name), compression="gzip", compression_opts=1)
        for name, column in scores.jets.items():
            file.create_dataset(f"jets/{name}", data=column, compression="gzip", compression_opts=1)
        fields = ("bundle_id", "split", "model", "seed", "extra")
        attributes = {"format": SCORES_FORMAT, "version": VERSION, "class_names": list(scores.class_names)}
        set_attributes(file, attributes | {name: getattr(scores, name) for name in fields})


def read_scores(path: str | os.PathLike[str]) -> Scores:
    """Read a ``scores.h5``.

    Raises
    ------
    InputError
        When it is not one, or a dataset is missing or has another length.
    """
    with open_hdf5(path) as file:
        attributes = read_attributes(file, path, SCORES_FORMAT)
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
