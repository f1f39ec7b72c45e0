"""Paired differences: their errors are those of repeated experiments."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hepcnn.errors import InputError
from hepcnn.evaluation.comparison import compare_accuracy, compare_auc, compare_rejection
from hepcnn.evaluation.metrics import accuracy, auc, rejection_at

Toy = Callable[..., tuple[np.ndarray, np.ndarray]]


def two_taggers(seed: int, *, n: int = 300, ahead: float = 0.1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n)
    common = rng.normal(0, 1, 2 * n)
    a, b = (common + rng.normal(0, 0.5, 2 * n) + d * (label - 0.5) for d in (1.5 + ahead, 1.5))
    return a, b, label


def test_differences_are_those_of_the_single_numbers() -> None:
    a, b, label = two_taggers(0)
    w = np.random.default_rng(0).uniform(0.5, 2, len(a))
    assert compare_auc(a, b, label, w).value == pytest.approx(auc(a, label, w).value - auc(b, label, w).value)
    expected = accuracy(a, label, w, threshold=0).value - accuracy(b, label, w, threshold=0).value
    assert compare_accuracy(a, b, label, w, threshold=0).value == pytest.approx(expected)
    expected = rejection_at(a, label, w, eps_s=0.5).value - rejection_at(b, label, w, eps_s=0.5).value
    assert compare_rejection(a, b, label, w, eps_s=0.5, n_bootstrap=20).value == pytest.approx(expected)


def test_errors_are_those_of_repeated_experiments_and_smaller_than_unpaired() -> None:
    drawn = [two_taggers(seed) for seed in range(300)]
    for compare in (compare_auc, lambda *x: compare_accuracy(*x, threshold=0.0)):
        found = [compare(*sample) for sample in drawn]
        assert np.mean([d.err_stat for d in found]) == pytest.approx(np.std([d.value for d in found]), rel=0.12)
    assert np.mean([compare_auc(*s).err_stat for s in drawn[:20]]) < np.hypot(0.016, 0.016)


def test_rejections_bootstrap_is_calibrated() -> None:
    found = [compare_rejection(*two_taggers(s, ahead=0.0), eps_s=0.5, n_bootstrap=60) for s in range(150)]
    assert np.std([d.n_sigma for d in found]) == pytest.approx(1.0, abs=0.25)
    assert np.mean([d.n_sigma for d in found]) == pytest.approx(0.0, abs=0.3)


def test_the_order_of_the_two_only_changes_the_sign() -> None:
    a, b, label = two_taggers(1)
    for compare in (compare_auc, lambda *x: compare_rejection(*x, eps_s=0.5)):
        one, other = compare(a, b, label), compare(b, a, label)
        assert (one.value, one.err_stat, one.n_sigma) == pytest.approx((-other.value, other.err_stat, -other.n_sigma))


def test_equal_taggers_are_no_standard_errors_apart() -> None:
    a, _, label = two_taggers(2)
    for found in (compare_auc(a, np.exp(a), label), compare_rejection(a, 2 * a, label, eps_s=0.5, n_bootstrap=20)):
        assert (found.value, found.n_sigma) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_seeds_are_averaged() -> None:
    a, b, label = two_taggers(3)
    c = two_taggers(4)[0]
    seeds = compare_auc(np.stack([a, c]), b, label)
    assert seeds.value == pytest.approx(np.mean([auc(x, label).value for x in (a, c)]) - auc(b, label).value)
    rejections = compare_rejection(np.stack([a, c]), b, label, eps_s=0.5, n_bootstrap=10)
    expected = (
        np.mean([rejection_at(x, label, eps_s=0.5).value for x in (a, c)]) - rejection_at(b, label, eps_s=0.5).value
    )
    assert rejections.value == pytest.approx(expected)


def test_a_rejection_without_background_is_flagged(toy: Toy) -> None:
    a, label = toy(50, distance=8.0)
    b, _ = toy(50, distance=1.0, seed=1)
    found = compare_rejection(a, b, label, eps_s=0.3, n_bootstrap=30)
    assert found.is_limit
    assert np.isfinite([found.value, found.err_stat, found.n_sigma]).all()
    assert found.n_sigma > 0


def test_different_jets_and_too_few_resamplings_are_refused() -> None:
    a, b, label = two_taggers(0)
    with pytest.raises(InputError, match="as for the first tagger"):
        compare_auc(a, b[:-1], label)
    with pytest.raises(InputError, match="at least 10"):
        compare_rejection(a, b, label, eps_s=0.5, n_bootstrap=3)


def test_jets_needed_are_those_that_separate_the_two() -> None:
    few = compare_auc(*two_taggers(0, n=400, ahead=0.06))
    factor = few.jets_factor(2.0)
    assert factor is not None
    assert factor == pytest.approx((2.0 / few.n_sigma) ** 2)
    with_seeds = replace(few, err_stat=float(np.hypot(few.err_stat, 0.001)), err_seed=0.001)
    seen = replace(with_seeds, n_sigma=few.value / with_seeds.err_stat)
    error = np.sqrt(few.err_stat**2 / (seen.jets_factor(2.0) or 0) + 0.001**2)
    assert few.value / error == pytest.approx(2.0)
    hopeless = replace(seen, err_stat=float(np.hypot(few.err_stat, few.value)), err_seed=few.value, n_sigma=0.5)
    assert hopeless.jets_factor(2.0) is None
    assert replace(few, n_sigma=0.0).jets_factor() is None
