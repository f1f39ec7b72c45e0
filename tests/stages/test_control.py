"""Two halves of one class: nothing to find, and the table says so."""

from pathlib import Path

import numpy as np
import pytest

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.errors import InputError
from hepcnn.evaluation.control import describe_controls, read_controls
from hepcnn.io.scores import write_scores
from hepcnn.stages.control import split_class, train_control
from hepcnn.stages.samples import open_sample
from tests.conftest import SilentListener
from tests.evaluation.conftest import make_scores


def test_halves_are_of_one_class_and_know_nothing_of_splits(toy_study: StudyConfig) -> None:
    sample = open_sample(toy_study)
    halves = split_class(sample, "qcd")
    assert halves.columns.class_names == ("qcd_1", "qcd_2")
    assert sum(len(jets) for jets in halves.splits.values()) == 400
    for split, jets in halves.splits.items():
        assert (sample.columns.label[jets] == 0).all()
        assert set(jets) <= set(sample.splits[split])
        share = halves.columns.label[jets].mean()
        assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(jets)))
    first, second = (halves.columns.label == k for k in (0, 1))
    ids = sample.columns.jets["event_id"]
    assert not set(ids[first]) & set(ids[second])


@pytest.mark.slow
def test_a_control_is_trained_and_finds_nothing(toy_study: StudyConfig, tmp_path: Path) -> None:
    training = toy_study.training.model_copy(update={"epochs": 1})
    study = toy_study.model_copy(update={"training": training})
    run = train_control(study, "cnn", seed=1, output=tmp_path, listener=SilentListener())
    measured = run.record.metrics["qcd_2"]["auc"]
    assert abs(measured["value"] - 0.5) < 4 * measured["err_stat"]
    found = read_controls([paths.scores(tmp_path)], ["cnn"])
    assert found["cnn"]["auc"]["value"] == measured["value"]
    assert "Control: cnn on two halves of one class (qcd_1 and qcd_2) has AUC" in describe_controls(found)


def test_a_control_that_finds_something_is_told(tmp_path: Path) -> None:
    zeros = {name: np.zeros(1200) for name in ("pt", "eta", "phi", "mass")}
    leak = make_scores(0.5, class_names=("qcd_1", "qcd_2"), model="cnn", jets=zeros)
    write_scores(tmp_path / "leak.h5", leak)
    found = read_controls([tmp_path / "leak.h5"], ["cnn"])
    assert found["cnn"]["n_sigma"] > 5
    assert "IT SEES WHAT IT SHOULD NOT" in describe_controls(found)
    with pytest.raises(InputError, match="control of tagger 'cnn'; did you mean 'cnn2'"):
        read_controls([tmp_path / "leak.h5"], ["cnn2"])
    assert describe_controls({}) == ""
