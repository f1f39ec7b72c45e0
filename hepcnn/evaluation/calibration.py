"""Is a probability of 0.8 right in 80 % of cases? And the one number that mends most of it.

Shapes: N jets, K classes, B bins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import EmptySampleError, InputError, require
from hepcnn.evaluation.intervals import Measurement, clopper_pearson
from hepcnn.evaluation.samples import Floats, check_finite, check_label, check_weight, make_binary_sample

N_BINS = 15
"""Of equal width in the probability, as in arXiv:1706.04599."""

TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Reliability:
    """What a probability says and what comes true, in bins of the probability.

    Attributes
    ----------
    edges
        (B+1,) from 0 to 1.
    confidence
        (B,) mean probability of the jets in each bin; NaN without jets, as for the others.
    fraction, low, high
        (B,) fraction of signal among them, and its Clopper–Pearson interval.
    n_jets
        (B,) effective numbers of jets.
    share
        (B,) fraction of the sum of weights.
    """

    edges: Floats
    confidence: Floats
    fraction: Floats
    low: Floats
    high: Floats
    n_jets: Floats
    share: Floats

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of fraction and confidence, over jets."""
        return float(np.nansum(self.share * np.abs(self.fraction - self.confidence)))

    @property
    def expected_error(self) -> float:
        """What the finite number of jets alone would give for a perfectly calibrated score."""
        spread = np.sqrt(self.confidence * (1 - self.confidence) / np.where(self.n_jets > 0, self.n_jets, np.nan))
        return float(np.nansum(self.share * spread) * np.sqrt(2 / np.pi))

    def to_dict(self) -> dict[str, list[float | None]]:
        """Plain values for JSON; null for what a bin without jets has not."""
        names = ("edges", "confidence", "fraction", "low", "high", "n_jets", "share")
        return {name: [float(x) if np.isfinite(x) else None for x in getattr(self, name)] for name in names}


def make_reliability(
    probability: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None, *, n_bins: int = N_BINS
) -> Reliability:
    """Compare probabilities with what came true: the reliability diagram, as numbers.

    Parameters
    ----------
    probability
        (N,) of being signal, in [0, 1].
    label, weight
        (N,) as in `hepcnn.evaluation.metrics`; weights not negative.
    n_bins
        Bins of equal width.

    Raises
    ------
    InputError, EmptySampleError
        For unusable scores, probabilities outside [0, 1], negative weights.

    Notes
    -----
    A probability is calibrated for one mixture of classes: these are the fractions of the sample at hand. K classes are
    judged by their likeliest: give its probability, and whether it was right as the label.
    """
    sample = make_binary_sample(probability, label, weight)
    return _bin(sample.score, sample.is_signal, check_weight(weight, n_jets=len(sample.score)), n_bins)


def _bin(values: Floats, is_right: Any, weights: Floats, n_bins: int) -> Reliability:
    if ((values < 0) | (values > 1)).any():
        raise InputError(f"probabilities lie between {values.min():g} and {values.max():g}, expected 0 to 1")
    number = np.minimum((values * n_bins).astype(np.int64), n_bins - 1)
    total, squared, confidence, right = (
        np.bincount(number, x, minlength=n_bins) for x in (weights, weights**2, weights * values, weights * is_right)
    )
    filled = total > 0
    divisor = np.where(filled, total, np.nan)
    n_jets = np.where(filled, total**2 / np.where(filled, squared, 1.0), 0.0)
    fraction = right / divisor
    low, high = clopper_pearson(np.where(filled, fraction, 0.0) * n_jets, n_jets)
    edges = np.linspace(0.0, 1.0, n_bins + 1)
    return Reliability(edges, confidence / divisor, fraction, low, high, n_jets, total / total.sum())


def calibration_error(
    probability: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    n_bins: int = N_BINS,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> tuple[Measurement, float]:
    """Expected calibration error, and what a perfectly calibrated score would have on as many jets.

    Parameters
    ----------
    probability, label, weight, n_bins
        As in `make_reliability`.
    n_bootstrap
        Resamplings for the error.
    seed
        Of the resampling.

    Returns
    -------
    tuple
        ``Σ share_b |fraction_b - confidence_b|`` over the bins (arXiv:1706.04599) with its bootstrap error, and the
        value from fluctuations alone, ``Σ share_b sqrt(2 c_b (1 - c_b) / (π n_b))``: the number is never 0, and only
        what lies above the second is a fault of the score.

    Notes
    -----
    A resampling draws signal and background of each bin as `hepcnn.evaluation.bootstrap` does, each with the mean
    confidence that it has in the bin.
    """
    sample = make_binary_sample(probability, label, weight)
    weights = check_weight(weight, n_jets=len(sample.score))
    whole = _bin(sample.score, sample.is_signal, weights, n_bins)
    rng = np.random.default_rng(seed)
    drawn, confident = [], []
    number = np.minimum((sample.score * n_bins).astype(np.int64), n_bins - 1)
    for members in (sample.is_signal, ~sample.is_signal):
        w, p, where = weights[members], sample.score[members], number[members]
        total, squared, sums = (np.bincount(where, x, minlength=n_bins) for x in (w, w**2, w * p))
        filled = total > 0
        mean = np.where(filled, total**2 / np.where(filled, squared, 1.0), 0.0)
        scale = np.where(filled, squared / np.where(filled, total, 1.0), 0.0)
        drawn.append(rng.poisson(mean, (n_bootstrap, n_bins)) * scale)
        confident.append(drawn[-1] * np.where(filled, sums / np.where(filled, total, 1.0), 0.0))
    # share · |fraction - confidence| is |right - Σ confidence| over the sum of all weights.
    distance = np.abs(drawn[0] - confident[0] - confident[1]).sum(axis=1)
    values = distance / np.maximum((drawn[0] + drawn[1]).sum(axis=1), np.finfo(np.float64).tiny)
    return Measurement(whole.error, float(np.std(values, ddof=1))), whole.expected_error


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
        (N,) not negative.

    Returns
    -------
    Temperature or None
        None where there is no best: each jet's likeliest class is its own, and every sharper score is better; or the
        scores are no better than guessing, and every flatter one is.

    Raises
    ------
    InputError, EmptySampleError
        For scores that are no probabilities, labels out of range, weights that are negative or all zero.

    Notes
    -----
    Temperature scaling (arXiv:1706.04599): the least weighted cross-entropy of ``softmax(log(p) / T)``, which is
    convex in ``1/T``. A probability that float32 rounds to 0 counts as 1e-38. The error is the sandwich estimate
    ``sqrt(Σ w² g²) / Σ w h`` with first and second derivatives of each jet's loss, propagated from ``1/T``.
    """
    logarithm, labels, weights = _prepare(score, label, weight)
    own = logarithm[np.arange(len(labels)), labels]
    used = weights > 0
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
    if slope(-7.0) >= 0:
        return None
    inverse = float(np.exp(optimize.brentq(slope, -7.0, 12.0, xtol=1e-10)))
    gradient, curvature = derivatives(inverse)
    error = np.sqrt(np.sum((weights * gradient) ** 2)) / np.sum(weights * curvature)
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
        raise EmptySampleError(f"none of {len(p)} jets has a weight above zero")
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
