"""Every shipped study is valid, and every wrong one is refused with the place named."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hepcnn.config import StudyConfig, hash_config, parse_model, read_study, write_study
from hepcnn.errors import ConfigError
from hepcnn.stages.plan import check_study

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
SMALLEST: dict[str, Any] = {
    "study": "small",
    "samples": {"qcd": {"process": "qcd"}, "top": {"files": ["a.root"], "schema": "hepcnn"}},
    "models": {"cnn": {}},
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_shipped_studies_are_valid(path: Path) -> None:
    study = read_study(path)
    check_study(study)
    for name in study.models:
        study.training_of(name)


def changed(**changes: Any) -> dict[str, Any]:
    return SMALLEST | changes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(trainng={}), "trainng: unknown key; did you mean 'training'"),
        (changed(training={"epocs": 3}), "training.epocs: unknown key; did you mean 'epochs'"),
        (changed(training={"epochs": 0}), "training.epochs: Input should be greater than or equal to 1 (got 0)"),
        (changed(models={"cnn": {"training": {"lr": 1}}}), "models.cnn.training: lr: unknown key"),
        (changed(samples={"qcd": {"process": "qcd"}}), "samples"),
        (changed(samples={"qcd": {}, "top": {"process": "top"}}), "samples.qcd: name one of a generator 'process'"),
        (changed(samples={"qcd": {"files": ["x"]}, "top": {"process": "top"}}), "'files' need a 'schema'"),
        (
            changed(split={"train": 0.5, "val": 0.1, "test": 0.1}),
            "split: train, val and test must add up to 1, not 0.7",
        ),
        (changed(evaluation={"background": "qdc"}), "no class 'qdc'; did you mean 'qcd'?"),
        (changed(models={"pixel_logistic": {}}), "the name 'pixel_logistic' is a baseline's"),
        (changed(training={"jet_features": ["tau1"]}), "jet feature 'tau1' is not among images.jet_features"),
        (changed(study="../up"), "study"),
        (changed(ensembles=True), "ensembles: the mean over seeds needs two at least, 'seeds' has [1]"),
        (
            changed(ensembles=True, seeds=[1, 2], models={"cnn": {}, "cnn_ensemble": {}}),
            "the name 'cnn_ensemble' is that of the ensemble of 'cnn'",
        ),
        ({"study": "x", "samples": SMALLEST["samples"]}, "models: this key is required"),
    ],
)
def test_wrong_studies_name_the_place(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_model(StudyConfig, content, where="study.yaml")
    assert message in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1,", "not valid YAML"), ("- a\n- b\n", "expected a mapping"), ("", "expected a mapping")],
)
def test_a_file_that_is_no_config(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_study(path)
    assert "broken.yaml" in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_study(tmp_path / "none.yaml")


def test_the_written_config_reads_back_equal(tmp_path: Path) -> None:
    study = parse_model(StudyConfig, SMALLEST, where="test")
    path = write_study(study, tmp_path / "config.yaml")
    assert read_study(path) == study
    before = path.stat().st_mtime_ns
    write_study(study, path)
    assert path.stat().st_mtime_ns == before


def test_a_models_training_is_laid_over_the_studys() -> None:
    content = changed(training={"epochs": 7}, models={"cnn": {"training": {"batch_size": 32}}, "resnet": {}})
    study = parse_model(StudyConfig, content, where="test")
    assert (study.training_of("cnn").epochs, study.training_of("cnn").batch_size) == (7, 32)
    assert study.training_of("resnet").batch_size == study.training.batch_size


def test_the_hash_ignores_the_order_of_keys_and_sees_values() -> None:
    assert hash_config({"a": 1, "b": 2}) == hash_config({"b": 2, "a": 1})
    assert hash_config({"a": 1}) != hash_config({"a": 2})


def test_configs_are_yaml_without_surprises() -> None:
    for path in CONFIGS:
        assert set(yaml.safe_load(path.read_text())) <= set(StudyConfig.model_fields)
