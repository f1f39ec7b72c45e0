"""Temperature scaling: the one number that mends most of a network's miscalibration.

Shapes: N jets, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import EmptySampleError, InputError, require
from hepcnn.evaluation.samples import Floats, check_finite, check_label, check_weight

TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Temperature:
    """What the logarithms of probabilities are divided by.

    Attributes
    ----------
    value, err_stat
        Above 1 where the network was too sure of itself; the error from the finite number of jets.
    n_jets
        Effective number of jets that it was fitted on.
    """

    value: float
    err_stat: float
    n_jets: float

    def to_dict(self) -> Mapping[str, float]:
        """Plain values for JSON."""
        return {"value": self.value, "err_stat": self.err_stat, "n_jets": self.n_jets}


def fit_temperature(score: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None) -> Temperature | None:
    """Fit the temperature that makes probabilities likeliest, on jets that are not the test jets.

    Parameters
    ----------
    score
        (N, K) probabilities.
    label
        (N,) numbers of classes.
    weight
        (N,) of either sign: the cross-entropy is the sum that the weights say.

    Returns
    -------
    Temperature or None
        None where there is no best: each jet's likeliest class is its own, and every sharper score is better; or the
        scores are no better than guessing, and every flatter one is. Also None where negative weights turn the loss
        over, so that it has no minimum.

    Raises
    ------
    InputError, EmptySampleError
        For scores that are no probabilities, labels out of range, weights that do not add up to more than zero.

    Notes
    -----
    Temperature scaling (arXiv:1706.04599): the least weighted cross-entropy of ``softmax(log(p) / T)``, which is
    convex in ``1/T``. A probability that float32 rounds to 0 counts as 1e-38. The error is the sandwich estimate
    ``sqrt(Σ w² g²) / Σ w h`` with first and second derivatives of each jet's loss, propagated from ``1/T``.
    """
    logarithm, labels, weights = _prepare(score, label, weight)
    own = logarithm[np.arange(len(labels)), labels]
    used = weights != 0
    if (own[used] >= logarithm[used].max(axis=1)).all():
        return None
    optimize = require("scipy.optimize", extra="evaluate")

    def derivatives(inverse: float) -> tuple[Floats, Floats]:
        shifted = logarithm * inverse
        p = np.exp(shifted - shifted.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        mean = np.sum(p * logarithm, axis=1)
        return mean - own, np.sum(p * logarithm**2, axis=1) - mean**2

    def slope(log_inverse: float) -> float:
        return float(np.sum(weights * derivatives(np.exp(log_inverse))[0]))

    # The slope rises with 1/T; where it is positive even at T = 1000, guessing is better than these scores.
    if slope(-7.0) >= 0 or slope(12.0) <= 0:
        return None
    inverse = float(np.exp(optimize.brentq(slope, -7.0, 12.0, xtol=1e-10)))
    gradient, curvature = derivatives(inverse)
    if (bend := float(np.sum(weights * curvature))) <= 0:
        return None
    error = np.sqrt(np.sum((weights * gradient) ** 2)) / bend
    return Temperature(1 / inverse, float(error) / inverse**2, float(weights.sum() ** 2 / np.sum(weights**2)))


def _prepare(score: ArrayLike, label: ArrayLike, weight: ArrayLike | None) -> tuple[Floats, Any, Floats]:
    p = np.asarray(score, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 2:
        raise InputError(f"score has shape {p.shape}, expected (N, K): a probability for each of at least two classes")
    check_finite(p, what="score")
    if (p < 0).any():
        raise InputError(f"score: {int((p < 0).sum())} of {p.size} are negative, expected probabilities")
    labels = check_label(label, n_jets=len(p), n_classes=p.shape[1])
    weights = check_weight(weight, n_jets=len(p))
    if weights.sum() <= 0:
        raise EmptySampleError(f"the weights of {len(p)} jets add up to {weights.sum():g}, expected more than zero")
    return np.log(np.maximum(p, TINY)), labels, weights


def apply_temperature(score: ArrayLike, temperature: float) -> Floats:
    """Probabilities at a temperature: ``p^(1/T)``, normalised; (N, K) in and out, float64.

    The order of jets by the ratio of two classes stays as it is.

    Raises
    ------
    InputError
        For a temperature that is not positive, or scores that are no probabilities.
    """
    if not temperature > 0 or not np.isfinite(temperature):
        raise InputError(f"temperature = {temperature:g}, expected a positive number")
    p = np.asarray(score, dtype=np.float64)
    logarithm, _, _ = _prepare(p, np.zeros(len(p), np.int64), np.ones(len(p)))
    scaled = np.exp((logarithm - logarithm.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))
