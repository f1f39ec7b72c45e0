"""Calibration: against scikit-learn's curve and regression, and repeated experiments."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.calibration import calibration_error, make_reliability
from hepcnn.evaluation.metrics import auc
from hepcnn.evaluation.temperature import apply_temperature, fit_temperature


def jets(n: int, *, sharpness: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of two Gaussian classes that are right for sharpness 1."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    logit = 2 * (rng.normal(0, 1, n) + 2 * label - 1)
    return 1 / (1 + np.exp(-sharpness * logit)), label


def test_reliability_is_scikit_learns() -> None:
    p, label = jets(5000, sharpness=1.7)
    found = make_reliability(p, label, n_bins=10)
    fraction, confidence = calibration_curve(label, p, n_bins=10)
    assert found.fraction == pytest.approx(fraction)
    assert found.confidence == pytest.approx(confidence)
    counts = np.histogram(p, 10, (0, 1))[0]
    assert found.n_jets == pytest.approx(counts)
    assert found.error == pytest.approx(np.sum(counts * np.abs(fraction - confidence)) / 5000)


def test_a_calibrated_score_has_the_error_that_chance_gives() -> None:
    found = [calibration_error(*jets(1000, seed=s), n_bootstrap=10) for s in range(300)]
    assert np.mean([m.value for m, _ in found]) == pytest.approx(np.mean([e for _, e in found]), rel=0.05)


def test_an_overconfident_score_has_an_error_with_the_spread_of_experiments() -> None:
    found = [calibration_error(*jets(2000, sharpness=2.0, seed=s), n_bootstrap=200)[0] for s in range(300)]
    assert np.mean([m.err_stat for m in found]) == pytest.approx(np.std([m.value for m in found]), rel=0.15)
    assert np.mean([m.value for m in found]) > 0.04


def test_unit_weights_and_duplicates_change_nothing() -> None:
    p, label = jets(500)
    counts = np.random.default_rng(0).integers(1, 4, 500)
    assert make_reliability(p, label, np.ones(500)).error == make_reliability(p, label).error
    doubled = make_reliability(np.repeat(p, counts), np.repeat(label, counts)).error
    assert doubled == pytest.approx(make_reliability(p, label, counts).error)


def test_empty_bins_are_nan_and_count_for_nothing() -> None:
    found = make_reliability([0.05, 0.05, 1.0, 1.0], [0, 0, 1, 0], n_bins=10)
    assert np.isnan(found.fraction[1:9]).all()
    assert found.error == pytest.approx(0.5 * 0.05 + 0.5 * 0.5)
    assert found.low[0] == 0.0


def test_temperature_is_the_slope_of_a_logistic_regression() -> None:
    p, label = jets(4000, sharpness=1.6)
    weight = np.random.default_rng(1).uniform(0.2, 2.0, 4000)
    found = fit_temperature(np.stack([1 - p, p], axis=1), label, weight)
    logit = np.log(p / (1 - p)).reshape(-1, 1)
    fitted = LogisticRegression(C=1e9, fit_intercept=False, tol=1e-10).fit(logit, label, sample_weight=weight)
    assert found is not None
    assert found.value == pytest.approx(1 / fitted.coef_[0, 0], rel=1e-4)
    assert abs(found.value - 1.6) < 4 * found.err_stat


def test_temperature_error_is_that_of_repeated_experiments() -> None:
    found = []
    for seed in range(200):
        p, label = jets(800, sharpness=1.3, seed=seed)
        found.append(fit_temperature(np.stack([1 - p, p], axis=1), label))
    values, errors = (np.array([getattr(t, name) for t in found]) for name in ("value", "err_stat"))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)
    assert np.mean(values) == pytest.approx(1.3, abs=0.02)


def test_applied_temperature_mends_calibration_and_keeps_the_order() -> None:
    p, label = jets(4000, sharpness=2.5)
    score = np.stack([1 - p, p], axis=1)
    found = fit_temperature(score, label)
    assert found is not None
    mended = apply_temperature(score, found.value)
    assert mended.sum(axis=1) == pytest.approx(1.0)
    before, after = calibration_error(p, label)[0].value, calibration_error(mended[:, 1], label)
    assert after[0].value < 0.4 * before
    assert auc(mended[:, 1], label).value == pytest.approx(auc(p, label).value, abs=1e-6)
    assert apply_temperature(score, 1.0) == pytest.approx(score)


def test_three_classes_have_their_temperature() -> None:
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, (5000, 3))
    p = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    label = (p.cumsum(axis=1) < rng.random((5000, 1))).sum(axis=1)
    found = fit_temperature(apply_temperature(p, 0.5), label)
    assert found is not None
    assert abs(found.value - 2.0) < 4 * found.err_stat


def test_scores_that_are_always_right_have_no_temperature() -> None:
    assert fit_temperature([[0.9, 0.1], [0.2, 0.8]], [0, 1]) is None
    assert fit_temperature([[0.9, 0.1], [0.2, 0.8]], [0, 0], [1.0, 0.0]) is None
    assert fit_temperature([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]], [1, 0, 1]) is None, "worse than guessing"


def signs(n: int, *, seed: int) -> np.ndarray:
    """Weights of which a fifth is negative whatever the jet: they cancel on average, and sums estimate the same."""
    return np.where(np.random.default_rng(seed).random(n) < 0.2, -1.0, 1.0)


def test_negative_weights_join_bins_and_keep_sums() -> None:
    p, label = jets(300, seed=5)
    weight = signs(300, seed=6)
    found = make_reliability(p, label, weight, n_bins=40)
    assert 2 < len(found.edges) - 1 < 40
    assert found.share.sum() == pytest.approx(1.0)
    assert np.nansum(found.share * found.fraction) == pytest.approx(weight[label == 1].sum() / weight.sum())
    filled = np.isfinite(found.fraction)
    assert (found.fraction[filled] >= 0).all()
    assert (found.fraction[filled] <= 1).all()
    inside = (found.confidence >= found.edges[:-1] - 1e-12) & (found.confidence <= found.edges[1:] + 1e-12)
    assert inside[filled].all()
    # Each bin's effective number of jets is that of its own weights, the negative ones squared with the others.
    number = np.searchsorted(found.edges, p, side="right") - 1
    for bin_number in np.flatnonzero(filled):
        w = weight[number == bin_number]
        assert found.n_jets[bin_number] == pytest.approx(w.sum() ** 2 / (w**2).sum())


def test_negative_weights_estimate_what_jets_without_them_do() -> None:
    errors, values, floors, temperatures, quoted = [], [], [], [], []
    for seed in range(60):
        p, label = jets(3000, sharpness=1.5, seed=seed)
        weight = signs(3000, seed=1000 + seed)
        measured, floor = calibration_error(p, label, weight, n_bootstrap=100)
        floors.append(floor)
        values.append(measured.value)
        errors.append(measured.err_stat)
        fitted = fit_temperature(np.stack([1 - p, p], axis=1), label, weight)
        temperatures.append(fitted.value)
        quoted.append(fitted.err_stat)
    # A logit 1.5 times too sharp wants the temperature 1.5; its spread is what the error says.
    assert np.mean(temperatures) == pytest.approx(1.5, abs=3 * np.std(temperatures) / np.sqrt(60))
    assert np.std(temperatures) == pytest.approx(np.mean(quoted), rel=0.3)
    p, label = jets(200_000, sharpness=1.5, seed=99)
    # The error of few jets is larger, by no more than what fluctuations alone would give.
    truth = calibration_error(p, label)[0].value
    assert truth - 0.002 < np.mean(values) < truth + np.mean(floors)
    assert np.std(values) == pytest.approx(np.mean(errors), rel=0.3)


def test_a_loss_that_negative_weights_turn_over_has_no_temperature() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    assert fit_temperature(p, [0, 1, 0, 1], [5.0, 5.0, -4.0, -4.0]) is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fit_temperature([0.5, 0.5], [0, 1]), InputError, r"expected \(N, K\)"),
        (lambda: fit_temperature([[0.5, np.nan]], [0]), InputError, "NaN"),
        (lambda: fit_temperature([[0.5, -0.1]], [0]), InputError, "negative"),
        (lambda: fit_temperature([[0.5, 0.5]], [2]), InputError, "out of range"),
        (lambda: fit_temperature([[0.5, 0.5]], [0], [0.0]), EmptySampleError, "more than zero"),
        (lambda: apply_temperature([[0.5, 0.5]], 0.0), InputError, "positive"),
        (lambda: make_reliability([0.5, 1.5], [0, 1]), InputError, "expected 0 to 1"),
        (lambda: make_reliability([0.5, 0.5], [0, 0]), EmptySampleError, "none of 2 jets is signal"),
        (lambda: make_reliability([0.5, 0.5], [0, 1], [1, -1]), EmptySampleError, "add up"),
    ],
)
def test_unusable_input_is_named(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
