"""Whether scores can be evaluated, and together: asked of each file as it is read, so that messages name it."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import EmptySampleError, HepcnnError, InputError
from hepcnn.evaluation.samples import Floats, check_finite, check_label, check_weight
from hepcnn.io.scores import Scores
from hepcnn.stages.energies import check_energies_of

Place = str | os.PathLike[str]

SAME = ("event_id", "pt", "eta", "phi", "mass")
"""Columns that tell whether two files hold the same jets."""


def check_file(place: Place, scores: Scores) -> None:
    """Check that scores can be evaluated.

    Parameters
    ----------
    place
        The file, for messages.
    scores
        What it holds.

    Raises
    ------
    InputError
        For NaN or infinite scores or weights, labels that are no number of a class, a wrong shape.
    EmptySampleError
        For a class without jets, with only zero weights, or whose weights do not add up to more than zero.
    """
    names = list(scores.class_names)
    try:
        values = np.asarray(scores.score)
        check_energies_of(scores)
        names = names if scores.has_identity else []
        if values.ndim != 2 or values.shape[1] != len(names):
            raise InputError(f"score has shape {values.shape}, expected (N, {len(names)}) for {', '.join(names)}")
        check_finite(values, what="score")
        label = check_label(scores.label, n_jets=len(values), n_classes=len(scores.class_names))
        weight = check_weight(scores.weight, n_jets=len(values))
        _check_classes(scores.class_names, label, weight)
    except HepcnnError as error:
        raise type(error)(f"{place}: {error}") from error


def _check_classes(names: Sequence[str], label: NDArray[np.int64], weight: Floats) -> None:
    counts, totals = (np.bincount(label, w, minlength=len(names)) for w in (None, weight))
    for number, name in enumerate(names):
        if not counts[number]:
            present = ", ".join(f"{one}: {int(n)}" for one, n in zip(names, counts, strict=True))
            raise EmptySampleError(f"no jet of class '{name}' (jets per class: {present}); both classes are needed")
        if totals[number] <= 0:
            mine = weight[label == number]
            if not mine.any():
                raise EmptySampleError(f"all {len(mine)} jets of class '{name}' have weight zero")
            total = f"add up to {totals[number]:g}, expected more than zero"
            raise EmptySampleError(f"the weights of {len(mine)} jets of class '{name}' {total}")


def check_alike(place: Place, scores: Scores, first_place: Place, first: Scores) -> None:
    """Check that two files are about the same jets in the same order.

    Parameters
    ----------
    place, scores
        A file and what it holds.
    first_place, first
        The one that it is compared with.

    Raises
    ------
    InputError
        Naming both files and what differs: classes, number of jets, labels, weights, or a column of both.
    """
    if tuple(scores.class_names) != tuple(first.class_names):
        names, others = (", ".join(one.class_names) for one in (scores, first))
        raise InputError(f"{place}: has the classes {names}, {first_place} has {others}: they cannot be compared")
    if len(scores) != len(first):
        raise InputError(
            f"{place}: has {len(scores)} jets, {first_place} has {len(first)}: these are not the same jets"
        )
    for what in ("label", "weight"):
        _compare(place, first_place, what, getattr(scores, what) != getattr(first, what))
    for what in SAME:
        if what in scores.jets and what in first.jets:
            one, other = (np.asarray(columns[what]) for columns in (scores.jets, first.jets))
            # A text file has fewer digits than a binary one.
            differ = (
                one != other if what == "event_id" else ~np.isclose(one, other, rtol=1e-4, atol=1e-6, equal_nan=True)
            )
            _compare(place, first_place, what, differ)


def _compare(place: Place, first_place: Place, what: str, differ: NDArray[np.bool_]) -> None:
    places = np.flatnonzero(differ)
    if len(places):
        raise InputError(
            f"{place}: its {what} differs from that of {first_place} for {len(places)} of {len(differ)} jets "
            f"(the first is number {places[0]}): these are not the same jets in the same order"
        )


def check_together(files: Mapping[Place, Scores]) -> None:
    """Check all files, and that each is about the jets of the first; raises as `check_file` and `check_alike`."""
    first_place, first = next(iter(files.items()))
    for place, scores in files.items():
        check_file(place, scores)
        if scores is not first:
            check_alike(place, scores, first_place, first)
