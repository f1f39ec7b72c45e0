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
GROUPS = ("jets", "truth", "prediction")


@dataclass(frozen=True)
class Scores:
    """The scores of a tagger on labelled jets.

    ``score`` (N, K) are probabilities, ``label`` (N,) numbers into ``class_names``, ``weight`` (N,), ``jets``
    the columns ``pt, eta, phi, mass, …`` (N,) in GeV and radians. ``split`` says which jets these are.
    ``truth`` holds what a generator knew of them, ``prediction`` the ``energy`` and ``energy_err`` in GeV of a tagger
    that measures them, by name (N,); a tagger that measures energies alone has no column in ``score``.
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
    truth: dict[str, NDArray[Any]] = field(default_factory=dict)
    prediction: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)

    @property
    def has_identity(self) -> bool:
        """Whether the tagger tells classes apart."""
        return self.score.ndim != 2 or self.score.shape[1] > 0

    @property
    def has_energy(self) -> bool:
        """Whether the tagger measures energies."""
        return "energy" in self.prediction


def write_scores(path: str | os.PathLike[str], scores: Scores) -> None:
    """Write a ``scores.h5``; it appears under its name when it is whole."""
    with atomic_path(path) as partial, new_file(partial) as (file, _), interrupts_held():
        columns = {name: getattr(scores, name) for name in ("score", "label", "weight")}
        for group in GROUPS:
            columns |= {f"{group}/{name}": column for name, column in getattr(scores, group).items()}
        for name, column in columns.items():
            # HDF5 has no chunks of nothing.
            packed = {"compression": "gzip", "compression_opts": 1} if column.size or column.ndim == 1 else {}
            file.create_dataset(name, data=column, **packed)
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
            groups = {group: {name: file[group][name][:] for name in file.get(group, {})} for group in GROUPS}
            score, label, weight = file["score"][:], file["label"][:].astype(np.int64), file["weight"][:]
        except OSError as error:
            raise InputError(f"{path}: damaged or cut short: {error}") from error
    lengths = {"label": len(label), "weight": len(weight)}
    lengths |= {f"{group}/{name}": len(column) for group, found in groups.items() for name, column in found.items()}
    for name, length in lengths.items():
        if length != len(score):
            raise InputError(f"{path}: '{name}' has {length} jets, 'score' has {len(score)}")
    optional = {
        name: attributes[name] for name in ("bundle_id", "split", "model", "seed", "extra") if name in attributes
    }
    known: dict[str, Any] = optional | {name: groups[name] for name in ("truth", "prediction")}
    return Scores(score, label, weight, groups["jets"], tuple(attributes["class_names"]), **known)
