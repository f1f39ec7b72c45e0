"""Who is ahead, and by how many errors: differences between two taggers on the same jets.

The two are right and wrong about much the same jets, so the error of their difference is smaller than their own errors
suggest. Everything here is paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import InputError
from hepcnn.evaluation.intervals import ONE_SIGMA
from hepcnn.evaluation.metrics import placements, rejection_at, variance_of_mean
from hepcnn.evaluation.samples import BinarySample, Floats, make_binary_sample


@dataclass(frozen=True)
class Difference:
    """First tagger minus second.

    Attributes
    ----------
    value
        The difference; positive where the first is better.
    err_stat
        Its standard error over jets, with what both taggers have in common taken out.
    n_sigma
        How many standard errors the first is ahead (negative: behind); 0 for two taggers that order the jets alike.
    is_limit
        Whether a lower limit stands in for one of the two, so that ``value`` and ``err_stat`` are only indications.
    """

    value: float
    err_stat: float
    n_sigma: float
    is_limit: bool = False


def _per_seed(
    score: ArrayLike, label: ArrayLike, weight: ArrayLike | None, *, n_jets: int | None = None
) -> list[BinarySample]:
    """Check scores (N,) or (S, N); the samples of one tagger share labels and weights."""
    scores = np.atleast_2d(np.asarray(score, dtype=np.float64))
    if scores.ndim != 2 or not len(scores) or (n_jets is not None and scores.shape[1] != n_jets):
        expected = "(N,) or (S, N)" if n_jets is None else f"{n_jets} jets as for the first tagger"
        raise InputError(f"scores have shape {np.shape(score)}, expected {expected}")
    return [make_binary_sample(one, label, weight) for one in scores]


def _pair(
    score_a: ArrayLike, score_b: ArrayLike, label: ArrayLike, weight: ArrayLike | None
) -> tuple[list[BinarySample], list[BinarySample]]:
    first = _per_seed(score_a, label, weight)
    return first, _per_seed(score_b, label, weight, n_jets=len(first[0].score))


def _difference_of_means(values: Sequence[tuple[Floats, Floats]]) -> Difference:
    """Sum the variances of the last mean's independent parts: (per-jet difference, weight) of each."""
    value, variance = 0.0, 0.0
    for change, weights in values:
        value = float(np.average(change, weights=weights))
        variance += variance_of_mean(change, weights)
    error = float(np.sqrt(variance))
    return Difference(value, error, value / error if error > 0 else 0.0)


def compare_auc(
    score_a: ArrayLike, score_b: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None
) -> Difference:
    """Difference of two AUCs on the same jets, with DeLong's covariance.

    Parameters
    ----------
    score_a, score_b
        (N,) of one training, or (S, N) of S trainings, whose mean AUC is then compared.
    label, weight
        (N,) as in `hepcnn.evaluation.metrics`.

    Notes
    -----
    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837, doi:10.2307/2531595: the variance of the difference is
    that of the per-jet differences of placement values. Weighted as in `hepcnn.evaluation.metrics.auc`. A class with a
    single effective jet gives a NaN error and no standard errors. The spread over trainings is not in the error.
    """
    a, b = _pair(score_a, score_b, label, weight)
    placed_a, placed_b = (np.mean([np.concatenate(placements(s)) for s in one], axis=0) for one in (a, b))
    weights = a[0].signal[1], a[0].background[1]
    n_signal = len(weights[0])
    change = placed_a - placed_b
    return _difference_of_means([(change[:n_signal], weights[0]), (change[n_signal:], weights[1])])


def compare_accuracy(
    score_a: ArrayLike,
    score_b: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    threshold: float = 0.5,
) -> Difference:
    """Difference of two accuracies on the same jets: only jets that one gets right and the other wrong count.

    Parameters
    ----------
    score_a, score_b
        (N,), or (S, N) of S trainings.
    label, weight
        (N,) as in `hepcnn.evaluation.metrics`.
    threshold
        Of both.

    Notes
    -----
    The variance is that of the per-jet difference of being right (as in McNemar, doi:10.1007/BF02295996).
    """
    a, b = _pair(score_a, score_b, label, weight)
    right_a, right_b = (np.mean([(s.score >= threshold) == s.is_signal for s in one], axis=0) for one in (a, b))
    return _difference_of_means([(right_a - right_b, a[0].weight)])


def compare_rejection(
    score_a: ArrayLike,
    score_b: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    eps_s: float,
    n_bootstrap: int = 200,
    seed: int = 0,
) -> Difference:
    """Difference of two rejections on the same jets, with a paired bootstrap over jets.

    Parameters
    ----------
    score_a, score_b
        (N,) of one training, or (S, N) of S trainings, whose mean rejection is then compared.
    label, weight
        (N,) as in `hepcnn.evaluation.metrics`.
    eps_s
        Signal efficiency, in (0, 1).
    n_bootstrap
        Number of resamplings, at least 10; signal and background are resampled apart, all scores see the same.
    seed
        Of the resampling.

    Notes
    -----
    Efron, Ann. Statist. 7 (1979) 1, doi:10.1214/aos/1176344552. ``n_sigma`` is counted in eps_b, which unlike its
    inverse is near Gaussian and defined with no background left. ``err_stat`` is half of the central 68.3 % of the
    differences of rejections, where a resampling without background counts as half a jet.
    """
    if n_bootstrap < 10:
        raise InputError(f"n_bootstrap = {n_bootstrap}, expected at least 10")
    a, b = _pair(score_a, score_b, label, weight)
    measured = [[rejection_at(s.score, label, weight, eps_s=eps_s) for s in one] for one in (a, b)]
    value = float(np.mean([m.value for m in measured[0]]) - np.mean([m.value for m in measured[1]]))
    ranked = [[_Ranked(sample) for sample in one] for one in (a, b)]
    rng = np.random.default_rng(seed)
    weights = a[0].background[1]
    half_jet = 0.5 * float((weights**2).sum() / weights.sum() ** 2)
    eps_b, rejection = np.empty((2, n_bootstrap + 1)), np.empty((2, n_bootstrap + 1))
    for replica in range(n_bootstrap + 1):
        # The first is the sample itself.
        count = np.ones(len(a[0].score)) if replica == 0 else _resample(a[0], rng)
        for which in (0, 1):
            per_seed = np.array([r.eps_b_at(count, eps_s) for r in ranked[which]])
            eps_b[which, replica] = per_seed.mean()
            rejection[which, replica] = (1.0 / np.maximum(per_seed, half_jet)).mean()
    ahead = eps_b[1] - eps_b[0]
    spread = float(np.std(ahead[1:], ddof=1))
    low, high = np.quantile(np.diff(rejection[::-1, 1:], axis=0), [(1 - ONE_SIGMA) / 2, (1 + ONE_SIGMA) / 2])
    is_limit = any(m.is_lower_limit for one in measured for m in one)
    n_sigma = float(ahead[0]) / spread if spread > 0 else 0.0
    return Difference(value, float(high - low) / 2, n_sigma, is_limit=is_limit)


def _resample(sample: BinarySample, rng: np.random.Generator) -> Floats:
    """How often each jet is drawn when each class is drawn with replacement to its own size."""
    count = np.empty(len(sample.score))
    for members in (sample.is_signal, ~sample.is_signal):
        n = int(members.sum())
        count[members] = np.bincount(rng.integers(0, n, n), minlength=n)
    return count


class _Ranked:
    """A sample sorted once, so that each resampling costs two cumulative sums."""

    def __init__(self, sample: BinarySample) -> None:
        order: NDArray[np.int64] = np.argsort(-sample.score, kind="stable")
        ordered = sample.score[order]
        self.order = order
        self.signal = np.where(sample.is_signal, sample.weight, 0.0)[order]
        self.background = np.where(sample.is_signal, 0.0, sample.weight)[order]
        # Jets with equal scores pass together: only the last of them is a point of the curve.
        self.ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))

    def eps_b_at(self, count: Floats, eps_s: float) -> float:
        ordered = count[self.order]
        signal = np.cumsum(self.signal * ordered)[self.ends]
        background = np.cumsum(self.background * ordered)[self.ends]
        target = eps_s * signal[-1] * (1 - 1e-12)
        upper = int(np.searchsorted(signal, target))
        s_low, b_low = (signal[upper - 1], background[upper - 1]) if upper else (0.0, 0.0)
        share = min((target - s_low) / (signal[upper] - s_low), 1.0)
        return float((b_low + share * (background[upper] - b_low)) / background[-1])
