"""Studies of showers: both tasks through all stages, the energy alone, and what a config may not ask."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pytest

import hepcnn
from hepcnn import paths
from hepcnn.bundle import read_manifest
from hepcnn.config import StudyConfig
from hepcnn.errors import ConfigError, InputError
from hepcnn.io.root import open_root
from hepcnn.io.scores import read_scores, write_scores
from hepcnn.stages.baseline import train_baseline
from hepcnn.stages.comparison import compare_files
from hepcnn.stages.describe import describe_record, list_final_metrics
from hepcnn.stages.evaluate import evaluate_files
from hepcnn.stages.export import export_bundle
from hepcnn.stages.records import read_record
from hepcnn.stages.report import write_report
from hepcnn.stages.samples import convert_samples, load_sample
from hepcnn.stages.train import train_tagger
from hepcnn.tagger import tag_file
from tests.conftest import SilentListener
from tests.toy_showers import make_shower_study

Trained = tuple[StudyConfig, Path]


def train(folder: Path, **changed: Any) -> Trained:
    folder.mkdir(exist_ok=True)
    study = make_shower_study(folder, **changed)
    root = paths.study_dir(study.results, study.study)
    for name in study.samples:
        convert_samples(study, [name], paths.images(root, name))
    run = paths.run_dir(root, "flat", 1)
    train_tagger(study, "flat", seed=1, output=run, listener=SilentListener())
    return study, run


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("both"))


def test_both_tasks_are_in_scores_metrics_and_the_bundle(both: Trained) -> None:
    study, run = both
    scores = read_scores(paths.scores(run))
    assert scores.score.shape == (len(scores), 2)
    assert set(scores.prediction) == {"energy", "energy_err"}
    test = load_sample(study).part("test")
    np.testing.assert_array_equal(scores.truth["energy"], test.truth["energy"])
    with h5py.File(paths.scores(run)) as file:
        assert set(file["prediction"]) == {"energy", "energy_err"}
        assert file["truth/energy"].shape == (len(scores),)
    metrics = json.loads(paths.metrics(run).read_text())
    assert {"auc", "accuracy", "rejection", "n_signal", "n_background"} <= set(metrics["pion"])
    assert metrics["pion"]["rejection_by_energy"]["eps_s"] == 0.9
    measured = metrics["energy"]["pion"]
    mine = scores.label == 1
    ratio = scores.prediction["energy"][mine] / scores.truth["energy"][mine]
    assert measured["median"]["value"] == pytest.approx(np.median(ratio), abs=0.02)
    manifest = read_manifest(paths.bundle(run))
    assert manifest.tasks == ("identity", "energy")
    assert manifest.values["energy_metrics"].keys() == {"electron", "pion"}
    history = json.loads(paths.history(run).read_text())
    assert history[-1]["val_resolution"] > 0
    assert "val_auc" in history[-1]


def test_a_tagger_says_energies_by_every_way(both: Trained, tmp_path: Path) -> None:
    study, run = both
    scores = read_scores(paths.scores(run))
    tagger = hepcnn.Tagger.load(paths.bundle(run))
    files = study.samples["pion"].files
    summary = tag_file(tagger, files[0], tmp_path / "friend.root", schema="calochallenge:photons")
    assert summary.n_jets == 240
    with open_root(tmp_path / "friend.root") as file:
        table = file.table("hepcnn")
        names = ["score_electron", "score_pion", "predicted_energy", "predicted_energy_err"]
        assert set(names) <= set(table.columns)
        friend = table.read(names, 0, table.n_entries)
    mine = scores.label == 1
    entry = scores.jets["source_entry"][mine]
    np.testing.assert_allclose(
        ak.to_numpy(friend["predicted_energy"])[entry], scores.prediction["energy"][mine], rtol=1e-4
    )
    with h5py.File(files[0]) as file:
        cells = file["showers"][:5] / 1000
    counts, filled = (cells > 0).sum(axis=1), np.nonzero(cells)
    fields = {"pt": cells[filled], "energy": cells[filled], "cell": filled[1]}
    fields |= {"eta": np.zeros(len(filled[0])), "phi": np.zeros(len(filled[0]))}
    showers = ak.unflatten(ak.zip(fields), counts)
    found = tagger.predict(showers)
    assert set(found) == {"score", "energy", "energy_err"}
    np.testing.assert_allclose(found["energy"], ak.to_numpy(friend["predicted_energy"])[:5], rtol=1e-4)
    called = tagger(showers)
    assert called.shape == (5, 2)
    np.testing.assert_array_equal(called, found["score"])
    assert {"electron", "pion", "energy", "energy_err"} == set(ak.fields(tagger.tag(showers)))
    by_torch = hepcnn.Tagger.load(paths.bundle(run), runtime="torch").predict(showers)
    np.testing.assert_allclose(by_torch["energy_err"], found["energy_err"], rtol=1e-5)
    assert export_bundle(paths.bundle(run), tmp_path / "model.onnx") < 1e-5


@pytest.mark.usefixtures("sketched")
def test_baselines_and_the_report_stand_beside_the_network(both: Trained) -> None:
    study, run = both
    study = study.model_copy(update={"baselines": ["energy_sum", "layer_sum", "shower_tree"]})
    root = paths.study_dir(study.results, study.study)
    for name in study.baselines:
        train_baseline(study, name, seed=1, output=paths.run_dir(root, name, 1))
    files = [paths.scores(paths.run_dir(root, name, 1)) for name in ("flat", *study.baselines)]
    metrics = evaluate_files(files, paths.summary_dir(root))
    assert set(metrics["energy_sum"]) == {"energy"}
    assert set(metrics["shower_tree"]) == {"pion", "energy"}
    # Late layers show half: weights of layers are better than the sum.
    sums, layers = (metrics[name]["energy"]["pion"]["resolution"]["value"] for name in ("energy_sum", "layer_sum"))
    assert layers < sums
    assert metrics["energy_sum"]["energy"]["pion"]["median"]["value"] == pytest.approx(1, abs=0.1)
    write_report(study, paths.report(root))
    page = paths.report(root).read_text()
    for text in ("Energy of pion", "Single showers", "Longitudinal profile", "1/eps_b at eps_s = 0.9", "shower_tree"):
        assert text in page
    assert "What the networks look at" in page, "the identity is explained beside an energy, too"
    record = read_record(paths.run_record(run))
    assert list_final_metrics(record)["test.pion.energy_resolution"] == record.energy["pion"]["resolution"]["value"]
    assert "energy of" in describe_record(record)


@pytest.mark.usefixtures("sketched")
@pytest.mark.usefixtures("sketched")
def test_the_energy_can_be_all(tmp_path: Path) -> None:
    study, run = train(tmp_path, n=150, tasks=["energy"], training={"epochs": 1, "batch_size": 64, "jet_features": []})
    scores = read_scores(paths.scores(run))
    assert scores.score.shape == (len(scores), 0)
    assert scores.class_names == ("electron", "pion")
    assert set(json.loads(paths.metrics(run).read_text())) == {"energy"}
    tagger = hepcnn.Tagger.load(paths.bundle(run))
    assert tagger.class_names == ()
    tag_file(tagger, study.samples["pion"].files[0], tmp_path / "friend.root", schema="calochallenge:photons")
    metrics = evaluate_files([paths.scores(run)], tmp_path / "out")
    assert set(metrics) == {"energy"}
    assert (tmp_path / "out" / "table_energy_pion.md").exists()
    assert not (tmp_path / "out" / "table.md").exists()
    root = paths.study_dir(study.results, study.study)
    evaluate_files([paths.scores(run)], paths.summary_dir(root))
    write_report(study, paths.report(root))
    page = paths.report(root).read_text()
    assert "Energy of pion" in page
    assert "Working points" not in page
    assert compare_files([str(run)], tmp_path / "compared") == []
    assert "Energy of pion" in (tmp_path / "compared" / "comparison.html").read_text()


@pytest.mark.usefixtures("sketched")
def test_taggers_with_other_tasks_are_evaluated_together(both: Trained, tmp_path: Path) -> None:
    _, run = both
    scores = read_scores(paths.scores(run))
    plain = replace(scores, model="identity", prediction={})
    narrow = {"energy": scores.truth["energy"] * (1 + 0.5 * (scores.prediction["energy"] / scores.truth["energy"] - 1))}
    energy = replace(scores, model="half", score=scores.score[:, :0], prediction=narrow)
    for one in (plain, energy):
        write_scores(tmp_path / f"{one.model}.h5", one)
    files = [paths.scores(run), tmp_path / "identity.h5", tmp_path / "half.h5"]
    metrics = evaluate_files(files, tmp_path / "out")
    assert set(metrics["flat"]) == {"pion", "energy"}
    assert set(metrics["identity"]) == {"pion"}
    assert set(metrics["half"]) == {"energy"}
    table = (tmp_path / "out" / "table.md").read_text()
    assert "identity" in table
    assert "half" not in table
    assert "half" in (tmp_path / "out" / "table_energy_electron.md").read_text()
    halved = metrics["half"]["energy"]["electron"]["resolution"]["value"]
    assert halved < metrics["flat"]["energy"]["electron"]["resolution"]["value"]
    assert (tmp_path / "out" / "energy_resolution_electron.png").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": {"truth": []}}, r"images\.truth: the task 'energy'"),
        ({"images": {"preprocess": ["normalise"]}}, r"images\.preprocess: 'normalise'"),
        ({"images": {"channels": ["multiplicity"]}}, r"images\.channels: the task 'energy'"),
        ({"tasks": ["energy", "energy"]}, "stands twice"),
        ({"tasks": []}, "tasks"),
        ({"tasks": ["identity"], "baselines": ["energy_sum"]}, "'energy_sum' measures energies"),
        ({"tasks": ["colour"]}, "'identity' or 'energy'"),
        ({"tasks": ["energy"], "evaluation": {"control": True}}, r"evaluation\.control: model 'flat' tells no classes"),
        ({"tasks": ["energy"], "training": {"early_stopping": {}}}, "'val_auc' needs the task 'identity'"),
    ],
)
def test_what_cannot_be_is_said_when_the_config_is_read(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    study = make_shower_study(tmp_path, n=2)
    images = study.model_dump(by_alias=True, exclude_none=True)["images"] | changed.pop("images", {})
    with pytest.raises(ConfigError, match=message):
        make_shower_study(tmp_path, n=2, images=images, **changed)


def test_images_without_true_energies_are_refused(both: Trained, tmp_path: Path) -> None:
    study, _ = both
    images = study.images.model_copy(update={"truth": []})
    other = study.model_copy(update={"results": str(tmp_path), "images": images})
    root = paths.study_dir(other.results, other.study)
    for name in other.samples:
        convert_samples(other, [name], paths.images(root, name))
    with pytest.raises(InputError, match=r"hold no true 'energy'"):
        train_tagger(other, "flat", seed=1, output=tmp_path / "run", listener=SilentListener())
