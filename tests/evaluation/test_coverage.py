"""68 % means 68 ± 2 %: how often intervals hold the truth in repeated experiments."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from hepcnn.evaluation.bootstrap import bootstrap_ranks, interval_of
from hepcnn.evaluation.comparison import compare_auc
from hepcnn.evaluation.curves import roc_of_ranks
from hepcnn.evaluation.intervals import Measurement, clopper_pearson, jeffreys
from hepcnn.evaluation.metrics import auc_of_ranks, improvement_on_curve, rejection_on_curve
from hepcnn.evaluation.ranking import RankedSample, rank_sample
from hepcnn.evaluation.samples import BinarySample
from hepcnn.evaluation.temperature import fit_temperature

SIGMA = 0.683


def experiment(n: int, distance: float, seed: int, *, weighted: bool = False) -> RankedSample:
    rng = np.random.default_rng(seed)
    is_signal = np.repeat([False, True], n)
    weight = rng.choice([0.5, 1.0, 2.0], 2 * n) if weighted else np.ones(2 * n)
    return rank_sample(BinarySample(rng.normal(0, 1, 2 * n) + distance * is_signal, is_signal, weight))


def coverage(measure: Callable[[RankedSample], Measurement], truth: float, experiments: list[RankedSample]) -> float:
    found = [measure(ranked) for ranked in experiments]
    held = [m.value - (m.err_low or 0.0) <= truth <= m.value + (m.err_high or 0.0) for m in found]
    return float(np.mean(held))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("eps_s", "distance", "n"), [(0.5, 1.0, 400), (0.3, 1.5, 400), (0.8, 2.0, 400)])
def test_rejection_and_improvement(eps_s: float, distance: float, n: int, weighted: bool) -> None:
    experiments = [experiment(n, distance, seed, weighted=weighted) for seed in range(3000)]
    eps_b = norm.sf(norm.isf(eps_s) + distance)
    for measure, truth in (
        (lambda r: rejection_on_curve(roc_of_ranks(r), eps_s=eps_s), 1 / eps_b),
        (lambda r: improvement_on_curve(roc_of_ranks(r), eps_s=eps_s), eps_s / np.sqrt(eps_b)),
    ):
        assert coverage(measure, truth, experiments) == pytest.approx(SIGMA, abs=0.02)


@pytest.mark.slow
def test_auc_by_delong_and_by_bootstrap() -> None:
    truth = norm.cdf(1.2 / np.sqrt(2))
    experiments = [experiment(150, 1.2, seed) for seed in range(2000)]
    found = [auc_of_ranks(r) for r in experiments]
    assert np.mean([abs(m.value - truth) < (m.err_stat or 0) for m in found]) == pytest.approx(SIGMA, abs=0.02)

    def by_bootstrap(ranked: RankedSample) -> Measurement:
        replicas = bootstrap_ranks(ranked, n_bootstrap=200, n_bins=50, threads=1)
        return interval_of(replicas.auc, auc_of_ranks(ranked).value)

    assert coverage(by_bootstrap, truth, experiments) == pytest.approx(SIGMA, abs=0.02)


def test_paired_difference_of_auc() -> None:
    # Half of the noise is common to both taggers.
    truth = norm.cdf(1.4 / np.sqrt(2)) - norm.cdf(1.1 / np.sqrt(2))
    label, held = np.repeat([0, 1], 150), []
    for seed in range(2000):
        common, *own = np.random.default_rng(seed).normal(0, np.sqrt(0.5), (3, 300))
        found = compare_auc(common + own[0] + 1.4 * label, common + own[1] + 1.1 * label, label)
        held.append(abs(found.value - truth) < found.err_stat)
    assert np.mean(held) == pytest.approx(SIGMA, abs=0.02)


def test_temperature() -> None:
    held = []
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        label = rng.integers(0, 2, 300)
        # The right logit of two unit Gaussians at -1 and 1 is twice the place; this one is sharper by 1.4.
        p = 1 / (1 + np.exp(-2 * 1.4 * (rng.normal(0, 1, 300) + 2 * label - 1)))
        fitted = fit_temperature(np.stack([1 - p, p], axis=1), label)
        assert fitted is not None
        held.append(abs(fitted.value - 1.4) < fitted.err_stat)
    assert np.mean(held) == pytest.approx(SIGMA, abs=0.02)


@pytest.mark.parametrize("p", [0.003, 0.2, 0.5, 0.97])
def test_clopper_pearson_covers_at_least_and_jeffreys_about(p: float) -> None:
    # Counts are whole numbers, and so coverage jumps with n: the mean over sample sizes is what can be promised.
    rng = np.random.default_rng(1)
    n = rng.integers(300, 3000, 20_000)
    k = rng.binomial(n, p)
    exact, average = (np.mean((low <= p) & (p <= high)) for low, high in (clopper_pearson(k, n), jeffreys(k, n)))
    assert exact >= SIGMA - 0.005
    assert average == pytest.approx(SIGMA, abs=0.02)
    assert average < exact
