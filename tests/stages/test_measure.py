"""Validation jets fix thresholds and temperature, test jets measure what comes of it."""

import json
from pathlib import Path

import correctionlib
import numpy as np
import pytest

from hepcnn import paths
from hepcnn.errors import InputError
from hepcnn.evaluation.metrics import discriminant
from hepcnn.evaluation.summary import evaluate_scores
from hepcnn.io.scores import Scores, read_scores, write_scores
from hepcnn.stages.evaluate import evaluate_files
from hepcnn.stages.measure import measure_scores
from tests.evaluation.conftest import make_scores


def sharpened(seed: int, *, split: str, **changes: object) -> Scores:
    """Two Gaussian classes, too sure of themselves by a factor of two."""
    rng = np.random.default_rng(seed)
    n = 4000
    label = np.repeat([0, 1], n)
    logit = 4 * (rng.normal(0, 1, 2 * n) + 2 * label - 1)
    p = 1 / (1 + np.exp(-logit))
    jets = {"pt": rng.uniform(500, 600, 2 * n), "eta": rng.uniform(-2, 2, 2 * n)}
    score = np.stack([1 - p, p], axis=1)
    return make_scores(n=n, score=score, label=label, jets=jets, split=split, model="cnn", **changes)


def test_validation_fixes_and_test_measures() -> None:
    test, validation = sharpened(0, split="test"), sharpened(1, split="val")
    metrics, points = measure_scores([test], background=None, validation=validation)
    calibration = metrics["top"]["calibration"]
    assert calibration["temperature"]["value"] == pytest.approx(2.0, abs=4 * calibration["temperature"]["err_stat"])
    assert calibration["ece_at_temperature"]["value"] < 0.5 * calibration["ece"]["value"]
    assert metrics["top"]["auc"] == evaluate_scores([test])["top"]["auc"], "the scores themselves stay as they are"
    alone = measure_scores([validation], background=None)[1]["top"]["working_points"]
    for point, found in zip(points["top"]["working_points"], alone, strict=True):
        assert (point["found_on"], point["measured_on"]) == ("val", "test")
        assert point["threshold"] == found["threshold"]
        ratio = discriminant(test.score, class_names=("qcd", "top"), signal="top", background="qcd")
        assert point["eps_b"] == pytest.approx(np.mean(ratio[test.label == 0] >= point["threshold"]))
    assert {p["found_on"] for p in points["top"]["flat_in_pt"]} == {"val"}


def test_other_classes_are_no_validation() -> None:
    other = sharpened(1, split="val", class_names=("qcd", "w"))
    with pytest.raises(InputError, match=r"validation scores have the classes \('qcd', 'w'\)"):
        measure_scores([sharpened(0, split="test")], background=None, validation=other)


@pytest.mark.usefixtures("sketched")
def test_evaluation_finds_validation_scores_and_writes_corrections(tmp_path: Path) -> None:
    test, validation = sharpened(0, split="test"), sharpened(1, split="val")
    write_scores(paths.scores(tmp_path), with_places(test))
    write_scores(paths.validation_scores(tmp_path), with_places(validation))
    leak = with_places(make_scores(0.5, class_names=("qcd_1", "qcd_2"), model="cnn", jets={}))
    write_scores(tmp_path / "leak.h5", leak)
    metrics = evaluate_files([paths.scores(tmp_path)], tmp_path / "out", controls=[tmp_path / "leak.h5"])
    assert metrics["top"]["control"]["n_sigma"] > 5
    assert "IT SEES WHAT IT SHOULD NOT" in (tmp_path / "out" / "table.md").read_text()
    assert json.loads(paths.metrics(tmp_path / "out").read_text()) == metrics
    points = json.loads(paths.working_points(tmp_path / "out").read_text())["top"]
    assert points["working_points"][0]["found_on"] == "val"
    evaluator = correctionlib.CorrectionSet.from_file(str(paths.corrections(tmp_path / "out")))
    threshold = evaluator["cnn_top_threshold"].evaluate("mistag_10pct", 550.0)
    assert threshold == pytest.approx(points["working_points"][0]["threshold"])
    efficiency = evaluator["cnn_top_efficiency"].evaluate("mistag_10pct", "qcd", "value", 550.0, 0.5)
    assert efficiency == pytest.approx(0.1, abs=0.03)


def with_places(scores: Scores) -> Scores:
    zeros = np.zeros(len(scores))
    return Scores(
        scores.score,
        scores.label,
        scores.weight,
        dict.fromkeys(("pt", "eta", "phi", "mass"), zeros) | scores.jets,
        scores.class_names,
        scores.bundle_id,
        scores.split,
        model=scores.model,
    )


def test_a_training_leaves_scores_of_its_validation_jets(toy_run: Path) -> None:
    test, validation = read_scores(paths.scores(toy_run)), read_scores(paths.validation_scores(toy_run))
    assert (test.split, validation.split) == ("test", "val")
    assert validation.bundle_id == test.bundle_id
    assert not set(validation.jets["event_id"]) & set(test.jets["event_id"])
    written = json.loads(paths.working_points(toy_run).read_text())
    assert written == measure_scores([test], background=None, validation=validation)[1]
    assert written != measure_scores([test], background=None)[1]
