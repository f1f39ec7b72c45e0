"""The metrics.json of a tagger over its seeds."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import roc_auc_score

from hepcnn.errors import EmptySampleError, HepcnnError, InputError
from hepcnn.evaluation.metrics import auc
from hepcnn.evaluation.pair_metrics import measure_pair
from hepcnn.evaluation.summary import choose_background, evaluate_scores
from hepcnn.io.scores import Scores

MakeScores = Callable[..., Scores]


def test_one_seed_has_the_contracts_layout(scores: MakeScores) -> None:
    sample = scores()
    result = evaluate_scores([sample])
    assert list(result) == ["top"]
    top = json.loads(json.dumps(result, allow_nan=False))["top"]
    assert (top["n_signal"], top["n_background"], top["background"]) == (600, 600, "qcd")
    assert set(top["rejection"]) == {"0.3", "0.5"}
    for number in (top["auc"], top["accuracy"], *top["rejection"].values()):
        assert number["value"] > 0
        assert "err_stat" in number
        assert "err_seed" not in number
    p = sample.score.astype(float)
    assert top["auc"]["value"] == pytest.approx(auc(p[:, 1] / p.sum(axis=1), sample.label).value)


def test_seeds_give_their_mean_and_spread_but_no_smaller_statistical_error(scores: MakeScores) -> None:
    seeds = [scores(distance, seed=i) for i, distance in enumerate((1.9, 2.0, 2.2))]
    single = [evaluate_scores([s])["top"]["auc"] for s in seeds]
    together = evaluate_scores(seeds)["top"]["auc"]
    assert together["per_seed"] == [s["value"] for s in single]
    assert together["value"] == pytest.approx(np.mean(together["per_seed"]))
    assert together["err_seed"] == pytest.approx(np.std(together["per_seed"], ddof=1))
    assert together["err_stat"] == pytest.approx(np.mean([s["err_stat"] for s in single]))


def test_three_classes_are_taken_by_pair(scores: MakeScores) -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 200)
    score = rng.dirichlet([1, 1, 1], 600) + 2 * np.eye(3)[label] * rng.random((600, 1))
    sample = scores(
        score=(score / score.sum(axis=1, keepdims=True)).astype(np.float32),
        label=label,
        weight=np.ones(600, np.float32),
        class_names=("w", "qcd", "top"),
    )
    result = evaluate_scores([sample])
    assert list(result) == ["w", "top"]
    pair = label != 0
    ratio = score[pair, 2] / (score[pair, 1] + score[pair, 2])
    assert result["top"]["auc"]["value"] == pytest.approx(auc(ratio, label[pair] == 2).value, abs=1e-6)
    assert list(evaluate_scores([sample], background="w")) == ["qcd", "top"]


def test_a_limit_in_one_seed_makes_a_limit(scores: MakeScores) -> None:
    rejection = evaluate_scores([scores(8.0, n=60), scores(1.0, n=60)])["top"]["rejection"]["0.3"]
    assert rejection["is_lower_limit"] is True
    assert rejection["err_stat"] is None


def test_background_by_default() -> None:
    assert choose_background(("top", "qcd")) == "qcd"
    assert choose_background(("pion", "electron")) == "pion"
    with pytest.raises(InputError, match="did you mean 'qcd'"):
        choose_background(("top", "qcd"), "qdc")
    with pytest.raises(InputError, match="at least two"):
        choose_background(("top",))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"label": np.ones(1200, np.int64)}, EmptySampleError, "no jet of class 'qcd' .*qcd: 0, top: 1200"),
        ({"label": np.full(1200, 2)}, InputError, "1200 of 1200 are out of range"),
        ({"weight": np.zeros(1200, np.float32)}, EmptySampleError, "weight zero"),
        ({"score": np.full((1200, 2), np.nan, np.float32)}, InputError, "2400 of 2400 values are NaN"),
    ],
)
def test_unusable_scores_are_named(
    scores: MakeScores, changes: dict[str, Any], error: type[HepcnnError], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate_scores([scores(**changes)])


def test_seeds_on_other_jets_are_refused(scores: MakeScores) -> None:
    with pytest.raises(InputError, match="1000 jets, the first 1200"):
        evaluate_scores([scores(), scores(n=500)])
    with pytest.raises(InputError, match="other jets"):
        evaluate_scores([scores(), scores(weight=np.full(1200, 2, np.float32))])
    with pytest.raises(InputError, match="classes"):
        evaluate_scores([scores(), scores(class_names=("top", "qcd"))])
    with pytest.raises(EmptySampleError):
        evaluate_scores([])


def test_all_numbers_are_there_with_their_errors(scores: MakeScores) -> None:
    sample = scores(n=3000)
    top = evaluate_scores([sample])["top"]
    assert set(top["improvement"]) == {"0.3", "0.5", "max"}
    assert top["improvement"]["0.5"]["value"] == pytest.approx(0.5 * np.sqrt(top["rejection"]["0.5"]["value"]))
    assert top["improvement"]["max"]["value"] >= top["improvement"]["0.5"]["value"]
    assert 0 < top["improvement"]["max"]["eps_s"] < 1
    assert 0 < top["calibration"]["expected"] < 0.03
    assert top["n_signal_effective"] == pytest.approx(3000)
    for number in (top["auc"], *top["rejection"].values()):
        assert number["err_bootstrap"] == pytest.approx(number["err_stat"], rel=0.15)
    assert "against" not in top
    assert "improvement" in evaluate_scores([sample], n_bootstrap=0)["top"]


def test_both_errors_are_combined_for_the_mean_over_seeds(scores: MakeScores) -> None:
    top = evaluate_scores([scores(d, seed=i) for i, d in enumerate((1.8, 2.0, 2.4, 2.2))])["top"]
    for number in (top["auc"], top["accuracy"], top["rejection"]["0.5"], top["calibration"]["ece"]):
        assert number["err_total"] == pytest.approx(np.hypot(number["err_stat"], number["err_seed"] / 2))


def test_each_other_class_and_the_rest_are_scikit_learns_pairs(scores: MakeScores) -> None:
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 300)
    score = rng.dirichlet([1, 1, 1], 900) + np.eye(3)[label] * rng.random((900, 1))
    score /= score.sum(axis=1, keepdims=True)
    weight = rng.uniform(0.5, 2, 900)
    sample = scores(score=score, label=label, weight=weight, class_names=("qcd", "top", "w"), jets={})
    against = evaluate_scores([sample])["top"]["against"]
    assert list(against) == ["w", "rest"]
    assert against["rest"]["auc"]["value"] == pytest.approx(
        roc_auc_score(label == 1, score[:, 1], sample_weight=weight)
    )
    pair = label > 0
    ratio = (score[:, 1] / (score[:, 1] + score[:, 2]))[pair]
    expected = roc_auc_score(label[pair] == 1, ratio, sample_weight=weight[pair])
    assert against["w"]["auc"]["value"] == pytest.approx(expected)


def test_processes_have_the_efficiencies_that_counting_gives(scores: MakeScores) -> None:
    sample = scores(jets={"process": np.array([b"qcd_low", b"qcd_high", b"ttbar", b"ttbar"]).repeat(300)})
    found = evaluate_scores([sample])["top"]["by_process"]
    assert list(found) == ["qcd_high", "qcd_low", "ttbar"]
    assert found["ttbar"]["0.5"]["value"] == pytest.approx(0.5, abs=0.002)
    mean = (found["qcd_low"]["0.3"]["value"] + found["qcd_high"]["0.3"]["value"]) / 2
    assert mean == pytest.approx(1 / evaluate_scores([sample])["top"]["rejection"]["0.3"]["value"], rel=0.05)


def test_negative_weights_are_taken(scores: MakeScores) -> None:
    weight = np.where(np.arange(1200) % 10 == 0, -1.0, 1.0)
    top = evaluate_scores([scores(weight=weight)])["top"]
    assert top["n_signal_effective"] == pytest.approx(480**2 / 600)
    assert top["calibration"]["ece"]["err_stat"] > 0
    assert top["auc"]["value"] == pytest.approx(evaluate_scores([scores()])["top"]["auc"]["value"], abs=0.02)


@st.composite
def small_samples(draw: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = draw(st.integers(8, 60))
    score = draw(hnp.arrays(np.int64, n, elements=st.integers(1, 9))) / 10
    label = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 1)))
    label[:2] = 0, 1
    return score, label, draw(hnp.arrays(np.int64, n, elements=st.integers(1, 3))).astype(float)


def values_of(found: dict[str, Any]) -> dict[str, float]:
    """The numbers that depend on shares alone, not on how many jets there are."""
    flat = {f"rejection_{k}": m for k, m in found["rejection"].items() if not m.is_lower_limit}
    flat |= {f"improvement_{k}": m for k, m in found["improvement"].items() if not m.is_lower_limit and k != "max"}
    flat |= {name: found[name] for name in ("auc", "accuracy", "ece") if name in found}
    return {name: m.value for name, m in flat.items()}


@settings(max_examples=40)
@given(small_samples())
def test_all_numbers_obey_what_weights_and_copies_mean(sample: Any) -> None:
    score, label, weight = sample
    here = values_of(measure_pair(score, label, weight, n_bootstrap=10))
    counts = weight.astype(int)
    copied = measure_pair(np.repeat(score, counts), np.repeat(label, counts), n_bootstrap=10)
    assert values_of(copied) == pytest.approx(here)
    assert values_of(measure_pair(score, label, 3 * weight, n_bootstrap=10)) == pytest.approx(here)
    ones = measure_pair(score, label, np.ones(len(score)), n_bootstrap=10)
    assert ones == measure_pair(score, label, n_bootstrap=10)
    # A monotone transform that leaves 0.5 where it is keeps all numbers but the calibration.
    moved = values_of(measure_pair(0.5 + 4 * (score - 0.5) ** 3, label, weight, n_bootstrap=0))
    assert moved == pytest.approx({name: value for name, value in here.items() if name != "ece"})
