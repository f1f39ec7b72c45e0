"""Bootstrap over jets, by bins of the score: as many resamplings as one likes of as many jets as there are.

Shapes: R resamplings, B bins.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import InputError
from hepcnn.evaluation.intervals import ONE_SIGMA, Measurement
from hepcnn.evaluation.ranking import RankedSample, binning_error, merge_ranks, rank_sample
from hepcnn.evaluation.samples import Floats, make_binary_sample

N_BINS, N_BOOTSTRAP, CHUNK = 4096, 1000, 20
MIN_BACKGROUND = 25.0
"""Effective background jets that a cut must leave to be considered for the largest significance improvement."""


@dataclass(frozen=True)
class Replicas:
    """What each resampling gave.

    Attributes
    ----------
    auc, accuracy
        (R,).
    eps_b
        (R,) by signal efficiency.
    max_sic
        (R,) largest significance improvement.
    binning_error
        The most by which binning can have moved an AUC; 0 where every distinct score has a bin of its own.
    """

    auc: Floats
    accuracy: Floats
    eps_b: dict[float, Floats]
    max_sic: Floats
    binning_error: float


def bootstrap_sample(
    score: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    eps_s: Sequence[float] = (0.3, 0.5),
    n_bootstrap: int = N_BOOTSTRAP,
    n_bins: int = N_BINS,
    threshold: float = 0.5,
    seed: int = 0,
    threads: int = 0,
) -> Replicas:
    """Resample jets and compute AUC, accuracy, background efficiencies and the largest significance improvement.

    Parameters
    ----------
    score, label, weight
        As in `hepcnn.evaluation.metrics`.
    eps_s
        Signal efficiencies, each in (0, 1).
    n_bootstrap
        Number of resamplings, at least 10.
    n_bins
        Bins of the score. A sample with no more distinct scores is resampled jet by jet.
    threshold
        Of the accuracy.
    seed
        Of the resampling; the same seed gives the same numbers whatever the number of threads.
    threads
        At most so many; 0 for as many as this process may use.

    Notes
    -----
    Each jet is drawn a Poisson number of times with mean one, the bootstrap for many jets
    (doi:10.1016/j.cmpb.2006.04.006); a bin of n jets of equal weight is then drawn exactly Poisson(n) times. Jets of
    different weights in one bin would need a compound Poisson number; drawn is the scaled one with the same mean and
    variance (doi:10.1016/j.nima.2014.02.021, arXiv:1309.1287). Every efficiency is divided by the class's own sum, so
    classes fluctuate apart and their mixture stays as it is.
    """
    ranked = rank_sample(make_binary_sample(score, label, weight))
    return bootstrap_ranks(
        ranked, eps_s=eps_s, n_bootstrap=n_bootstrap, n_bins=n_bins, threshold=threshold, seed=seed, threads=threads
    )


def bootstrap_ranks(
    ranked: RankedSample,
    *,
    eps_s: Sequence[float] = (0.3, 0.5),
    n_bootstrap: int = N_BOOTSTRAP,
    n_bins: int = N_BINS,
    threshold: float = 0.5,
    seed: int = 0,
    threads: int = 0,
) -> Replicas:
    """Resample a sorted sample; see `bootstrap_sample`."""
    if n_bootstrap < 10:
        raise InputError(f"n_bootstrap = {n_bootstrap}, expected at least 10")
    if bad := [e for e in eps_s if not 0 < e < 1]:
        raise InputError(f"eps_s = {bad[0]:g}, expected a value between 0 and 1")
    binned = merge_ranks(ranked, n_bins=n_bins, cuts=(threshold,))
    # Chunks have generators of their own, so that threads may take them in any order.
    sizes = [min(CHUNK, n_bootstrap - first) for first in range(0, n_bootstrap, CHUNK)]
    seeds = np.random.SeedSequence(seed).spawn(len(sizes))

    def draw(job: tuple[int, np.random.SeedSequence]) -> Floats:
        return _measure_chunk(binned, np.random.default_rng(job[1]), job[0], tuple(eps_s), threshold)

    with ThreadPoolExecutor(threads or count_cores()) as pool:
        rows = np.concatenate(list(pool.map(draw, zip(sizes, seeds, strict=True))))
    error = binning_error(binned) if len(binned.threshold) < len(ranked.threshold) else 0.0
    columns = rows.T
    return Replicas(columns[0], columns[1], dict(zip(eps_s, columns[3:], strict=True)), columns[2], error)


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _measure_chunk(
    binned: RankedSample, rng: np.random.Generator, n: int, eps_s: tuple[float, ...], threshold: float
) -> Floats:
    """AUC, accuracy, largest SIC, then eps_b at each eps_s: (n, 3 + E)."""
    signal = _draw(rng, n, binned.signal, binned.signal_squared)
    background = _draw(rng, n, binned.background, binned.background_squared)
    pass_s, pass_b = np.cumsum(signal, axis=1), np.cumsum(background, axis=1)
    pass_s /= pass_s[:, -1:]
    pass_b /= pass_b[:, -1:]
    result = np.empty((n, 3 + len(eps_s)))
    # The area under the curve by trapezoids: ties count half.
    result[:, 0] = 1.0 - np.sum(np.diff(pass_s, axis=1, prepend=0.0) * pass_b, axis=1)
    result[:, 0] += 0.5 * np.sum(np.diff(pass_s, axis=1, prepend=0.0) * np.diff(pass_b, axis=1, prepend=0.0), axis=1)
    share = binned.signal.sum() / (binned.signal.sum() + binned.background.sum())
    n_above = binned.count_above(threshold)
    at_cut = [x[:, n_above - 1] if n_above else np.zeros(n) for x in (pass_s, pass_b)]
    result[:, 1] = share * at_cut[0] + (1 - share) * (1 - at_cut[1])
    allowed = binned.background_passing * binned.n_background >= MIN_BACKGROUND
    result[:, 2] = largest_improvement(pass_s, pass_b, allowed)
    for row in range(n):
        for column, target in enumerate(eps_s):
            result[row, 3 + column] = _eps_b_at(pass_s[row], pass_b[row], target)
    return result


def _draw(rng: np.random.Generator, n: int, weights: Floats, squared: Floats) -> Floats:
    """Resampled sums of weights, (n, B)."""
    filled = weights > 0
    mean = np.where(filled, weights**2 / np.where(filled, squared, 1.0), 0.0)
    scale = np.where(filled, squared / np.where(filled, weights, 1.0), 0.0)
    drawn = rng.poisson(mean, (n, len(mean))) * scale
    # A handful of jets may all be left out; such a resampling has no efficiency, and is drawn again.
    while (empty := ~(drawn > 0).any(axis=1)).any():
        drawn[empty] = rng.poisson(mean, (int(empty.sum()), len(mean))) * scale
    return np.asarray(drawn)


def _eps_b_at(pass_s: Floats, pass_b: Floats, target: float) -> float:
    upper = min(int(np.searchsorted(pass_s, target - 1e-12)), len(pass_s) - 1)
    s_low, b_low = (pass_s[upper - 1], pass_b[upper - 1]) if upper else (0.0, 0.0)
    step = pass_s[upper] - s_low
    share = min(max((target - s_low) / step, 0.0), 1.0) if step > 0 else 1.0
    return float(b_low + share * (pass_b[upper] - b_low))


def largest_improvement(eps_s: Floats, eps_b: Floats, allowed: NDArray[np.bool_]) -> Floats:
    """Largest ``eps_s / sqrt(eps_b)`` over the allowed cuts, along the last axis; NaN where none is allowed."""
    usable = allowed & (eps_b > 0)
    ratio = np.where(usable, eps_s / np.sqrt(np.where(usable, eps_b, 1.0)), -np.inf)
    best = ratio.max(axis=-1)
    return np.asarray(np.where(np.isfinite(best), best, np.nan))


def interval_of(values: Floats, value: float) -> Measurement:
    """Attach a bootstrap's errors to a number.

    Notes
    -----
    ``err_stat`` is the standard deviation of the resamplings; ``err_low`` and ``err_high`` reach to the ends of their
    central 68.3 % (the percentile interval, doi:10.1214/aos/1176344552), moved along where the value lies outside it.
    """
    low, high = np.quantile(values, [(1 - ONE_SIGMA) / 2, (1 + ONE_SIGMA) / 2])
    return Measurement(
        value, float(np.std(values, ddof=1)), max(value - float(low), 0.0), max(float(high) - value, 0.0)
    )
