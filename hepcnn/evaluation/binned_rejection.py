"""Rejection at a signal efficiency that is the same in every bin of a quantity, such as the energy."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.efficiency import find_bins
from hepcnn.evaluation.intervals import Measurement
from hepcnn.evaluation.metrics import rejection_at
from hepcnn.evaluation.samples import BinarySample, Floats, check_finite

FEWEST_SIGNAL = 20
"""Signal jets that a bin needs for a threshold."""


@dataclass(frozen=True)
class BinnedRejection:
    """Rejections in bins with ``edges`` (B+1,) and of ``overall``, all jets; None where a bin has too few jets.

    Each bin has a threshold of its own, at the signal efficiency ``eps_s``.
    """

    edges: Floats
    eps_s: float
    rejection: tuple[Measurement | None, ...]
    overall: Measurement

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "eps_s": self.eps_s,
            "edges": self.edges.tolist(),
            "rejection": [None if one is None else one.to_dict() for one in self.rejection],
            "overall": self.overall.to_dict(),
        }


def rejection_in_bins(
    sample: BinarySample, quantity: ArrayLike, *, edges: ArrayLike, eps_s: float = 0.9
) -> BinnedRejection:
    """Rejection at a signal efficiency in bins.

    Parameters
    ----------
    sample
        Of N jets.
    quantity
        (N,) what to bin in; jets outside the edges are in no bin.
    edges
        (B+1,) rising; the last bin includes its upper edge.
    eps_s
        Signal efficiency in each bin.

    Raises
    ------
    InputError
        For NaN or infinite quantities, a wrong length.

    Notes
    -----
    Values and errors are those of `hepcnn.evaluation.metrics.rejection_at`, lower limits where no background passes. A
    bin with fewer than `FEWEST_SIGNAL` signal jets or without background says nothing.
    """
    values, limits = np.asarray(quantity, np.float64), np.asarray(edges, np.float64)
    check_finite(values, what="quantity")
    if values.shape != sample.score.shape:
        raise InputError(f"quantity has shape {values.shape}, expected {sample.score.shape}: one per jet")
    number = find_bins(values, limits)
    found = [_measure(sample, number == k, eps_s) for k in range(1, len(limits))]
    overall = rejection_at(sample.score, sample.is_signal, sample.weight, eps_s=eps_s)
    return BinnedRejection(limits, eps_s, tuple(found), overall)


def _measure(sample: BinarySample, chosen: Any, eps_s: float) -> Measurement | None:
    label = sample.is_signal[chosen]
    if label.sum() < FEWEST_SIGNAL:
        return None
    try:
        return rejection_at(sample.score[chosen], label, sample.weight[chosen], eps_s=eps_s)
    except EmptySampleError:
        return None
