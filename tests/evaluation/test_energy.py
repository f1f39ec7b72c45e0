"""Energies: responses, widths and the resolution curve against toys whose truth is known."""

import numpy as np
import pytest
from scipy import optimize, stats

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.energy import energy_edges, measure_responses
from hepcnn.evaluation.pulls import measure_pulls
from hepcnn.evaluation.quantiles import weighted_quantiles
from hepcnn.evaluation.resolution import TERMS, fit_resolution, fit_responses, resample_terms

TRUTH = {"a": 0.02, "b": 0.5, "c": 0.3}


def curve(energy, a, b, c):
    return np.sqrt(a**2 + b**2 / energy + c**2 / energy**2)


def make_toy(n, seed, **changed):
    random = np.random.default_rng(seed)
    energy = np.exp(random.uniform(np.log(1.0), np.log(1000.0), n))
    terms = TRUTH | changed
    return energy, energy * (1 + curve(energy, **terms) * random.normal(size=n))


def test_a_gaussian_has_its_median_width_and_tails():
    random = np.random.default_rng(1)
    energy = random.uniform(50, 60, 20_000)
    found = measure_responses(energy * random.normal(0.9, 0.05, 20_000), energy, edges=[50, 60])
    assert abs(found.median[0] - 0.9) < 4 * found.median_err[0]
    assert abs(found.width[0] - 0.05) < 4 * found.median_err[0]
    assert found.median_err[0] == pytest.approx(0.05 * np.sqrt(np.pi / 2 / 20_000), rel=0.2)
    for tail in (found.tail_low[0], found.tail_high[0]):
        assert tail.value - 4 * tail.err_low < stats.norm.sf(3) < tail.value + 4 * tail.err_high


def test_quantiles_are_scipys_and_weights_are_repetitions():
    random = np.random.default_rng(2)
    values, weight = random.normal(size=101), random.integers(1, 4, 101)
    probabilities = np.array([0.1, 0.5, 0.9])
    expected = np.quantile(values, probabilities, method="hazen")
    np.testing.assert_allclose(weighted_quantiles(values, np.ones(101), probabilities)[0], expected)
    repeated = np.quantile(np.repeat(values, weight), probabilities, method="hazen")
    np.testing.assert_allclose(weighted_quantiles(values, weight.astype(float), probabilities)[0], repeated, atol=0.05)


def test_bins_with_few_showers_say_nothing():
    energy = np.concatenate([np.full(500, 5.0), np.full(10, 50.0)])
    found = measure_responses(energy, energy * 1.0, edges=[1, 10, 100, 1000])
    assert found.filled.tolist() == [True, False, False]
    assert found.to_dict()["median"]["value"][1:] == [None, None]
    assert found.n_showers.tolist() == [500, 10, 0]
    assert fit_responses(found) is None


@pytest.mark.parametrize(
    ("predicted", "energy", "message"),
    [
        ([1.0, np.nan], [1.0, 1.0], "predicted energy: 1 of 2"),
        ([1.0, 1.0], [1.0, np.inf], "true energy: 1 of 2"),
        ([1.0, 1.0], [1.0, 0.0], "not positive"),
        ([1.0], [1.0, 1.0], "shape"),
    ],
)
def test_bad_energies_are_named(predicted, energy, message):
    with pytest.raises(InputError, match=message):
        measure_responses(predicted, energy, edges=[0.5, 2])


def test_no_shower_is_an_error():
    with pytest.raises(EmptySampleError, match="no shower"):
        measure_responses([], [], edges=[1, 2])


def test_edges_hold_all_showers():
    energy = np.random.default_rng(3).uniform(1.234, 987.6, 100)
    edges = energy_edges(energy)
    assert (edges[0], edges[-1]) == (energy.min(), energy.max())
    assert measure_responses(energy, energy, edges=edges).n_showers.sum() == 100
    assert len(energy_edges(np.full(5, 10.0))) == 2


def test_the_fit_finds_the_terms_within_errors():
    energy, predicted = make_toy(30_000, seed=4)
    found = measure_responses(predicted, energy, edges=energy_edges(energy))
    fit = fit_responses(found)
    for name, truth in TRUTH.items():
        assert abs(fit.terms[name].value - truth) < 3.5 * fit.terms[name].err_stat, name
    assert stats.chi2.sf(fit.chi2, fit.n_dof) > 1e-3
    # The same minimum as another minimiser's.
    relative = found.corrected_err / found.corrected
    other, _ = optimize.curve_fit(curve, found.centre, found.corrected, [0.1, 0.1, 0.1], relative * fit(found.centre))
    np.testing.assert_allclose([fit.terms[name].value for name in TERMS], np.abs(other), rtol=0.1)


def test_errors_of_the_fit_cover():
    """Points with known errors about known curves: 68.3 % of intervals hold the truth, and chi2 is chi2's."""
    random, energy = np.random.default_rng(5), np.geomspace(1.5, 700, 9)
    expected, relative = curve(energy, **TRUTH), 0.03
    inside, chi2, n = dict.fromkeys(TERMS, 0), [], 120
    for _ in range(n):
        points = expected * random.normal(1, relative, len(energy))
        fit = fit_resolution(energy, points, points * relative)
        chi2.append(fit.chi2)
        for name, term in fit.terms.items():
            inside[name] += term.value - term.err_low <= TRUTH[name] <= term.value + term.err_high
    for name, count in inside.items():
        assert stats.binomtest(count, n, 0.683).pvalue > 1e-3, (name, count)
    assert np.mean(chi2) == pytest.approx(6, abs=4 * np.sqrt(12 / n))


def test_a_term_that_is_not_there_is_a_limit():
    energy = np.geomspace(2, 500, 8)
    fit = fit_resolution(energy, 0.1 / np.sqrt(energy), 0.001 / np.sqrt(energy))
    assert fit.terms["a"].value < 1e-4
    assert fit.terms["a"].err_high > 0
    assert fit.terms["a"].err_low == fit.terms["a"].value
    assert fit.terms["b"].value == pytest.approx(0.1, rel=1e-6)


def test_too_few_points_and_points_that_cannot_be():
    with pytest.raises(EmptySampleError, match="2 bins"):
        fit_resolution([1, 2, np.nan], [0.1, 0.1, 0.1], [0.01, 0.01, 0.01])
    with pytest.raises(InputError, match="positive"):
        fit_resolution([1, 2, 3], [0.1, 0.0, 0.1], [0.01, 0.01, 0.01])


def test_shrinking_to_the_mean_gains_nothing_once_corrected():
    """A prediction E^0.5 of the same information is half as wide, until its non-linearity is corrected."""
    energy, predicted = make_toy(20_000, seed=6, a=0.05, b=0.0, c=0.0)
    edges = energy_edges(energy)
    plain = measure_responses(predicted, energy, edges=edges)
    shrunk = measure_responses(30 * (predicted / 30) ** 0.5, energy, edges=edges)
    assert shrunk.slope[4] == pytest.approx(0.5, abs=0.02)
    # Within a bin the response falls with the energy, so bins in the middle of a narrow one are compared.
    narrow = np.abs(np.log(energy / 30)) < 0.02
    several = [25, 29.4, 30.6, 36]
    wide = measure_responses(30 * (predicted / 30) ** 0.5, energy, edges=several)
    assert narrow.sum() > 50
    assert wide.resolution[1] == pytest.approx(0.025, rel=0.4)
    assert wide.corrected[1] == pytest.approx(0.05, rel=0.4)
    assert plain.corrected[4] == pytest.approx(0.05, rel=0.05)


def test_two_taggers_on_the_same_showers_are_paired():
    energy, predicted = make_toy(20_000, seed=7)
    edges = energy_edges(energy)
    better = energy + 0.95 * (predicted - energy)
    terms = [resample_terms(measure_responses(e, energy, edges=edges)) for e in (predicted, better)]
    difference = (terms[1] - terms[0])[:, 1]
    alone = terms[0][:, 1].std()
    assert difference.mean() == pytest.approx(-0.05 * TRUTH["b"], rel=0.3)
    assert difference.std() < alone / 3


def test_pulls_of_right_errors_have_width_one():
    energy, predicted = make_toy(20_000, seed=8)
    found = measure_pulls(predicted, energy * curve(energy, **TRUTH), energy)
    assert abs(found["width"]["value"] - 1) < 4 * found["width"]["err_stat"]
    assert abs(found["coverage"]["value"] - 0.683) < 4 * found["coverage"]["err_stat"]
    assert measure_pulls(predicted[:5], energy[:5], energy[:5])["width"] is None
    with pytest.raises(InputError, match="positive"):
        measure_pulls(predicted, energy * 0, energy)
