"""Weights in the loss: spectra become flat or equal, classes balanced, and nothing else changes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcnn.config import WeightsConfig, parse_model
from hepcnn.data.dataset import JetColumns
from hepcnn.data.weights import fit_weights
from hepcnn.errors import ConfigError, EmptySampleError

EDGES = [500.0, 600.0, 700.0, 1000.0]


def make_columns(pt: np.ndarray, label: np.ndarray, weight: Any = None, **columns: np.ndarray) -> JetColumns:
    pt = np.asarray(pt)
    return JetColumns(
        indptr=np.zeros(len(pt) + 1, np.int64),
        label=np.asarray(label, dtype=np.int64),
        weight=np.ones(len(pt), np.float32) if weight is None else np.asarray(weight, np.float32),
        jets={"pt": pt.astype(np.float32)} | columns,
        features={},
        class_names=("qcd", "top"),
        attributes={},
        sources=[],
    )


def make_spectra(n: int = 4000, seed: int = 1) -> JetColumns:
    """A falling and a rising spectrum with weights, and a mass that goes with pT."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 3, n) // 2
    pt = np.where(label == 0, 500 + 500 * random.beta(1, 3, n), 500 + 500 * random.beta(2, 1, n))
    mass = pt / 4 + random.normal(0, 20, n)
    return make_columns(pt, label, random.uniform(0.5, 2, n), mass=mass.astype(np.float32))


def histogram(columns: JetColumns, weights: np.ndarray, number: int, edges: Any, *names: str) -> np.ndarray:
    mine = columns.label == number
    sample = np.stack([columns.jets[name][mine].astype(np.float64) for name in names], axis=1)
    return np.histogramdd(sample, edges, weights=weights[mine].astype(np.float64))[0]


@pytest.mark.parametrize("bins", [10, EDGES])
def test_flat_is_a_constant_density(bins: Any) -> None:
    columns = make_spectra()
    fitted = fit_weights(columns, WeightsConfig(kind="flat", bins=bins, max_weight=1e6))
    weights = fitted.apply(columns)
    for number in (0, 1):
        density = histogram(columns, weights, number, fitted.edges, "pt") / np.diff(fitted.edges[0])
        assert density == pytest.approx(density.mean(), rel=1e-5)
    assert weights.mean() == pytest.approx(1, rel=1e-5)
    assert fitted.n_clipped == (0, 0)


def test_flat_undoes_a_spectrum_that_is_known() -> None:
    """10, 20 and 70 jets in three equal bins: factors are as 1/10, 1/20, 1/70."""
    pt = np.repeat([550.0, 650.0, 750.0], [10, 20, 70])
    columns = make_columns(np.concatenate([pt, pt]), np.repeat([0, 1], 100))
    config = WeightsConfig(kind="flat", bins=[500, 600, 700, 800], max_weight=1e6)
    weights = fit_weights(columns, config).apply(columns)
    assert np.unique(weights[:100])[::-1] == pytest.approx(100 / 3 / np.array([10, 20, 70]), rel=1e-6)


@pytest.mark.parametrize("names", [["pt"], ["mass"], ["pt", "mass"]])
def test_match_gives_the_references_spectrum(names: list[Any]) -> None:
    columns = make_spectra()
    fitted = fit_weights(columns, WeightsConfig(kind="match", variables=names, bins=5, reference="qcd", max_weight=1e6))
    weights = fitted.apply(columns)
    reference = histogram(columns, columns.weight, 0, fitted.edges, *names)
    found = histogram(columns, weights, 1, fitted.edges, *names)
    shared = (reference > 0) & (histogram(columns, columns.weight, 1, fitted.edges, *names) > 0)
    assert found[~shared] == pytest.approx(0)
    assert found[shared] / found.sum() == pytest.approx(reference[shared] / reference[shared].sum(), rel=1e-5)
    assert fitted.uncovered[1] == pytest.approx(1 - reference[shared].sum() / reference.sum())
    assert fitted.uncovered[0] == 0
    mine = columns.label == 0
    assert np.ptp(weights[mine] / columns.weight[mine]) < 1e-5, "the reference keeps its spectrum"


@pytest.mark.parametrize("kind", ["none", "flat", "match"])
def test_balanced_classes_have_the_same_sum_of_weights(kind: str) -> None:
    columns = make_spectra()
    reference = "qcd" if kind == "match" else None
    for balance in (True, False):
        config = WeightsConfig(kind=kind, reference=reference, balance=balance, bins=5)
        weights = fit_weights(columns, config).apply(columns)
        sums = np.bincount(columns.label, weights)
        before = np.bincount(columns.label, columns.weight)
        assert sums[1] / sums[0] == pytest.approx(1 if balance else before[1] / before[0], rel=1e-5)
        assert weights.mean() == pytest.approx(1, rel=1e-5)


def test_no_reweighting_and_no_balance_only_scales() -> None:
    columns = make_spectra()
    weights = fit_weights(columns, WeightsConfig(balance=False)).apply(columns)
    assert weights / columns.weight == pytest.approx(1 / columns.weight.mean(), rel=1e-5)


def test_other_jets_get_the_functions_of_the_training_jets() -> None:
    train, val = make_spectra(seed=1), make_spectra(seed=2, n=500)
    fitted = fit_weights(train, WeightsConfig(kind="flat", bins=EDGES))
    factor = fitted.apply(val) / val.weight
    bins = np.searchsorted(EDGES, val.jets["pt"], side="right") - 1
    expected = fitted.factor[val.label, bins]
    assert factor == pytest.approx(expected, rel=1e-6)
    again = fit_weights(val, WeightsConfig(kind="flat", bins=EDGES))
    assert not np.allclose(again.factor, fitted.factor, rtol=1e-3)


def test_jets_outside_given_edges_and_nan_have_no_weight() -> None:
    columns = make_columns([499.0, 500.0, 999.0, 1000.0, 1001.0, np.nan, 550.0], [0, 0, 0, 0, 0, 0, 1])
    fitted = fit_weights(columns, WeightsConfig(kind="flat", bins=EDGES))
    weights = fitted.apply(columns)
    assert (weights > 0).tolist() == [False, True, True, True, False, False, True]
    assert fitted.describe(columns)["without_weight"] == 3


def test_edges_that_hepcnn_puts_are_open_ended() -> None:
    columns = make_columns([500.0, 600, 700, 510, 690], [0, 0, 0, 1, 1])
    fitted = fit_weights(columns, WeightsConfig(kind="flat", bins=2))
    beyond = make_columns([1.0, 9999.0, np.nan], [0, 1, 0])
    assert (fitted.apply(beyond) > 0).tolist() == [True, True, False]
    assert fitted.edges[0].tolist() == [500, 600, 700]


def test_an_empty_bin_stays_empty() -> None:
    columns = make_columns([550.0, 950, 550, 650], [0, 0, 1, 1])
    fitted = fit_weights(columns, WeightsConfig(kind="match", bins=EDGES, reference="qcd"))
    assert fitted.uncovered == (0, 0.5)
    assert fitted.factor[1].tolist()[1:] == [0, 0]
    assert fitted.apply(make_columns([950.0], [1])).tolist() == [0], "a bin that no training jet told of"


def test_extreme_weights_are_cut_and_counted() -> None:
    pt = np.concatenate([np.full(999, 550.0), [650.0], np.full(500, 550.0), np.full(500, 650.0)])
    columns = make_columns(pt, np.repeat([0, 1], 1000))
    config = {"kind": "match", "reference": "top", "bins": [500, 600, 700]}
    assert fit_weights(columns, WeightsConfig(**config, max_weight=1e6)).n_clipped == (0, 0)
    fitted = fit_weights(columns, WeightsConfig(**config, max_weight=10))
    weights = fitted.apply(columns)
    assert fitted.n_clipped == (1, 0)
    assert weights[999] / weights[0] == pytest.approx(10 / (0.5 / 0.999), rel=1e-5)
    assert weights[:1000].sum() == pytest.approx(weights[1000:].sum(), rel=1e-5)


@given(
    st.lists(st.tuples(st.floats(500, 1000), st.integers(0, 1), st.floats(0.01, 100)), min_size=1, max_size=40),
    st.floats(1e-3, 1e3),
    st.sampled_from(["none", "flat", "match"]),
)
def test_weights_are_positive_and_do_not_depend_on_the_files_scale(
    jets: list[tuple[float, int, float]], scale: float, kind: str
) -> None:
    rows = [*jets, (500.0, 0, 1.0), (1000.0, 0, 1.0), (500.0, 1, 1.0), (1000.0, 1, 1.0)]
    pt, label, weight = map(np.array, zip(*rows, strict=True))
    config = WeightsConfig(kind=kind, bins=4, reference="qcd" if kind == "match" else None)
    one, other = (make_columns(pt, label, w) for w in (weight, weight * scale))
    weights = fit_weights(one, config).apply(one)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    if kind != "match":
        assert (weights > 0).all()
    assert fit_weights(other, config).apply(other) == pytest.approx(weights, rel=1e-3)


def test_what_cannot_be_weighed_is_named() -> None:
    columns = make_spectra(100)
    with pytest.raises(ConfigError, match="no class 'tops'; did you mean 'top'"):
        fit_weights(columns, WeightsConfig(kind="match", reference="tops"))
    with pytest.raises(EmptySampleError, match="class 'qcd' has no training jet of positive weight inside"):
        fit_weights(columns, WeightsConfig(kind="flat", bins=[2000, 3000]))
    constant = replace(columns, jets={"pt": np.full(100, 600.0)})
    with pytest.raises(ConfigError, match="pt takes fewer than two values"):
        fit_weights(constant, WeightsConfig(kind="flat"))
    apart = make_columns([550.0, 950], [0, 1])
    with pytest.raises(EmptySampleError, match="class 'top' has no jet in a bin where 'qcd' has any"):
        fit_weights(apart, WeightsConfig(kind="match", reference="qcd", bins=EDGES))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"kind": "match"}, "'reference' names the class to match"),
        ({"kind": "flat", "reference": "qcd"}, "'reference' names the class to match"),
        ({"variables": ["pt", "pt"]}, "names one twice"),
        ({"variables": ["pt", "mass"], "bins": [1, 2]}, "edges of two variables are given by name"),
        ({"variables": ["pt", "mass"], "bins": {"pt": 3}}, "must name just the 'variables'"),
        ({"bins": 0}, "at least 1 is needed"),
        ({"bins": [2, 1]}, "edges must rise"),
        ({"bins": [1.0, float("inf")]}, "edges must be finite"),
        ({"max_weight": 1}, "max_weight"),
        ({"varables": ["pt"]}, "did you mean 'variables'"),
    ],
)
def test_settings_without_meaning_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_model(WeightsConfig, values, where="weights")
