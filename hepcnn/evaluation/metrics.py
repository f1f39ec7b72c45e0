"""Physics numbers of a tagger: arrays in, numbers out.

``score`` is (N,), the larger the more signal-like; ``label`` is (N,) with 1 for signal and 0 for background;
``weight`` is (N,), ones by default, negative ones as `hepcnn.evaluation.ranking.rank_sample` says. A jet passes a cut
when ``score >= threshold``. NaN or infinite scores and labels out of range raise InputError, a class without jets or
whose weights do not add up to more than zero raises EmptySampleError. docs/metrics.md has the formulas.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import InputError, did_you_mean
from hepcnn.evaluation.bootstrap import MIN_BACKGROUND, largest_improvement
from hepcnn.evaluation.curves import RocCurve, roc_curve
from hepcnn.evaluation.intervals import ONE_SIGMA, Measurement, effective_size, jeffreys, measure_fraction
from hepcnn.evaluation.ranking import RankedSample, placements, rank_sample
from hepcnn.evaluation.samples import BinarySample, Floats, check_finite, make_binary_sample

LIMIT_LEVEL = 0.95
"""Confidence level of a lower limit on a rejection."""


@dataclass(frozen=True)
class RejectionCurve:
    """Rejection over signal efficiency, with its 68.3 % interval; NaN where no background passes.

    Attributes
    ----------
    eps_s, rejection, low, high
        (T,) each; ``high`` is infinite where the interval reaches down to no background.
    """

    eps_s: Floats
    rejection: Floats
    low: Floats
    high: Floats


def discriminant(score: ArrayLike, *, class_names: Sequence[str], signal: str, background: str) -> Floats:
    """Separate one class from another: ``p_signal / (p_signal + p_background)``.

    Parameters
    ----------
    score
        (N, K) probabilities.
    class_names
        The K names.
    signal, background
        Two of them.

    Returns
    -------
    numpy.ndarray
        (N,) in [0, 1], float64, so that probabilities which float32 rounds to 1 stay apart by their complement. 0.5
        where both probabilities are 0: such a jet is neither.

    Raises
    ------
    InputError
        For an unknown name, the same name twice, a wrong shape, NaN, infinite or negative probabilities.

    Notes
    -----
    By the lemma of Neyman and Pearson the best test between the two, for a K-class network at its optimum, whatever the
    other classes.
    """
    p = np.asarray(score, dtype=np.float64)
    names = list(class_names)
    if p.ndim != 2 or p.shape[1] != len(names):
        raise InputError(f"score has shape {p.shape}, expected (N, {len(names)}) for the classes {', '.join(names)}")
    for name in (signal, background):
        if name not in names:
            raise InputError(f"no class is called '{name}'{did_you_mean(name, names)}")
    if signal == background:
        raise InputError(f"signal and background are both '{signal}', expected two classes")
    check_finite(p, what="score")
    if (p < 0).any():
        raise InputError(f"score: {int((p < 0).sum())} of {p.size} are negative, expected probabilities")
    p_s, p_b = p[:, names.index(signal)], p[:, names.index(background)]
    total = p_s + p_b
    return np.where(total > 0, p_s / np.where(total > 0, total, 1.0), 0.5)


def variance_of_mean(values: Floats, weight: Floats) -> float:
    """Variance of a weighted mean; with equal weights the sample variance over n. NaN with one effective jet."""
    return _variance_of_mean(values, weight, weight**2)


def _variance_of_mean(values: Floats, weight: Floats, squared: Floats) -> float:
    """The same where each value stands for several jets, whose weights and squared weights are added up."""
    total, total_squared = float(weight.sum()), float(squared.sum())
    n = total**2 / total_squared if total > 0 else 0.0
    if n <= 1.0:
        return float("nan")
    mean = float(np.sum(weight * values)) / total
    return float(np.sum(squared * (values - mean) ** 2) / total**2 * n / (n - 1))


def auc(score: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None) -> Measurement:
    """Area under the ROC curve: the probability that a signal jet scores above a background jet, ties half.

    Notes
    -----
    The error is DeLong's (Biometrics 44 (1988) 837, doi:10.2307/2531595), computed from ranks (Sun and Xu,
    doi:10.1109/LSP.2014.2337313). With weights, its sums become weighted ones with the effective sample size: exact
    for equal weights, else an approximation that takes the weights as fixed. Where every pair is in order (or none is)
    that error would be 0; it is then the binomial bound at 84 % confidence for the smaller class. A class with
    a single effective jet gives the largest variance that the value allows.
    """
    return auc_of_ranks(rank_sample(make_binary_sample(score, label, weight)))


def auc_of_ranks(ranked: RankedSample) -> Measurement:
    """AUC of a sorted sample; see `auc`."""
    below, above = placements(ranked)
    value = float(np.clip(np.sum(ranked.signal * below) / ranked.signal.sum(), 0.0, 1.0))
    variance = 0.0
    for placed, weights, squared in (
        (below, ranked.signal, ranked.signal_squared),
        (above, ranked.background, ranked.background_squared),
    ):
        part = _variance_of_mean(placed, weights, squared)
        variance += part if np.isfinite(part) else value * (1 - value)
    # Sums of many fractions are off by rounding: an AUC that is 1 but for that has no room for an error of rounding.
    if min(value, 1.0 - value) < 1e-14:
        bound = 1.0 - ((1.0 - ONE_SIGMA) / 2) ** (1.0 / min(ranked.n_signal, ranked.n_background))
        return Measurement(round(value), bound)
    return Measurement(value, float(np.sqrt(variance)))


def accuracy(
    score: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None, *, threshold: float = 0.5
) -> Measurement:
    """Fraction of jets on the right side of a cut (by default where both classes are equally probable).

    Notes
    -----
    It depends on the mixture of classes in the sample: 0.5 is the value of guessing only for equal numbers. The error
    is Clopper–Pearson with the effective sample size.
    """
    return accuracy_of_sample(make_binary_sample(score, label, weight), threshold=threshold)


def accuracy_of_sample(sample: BinarySample, *, threshold: float = 0.5) -> Measurement:
    """Accuracy of a checked sample; see `accuracy`."""
    correct = (sample.score >= threshold) == sample.is_signal
    value = float(np.clip(np.average(correct, weights=sample.weight), 0.0, 1.0))
    return measure_fraction(value, effective_size(sample.weight))


def rejection_at(score: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None, *, eps_s: float) -> Measurement:
    """Background rejection ``1 / eps_b`` at a signal efficiency.

    Parameters
    ----------
    eps_s
        Signal efficiency, in (0, 1).

    Returns
    -------
    Measurement
        At least 1. Where no background jet passes: the 95 % lower limit ``1 / (1 - 0.05^(1/n))``, flagged, n being
        the effective number of background jets.

    Notes
    -----
    ``err_stat`` propagates the binomial error of eps_b (effective sample size) and, in quadrature, that of the
    threshold, which is known only as well as the signal sample fixes it: the change of eps_b between ``eps_s`` plus
    and minus its own binomial error. ``err_low`` and ``err_high`` have the Jeffreys interval for the first part, both
    added in the logarithm of eps_b.
    """
    return rejection_on_curve(roc_curve(score, label, weight), eps_s=eps_s)


def rejection_on_curve(curve: RocCurve, *, eps_s: float) -> Measurement:
    """Rejection of a ROC curve at a signal efficiency; see `rejection_at`."""
    eps_b, relative, low, high = _eps_b_with_errors(curve, np.array([eps_s]))
    if eps_b[0] <= 0.0:
        limit = 1.0 - (1.0 - LIMIT_LEVEL) ** (1.0 / curve.n_background)
        return Measurement(float(1.0 / limit), None, is_lower_limit=True)
    value = float(1.0 / eps_b[0])
    return Measurement(value, value * float(relative[0]), value - float(low[0]), float(high[0]) - value)


def improvement_at(score: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None, *, eps_s: float) -> Measurement:
    """Significance improvement ``eps_s / sqrt(eps_b)`` at a signal efficiency.

    Notes
    -----
    By how much a cut changes the significance ``S / sqrt(B)`` (arXiv:1010.3698). The errors are those of the rejection,
    whose square root it holds; without background left, it is the limit that follows from the rejection's.
    """
    return improvement_on_curve(roc_curve(score, label, weight), eps_s=eps_s)


def improvement_on_curve(curve: RocCurve, *, eps_s: float) -> Measurement:
    """Significance improvement of a ROC curve at a signal efficiency; see `improvement_at`."""
    rejection = rejection_on_curve(curve, eps_s=eps_s)
    value = eps_s * float(np.sqrt(rejection.value))
    if rejection.err_stat is None or rejection.err_low is None or rejection.err_high is None:
        return Measurement(value, None, is_lower_limit=True)
    low, high = (
        eps_s * np.sqrt(x) for x in (rejection.value - rejection.err_low, rejection.value + rejection.err_high)
    )
    return Measurement(value, value * rejection.err_stat / rejection.value / 2, value - float(low), float(high) - value)


def largest_improvement_on_curve(curve: RocCurve) -> tuple[float, float] | None:
    """Largest significance improvement of a ROC curve, and the signal efficiency where it is.

    Returns
    -------
    tuple or None
        Value and eps_s; None where no cut leaves `MIN_BACKGROUND` effective background jets, the fewest with which a
        cut is considered: with fewer, the largest value is that of the luckiest cut.
    """
    allowed = curve.eps_b * curve.n_background >= MIN_BACKGROUND
    if not allowed.any():
        return None
    value = float(largest_improvement(curve.eps_s, curve.eps_b, allowed))
    ratio = np.where(allowed, curve.eps_s / np.sqrt(np.where(allowed, curve.eps_b, 1.0)), -np.inf)
    return value, float(curve.eps_s[int(np.argmax(ratio))])


def rejection_curve(
    score: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None, *, eps_s: ArrayLike | None = None
) -> RejectionCurve:
    """Rejection with its interval over signal efficiencies (default: 0.01 to 0.99 in steps of 0.01)."""
    return rejection_curve_of(roc_curve(score, label, weight), eps_s=eps_s)


def rejection_curve_of(curve: RocCurve, *, eps_s: ArrayLike | None = None) -> RejectionCurve:
    """Rejections read off a ROC curve; see `rejection_curve`."""
    targets = np.linspace(0.01, 0.99, 99) if eps_s is None else np.asarray(eps_s, dtype=np.float64)
    eps_b, _, low, high = _eps_b_with_errors(curve, targets)
    with np.errstate(divide="ignore"):
        rejection = np.where(eps_b > 0, 1.0 / eps_b, np.nan)
    return RejectionCurve(targets, rejection, low, high)


def _eps_b_with_errors(curve: RocCurve, eps_s: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """eps_b, its relative error, and the ends of the interval of 1/eps_b (NaN where eps_b is 0)."""
    if ((eps_s <= 0) | (eps_s >= 1)).any():
        raise InputError(f"eps_s = {eps_s[(eps_s <= 0) | (eps_s >= 1)][0]:g}, expected a value between 0 and 1")
    eps_b, n = curve.eps_b_at(eps_s), curve.n_background
    eps_s_err = np.sqrt(eps_s * (1 - eps_s) / curve.n_signal)
    above, below = np.minimum(eps_s + eps_s_err, 1.0), np.maximum(eps_s - eps_s_err, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        from_signal = (curve.eps_b_at(above) - curve.eps_b_at(below)) / 2 / eps_b
        relative = np.hypot(np.sqrt((1 - eps_b) / (eps_b * n)), from_signal)
        least, most = jeffreys(eps_b * n, n)
        low = np.exp(-np.log(eps_b) - np.hypot(np.log(most / eps_b), from_signal))
        high = np.exp(-np.log(eps_b) + np.hypot(np.log(eps_b / least), from_signal))
    unknown = eps_b <= 0
    low, high = np.where(unknown, np.nan, np.maximum(low, 1.0)), np.where(unknown, np.nan, high)
    return eps_b, relative, low, high
