"""Each number against scikit-learn, an analytic case and its properties."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm
from sklearn import metrics as sklearn_metrics

from hepcnn.errors import EmptySampleError, HepcnnError, InputError
from hepcnn.evaluation.curves import roc_curve
from hepcnn.evaluation.efficiency import efficiency_in_bins
from hepcnn.evaluation.metrics import accuracy, auc, discriminant, rejection_at, rejection_curve

Toy = Callable[..., tuple[np.ndarray, np.ndarray]]


def weights(n: int) -> np.ndarray:
    return np.random.default_rng(3).uniform(0.2, 2.0, n)


@st.composite
def samples(draw: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Few jets with many ties, each class present."""
    n = draw(st.integers(4, 40))
    score = draw(hnp.arrays(np.int64, n, elements=st.integers(-5, 5))).astype(float)
    label = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1)))
    label[:2] = 0, 1
    return score, label, draw(hnp.arrays(np.int64, n, elements=st.integers(1, 4))).astype(float)


@given(samples())
def test_auc_and_accuracy_are_sklearns_with_ties_and_weights(sample: Any) -> None:
    score, label, weight = sample
    assert auc(score, label, weight).value == pytest.approx(
        sklearn_metrics.roc_auc_score(label, score, sample_weight=weight), abs=1e-12
    )
    assert accuracy(score, label, weight, threshold=1.0).value == pytest.approx(
        sklearn_metrics.accuracy_score(label, score >= 1.0, sample_weight=weight), abs=1e-12
    )


@given(samples())
def test_roc_is_the_count_of_jets_at_or_above_each_threshold(sample: Any) -> None:
    score, label, weight = sample
    curve = roc_curve(score, label, weight)
    for cut, eps_s, eps_b in zip(curve.threshold, curve.eps_s, curve.eps_b, strict=True):
        for members, eps in ((label == 1, eps_s), (label == 0, eps_b)):
            assert eps == pytest.approx(weight[members & (score >= cut)].sum() / weight[members].sum(), abs=1e-12)
    assert (curve.eps_s[0], curve.eps_b[0], curve.eps_s[-1], curve.eps_b[-1]) == pytest.approx((0, 0, 1, 1))
    assert set(curve.threshold[1:]) == set(score)


@given(samples())
def test_monotone_transforms_unit_weights_and_duplicates_change_nothing(sample: Any) -> None:
    score, label, weight = sample
    for metric in (auc, lambda *a: rejection_at(*a, eps_s=0.4)):
        here = metric(score, label, weight)
        assert metric(np.exp(score / 3) - 7, label, weight).value == pytest.approx(here.value)
        counts = weight.astype(int)
        # A rejection without background is a limit, and that knows the effective number of jets.
        if not here.is_lower_limit:
            assert metric(np.repeat(score, counts), np.repeat(label, counts)).value == pytest.approx(here.value)
        unit = metric(score, label, np.ones(len(score)))
        assert unit == metric(score, label)
        scaled = metric(score, label, np.full(len(score), 5.0))
        assert scaled.value == pytest.approx(unit.value)
        assert scaled.err_stat == pytest.approx(unit.err_stat)


def test_two_gaussians_have_their_known_auc_and_rejection(toy: Toy) -> None:
    score, label = toy(40_000, distance=2.0)
    measured = auc(score, label)
    assert measured.err_stat is not None
    assert abs(measured.value - norm.cdf(2 / np.sqrt(2))) < 4 * measured.err_stat
    for eps_s in (0.3, 0.5, 0.8):
        expected = 1 / norm.sf(norm.isf(eps_s) + 2.0)
        rejection = rejection_at(score, label, eps_s=eps_s)
        assert rejection.err_stat is not None
        assert abs(rejection.value - expected) < 4 * rejection.err_stat


def test_delong_error_is_that_of_repeated_experiments(toy: Toy) -> None:
    results = [auc(*toy(150, distance=1.2, seed=s)) for s in range(400)]
    values, errors = (np.array([getattr(r, name) for r in results]) for name in ("value", "err_stat"))
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.1)
    covered = np.mean(np.abs(values - norm.cdf(1.2 / np.sqrt(2))) < errors)
    assert covered == pytest.approx(0.683, abs=0.07)


def test_delong_error_of_weighted_jets_is_that_of_repeated_experiments(toy: Toy) -> None:
    results = []
    for seed in range(400):
        score, label = toy(150, distance=1.2, seed=seed)
        results.append(auc(score, label, np.random.default_rng(seed).exponential(1.0, 300)))
    assert np.mean([r.err_stat for r in results]) == pytest.approx(np.std([r.value for r in results]), rel=0.12)


def test_rejection_without_background_is_a_flagged_limit_that_holds(toy: Toy) -> None:
    limits = [rejection_at(*toy(100, distance=3.0, seed=s), eps_s=0.3) for s in range(200)]
    flagged = [m for m in limits if m.is_lower_limit]
    assert flagged
    assert all(m.err_stat is None and 1 < m.value < 100 for m in flagged)
    assert flagged[0].value == pytest.approx(1 / (1 - 0.05 ** (1 / 100)))
    truth = 1 / norm.sf(norm.isf(0.3) + 3.0)
    assert all(m.value < truth for m in flagged)


def test_rejection_of_a_constant_score_is_that_of_guessing() -> None:
    label = np.tile([0, 1], 50)
    assert rejection_at(np.zeros(100), label, eps_s=0.25).value == pytest.approx(4.0)
    assert auc(np.zeros(100), label).value == 0.5


def test_rejection_curve_agrees_with_the_single_numbers(toy: Toy) -> None:
    score, label = toy(2000)
    w = weights(4000)
    curve = rejection_curve(score, label, w, eps_s=[0.01, 0.3, 0.5])
    for i, eps_s in enumerate((0.3, 0.5), start=1):
        assert curve.rejection[i] == pytest.approx(rejection_at(score, label, w, eps_s=eps_s).value)
        assert 1 <= curve.low[i] < curve.rejection[i] < curve.high[i]


def test_perfect_separation_still_has_an_error() -> None:
    for order in (1, -1):
        measured = auc(order * np.arange(40), np.repeat([0, 1], 20))
        assert measured.value == (1.0 if order == 1 else 0.0)
        assert measured.err_stat is not None
        assert 0 < measured.err_stat < 0.1


def test_one_jet_per_class_has_a_finite_error() -> None:
    measured = auc([0.5, 0.5], [0, 1])
    assert (measured.value, measured.err_stat) == (0.5, pytest.approx(np.sqrt(0.5)))


def test_efficiency_in_bins_counts_and_leaves_empty_bins_empty() -> None:
    pt, passed = np.array([1.0, 1.5, 2.5, 2.6, 9.0, 4.0]), np.array([True, False, True, True, True, True])
    binned = efficiency_in_bins(passed, pt, edges=[1, 2, 3, 3.5, 4])
    assert binned.value[[0, 1, 3]].tolist() == [0.5, 1.0, 1.0]
    assert np.isnan([binned.value[2], binned.low[2], binned.high[2]]).all()
    assert binned.n_jets.tolist() == [2, 2, 0, 1]
    doubled = efficiency_in_bins(passed, pt, np.full(6, 2.0), edges=[1, 2, 3, 3.5, 4])
    assert doubled.high[:2] == pytest.approx(binned.high[:2])


@pytest.mark.parametrize("edges", [[1.0], [1.0, 1.0], [2.0, 1.0]])
def test_bad_edges_are_refused(edges: list[float]) -> None:
    with pytest.raises(InputError, match="edges"):
        efficiency_in_bins(np.array([True]), [1.0], edges=edges)


def test_discriminant_is_the_ratio_and_keeps_what_float32_rounds() -> None:
    score = np.array([[0.2, 0.6, 0.2], [0.0, 0.0, 1.0], [1e-12, 1.0, 0.0], [1e-13, 1.0, 0.0]], np.float32)
    value = discriminant(score, class_names=("qcd", "top", "w"), signal="top", background="qcd")
    assert value[:2] == pytest.approx([0.75, 0.5])
    assert value[3] > value[2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signal": "topp"}, "did you mean 'top'"),
        ({"background": "top"}, "both 'top'"),
        ({"score": [[0.5, 0.4, 0.1]]}, r"expected \(N, 2\)"),
        ({"score": [[-0.5, 1.5]]}, "negative"),
        ({"score": [[np.nan, 0.5]]}, "1 of 2 values are NaN"),
    ],
)
def test_discriminant_refuses(changes: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"score": [[0.5, 0.5]], "signal": "top", "background": "qcd"} | changes
    with pytest.raises(InputError, match=message):
        discriminant(values.pop("score"), class_names=("qcd", "top"), **values)


@pytest.mark.parametrize(
    ("score", "label", "weight", "error", "message"),
    [
        ([0.1, np.nan, np.inf], [0, 1, 1], None, InputError, "2 of 3 values are NaN or infinite, the first at 1"),
        ([0.1, 0.2], [0, 2], None, InputError, "1 of 2 are out of range"),
        ([0.1, 0.2], [0, -1], None, InputError, "out of range"),
        ([0.1, 0.2], [0, 0.5], None, InputError, "no whole numbers"),
        ([0.1, 0.2], [0, np.nan], None, InputError, "label"),
        ([0.1, 0.2], [0, 1, 1], None, InputError, "one per jet"),
        ([[0.1, 0.2]], [0, 1], None, InputError, r"expected \(N,\)"),
        ([0.1, 0.2], [0, 1], [1, -1], EmptySampleError, "1 signal jets add up to -1; expected more than zero"),
        ([0.1, 0.2], [0, 1], [1, np.nan], InputError, "weight"),
        ([0.1, 0.2], [0, 1], [1], InputError, "one per jet"),
        ([0.1, 0.2], [0, 0], None, EmptySampleError, "none of 2 jets is signal"),
        ([0.1, 0.2], [1, 1], None, EmptySampleError, "none of 2 jets is background"),
        ([], [], None, EmptySampleError, "none of 0 jets"),
        ([0.1, 0.2], [0, 1], [0, 1], EmptySampleError, "all 1 background jets have weight zero"),
    ],
)
def test_unusable_input_is_named(score: Any, label: Any, weight: Any, error: type[HepcnnError], message: str) -> None:
    for metric in (auc, accuracy, roc_curve, lambda *a: rejection_at(*a, eps_s=0.3)):
        with pytest.raises(error, match=message):
            metric(score, label, weight)


@pytest.mark.parametrize("eps_s", [0.0, 1.0, -1.0, 30])
def test_eps_s_outside_its_range_is_refused(toy: Toy, eps_s: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        rejection_at(*toy(10), eps_s=eps_s)


def test_no_sum_of_large_float32_weights_is_lost(toy: Toy) -> None:
    score, label = toy(1000)
    big = np.full(2000, 1e30, np.float32)
    assert auc(score, label, big).value == pytest.approx(auc(score, label).value)
