"""What a set of scores must be before a number is computed from it."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import EmptySampleError, InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BinarySample:
    """Checked scores of signal and background jets.

    Attributes
    ----------
    score
        (N,) the larger the more signal-like; all finite.
    is_signal
        (N,) true for signal.
    weight
        (N,); each class has a positive sum.
    derived
        What was computed from the sample and is wanted again, such as its ranks.
    """

    score: Floats
    is_signal: NDArray[np.bool_]
    weight: Floats
    derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def signal(self) -> tuple[Floats, Floats]:
        """Scores and weights of the signal jets."""
        return self.score[self.is_signal], self.weight[self.is_signal]

    @property
    def background(self) -> tuple[Floats, Floats]:
        """Scores and weights of the background jets."""
        return self.score[~self.is_signal], self.weight[~self.is_signal]


def check_finite(values: Floats, *, what: str) -> None:
    """Refuse NaN and infinite values, saying how many and where the first one is.

    Raises
    ------
    InputError
        When there is one.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        place = first[0] if len(first) == 1 else first
        raise InputError(
            f"{what}: {int(bad.sum())} of {bad.size} values are NaN or infinite, the first at {place} "
            f"({values[first]}); expected finite numbers"
        )


def check_weight(weight: ArrayLike | None, *, n_jets: int) -> Floats:
    """Give weights as float64, ones where there are none.

    Parameters
    ----------
    weight
        (N,) or None; of either sign, as those of a generator at next-to-leading order are.
    n_jets
        N.

    Returns
    -------
    numpy.ndarray
        (N,).

    Raises
    ------
    InputError
        For a wrong length, and NaN or infinite weights.
    """
    if weight is None:
        return np.ones(n_jets)
    checked = np.asarray(weight, dtype=np.float64)
    if checked.shape != (n_jets,):
        raise InputError(f"weight has shape {checked.shape}, expected ({n_jets},): one per jet")
    check_finite(checked, what="weight")
    return checked


def check_label(label: ArrayLike, *, n_jets: int, n_classes: int) -> NDArray[np.int64]:
    """Give labels as int64, each of them the number of a class.

    Returns
    -------
    numpy.ndarray
        (N,), in ``[0, n_classes)``.

    Raises
    ------
    InputError
        For a wrong length, labels that are no whole numbers, or labels out of range.
    """
    raw = np.asarray(label)
    if raw.shape != (n_jets,):
        raise InputError(f"label has shape {raw.shape}, expected ({n_jets},): one per jet")
    if raw.dtype.kind == "f":
        check_finite(raw.astype(np.float64), what="label")
    checked = raw.astype(np.int64)
    if not np.array_equal(checked, raw):
        raise InputError(f"label: {int((checked != raw).sum())} of {n_jets} are no whole numbers")
    outside = (checked < 0) | (checked >= n_classes)
    if outside.any():
        raise InputError(
            f"label: {int(outside.sum())} of {n_jets} are out of range (first {int(checked[outside][0])}), "
            f"expected 0 to {n_classes - 1}"
        )
    return checked


def make_binary_sample(score: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None) -> BinarySample:
    """Check scores, labels and weights of one signal against one background.

    Parameters
    ----------
    score
        (N,) the larger the more signal-like. Any range.
    label
        (N,) true or 1 for signal, false or 0 for background.
    weight
        (N,), of either sign. Without them every jet counts once.

    Raises
    ------
    InputError
        For NaN or infinite scores, labels that are neither 0 nor 1, bad weights, different lengths.
    EmptySampleError
        When a class has no jet, or its weights do not add up to more than zero.
    """
    values = np.asarray(score, dtype=np.float64)
    if values.ndim != 1:
        raise InputError(f"score has shape {values.shape}, expected (N,): one discriminant per jet")
    check_finite(values, what="score")
    is_signal = check_label(label, n_jets=len(values), n_classes=2).astype(bool)
    weights = check_weight(weight, n_jets=len(values))
    for name, members in (("signal", is_signal), ("background", ~is_signal)):
        if not members.any():
            raise EmptySampleError(f"none of {len(values)} jets is {name}; both classes are needed")
        if not weights[members].any():
            raise EmptySampleError(f"all {int(members.sum())} {name} jets have weight zero")
        if (total := float(weights[members].sum())) <= 0:
            raise EmptySampleError(
                f"the weights of {int(members.sum())} {name} jets add up to {total:g}; expected more than zero"
            )
    return BinarySample(values, is_signal, weights)
