"""Errors of a counted fraction."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import require
from hepcnn.evaluation.samples import Floats

ONE_SIGMA = 0.6826894921370859
"""Probability of a Gaussian within one standard deviation."""


@dataclass(frozen=True)
class Measurement:
    """A number with its statistical error.

    Attributes
    ----------
    value
        The number; where ``is_lower_limit``, the limit at 95 % confidence.
    err_stat
        Symmetric standard error from the finite number of jets; None for a limit, which has none.
    err_low, err_high
        Distances from the value to the ends of the central 68.3 % interval, where they were computed.
    is_lower_limit
        Whether the truth is only known to be larger than the value.
    err_bootstrap
        Standard error by a bootstrap over jets where ``err_stat`` is a formula: a check of it.
    """

    value: float
    err_stat: float | None
    err_low: float | None = None
    err_high: float | None = None
    is_lower_limit: bool = False
    err_bootstrap: float | None = None

    def to_dict(self) -> dict[str, float | bool | None]:
        """Give what belongs into metrics.json: value and err_stat always, the rest where it says something."""
        record: dict[str, float | bool | None] = {"value": self.value, "err_stat": self.err_stat}
        if self.err_low is not None and self.err_high is not None:
            record |= {"err_low": self.err_low, "err_high": self.err_high}
        if self.err_bootstrap is not None:
            record["err_bootstrap"] = self.err_bootstrap
        if self.is_lower_limit:
            record |= {"is_lower_limit": True, "confidence_level": 0.95}
        return record


def effective_size(weight: Floats) -> float:
    """Number of unweighted jets that would have the same statistical power.

    Notes
    -----
    ``(sum w)² / sum w²`` (Kish 1965). At most the number of jets, equal to it for equal weights, and 0 for weights
    that are all zero. It treats the weights as fixed numbers, not as measured ones.
    """
    total = float(weight.sum())
    return total**2 / float((weight**2).sum()) if total > 0 else 0.0


def clopper_pearson(n_passed: ArrayLike, n_total: ArrayLike, *, coverage: float = ONE_SIGMA) -> tuple[Any, Any]:
    """Central interval of a binomial fraction.

    Parameters
    ----------
    n_passed, n_total
        Counts, or effective counts with weights (then not whole numbers). Any equal shape.
    coverage
        Probability of the interval.

    Returns
    -------
    tuple
        Lower and upper end, of the shape of the input.

    Notes
    -----
    The ends are quantiles of beta distributions (Clopper and Pearson, Biometrika 26 (1934) 404,
    doi:10.1093/biomet/26.4.404). The lower end is 0 where nothing passed, the upper 1 where everything did. It covers
    at least as often as it says, for whole counts; with weights, where counts are effective ones, approximately.
    NaN where ``n_total`` is 0.
    """
    special = require("scipy.special", extra="evaluate")
    passed, total = np.broadcast_arrays(np.asarray(n_passed, np.float64), np.asarray(n_total, np.float64))
    # With negative weights a fraction may lie below 0 or above 1; its interval does not.
    passed = np.clip(passed, 0.0, total)
    failed = total - passed
    tail = (1.0 - coverage) / 2
    # betaincinv wants positive parameters; the entries where they are not are replaced just below.
    low = special.betaincinv(np.where(passed > 0, passed, 1.0), failed + 1.0, tail)
    high = special.betaincinv(passed + 1.0, np.where(failed > 0, failed, 1.0), 1.0 - tail)
    low = np.where(passed > 0, low, 0.0)
    high = np.where(failed > 0, high, 1.0)
    empty = total <= 0
    return np.where(empty, np.nan, low)[()], np.where(empty, np.nan, high)[()]


def jeffreys(n_passed: ArrayLike, n_total: ArrayLike, *, coverage: float = ONE_SIGMA) -> tuple[Any, Any]:
    """Central interval of a binomial fraction that covers on average as often as it says, not at least.

    Notes
    -----
    The ends are quantiles of the posterior with Jeffreys' prior (Brown, Cai and DasGupta, Statist. Sci. 16 (2001) 101,
    doi:10.1214/ss/1009213286), the lower end 0 where nothing passed and the upper 1 where everything did.
    NaN where ``n_total`` is 0. Shapes as for `clopper_pearson`.
    """
    special = require("scipy.special", extra="evaluate")
    passed, total = np.broadcast_arrays(np.asarray(n_passed, np.float64), np.asarray(n_total, np.float64))
    passed = np.clip(passed, 0.0, total)
    tail = (1.0 - coverage) / 2
    low = special.betaincinv(passed + 0.5, total - passed + 0.5, tail)
    high = special.betaincinv(passed + 0.5, total - passed + 0.5, 1.0 - tail)
    low, high = np.where(passed > 0, low, 0.0), np.where(passed < total, high, 1.0)
    empty = total <= 0
    return np.where(empty, np.nan, low)[()], np.where(empty, np.nan, high)[()]


def measure_fraction(fraction: float, n_effective: float) -> Measurement:
    """Attach errors to a fraction of an effective number of jets.

    Notes
    -----
    ``err_stat`` is half of the Clopper–Pearson interval, which unlike ``sqrt(p (1 - p) / n)`` does not vanish at 0
    and 1.
    """
    low, high = clopper_pearson(fraction * n_effective, n_effective)
    return Measurement(fraction, float(high - low) / 2, fraction - float(low), float(high) - fraction)
