"""Ensembles: the mean of their members, loadable like any tagger."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepcnn import Tagger, paths
from hepcnn.bundle import write_manifest
from hepcnn.config import StudyConfig, parse_model
from hepcnn.errors import BundleError, InputError
from hepcnn.io.scores import read_scores
from hepcnn.stages.ensemble import make_ensemble
from hepcnn.stages.evaluate import evaluate_files
from hepcnn.stages.export import export_bundle, load_network
from hepcnn.stages.finetune import read_start
from hepcnn.stages.train import train_tagger
from tests.conftest import SilentListener
from tests.toy import make_constituents


@pytest.fixture(scope="module")
def members(toy_study: StudyConfig, toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Bundles of two taggers with other networks and other seeds, for the same images."""
    other = tmp_path_factory.mktemp("member")
    train_tagger(toy_study, "sparse", seed=2, output=other, listener=SilentListener())
    return [paths.bundle(toy_run), paths.bundle(other)]


@pytest.fixture(scope="module")
def ensemble(toy_study: StudyConfig, members: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("ensemble")
    make_ensemble(members, output, study=toy_study)
    return output


def test_it_scores_the_mean_of_its_members(members: list[Path], ensemble: Path) -> None:
    jets = make_constituents(40, seed=9)
    each = [Tagger.load(path)(jets) for path in members]
    found = Tagger.load(paths.bundle(ensemble))(jets)
    assert found == pytest.approx(np.mean(each, axis=0), abs=1e-5)
    assert np.abs(each[0] - each[1]).max() > 0.01
    lone = Tagger.load(paths.bundle(ensemble))(jets[:1])
    assert lone == pytest.approx(found[:1], abs=1e-6)


def test_its_scores_are_those_of_the_test_jets(members: list[Path], ensemble: Path) -> None:
    scores, first, second = (read_scores(paths.scores(path)) for path in (ensemble, *(m.parent for m in members)))
    assert scores.score == pytest.approx((first.score + second.score) / 2, abs=1e-5)
    assert np.array_equal(scores.label, first.label)
    assert (scores.model, scores.seed) == ("cnn_ensemble", 1)
    metrics = json.loads(paths.metrics(ensemble).read_text())
    assert metrics["top"]["auc"]["value"] > 0.5
    # Its working points and its temperature are found on validation jets, as those of its members.
    validation, *each = (
        read_scores(paths.validation_scores(path)) for path in (ensemble, *(m.parent for m in members))
    )
    assert (validation.split, validation.bundle_id) == ("val", scores.bundle_id)
    assert validation.score == pytest.approx((each[0].score + each[1].score) / 2, abs=1e-5)
    points = json.loads(paths.working_points(ensemble).read_text())["top"]
    assert {point["found_on"] for point in points["working_points"]} <= {"val"}
    manifest = json.loads((paths.bundle(ensemble) / "manifest.json").read_text())
    assert [member["seed"] for member in manifest["members"]] == [1, 2]
    assert manifest["metrics"] == metrics
    assert manifest["bundle_id"] == scores.bundle_id


@pytest.mark.usefixtures("sketched")
def test_it_stands_beside_its_members_in_an_evaluation(members: list[Path], ensemble: Path, tmp_path: Path) -> None:
    files = [paths.scores(path) for path in (ensemble, members[0].parent)]
    assert set(evaluate_files(files, tmp_path)) == {"cnn_ensemble", "cnn"}


def test_it_is_exported_through_the_gate_and_is_no_network(ensemble: Path, tmp_path: Path) -> None:
    assert export_bundle(paths.bundle(ensemble), tmp_path / "model.onnx") < 1e-5
    with pytest.raises(BundleError, match="an ensemble of 2 networks: name one of its members"):
        load_network(paths.bundle(ensemble))


def test_without_a_study_there_is_a_bundle_alone(members: list[Path], tmp_path: Path) -> None:
    run = make_ensemble(members[::-1], tmp_path, name="both")
    assert run.record.metrics == {}
    assert not paths.scores(tmp_path).exists()
    tagger = Tagger.load(run.bundle)
    assert tagger.manifest.values["model"] == "both"
    jets = make_constituents(5, seed=3)
    assert tagger(jets) == pytest.approx(np.mean([Tagger.load(path)(jets) for path in members], axis=0), abs=1e-5)


def changed_member(path: Path, folder: Path, **values: Any) -> Path:
    """A copy of a bundle that says something else of itself."""
    shutil.copytree(path, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    # Another file content, hence another id.
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text() + "# a copy\n")
    write_manifest(folder, manifest | values)
    return folder


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_names", ["qcd", "w"]),
        ("channels", ["pt"]),
        ("jet_features", ["mass"]),
        ("radius", 0.4),
        ("grid", {"kind": "window", "n_eta": 20, "n_phi": 40, "half_width": 0.8}),
        ("preprocess", {"version": 1, "steps": ["centre"]}),
    ],
)
def test_members_that_differ_are_named_with_what_differs(
    members: list[Path], tmp_path: Path, key: str, value: Any
) -> None:
    other = changed_member(members[0], tmp_path / "other", **{key: value})
    with pytest.raises(BundleError, match=f"other: its {key} is .* but that of .*bundle is .*cannot be one tagger"):
        make_ensemble([members[0], other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_member_twice_one_alone_and_an_ensemble_are_refused(
    members: list[Path], ensemble: Path, toy_study: StudyConfig, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="at least two members, got 1"):
        make_ensemble(members[:1], tmp_path / "out")
    with pytest.raises(BundleError, match="the same tagger as"):
        make_ensemble([members[0], members[0]], tmp_path / "out")
    with pytest.raises(BundleError, match="an ensemble itself: name its members"):
        make_ensemble([members[0], paths.bundle(ensemble)], tmp_path / "out")
    content = toy_study.model_dump(mode="json", by_alias=True, exclude_none=True)
    content["models"] = {"cnn": {"start_from": {"bundle": str(paths.bundle(ensemble))}}}
    with pytest.raises(BundleError, match="an ensemble cannot start a training"):
        read_start(parse_model(StudyConfig, content, where="test"), "cnn", None, None)  # type: ignore[arg-type]


def test_test_jets_that_a_member_may_have_been_trained_on_are_refused(
    members: list[Path], toy_study: StudyConfig, tmp_path: Path
) -> None:
    other = toy_study.model_copy(update={"split": toy_study.split.model_copy(update={"seed": 5})})
    with pytest.raises(InputError, match="its test jets may be this member's training jets"):
        make_ensemble(members, tmp_path / "out", study=other)
