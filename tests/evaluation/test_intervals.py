"""Clopper–Pearson intervals and effective sample sizes."""

import numpy as np
import pytest
from scipy import stats

from hepcnn.evaluation.intervals import Measurement, clopper_pearson, effective_size, measure_fraction


@pytest.mark.parametrize(("passed", "total"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 4000)])
def test_ends_are_scipys(passed: int, total: int) -> None:
    expected = stats.binomtest(passed, total).proportion_ci(0.6826894921370859, method="exact")
    assert clopper_pearson(passed, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_trials_give_nan_and_arrays_keep_their_shape() -> None:
    low, high = clopper_pearson([0, 0, 2], [0, 5, 2])
    assert np.isnan(low[0])
    assert np.isnan(high[0])
    assert (low[1], high[2]) == (0.0, 1.0)


@pytest.mark.parametrize("p", [0.003, 0.2, 0.5, 0.97])
def test_interval_covers_at_least_as_often_as_it_says(p: float) -> None:
    k = np.random.default_rng(1).binomial(400, p, 4000)
    low, high = clopper_pearson(k, 400)
    assert np.mean((low <= p) & (p <= high)) >= 0.6827 - 0.02


def test_effective_size() -> None:
    assert effective_size(np.full(50, 3.0)) == pytest.approx(50)
    assert effective_size(np.array([1.0, 0.0, 0.0])) == 1.0
    assert effective_size(np.zeros(4)) == 0.0
    assert effective_size(np.array([1.0, 2.0])) == pytest.approx(9 / 5)


def test_error_of_a_fraction_does_not_vanish_at_the_ends() -> None:
    sure = measure_fraction(1.0, 100)
    assert sure.err_high == 0.0
    assert sure.err_stat is not None
    assert sure.err_stat > 0


def test_a_limit_says_so_in_its_record() -> None:
    record = Measurement(300.0, None, is_lower_limit=True).to_dict()
    assert record == {"value": 300.0, "err_stat": None, "is_lower_limit": True, "confidence_level": 0.95}
