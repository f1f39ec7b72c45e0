"""Cuts against properties of jets, and the background's mass before and after."""

import json

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import binomtest

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.samples import BinarySample, make_binary_sample
from hepcnn.evaluation.sculpting import measure_sculpting
from hepcnn.evaluation.stability import measure_stability
from hepcnn.stages.measure import measure_robustness
from tests.evaluation.conftest import make_scores


def jets(
    n: int = 3000, *, sculpts: float = 0.0, seed: int = 0, distance: float = 1.0
) -> tuple[BinarySample, np.ndarray]:
    """Scores that follow the mass of a jet by as much as asked for."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n)
    mass = np.where(label == 1, rng.normal(172, 15, 2 * n), rng.exponential(60, 2 * n) + 30)
    score = rng.normal(0, 1, 2 * n) + distance * label - sculpts * np.abs(mass - 172) / 60
    return make_binary_sample(score, label), mass


def test_bins_hold_what_counting_gives() -> None:
    sample, mass = jets()
    found = measure_stability(sample, {"mass": mass}, eps_s=0.5, n_bins=4)["mass"]
    cut = np.sort(sample.score[sample.is_signal])[-1500]
    edges = found.eps_s.edges
    assert len(edges) == 5
    assert (edges[0], edges[-1]) == (mass.min(), mass.max())
    for i in range(4):
        mine = (mass >= edges[i]) & ((mass < edges[i + 1]) if i < 3 else (mass <= edges[4]))
        b = mine & ~sample.is_signal
        assert found.eps_b.value[i] == pytest.approx(np.mean(sample.score[b] >= cut))
        measured = found.rejection[i]
        assert measured is not None
        assert measured.value == pytest.approx(1 / found.eps_b.value[i])
        wilson = binomtest(int((sample.score[b] >= cut).sum()), int(b.sum())).proportion_ci(0.683, method="wilson")
        assert measured.value + (measured.err_high or 0) == pytest.approx(1 / wilson.low, rel=0.02)
    json.dumps(found.to_dict(), allow_nan=False)


def test_bins_without_background_and_passing_none_are_told_apart() -> None:
    score = np.concatenate([np.full(100, 0.9), np.full(50, 0.1), np.full(50, 0.2)])
    label = np.repeat([1, 0], 100)
    x = np.concatenate([np.tile([1.0, 2.0], 50), np.ones(100)])
    found = measure_stability(make_binary_sample(score, label), {"x": x, "constant": np.ones(200)}, n_bins=2)
    assert set(found) == {"x"}
    assert found["x"].rejection[0] is not None
    assert found["x"].rejection[0].is_lower_limit
    assert found["x"].rejection[0].value == pytest.approx(1 / (1 - 0.05 ** (1 / 100)))
    assert found["x"].rejection[-1] is None or found["x"].eps_b.n_jets[-1] > 0


def test_divergence_is_scipys() -> None:
    sample, mass = jets(sculpts=1.0)
    found = measure_sculpting(sample, mass, n_bins=20, n_bootstrap=50)
    assert found.before.sum() == pytest.approx(1)
    assert found.jsd.value == pytest.approx(jensenshannon(found.before, found.after, base=2) ** 2)
    assert found.inverse_jsd is not None
    assert found.inverse_jsd.value == pytest.approx(1 / found.jsd.value)
    cut = np.sort(sample.score[sample.is_signal])[-1500]
    b = ~sample.is_signal
    counts = np.histogram(mass[b & (sample.score >= cut)], found.edges)[0]
    assert found.after == pytest.approx(counts / counts.sum())


def test_a_cut_that_knows_no_mass_has_the_divergence_of_chance() -> None:
    found = [measure_sculpting(*jets(seed=s), n_bins=20, n_bootstrap=30) for s in range(200)]
    assert np.mean([f.jsd.value for f in found]) == pytest.approx(np.mean([f.jsd_expected for f in found]), rel=0.1)


def test_error_is_that_of_repeated_experiments() -> None:
    found = [measure_sculpting(*jets(seed=s, sculpts=1.0), n_bins=20, n_bootstrap=100) for s in range(200)]
    values = np.array([f.jsd.value for f in found])
    assert values.mean() > 5 * found[0].jsd_expected
    assert np.mean([f.jsd.err_stat for f in found]) == pytest.approx(values.std(), rel=0.2)


def test_doubled_weights_are_doubled_jets() -> None:
    sample, mass = jets(400, sculpts=0.5)
    weighted = make_binary_sample(sample.score, sample.is_signal, np.full(800, 2.0))
    doubled = make_binary_sample(np.repeat(sample.score, 2), np.repeat(sample.is_signal, 2))
    one, two = (
        measure_sculpting(s, m, n_bins=10, n_bootstrap=10) for s, m in ((weighted, mass), (doubled, np.repeat(mass, 2)))
    )
    assert one.edges == pytest.approx(two.edges, rel=0.05)
    assert one.jsd.value == pytest.approx(two.jsd.value, rel=0.3)


def test_unusable_input_is_named() -> None:
    sample, mass = jets(200)
    with pytest.raises(InputError, match="one per jet"):
        measure_sculpting(sample, mass[:-1])
    with pytest.raises(InputError, match="pt: 1 of 400 values are NaN"):
        measure_stability(sample, {"pt": np.where(np.arange(400) == 3, np.nan, 1.0)})
    with pytest.raises(EmptySampleError, match="no shape to compare"):
        measure_sculpting(sample, np.ones(400))
    with pytest.raises(EmptySampleError, match="no background jet passes"):
        measure_sculpting(*jets(200, distance=20.0))


def test_scores_have_their_robustness_by_signal_class() -> None:
    rng = np.random.default_rng(0)
    jets_of = {
        "pt": rng.uniform(550, 650, 1200),
        "eta": rng.uniform(-2, 2, 1200),
        "mass": rng.uniform(20, 250, 1200),
        "source_entry": np.arange(1200),
        "n_pileup": rng.poisson(40, 1200),
    }
    found = measure_robustness(make_scores(jets=jets_of), background=None)["top"]
    assert set(found["quantities"]) == {"pt", "abs_eta", "mass", "n_pileup"}
    assert found["mass_sculpting"]["jsd"]["value"] > 0
    assert sum(found["reliability"]["share"]) == pytest.approx(1)
    assert len(found["reliability"]["edges"]) == 16
    assert np.nanmean(found["quantities"]["pt"]["eps_s"]["value"]) == pytest.approx(0.5, abs=0.03)
    json.dumps(found, allow_nan=False)
    unknown = measure_robustness(make_scores(), background=None)["top"]
    assert unknown["mass_sculpting"] is None
    assert "mass is not known" in unknown["mass_sculpting_reason"]
