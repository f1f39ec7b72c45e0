"""What a cut does to the mass of the background.

Shapes: N jets, B bins.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.bootstrap import N_BOOTSTRAP
from hepcnn.evaluation.curves import roc_of_sample
from hepcnn.evaluation.efficiency import find_bins, sum_bins
from hepcnn.evaluation.intervals import Measurement
from hepcnn.evaluation.ranking import pool_negative
from hepcnn.evaluation.samples import BinarySample, Floats, check_finite

MASS_BINS = 40
"""Bins of mass in which a divergence is measured, between the background's 0.5 and 99.5 percentiles."""


@dataclass(frozen=True)
class Sculpting:
    """The mass of the background before a cut and after it.

    Attributes
    ----------
    edges
        (B+1,) GeV.
    before, after
        (B,) fractions of the background jets within the edges: all of them, and those that pass. Each adds up to 1.
    jsd
        Jensen–Shannon divergence of the two in bits, from 0 to 1, with its bootstrap error.
    inverse_jsd
        ``1 / jsd``: large for a cut that leaves the mass alone; None where nothing is cut away and ``jsd`` is 0.
    jsd_expected
        What a cut that knows nothing of the mass would give with as many jets: the divergence of a finite sample is
        never 0.
    n_after
        Effective number of background jets that pass.
    """

    edges: Floats
    before: Floats
    after: Floats
    jsd: Measurement
    inverse_jsd: Measurement | None
    jsd_expected: float
    n_after: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "edges": self.edges.tolist(),
            "before": self.before.tolist(),
            "after": self.after.tolist(),
            "jsd": self.jsd.to_dict(),
            "inverse_jsd": self.inverse_jsd.to_dict() if self.inverse_jsd else None,
            "jsd_expected": self.jsd_expected,
            "n_after": self.n_after,
        }


def measure_sculpting(
    sample: BinarySample,
    mass: ArrayLike,
    *,
    eps_s: float = 0.5,
    n_bins: int = MASS_BINS,
    n_bootstrap: int = N_BOOTSTRAP,
    seed: int = 0,
) -> Sculpting:
    """Compare the background's mass before and after a cut of fixed signal efficiency.

    Parameters
    ----------
    sample
        Discriminants.
    mass
        (N,) GeV.
    eps_s
        Signal efficiency that fixes the cut.
    n_bins
        Bins of equal width between the background's 0.5 and 99.5 percentiles of mass; jets outside are left out. Where
        weights of jets that pass, or of those that do not, add up to less than nothing in a bin, neighbouring bins are
        joined as neighbouring scores are by `hepcnn.evaluation.ranking.rank_sample`.
    n_bootstrap
        Resamplings for the error.
    seed
        Of the resampling.

    Raises
    ------
    InputError
        For NaN or infinite masses, or another length.
    EmptySampleError
        When no background jet passes, or the background's masses are all the same.

    Notes
    -----
    The figure of merit of arXiv:2001.05310 and of ATL-PHYS-PUB-2018-014, after the idea of decorrelated taggers
    (arXiv:1603.00027): ``JSD = H((p + q)/2) - (H(p) + H(q))/2`` with Shannon's entropy H to base 2
    (doi:10.1109/18.61115), of all background jets p and those that pass q. It depends on the binning, which is part of
    the result. Jets that pass are part of p too; a resampling draws those that pass and those that do not apart, as
    `hepcnn.evaluation.bootstrap`. ``jsd_expected`` is the mean of resamplings in which each bin passes the same share.
    """
    values = np.asarray(mass, dtype=np.float64)
    if values.shape != sample.score.shape:
        raise InputError(f"mass has shape {values.shape}, expected {sample.score.shape}: one per jet")
    check_finite(values, what="mass")
    passed = (sample.score >= roc_of_sample(sample).threshold_at(eps_s))[~sample.is_signal]
    values = values[~sample.is_signal]
    weight = sample.weight[~sample.is_signal]
    low, high = np.quantile(values, [0.005, 0.995])
    if not low < high:
        raise EmptySampleError(f"all background jets have the mass {low:g} GeV: there is no shape to compare")
    edges = np.linspace(low, high, n_bins + 1)
    kept = _fill(values, weight, passed, edges)
    lost = _fill(values, weight, ~passed, edges)
    if lost[0].sum() < 0:
        raise EmptySampleError(f"the weights of background jets that fail the cut add up to {lost[0].sum():g}")
    if kept[0].sum() <= 0:
        raise EmptySampleError(f"no background jet passes the cut of signal efficiency {eps_s:g}: no mass to look at")
    if (kept[0] < 0).any() or (lost[0] < 0).any():
        first = np.flatnonzero(np.diff(pool_negative(kept[0], lost[0]), prepend=-1))
        kept, lost = ((np.maximum(np.add.reduceat(x, first), 0.0), np.add.reduceat(y, first)) for x, y in (kept, lost))
        edges = np.append(edges[first], edges[-1])
    whole = kept[0] + lost[0]
    value = float(_divergence(whole, kept[0]))
    rng = np.random.default_rng(seed)
    drawn = [_draw(rng, n_bootstrap, *part) for part in (kept, lost)]
    usable = drawn[0].sum(axis=1) > 0
    replicas = _divergence(drawn[0] + drawn[1], drawn[0])[usable]
    error = float(np.std(replicas, ddof=1))
    # A cut that knows nothing of the mass passes the same share of every bin.
    share = float(kept[0].sum() / whole.sum())
    chance = [_draw(rng, n_bootstrap, x * whole, x * (kept[1] + lost[1])) for x in (share, 1 - share)]
    expected = np.nanmean(_divergence(chance[0] + chance[1], chance[0]))
    return Sculpting(
        edges=edges,
        before=whole / whole.sum(),
        after=kept[0] / kept[0].sum(),
        jsd=Measurement(value, error),
        inverse_jsd=Measurement(1 / value, error / value**2) if value > 0 else None,
        jsd_expected=float(expected),
        n_after=float(kept[0].sum() ** 2 / kept[1].sum()),
    )


def _fill(values: Floats, weight: Floats, chosen: NDArray[np.bool_], edges: Floats) -> tuple[Floats, Floats]:
    """Sums of weights and of squared weights in bins."""
    number = find_bins(values[chosen], edges)
    return sum_bins(number, weight[chosen], len(edges) - 1), sum_bins(number, weight[chosen] ** 2, len(edges) - 1)


def _draw(rng: np.random.Generator, n: int, sums: Floats, squared: Floats) -> Floats:
    filled = sums > 0
    mean = np.where(filled, sums**2 / np.where(filled, squared, 1.0), 0.0)
    scale = np.where(filled, squared / np.where(filled, sums, 1.0), 0.0)
    return np.asarray(rng.poisson(mean, (n, len(sums))) * scale)


def _divergence(first: Floats, second: Floats) -> Floats:
    """Jensen–Shannon divergence in bits along the last axis; NaN for a histogram without jets."""
    with np.errstate(invalid="ignore"):
        p, q = (x / x.sum(axis=-1, keepdims=True) for x in (first, second))
    return np.asarray(np.maximum(_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2, 0.0))


def _entropy(p: Floats) -> Floats:
    return np.asarray(-np.sum(p * np.log2(np.where(p > 0, p, 1.0)), axis=-1))
