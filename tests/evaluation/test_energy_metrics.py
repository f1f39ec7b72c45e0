"""Numbers, differences and tables of energies, over seeds and taggers, on toys whose terms are known."""

import json

import numpy as np
import pytest

from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.energy_metrics import compare_energies, evaluate_energies
from hepcnn.evaluation.energy_tables import (
    EnergyRow,
    find_goal,
    make_energy_csv,
    make_energy_latex,
    make_energy_markdown,
    make_goal_sentence,
)
from hepcnn.io.scores import Scores, read_scores, write_scores

N = 4000
RANDOM = np.random.default_rng(1)
ENERGY = np.exp(RANDOM.uniform(np.log(2), np.log(500), N))
THETA, PULL = RANDOM.uniform(0, 0.3, N), RANDOM.normal(size=N)
LABEL = np.arange(N) % 2


def make_scores(b, *, seed=1, model="net", extra=0.0, error=True):
    """Resolution b / sqrt(E), part of which is this seed's own."""
    own = np.random.default_rng(seed).normal(size=N)
    sigma = b / np.sqrt(ENERGY)
    predicted = ENERGY * (1 + sigma * (PULL * np.sqrt(1 - extra) + own * np.sqrt(extra)))
    prediction = {"energy": predicted.astype(np.float32)}
    if error:
        prediction["energy_err"] = (ENERGY * sigma).astype(np.float32)
    jets = {name: np.zeros(N, np.float32) for name in ("pt", "eta", "phi", "mass")}
    truth = {"energy": ENERGY.astype(np.float32), "theta": THETA.astype(np.float32)}
    known = {"model": model, "seed": seed, "truth": truth, "prediction": prediction}
    return Scores(np.zeros((N, 0)), LABEL, np.ones(N), jets, ("electron", "pion"), **known)


def test_all_numbers_of_a_class():
    found = evaluate_energies([make_scores(0.3)])
    assert set(found) == {"electron", "pion"}
    pion = found["pion"]
    assert pion["n_showers"] == N / 2
    assert abs(pion["fit"]["b"]["value"] - 0.3) < 4 * pion["fit"]["b"]["err_stat"]
    assert abs(pion["pulls"]["width"]["value"] - 1) < 4 * pion["pulls"]["width"]["err_stat"]
    assert len(pion["by_theta"]["edges"]) == 5
    assert len(pion["by_energy_theta"]["by_energy"]) == 4
    assert "err_seed" not in pion["resolution"]
    json.dumps(found, allow_nan=False)


def test_seeds_are_averaged_with_their_spread():
    by_seed = [make_scores(b, seed=seed) for seed, b in enumerate((0.28, 0.30, 0.32))]
    found = evaluate_energies(by_seed)["electron"]["resolution"]
    alone = [evaluate_energies([scores])["electron"]["resolution"]["value"] for scores in by_seed]
    assert found["value"] == pytest.approx(np.mean(alone))
    assert found["err_seed"] == pytest.approx(np.std(alone, ddof=1))
    with pytest.raises(EmptySampleError, match="no scores"):
        evaluate_energies([])


def test_classes_with_few_showers_are_left_out_and_energies_without_errors_have_no_pulls():
    scores = make_scores(0.3, error=False)
    few = np.where(np.arange(N) < 10, 1, 0)
    found = evaluate_energies([Scores(**vars(scores) | {"label": few})])
    assert set(found) == {"electron"}
    assert found["electron"]["pulls"] is None


def test_a_better_tagger_is_ahead_by_paired_errors_and_the_tables_say_so():
    taggers = {
        "net": [make_scores(0.27, seed=k, extra=0.02) for k in (1, 2)],
        "tree": [make_scores(0.30, error=False)],
        "energy_sum": [make_scores(0.36, error=False)],
    }
    evaluated = {name: evaluate_energies(scores) for name, scores in taggers.items()}
    pairs = compare_energies(taggers, 1, evaluated)
    assert [(pair.first, pair.second) for pair in pairs] == [("net", "tree"), ("net", "energy_sum")]
    assert pairs[1].n_sigma > 5
    assert pairs[1].value == pytest.approx(0.09, abs=0.03)
    assert pairs[1].err_seed is not None
    # Errors of each alone, in quadrature, would be larger.
    alone = np.hypot(*(evaluated[name]["pion"]["fit"]["b"]["err_stat"] for name in ("net", "energy_sum")))
    assert pairs[1].err_stat < alone
    rows = [EnergyRow(n, evaluated[n]["pion"], 10, is_baseline=n != "net") for n in taggers]
    text = make_energy_markdown(rows, pairs, "pion")
    assert "Smallest stochastic term for pion: net" in text
    assert "; ahead of energy_sum by" in text
    assert find_goal(rows) == ("net", "energy_sum")
    goal = make_goal_sentence(rows, "pion", pairs[1])
    assert "is better than the energy sum's: net" in goal
    assert find_goal(rows[1:]) is None
    assert make_energy_latex(rows).count(r"\\") == 4
    lines = make_energy_csv(rows).splitlines()
    assert lines[0].startswith("tagger,a,a_err_stat")
    assert float(lines[3].split(",")[4]) == evaluated["energy_sum"]["pion"]["fit"]["b"]["value"]
    assert compare_energies({"net": taggers["net"]}, 1, evaluated) == []


def test_a_difference_that_may_be_luck_is_called_so():
    taggers = {"net": [make_scores(0.300, seed=1, extra=0.5)], "energy_sum": [make_scores(0.303, seed=2, extra=0.5)]}
    evaluated = {name: evaluate_energies(scores) for name, scores in taggers.items()}
    (pair,) = compare_energies(taggers, 0, evaluated)
    rows = [EnergyRow(n, evaluated[n]["electron"], is_baseline=n != "net") for n in taggers]
    assert "not told apart from the energy sum's" in make_goal_sentence(rows, "electron", pair)


def test_scores_of_energies_are_read_as_they_were_written(tmp_path):
    scores = make_scores(0.3)
    write_scores(tmp_path / "scores.h5", scores)
    found = read_scores(tmp_path / "scores.h5")
    assert found.score.shape == (N, 0)
    assert not found.has_identity
    for group in ("truth", "prediction"):
        for name, values in getattr(scores, group).items():
            np.testing.assert_array_equal(getattr(found, group)[name], values)
