"""Is a probability of 0.8 right in 80 % of cases?

Shapes: N jets, B bins.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import InputError
from hepcnn.evaluation.intervals import Measurement, clopper_pearson
from hepcnn.evaluation.ranking import pool_negative
from hepcnn.evaluation.samples import BinarySample, Floats, make_binary_sample

N_BINS = 15
"""Of equal width in the probability, as in arXiv:1706.04599."""


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
        (N,) as in `hepcnn.evaluation.metrics`.
    n_bins
        Bins of equal width. Where the weights of a class in a bin add up to less than nothing, neighbouring bins are
        joined as neighbouring scores are by `hepcnn.evaluation.ranking.rank_sample`; there are fewer bins then.

    Raises
    ------
    InputError, EmptySampleError
        For unusable scores, or probabilities outside [0, 1].

    Notes
    -----
    A probability is calibrated for one mixture of classes: these are the fractions of the sample at hand. K classes are
    judged by their likeliest: give its probability, and whether it was right as the label.
    """
    return reliability_of_sample(make_binary_sample(probability, label, weight), n_bins=n_bins)


def reliability_of_sample(sample: BinarySample, *, n_bins: int = N_BINS) -> Reliability:
    """The reliability of a checked sample; see `make_reliability`."""
    return _bin(sample, n_bins).reliability()


@dataclass(frozen=True)
class _Bins:
    """Sums in bins of the probability, (2, B), signal first: weights, squared weights, weights times probability."""

    edges: Floats
    total: Floats
    squared: Floats
    confidence: Floats

    def reliability(self) -> Reliability:
        total, squared = self.total.sum(axis=0), self.squared.sum(axis=0)
        filled = total > 0
        divisor = np.where(filled, total, np.nan)
        n_jets = np.where(filled, total**2 / np.where(filled, squared, 1.0), 0.0)
        fraction = self.total[0] / divisor
        low, high = clopper_pearson(np.where(filled, fraction, 0.0) * n_jets, n_jets)
        confidence = self.confidence.sum(axis=0) / divisor
        return Reliability(self.edges, confidence, fraction, low, high, n_jets, total / total.sum())


def _bin(sample: BinarySample, n_bins: int) -> _Bins:
    values, edges = sample.score, np.linspace(0.0, 1.0, n_bins + 1)
    if values.min() < 0 or values.max() > 1:
        raise InputError(f"probabilities lie between {values.min():g} and {values.max():g}, expected 0 to 1")
    number = np.minimum((values * n_bins).astype(np.int64), n_bins - 1)
    # Both classes at once: signal in the first half of the bins, background in the second.
    place = number + n_bins * ~sample.is_signal
    total, squared, confidence = (
        np.bincount(place, x, minlength=2 * n_bins).reshape(2, n_bins).astype(np.float64)
        for x in (sample.weight, sample.weight**2, sample.weight * values)
    )
    if (total >= 0).all():
        return _Bins(edges, total, squared, confidence)
    first = np.flatnonzero(np.diff(pool_negative(*total), prepend=-1))
    total, squared, confidence = (np.add.reduceat(x, first, axis=1) for x in (total, squared, confidence))
    edges = np.append(edges[first], 1.0)
    # Negative weights may put the mean of a bin beside it.
    return _Bins(edges, np.maximum(total, 0.0), squared, np.clip(confidence, total * edges[:-1], total * edges[1:]))


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
    return calibration_of_sample(sample, n_bins=n_bins, n_bootstrap=n_bootstrap, seed=seed)


def calibration_of_sample(
    sample: BinarySample, *, n_bins: int = N_BINS, n_bootstrap: int = 1000, seed: int = 0
) -> tuple[Measurement, float]:
    """The calibration error of a checked sample; see `calibration_error`."""
    bins = _bin(sample, n_bins)
    whole, rng = bins.reliability(), np.random.default_rng(seed)
    filled = bins.total > 0
    mean = np.where(filled, bins.total**2 / np.where(filled, bins.squared, 1.0), 0.0)
    scale = np.where(filled, bins.squared / np.where(filled, bins.total, 1.0), 0.0)
    drawn = [rng.poisson(mean[row], (n_bootstrap, mean.shape[1])) * scale[row] for row in (0, 1)]
    per_weight = np.where(filled, bins.confidence / np.where(filled, bins.total, 1.0), 0.0)
    # share · |fraction - confidence| is |right - Σ confidence| over the sum of all weights.
    distance = np.abs(drawn[0] - drawn[0] * per_weight[0] - drawn[1] * per_weight[1]).sum(axis=1)
    values = distance / np.maximum((drawn[0] + drawn[1]).sum(axis=1), np.finfo(np.float64).tiny)
    return Measurement(whole.error, float(np.std(values, ddof=1))), whole.expected_error
