"""Curves over the trainings of one tagger: their mean, its statistical error, and what the seeds add to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hepcnn.errors import EmptySampleError, InputError, did_you_mean
from hepcnn.evaluation.metrics import RejectionCurve
from hepcnn.evaluation.samples import Floats

Quantity = Literal["rejection", "eps_b", "significance"]


@dataclass(frozen=True)
class Band:
    """A curve with two bands around it.

    Attributes
    ----------
    x, value
        (T,) each; NaN where there is no point.
    stat_low, stat_high
        (T,) ends of the 68.3 % statistical interval, the mean over trainings.
    low, high
        (T,) the same with the spread over trainings in quadrature; equal to the statistical ones for a single training.
    n_seeds
        Number of trainings.
    """

    x: Floats
    value: Floats
    stat_low: Floats
    stat_high: Floats
    low: Floats
    high: Floats
    n_seeds: int = 1

    def ratio_to(self, reference: "Band") -> "Band":
        """This curve and its bands divided by the value of another on the same x; NaN where that is 0 or NaN."""
        with np.errstate(divide="ignore", invalid="ignore"):
            by = np.where(reference.value > 0, reference.value, np.nan)
            names = ("value", "stat_low", "stat_high", "low", "high")
            scaled = {name: getattr(self, name) / by for name in names}
        return Band(self.x, n_seeds=self.n_seeds, **scaled)


def _rejection(curve: RejectionCurve) -> tuple[Floats, Floats, Floats]:
    return curve.rejection, curve.low, curve.high


def _eps_b(curve: RejectionCurve) -> tuple[Floats, Floats, Floats]:
    return 1 / curve.rejection, 1 / curve.high, 1 / curve.low


def _significance(curve: RejectionCurve) -> tuple[Floats, Floats, Floats]:
    first, second, third = (curve.eps_s * np.sqrt(values) for values in _rejection(curve))
    return first, second, third


_OF: dict[str, Callable[[RejectionCurve], tuple[Floats, Floats, Floats]]] = {
    "rejection": _rejection,
    "eps_b": _eps_b,
    "significance": _significance,
}


def make_band(curves: Sequence[RejectionCurve], quantity: Quantity = "rejection") -> Band:
    """Average the curves of one tagger's trainings.

    Parameters
    ----------
    curves
        One per training, on the same signal efficiencies, as `hepcnn.evaluation.metrics.rejection_curve` gives.
    quantity
        "rejection" 1/eps_b, "eps_b", or "significance" eps_s/sqrt(eps_b), the factor by which a cut improves
        S/sqrt(B) (arXiv:1001.5027).

    Returns
    -------
    Band
        NaN where in some training no background passes.

    Raises
    ------
    EmptySampleError
        For no curves.
    InputError
        For an unknown quantity, or curves on different efficiencies.

    Notes
    -----
    Trainings share their test jets, so the statistical interval is the mean one; the spread is the standard deviation
    (n - 1) of single trainings.
    """
    if not curves:
        raise EmptySampleError("no curve to average, expected that of at least one training")
    if quantity not in _OF:
        raise InputError(f"no quantity is called '{quantity}'{did_you_mean(quantity, _OF)}")
    if any(not np.array_equal(curve.eps_s, curves[0].eps_s) for curve in curves):
        raise InputError("the curves of the trainings have different signal efficiencies, expected the same")
    value, low, high = (np.mean(parts, axis=0) for parts in zip(*map(_OF[quantity], curves), strict=True))
    if len(curves) == 1:
        return Band(curves[0].eps_s, value, low, high, low, high)
    spread = np.std([_OF[quantity](curve)[0] for curve in curves], axis=0, ddof=1)
    wide_low, wide_high = value - np.hypot(value - low, spread), value + np.hypot(high - value, spread)
    floor = 1.0 if quantity == "rejection" else 0.0
    return Band(curves[0].eps_s, value, low, high, np.maximum(wide_low, floor), wide_high, n_seeds=len(curves))
