"""Stages of a study, called as functions."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hepcnn import paths
from hepcnn.config import StudyConfig, parse_model
from hepcnn.errors import HepcnnError, InputError
from hepcnn.stages.evaluate import evaluate_files
from hepcnn.stages.inputs import make_fingerprint
from hepcnn.stages.report import write_report
from hepcnn.stages.samples import convert_samples, load_sample, open_sample
from hepcnn.stages.train import train_tagger
from tests.conftest import SilentListener
from tests.toy import write_toy_jets


def test_images_of_other_settings_are_refused(toy_study: StudyConfig) -> None:
    grid = toy_study.images.grid.model_copy(update={"n_eta": 24})
    changed = toy_study.model_copy(update={"images": toy_study.images.model_copy(update={"grid": grid})})
    with pytest.raises(InputError, match=r"were made with grid .*'n_eta': 40.*says .*'n_eta': 24.*convert again"):
        load_sample(changed)


def test_missing_images_are_named_with_the_way_to_make_them(toy_study: StudyConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"qcd\.h5: no such images; make them with 'hepcnn convert"):
        load_sample(toy_study.model_copy(update={"results": str(tmp_path)}))


def test_the_same_jets_in_two_samples_are_named(toy_study: StudyConfig, tmp_path: Path) -> None:
    copy = tmp_path / "copy.root"
    shutil.copy(toy_study.samples["top"].files[0], copy)
    samples = dict(toy_study.samples) | {
        "qcd": toy_study.samples["qcd"].model_copy(update={"files": [*toy_study.samples["qcd"].files, str(copy)]})
    }
    study = toy_study.model_copy(update={"samples": samples, "results": str(tmp_path)})
    for name in study.samples:
        convert_samples(study, [name], paths.images(tmp_path / "toy", name))
    with pytest.raises(InputError, match=r"400 jets are in the images twice, as qcd \(.*copy.*\) and as top \("):
        load_sample(study)


def test_images_of_other_selections_are_refused(toy_study: StudyConfig) -> None:
    images = toy_study.images.model_copy(update={"select": {"pt": (500.0, None)}})
    with pytest.raises(InputError, match=r"made with the selections \{\}, the study's config now says .*500"):
        load_sample(toy_study.model_copy(update={"images": images}))


def test_a_checkpoint_belongs_to_its_jets(toy_study: StudyConfig, tmp_path: Path) -> None:
    """The same files read by another schema have other event ids, and so other splits."""
    images = toy_study.images.model_copy(update={"channels": ["pt", "track_pt"]})
    studies = []
    for schema in ("hepcnn", "jetclass"):
        samples = {k: v.model_copy(update={"schema_name": schema}) for k, v in toy_study.samples.items()}
        study = toy_study.model_copy(update={"samples": samples, "images": images, "results": str(tmp_path / schema)})
        for name in study.samples:
            convert_samples(study, [name], paths.images(tmp_path / schema / "toy", name))
        studies.append(study)
    one, other = (make_fingerprint(study, "cnn", 1, open_sample(study), order=()) for study in studies)
    assert one != other
    assert one == make_fingerprint(studies[0], "cnn", 1, open_sample(studies[0]), order=())


def test_a_users_folder_named_bundle_survives(toy_study: StudyConfig, tmp_path: Path) -> None:
    precious = tmp_path / "bundle" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("precious")
    with pytest.raises(HepcnnError, match=r"holds no manifest\.json"):
        train_tagger(toy_study, "cnn", seed=1, output=tmp_path, listener=SilentListener())
    assert precious.read_text() == "precious"
    assert not (tmp_path / "checkpoint.safetensors").exists(), "it is refused before the work, not after"


@pytest.mark.usefixtures("sketched")
@pytest.mark.slow
def test_a_study_of_three_classes_and_two_seeds_reports_every_signal(tmp_path: Path) -> None:
    content: dict[str, Any] = {
        "study": "three",
        "results": str(tmp_path),
        "samples": {},
        "images": {"grid": {"n_eta": 16, "n_phi": 16}, "channels": ["pt"]},
        "models": {"sparse": {}},
        "baselines": [],
        "seeds": [1, 2],
        "training": {"epochs": 1, "batch_size": 64},
        "split": {"train": 0.5, "val": 0.2, "test": 0.3},
    }
    for name, n_prongs in (("w", 2), ("qcd", 1), ("top", 3)):
        path = write_toy_jets(tmp_path / f"{name}.root", n_jets=200, n_prongs=n_prongs, seed=n_prongs)
        content["samples"][name] = {"files": [str(path)], "schema": "hepcnn"}
    study = parse_model(StudyConfig, content, where="test")
    root = tmp_path / "three"
    for name in study.samples:
        convert_samples(study, [name], paths.images(root, name))
    runs = [paths.run_dir(root, "sparse", seed) for seed in study.seeds]
    for seed, run in zip(study.seeds, runs, strict=True):
        train_tagger(study, "sparse", seed=seed, output=run, listener=SilentListener())
    metrics = evaluate_files([paths.scores(run) for run in runs], paths.summary_dir(root))
    assert set(metrics) == {"w", "top"}
    assert "err_seed" in metrics["top"]["auc"]
    write_report(study, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for text in ("jets read", "Spectra", ">200<"):
        assert text in page
    assert "set aside" not in page
    assert "What the networks look at" in page
    assert json.loads((paths.summary_dir(root) / "explain_sparse" / "explain.json").read_text())["signal"] == "w"
    for plot in (
        "Rejection w",
        "Rejection top",
        "Scores sparse w",
        "Mistag pt top",
        "Confusion sparse",
        "Sculpting top",
    ):
        assert plot in page
