"""A sample sorted once by its score: all that ROC curve, AUC, working points and bootstrap need of it.

Shapes: N jets, T distinct scores.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from hepcnn.evaluation.samples import BinarySample, Floats


@dataclass(frozen=True)
class RankedSample:
    """Sums of weights by distinct score, from the most signal-like down.

    Attributes
    ----------
    threshold
        (T,) falling scores. Where weights are negative, the lowest score of each pool; see `rank_sample`.
    signal, background
        (T,) sums of weights, none negative.
    signal_squared, background_squared
        (T,) sums of squared weights.
    """

    threshold: Floats
    signal: Floats
    background: Floats
    signal_squared: Floats
    background_squared: Floats

    @cached_property
    def n_signal(self) -> float:
        """Effective number of signal jets."""
        return float(self.signal.sum() ** 2 / self.signal_squared.sum())

    @cached_property
    def n_background(self) -> float:
        """Effective number of background jets."""
        return float(self.background.sum() ** 2 / self.background_squared.sum())

    @cached_property
    def signal_passing(self) -> Floats:
        """Signal efficiency of each threshold, (T,); ends at 1."""
        return _fractions(self.signal)

    @cached_property
    def background_passing(self) -> Floats:
        """Background efficiency of each threshold, (T,); ends at 1."""
        return _fractions(self.background)

    def count_above(self, threshold: float) -> int:
        """How many of the distinct scores pass a cut."""
        return int(np.searchsorted(-self.threshold, -threshold, side="right"))


def _fractions(weights: Floats) -> Floats:
    cumulated = np.cumsum(weights)
    cumulated /= cumulated[-1]
    return cumulated


def rank_sample(sample: BinarySample) -> RankedSample:
    """Sort a checked sample by its score and add up equal scores; once for each sample, which keeps the result.

    Notes
    -----
    Negative weights cancel against positive ones only on average, and not score by score. Neighbouring scores are
    pooled until in no pool the weights of either class add up to less than nothing; the jets of a pool count as tied.
    That is the local cancellation of the positive resampler (arXiv:2005.09375) with the score as the only coordinate:
    it keeps sums of weights, and, as arXiv:2007.11586 asks for, sums of squared weights and so the uncertainty. Without
    negative weights nothing is pooled.
    """
    if "ranked" not in sample.derived:
        sample.derived["ranked"] = _rank(sample)
    ranked: RankedSample = sample.derived["ranked"]
    return ranked


def _rank(sample: BinarySample) -> RankedSample:
    order = np.argsort(sample.score)[::-1]
    score = sample.score[order]
    is_signal, weight = sample.is_signal[order], sample.weight[order]
    ends = np.append(score[1:] != score[:-1], True)
    group = None if ends.all() else np.concatenate([[0], np.flatnonzero(ends)[:-1] + 1])
    threshold = score if group is None else score[ends]
    sums: list[Floats] = []
    for members in (is_signal, ~is_signal):
        values = np.where(members, weight, 0.0)
        sums += [x if group is None else np.add.reduceat(x, group) for x in (values, values * values)]
    signal, signal_squared, background, background_squared = sums
    if (weight < 0).any():
        pool = pool_negative(signal, background)
        last = np.append(pool[1:] != pool[:-1], True)
        threshold = threshold[last]
        signal, signal_squared, background, background_squared = (np.bincount(pool, x).astype(np.float64) for x in sums)
        # A sum that cancels is zero but for rounding.
        signal, background = np.maximum(signal, 0.0), np.maximum(background, 0.0)
    return RankedSample(threshold, signal, background, signal_squared, background_squared)


@numba.njit(nogil=True, cache=True)
def pool_negative(signal: Any, background: Any) -> Any:  # pragma: no cover - compiled
    """Number of the pool of each score or bin, (T,) rising from 0: no pool's sum of either class is negative."""
    n = len(signal)
    starts, of_signal, of_background = np.empty(n, np.int64), np.empty(n), np.empty(n)
    top = -1
    for i in range(n):
        top += 1
        starts[top], of_signal[top], of_background[top] = i, signal[i], background[i]
        # A pool below zero takes in the one before it; the first one takes in what comes next.
        while top > 0 and (
            min(of_signal[top], of_background[top]) < 0 or min(of_signal[top - 1], of_background[top - 1]) < 0
        ):
            of_signal[top - 1] += of_signal[top]
            of_background[top - 1] += of_background[top]
            top -= 1
    pool = np.empty(n, np.int64)
    for k in range(top + 1):
        end = starts[k + 1] if k < top else n
        for i in range(starts[k], end):
            pool[i] = k
    return pool


def placements(ranked: RankedSample) -> tuple[Floats, Floats]:
    """Background fraction below a jet, signal fraction above it, by distinct score (T,) each; ties count half."""
    below = 1.0 - ranked.background_passing + ranked.background / (2 * ranked.background.sum())
    above = ranked.signal_passing - ranked.signal / (2 * ranked.signal.sum())
    return below, above


def merge_ranks(ranked: RankedSample, *, n_bins: int, cuts: tuple[float, ...] = ()) -> RankedSample:
    """Add up neighbouring scores so that about ``n_bins`` are left, each with as much of both classes together.

    Parameters
    ----------
    ranked
        What `rank_sample` gave.
    n_bins
        Bins of equal sums of signal and background fractions. A sample of no more distinct scores stays as it is.
    cuts
        Thresholds that no bin may straddle.

    Notes
    -----
    A bin's jets count as tied. That moves an AUC by at most half of the sum of ``p_s p_b`` over the bins, with the
    fractions of signal and background in a bin; see `binning_error`.
    """
    if len(ranked.threshold) <= n_bins:
        return ranked
    place = (ranked.signal_passing + ranked.background_passing) * (n_bins / 2)
    number = np.minimum(place.astype(np.int64), n_bins - 1)
    for cut in cuts:
        number[ranked.count_above(cut) :] += 1
    last = np.append(number[1:] != number[:-1], True)
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    names = ("signal", "background", "signal_squared", "background_squared")
    return RankedSample(ranked.threshold[last], *(np.add.reduceat(getattr(ranked, name), starts) for name in names))


def binning_error(ranked: RankedSample) -> float:
    """The most that an AUC can change when what is tied here is told apart: half of ``Σ p_s p_b`` over the scores."""
    products: NDArray[np.float64] = ranked.signal * ranked.background
    return float(0.5 * products.sum() / (ranked.signal.sum() * ranked.background.sum()))


def find_ranks(ranked: RankedSample, score: Floats) -> NDArray[np.int64]:
    """Number of the distinct score, pool or bin that each jet of the sample belongs to, (N,)."""
    return np.searchsorted(-ranked.threshold, -score, side="left")
