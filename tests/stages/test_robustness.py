"""The answer of a trained tagger to other detectors."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hepcnn import paths
from hepcnn.cli.main import app
from hepcnn.config import StudyConfig
from hepcnn.config.study import write_study
from hepcnn.errors import InputError
from hepcnn.evaluation.metrics import auc, discriminant
from hepcnn.io.scores import read_scores
from hepcnn.stages.robustness import describe_response, measure_response, read_others


def test_test_jets_are_scored_under_every_variation(toy_study: StudyConfig, toy_run: Path, tmp_path: Path) -> None:
    root = paths.study_dir(toy_study.results, toy_study.study)
    same = ",".join(str(paths.images(root, name)) for name in toy_study.samples)
    config = write_study(toy_study, tmp_path / "study.yaml")
    arguments = ["robustness", "--config", str(config), "--model", "cnn", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, [*arguments, "--other", f"herwig={same}", "--json"])
    assert result.exit_code == 0, result.exception
    by_signal = json.loads(paths.response(tmp_path).read_text())
    assert json.loads(result.stdout) == by_signal
    found = by_signal["top"]
    scores = read_scores(paths.scores(toy_run))
    ratio = discriminant(scores.score, class_names=scores.class_names, signal="top", background="qcd")
    assert found["nominal"]["auc"]["value"] == pytest.approx(auc(ratio, scores.label, scores.weight).value, abs=1e-4)
    assert found["nominal"]["eps_s_at_cut"]["value"] == pytest.approx(0.5, abs=0.02)
    expected = {"scale_0.99", "scale_1.01", "smear_0.05", "dead_0.01", "shift_deta_1", "shift_dphi_0.5"}
    assert expected <= set(found["variations"])
    for one in found["variations"].values():
        change = one["auc_change"]
        assert change["value"] == pytest.approx(one["auc"]["value"] - found["nominal"]["auc"]["value"], abs=1e-9)
    cuts = {name: one["eps_s_at_cut"]["value"] for name, one in found["variations"].items()}
    assert len(set(cuts.values())) > 3, "variations change scores, each in its own way"
    assert 0 < found["others"]["herwig"]["auc"]["value"] <= 1
    table = describe_response(by_signal)
    assert "| all energies times 1.01 | " in table
    assert "| herwig | " in table


def test_images_of_another_kind_are_refused(toy_study: StudyConfig, toy_run: Path, tmp_path: Path) -> None:
    assert toy_run.exists()
    with pytest.raises(InputError, match=r"missing\.h5"):
        measure_response(toy_study, "cnn", seed=1, output=tmp_path, others={"x": [tmp_path / "missing.h5"]})
    assert not paths.response(tmp_path).exists()


@pytest.mark.parametrize("text", ["herwig", "=a.h5", "herwig="])
def test_other_samples_have_a_name_and_files(text: str) -> None:
    with pytest.raises(InputError, match="expected NAME=FILE"):
        read_others([text])
    assert read_others(["h=a.h5,b.h5"]) == {"h": [Path("a.h5"), Path("b.h5")]}
