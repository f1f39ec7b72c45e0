"""Who is ahead, and by how many errors: differences between two taggers on the same jets.

The two are right and wrong about much the same jets, so the error of their difference is smaller than their own errors
suggest. Everything here is paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import InputError
from hepcnn.evaluation.intervals import ONE_SIGMA
from hepcnn.evaluation.metrics import rejection_at, variance_of_mean
from hepcnn.evaluation.paired_bootstrap import resample_eps_b
from hepcnn.evaluation.ranking import find_ranks, placements, rank_sample
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
    err_seed
        The part of ``err_stat`` that is the error of the means over seeds; 0 where it holds none.
    """

    value: float
    err_stat: float
    n_sigma: float
    is_limit: bool = False
    err_seed: float = 0.0

    def jets_factor(self, n_sigma: float = 2.0) -> float | None:
        """How many times as many jets would put the two this many standard errors apart, if the difference is real.

        Returns
        -------
        float or None
            At most 1 where these jets do already. None where no number of jets would: the two are equal, or the error
            of the means over seeds is too large, and more trainings are needed.

        Notes
        -----
        The statistical part of the error falls like the root of the number of jets, the part of the seeds does not:
        ``1/f = (n/n_sigma)² (1 + ρ²) - ρ²`` with ``n`` the standard errors of now and ``ρ`` the ratio of the two parts.
        """
        jets = self.err_stat**2 - self.err_seed**2
        if not jets > 0 or not np.isfinite(self.n_sigma):
            return None
        ratio = self.err_seed**2 / jets
        inverse = (self.n_sigma / n_sigma) ** 2 * (1 + ratio) - ratio
        return 1.0 / inverse if inverse > 0 else None


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
    placed_a, placed_b = (np.mean([_placements(s) for s in one], axis=0) for one in (a, b))
    change, is_signal, weights = placed_a - placed_b, a[0].is_signal, a[0].weight
    return _difference_of_means([(change[members], weights[members]) for members in (is_signal, ~is_signal)])


def _placements(sample: BinarySample) -> Floats:
    """Per signal jet the background fraction below it, per background jet the signal fraction above it, (N,)."""
    ranked = rank_sample(sample)
    below, above = placements(ranked)
    rank = find_ranks(ranked, sample.score)
    return np.where(sample.is_signal, below[rank], above[rank])


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
        Number of resamplings, at least 10; all scores see the same resampled jets.
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
    weights = a[0].background[1]
    half_jet = 0.5 * float((weights**2).sum() / weights.sum() ** 2)
    # Of the sample itself; where a limit stands in for a rejection nothing passes.
    eps_b = np.array([np.mean([0.0 if m.is_lower_limit else 1 / m.value for m in one]) for one in measured])
    drawn = resample_eps_b([*a, *b], eps_s=eps_s, n_bootstrap=n_bootstrap, seed=seed)
    drawn = drawn[:, np.isfinite(drawn).all(axis=0)]
    parts = drawn[: len(a)], drawn[len(a) :]
    spread = float(np.std(parts[1].mean(axis=0) - parts[0].mean(axis=0), ddof=1))
    rejections = [(1.0 / np.maximum(part, half_jet)).mean(axis=0) for part in parts]
    low, high = np.quantile(rejections[0] - rejections[1], [(1 - ONE_SIGMA) / 2, (1 + ONE_SIGMA) / 2])
    is_limit = any(m.is_lower_limit for one in measured for m in one)
    n_sigma = float(eps_b[1] - eps_b[0]) / spread if spread > 0 else 0.0
    return Difference(value, float(high - low) / 2, n_sigma, is_limit=is_limit)
