"""The ROC curve: what every cut on the score keeps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.evaluation.ranking import RankedSample, rank_sample
from hepcnn.evaluation.samples import BinarySample, Floats, make_binary_sample


@dataclass(frozen=True)
class RocCurve:
    """Efficiencies at every distinct score, from the tightest cut to the loosest.

    Attributes
    ----------
    threshold
        (T,) falling; the first is +inf, where nothing passes.
    eps_s, eps_b
        (T,) rising from 0 to 1: signal and background efficiency of ``score >= threshold``.
    n_signal, n_background
        Effective numbers of jets.
    """

    threshold: Floats
    eps_s: Floats
    eps_b: Floats
    n_signal: float
    n_background: float

    def eps_b_at(self, eps_s: ArrayLike) -> Floats:
        """Background efficiency at given signal efficiencies in (0, 1].

        Notes
        -----
        Between two thresholds the curve is a straight line, which is what a random choice among tied jets gives. Where
        the curve has several background efficiencies at one signal efficiency, the smallest is meant.
        """
        target = np.asarray(eps_s, dtype=np.float64)
        # Cumulated weights are off by rounding: without the tolerance a target on a vertex could miss it.
        upper = np.clip(np.searchsorted(self.eps_s, target - 1e-12), 1, len(self.eps_s) - 1)
        s_low, s_high = self.eps_s[upper - 1], self.eps_s[upper]
        step = np.where(s_high > s_low, s_high - s_low, 1.0)
        share = np.clip((target - s_low) / step, 0.0, 1.0)
        result: Floats = self.eps_b[upper - 1] + share * (self.eps_b[upper] - self.eps_b[upper - 1])
        return result

    def threshold_at(self, eps_s: float) -> float:
        """The tightest cut whose signal efficiency is at least this one, in (0, 1]."""
        return float(self.threshold[min(int(np.searchsorted(self.eps_s, eps_s - 1e-12)), len(self.threshold) - 1)])


def roc_curve(score: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None) -> RocCurve:
    """Signal and background efficiency at every distinct score; jets with equal scores pass together."""
    return roc_of_sample(make_binary_sample(score, label, weight))


def roc_of_sample(sample: BinarySample) -> RocCurve:
    """ROC curve of a checked sample."""
    return roc_of_ranks(rank_sample(sample))


def roc_of_ranks(ranked: RankedSample) -> RocCurve:
    """ROC curve of a sorted sample."""
    eps_s, eps_b = (np.concatenate([[0.0], x]) for x in (ranked.signal_passing, ranked.background_passing))
    threshold = np.concatenate([[np.inf], ranked.threshold])
    return RocCurve(threshold, eps_s, eps_b, ranked.n_signal, ranked.n_background)
