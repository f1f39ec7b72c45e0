"""The bootstrap by bins is the bootstrap by jets; negative weights keep what they add up to."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from hepcnn.errors import InputError
from hepcnn.evaluation.bootstrap import bootstrap_ranks, bootstrap_sample, interval_of
from hepcnn.evaluation.curves import roc_of_ranks
from hepcnn.evaluation.metrics import auc, auc_of_ranks, improvement_at, largest_improvement_on_curve, rejection_at
from hepcnn.evaluation.paired_bootstrap import _POISSON, resample_eps_b
from hepcnn.evaluation.ranking import binning_error, find_ranks, merge_ranks, rank_sample
from hepcnn.evaluation.samples import make_binary_sample

Toy = Callable[..., tuple[np.ndarray, np.ndarray]]


def by_hand(score: np.ndarray, label: np.ndarray, weight: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """AUC of scikit-learn and eps_b at eps_s 0.5 by counting, with Poisson numbers of each jet."""
    rng = np.random.default_rng(7)
    found = []
    order = np.argsort(-score)
    for _ in range(n):
        drawn = weight * rng.poisson(1.0, len(score))
        signal, background = (np.cumsum((drawn * (label == k))[order]) for k in (1, 0))
        eps_b = background[np.searchsorted(signal, 0.5 * signal[-1])] / background[-1]
        found.append((roc_auc_score(label, score, sample_weight=drawn), eps_b))
    return tuple(np.array(found).T)  # type: ignore[return-value]


@pytest.mark.parametrize(("n_bins", "weighted"), [(1 << 20, False), (1 << 20, True), (256, True)])
def test_spread_is_that_of_a_bootstrap_jet_by_jet(toy: Toy, weighted: bool, n_bins: int) -> None:
    score, label = toy(1500, distance=1.5)
    weight = np.random.default_rng(1).exponential(1.0, len(score)) if weighted else np.ones(len(score))
    auc_hand, eps_b_hand = by_hand(score, label, weight, 600)
    found = bootstrap_sample(score, label, weight, n_bootstrap=4000, n_bins=n_bins)
    assert np.std(found.auc) == pytest.approx(np.std(auc_hand), rel=0.08)
    assert np.std(found.eps_b[0.5]) == pytest.approx(np.std(eps_b_hand), rel=0.08)
    assert np.mean(found.eps_b[0.5]) == pytest.approx(np.mean(eps_b_hand), rel=0.03)
    assert np.std(found.auc) == pytest.approx(auc(score, label, weight).err_stat, rel=0.05)
    assert (found.binning_error == 0) == (n_bins > len(score))


def test_accuracy_is_that_of_a_cut(toy: Toy) -> None:
    score, label = toy(3000)
    found = bootstrap_sample(score, label, threshold=1.0, n_bins=50, n_bootstrap=2000)
    right = np.array([np.mean(score[label == 1] >= 1.0), np.mean(score[label == 0] < 1.0)])
    assert np.mean(found.accuracy) == pytest.approx(right.mean(), abs=3e-4)
    assert np.std(found.accuracy) == pytest.approx(np.sqrt(np.sum(right * (1 - right) / 3000)) / 2, rel=0.06)
    assert np.all(bootstrap_sample(score, label, threshold=99.0, n_bootstrap=10).accuracy == 0.5)


def test_threads_and_repetition_change_nothing(toy: Toy) -> None:
    score, label = toy(500)
    one, other = (bootstrap_sample(score, label, n_bootstrap=70, seed=3, threads=t) for t in (1, 4))
    assert np.array_equal(one.auc, other.auc)
    assert not np.array_equal(one.auc, bootstrap_sample(score, label, n_bootstrap=70, seed=4).auc)


def test_merging_moves_an_auc_by_no_more_than_it_says(toy: Toy) -> None:
    ranked = rank_sample(make_binary_sample(*toy(2000)))
    for n_bins in (2, 10, 300):
        merged = merge_ranks(ranked, n_bins=n_bins)
        assert len(merged.threshold) <= n_bins
        moved = abs(auc_of_ranks(merged).value - auc_of_ranks(ranked).value)
        assert 0 < moved <= binning_error(merged)
        assert merged.n_signal == pytest.approx(2000)
    cut = merge_ranks(ranked, n_bins=2, cuts=(0.3,))
    assert cut.count_above(0.3) > 0
    assert cut.signal_passing[cut.count_above(0.3) - 1] == ranked.signal_passing[ranked.count_above(0.3) - 1]


def test_largest_improvement_is_found_where_it_is(toy: Toy) -> None:
    score, label = toy(40_000)
    value, eps_s = largest_improvement_on_curve(roc_of_ranks(rank_sample(make_binary_sample(score, label))))  # type: ignore[misc]
    cuts = norm.isf(np.linspace(0.05, 0.9, 200)) + 2.0
    expected = norm.sf(cuts - 2.0) / np.sqrt(norm.sf(cuts))
    allowed = norm.sf(cuts) * 40_000 > 25
    assert value == pytest.approx(expected[allowed].max(), rel=0.12)
    assert value >= improvement_at(score, label, eps_s=eps_s).value * (1 - 1e-9)
    assert largest_improvement_on_curve(roc_of_ranks(rank_sample(make_binary_sample(*toy(10))))) is None


def test_improvement_of_a_limit_is_one(toy: Toy) -> None:
    score, label = toy(50, distance=9.0)
    found, limit = improvement_at(score, label, eps_s=0.3), rejection_at(score, label, eps_s=0.3)
    assert found.is_lower_limit
    assert found.value == pytest.approx(0.3 * np.sqrt(limit.value))


@st.composite
def signed(draw: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = draw(st.integers(4, 30))
    score = draw(hnp.arrays(np.int64, n, elements=st.integers(-8, 8))).astype(float)
    label = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1)))
    label[:2] = 0, 1
    weight = draw(hnp.arrays(np.int64, n, elements=st.integers(-2, 4))).astype(float)
    for k in (0, 1):
        weight[k] += max(1.0 - weight[label == k].sum(), 0.0)
    return score, label, weight


@given(signed())
def test_negative_weights_keep_sums_and_give_a_curve(sample: Any) -> None:
    score, label, weight = sample
    ranked = rank_sample(make_binary_sample(score, label, weight))
    for k, sums, squares in (
        (1, ranked.signal, ranked.signal_squared),
        (0, ranked.background, ranked.background_squared),
    ):
        assert (sums >= 0).all()
        assert sums.sum() == pytest.approx(weight[label == k].sum())
        assert squares.sum() == pytest.approx((weight[label == k] ** 2).sum())
    assert (np.diff(ranked.threshold) < 0).all()
    assert 0 <= auc(score, label, weight).value <= 1
    assert auc(np.exp(score / 4), label, weight).value == pytest.approx(auc(score, label, weight).value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = auc(np.concatenate([score, score]), np.concatenate([label, label]), np.concatenate([weight, weight]))
    assert again.value == pytest.approx(auc(score, label, 2 * weight).value)
    assert find_ranks(ranked, score).max() < len(ranked.threshold)


def test_negative_weights_have_the_error_of_repeated_experiments() -> None:
    found = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        label = np.repeat([0, 1], 300)
        weight = np.where(rng.random(600) < 0.15, -1.0, 1.0)
        found.append(auc(rng.normal(0, 1, 600) + 1.2 * label, label, weight))
    values, errors = (np.array([getattr(m, name) for m in found]) for name in ("value", "err_stat"))
    assert np.mean(values) == pytest.approx(norm.cdf(1.2 / np.sqrt(2)), abs=0.01)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)


def test_paired_resampling_is_that_of_one_tagger_and_sees_what_two_share(toy: Toy) -> None:
    score, label = toy(2000, distance=1.5)
    near = score + 0.1 * np.random.default_rng(2).normal(size=len(score))
    samples = [make_binary_sample(s, label) for s in (score, near)]
    drawn = resample_eps_b(samples, eps_s=0.5, n_bootstrap=800)
    alone = bootstrap_sample(score, label, n_bootstrap=3000)
    assert np.std(drawn[0]) == pytest.approx(np.std(alone.eps_b[0.5]), rel=0.1)
    assert np.mean(drawn[0]) == pytest.approx(np.mean(alone.eps_b[0.5]), rel=0.01)
    assert np.corrcoef(drawn)[0, 1] > 0.8


def test_the_table_of_draws_is_poisson() -> None:
    times = np.bincount(_POISSON) / len(_POISSON)
    assert len(_POISSON) == 1 << 16
    assert (times * np.arange(len(times))).sum() == 1.0
    assert np.var(_POISSON.astype(float)) == pytest.approx(1.0, abs=1e-3)
    assert times[:4] == pytest.approx([np.exp(-1), np.exp(-1), np.exp(-1) / 2, np.exp(-1) / 6], abs=6e-5)


def test_unusable_settings_are_refused(toy: Toy) -> None:
    with pytest.raises(InputError, match="at least 10"):
        bootstrap_sample(*toy(20), n_bootstrap=5)
    with pytest.raises(InputError, match=r"eps_s = 1\.5"):
        bootstrap_sample(*toy(20), eps_s=(1.5,))


def test_single_jets_are_resampled_until_they_are_drawn() -> None:
    found = bootstrap_sample([0.1, 0.9, 0.5], [0, 1, 0], n_bootstrap=2000)
    assert set(found.auc) == {1.0}
    assert np.isfinite(found.eps_b[0.5]).all()


def test_an_interval_holds_its_value() -> None:
    found = interval_of(np.linspace(0, 1, 101), 2.0)
    assert (found.value, found.err_high) == (2.0, 0.0)
    assert bootstrap_ranks(rank_sample(make_binary_sample([0.1, 0.9], [0, 1])), n_bootstrap=10).auc.tolist() == [1] * 10
