"""Bootstrap of several scores of the same jets: every score sees the same resampled jets.

Shapes: N jets, J scores, B bins, R resamplings.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from hepcnn.evaluation.bootstrap import N_BINS, count_cores
from hepcnn.evaluation.curves import RocCurve
from hepcnn.evaluation.ranking import find_ranks, merge_ranks, rank_sample
from hepcnn.evaluation.samples import BinarySample, Floats


def resample_eps_b(
    samples: Sequence[BinarySample], *, eps_s: float, n_bootstrap: int, seed: int = 0, n_bins: int = N_BINS
) -> Floats:
    """Background efficiencies of J scores at a signal efficiency in R resamplings of their common jets.

    Parameters
    ----------
    samples
        J of them: the same labels and weights, other scores.
    eps_s
        Signal efficiency, in (0, 1).
    n_bootstrap
        R.
    seed
        Of the resampling.
    n_bins
        Bins of each score; no more distinct scores are taken as they are.

    Returns
    -------
    numpy.ndarray
        (J, R).

    Notes
    -----
    Each jet is drawn a Poisson number of times with mean one (doi:10.1016/j.cmpb.2006.04.006), the same for all scores.
    """
    first = samples[0]
    bins = np.empty((len(samples), len(first.score)), np.uint16)
    thresholds = []
    for row, sample in enumerate(samples):
        merged = merge_ranks(rank_sample(sample), n_bins=n_bins)
        bins[row] = find_ranks(merged, sample.score)
        thresholds.append(merged.threshold)
    seeds = np.random.SeedSequence(seed).generate_state(n_bootstrap, np.uint64)

    def draw(state: np.uint64) -> list[float]:
        sums = _sum_bins(state, bins, first.is_signal, first.weight, n_bins, _POISSON)
        return [_eps_b_at(sums[row, :, : len(cuts)], cuts, eps_s) for row, cuts in enumerate(thresholds)]

    with ThreadPoolExecutor(count_cores()) as pool:
        return np.array(list(pool.map(draw, seeds))).T


def _eps_b_at(sums: Floats, threshold: Floats, eps_s: float) -> float:
    passing = np.maximum.accumulate(np.cumsum(sums, axis=1), axis=1)
    if (passing[:, -1] <= 0).any():
        return float("nan")
    signal, background = (np.concatenate([[0.0], x / x[-1]]) for x in passing)
    return float(RocCurve(threshold, signal, background, 0.0, 0.0).eps_b_at(eps_s))


def _make_poisson_table() -> NDArray[np.uint8]:
    """How often a jet is drawn for each 16-bit random number: Poisson with mean one, to a part in 65536."""
    steps = 1 << 16
    probability = np.cumprod(np.concatenate([[np.exp(-1.0)], 1.0 / np.arange(1, 9)]))
    entries = np.round(probability * steps).astype(np.int64)
    entries[0] += steps - entries.sum()
    # The mean is exactly one: what rounding took from it moves between drawn once and not at all.
    excess = int((entries * np.arange(9)).sum()) - steps
    entries[1] -= excess
    entries[0] += excess
    return np.repeat(np.arange(9), entries).astype(np.uint8)


_POISSON = _make_poisson_table()


@numba.njit(nogil=True, cache=True)
def _sum_bins(
    state: Any, bins: Any, is_signal: Any, weight: Any, n_bins: int, poisson: Any
) -> Any:  # pragma: no cover - compiled
    """Resampled sums of weights, (J, 2, n_bins + 1): signal, then background."""
    sums = np.zeros((bins.shape[0], 2, n_bins + 1))
    state = np.uint64(state)
    bits = np.uint64(0)
    for jet in range(bins.shape[1]):
        if jet & 3 == 0:
            # SplitMix64 (doi:10.1145/2714064.2660195): four draws from each number.
            state += np.uint64(0x9E3779B97F4A7C15)
            bits = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            bits ^= bits >> np.uint64(31)
        times = poisson[bits & np.uint64(0xFFFF)]
        bits >>= np.uint64(16)
        if times:
            row = 0 if is_signal[jet] else 1
            for score in range(bins.shape[0]):
                sums[score, row, bins[score, jet]] += times * weight[jet]
    return sums
