"""Efficiency of a cut against a property of the jets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import InputError
from hepcnn.evaluation.intervals import Measurement, clopper_pearson, effective_size, measure_fraction
from hepcnn.evaluation.samples import Floats, check_finite, check_weight


@dataclass(frozen=True)
class BinnedEfficiency:
    """Efficiency of a cut in bins of a jet's quantity.

    Attributes
    ----------
    edges
        (B+1,).
    value, low, high
        (B,) efficiency and the ends of its interval; NaN for a bin without jets.
    n_jets
        (B,) effective numbers of jets.
    """

    edges: Floats
    value: Floats
    low: Floats
    high: Floats
    n_jets: Floats

    def to_dict(self) -> dict[str, list[float | None]]:
        """Plain values for JSON; null for what a bin without jets has not."""
        return {
            name: [float(x) if np.isfinite(x) else None for x in getattr(self, name)]
            for name in ("value", "low", "high", "n_jets")
        }


def efficiency_in_bins(
    passed: NDArray[np.bool_], quantity: ArrayLike, weight: ArrayLike | None = None, *, edges: ArrayLike
) -> BinnedEfficiency:
    """Fraction of jets that pass, per bin, with Clopper–Pearson intervals.

    Parameters
    ----------
    passed
        (N,) whether each jet passes.
    quantity
        (N,) what to bin in, such as the jets' pT in GeV. Jets outside the edges are left out.
    weight
        (N,), of either sign; a bin whose weights do not add up to more than zero counts as one without jets.
    edges
        (B+1,) rising; the last bin includes its upper edge.

    Raises
    ------
    InputError
        For NaN or infinite quantities, different lengths, edges that do not rise.
    """
    values, limits = np.asarray(quantity, dtype=np.float64), np.asarray(edges, dtype=np.float64)
    if limits.ndim != 1 or len(limits) < 2 or (np.diff(limits) <= 0).any():
        raise InputError(f"edges = {limits.tolist()}, expected at least two rising numbers")
    check_finite(values, what="quantity")
    if len(passed) != len(values):
        raise InputError(f"passed has {len(passed)} jets and quantity {len(values)}, expected as many")
    w = check_weight(weight, n_jets=len(values))
    number = find_bins(values, limits)
    total, total_squared, selected = (sum_bins(number, x, len(limits) - 1) for x in (w, w**2, w * passed))
    filled = total > 0
    n_jets = np.where(filled, total**2 / np.where(filled, total_squared, 1.0), 0.0)
    value = np.where(filled, selected / np.where(filled, total, 1.0), np.nan)
    low, high = clopper_pearson(np.where(filled, value, 0.0) * n_jets, n_jets)
    return BinnedEfficiency(limits, value, low, high, n_jets)


def find_bins(values: Floats, edges: Floats) -> NDArray[np.int64]:
    """Number of each value's bin, counted from 1; 0 below the edges and one more than there are bins above.

    The last bin includes its upper edge. Many times as fast as `numpy.histogram` with weights, which sorts.
    """
    number = np.searchsorted(edges, values, side="right")
    number[values == edges[-1]] = len(edges) - 1
    return number


def sum_bins(number: NDArray[np.int64], weight: Floats, n_bins: int) -> Floats:
    """Sums of weights in the bins of `find_bins`, (n_bins,)."""
    return np.bincount(number, weight, minlength=n_bins + 2)[1:-1].astype(np.float64)


def efficiency_of_groups(
    passed: NDArray[np.bool_], group: ArrayLike, weight: ArrayLike | None = None
) -> dict[str, Measurement]:
    """Fraction of jets that pass, for each group of them, such as the processes that a class is made of.

    Parameters
    ----------
    passed
        (N,) whether each jet passes.
    group
        (N,) names or numbers.
    weight
        (N,).

    Returns
    -------
    dict
        By name of the group, with Clopper–Pearson errors; groups whose weights do not add up to more than zero are
        left out, since nothing is known of them.

    Raises
    ------
    InputError
        For different lengths, NaN or infinite weights.
    """
    names, number = np.unique(np.asarray(group), return_inverse=True)
    if len(number) != len(passed):
        raise InputError(f"passed has {len(passed)} jets and group {len(number)}, expected as many")
    w = check_weight(weight, n_jets=len(passed))
    found = {}
    for i, name in enumerate(names):
        mine = w[number == i]
        if mine.sum() > 0:
            fraction = float(mine[passed[number == i]].sum() / mine.sum())
            label = name.decode() if isinstance(name, bytes) else str(name)
            found[label] = measure_fraction(fraction, effective_size(mine))
    return found
