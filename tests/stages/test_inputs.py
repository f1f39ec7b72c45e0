"""What a training is fed: the same jets, scales and weights wherever the pixels are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepcnn import paths
from hepcnn.config import StudyConfig, parse_model
from hepcnn.io.scores import read_scores
from hepcnn.models.periodic import PeriodicConv2d
from hepcnn.stages.export import export_bundle, load_network
from hepcnn.stages.inputs import TrainingInputs, make_fingerprint, open_inputs
from hepcnn.stages.samples import convert_samples, open_sample
from hepcnn.stages.train import train_tagger
from tests.conftest import SilentListener

STREAM = {"mode": "stream", "block": 64, "pool": 2}
FLAT = {"kind": "flat", "variables": ["mass"], "bins": 5}


def change(study: StudyConfig, **keys: Any) -> StudyConfig:
    content = study.model_dump(by_alias=True, exclude_none=True)
    content["training"] |= keys.pop("training", {})
    return parse_model(StudyConfig, content | keys, where="test")


def open_mode(study: StudyConfig, loader: dict[str, Any], **keys: Any) -> TrainingInputs:
    changed = change(study, training={"loader": loader}, **keys)
    return open_inputs(changed, "cnn", device=torch.device("cpu"))


def test_every_mode_feeds_the_same_jets(toy_study: StudyConfig) -> None:
    modes = {"device": {}, "host": {"mode": "host", "block": 50}, "stream": STREAM}
    inputs = {name: open_mode(toy_study, loader, weights=FLAT) for name, loader in modes.items()}
    assert {name: found.choice.mode for name, found in inputs.items()} == {name: name for name in modes}
    first = inputs["device"]
    for found in inputs.values():
        assert found.normalisation.channel_scale == pytest.approx(first.normalisation.channel_scale, rel=1e-6)
        assert found.normalisation.feature_mean == first.normalisation.feature_mean
        for split in ("train", "val"):
            one, other = (list(getattr(x, split).in_order(64, sparse=False)) for x in (first, found))
            for a, b in zip(one, other, strict=True):
                assert torch.equal(a.images, b.images)
                assert torch.equal(a.weight, b.weight)
        tests = [[*x.read_test()] for x in (first, found)]
        images = [np.concatenate([part.to_dense() for part in parts]) for parts in tests]
        assert np.array_equal(*images)
        assert all(np.array_equal(part.weight, np.ones(len(part))) for part in tests[1]), "only the losses are weighed"


def test_validation_jets_are_weighed_by_functions_of_the_training_jets(toy_study: StudyConfig) -> None:
    inputs = open_mode(toy_study, {}, weights=FLAT)
    assert inputs.weights is not None
    found = torch.cat([batch.weight for batch in inputs.val.in_order(32, sparse=True)]).numpy()
    val = inputs.sample.part("val")
    bins = np.clip(np.digitize(val.jets["mass"], inputs.weights.edges[0]) - 1, 0, 4)
    assert found == pytest.approx(inputs.weights.factor[val.label, bins] * val.weight, rel=1e-6)
    train = torch.cat([batch.weight for batch in inputs.train.in_order(32, sparse=True)])
    assert float(train.mean()) == pytest.approx(1, rel=1e-5)


def test_a_checkpoint_belongs_to_an_order_and_to_weights(toy_study: StudyConfig) -> None:
    def fingerprint(loader: dict[str, Any], **keys: Any) -> str:
        inputs, study = open_mode(toy_study, loader, **keys), change(toy_study, **keys)
        return make_fingerprint(study, "cnn", 1, inputs.sample, order=inputs.choice.order)

    plain = fingerprint({})
    assert plain == fingerprint({"mode": "host", "memory_gb": 3}), "it sees the same order"
    others = [
        fingerprint(STREAM),
        fingerprint(STREAM | {"block": 32}),
        fingerprint(STREAM | {"pool": 3}),
        fingerprint({}, weights=FLAT),
        fingerprint({}, weights=FLAT | {"bins": 6}),
    ]
    assert len({plain, *others}) == 6


def test_a_tagger_is_trained_from_disk(toy_study: StudyConfig, tmp_path: Path) -> None:
    study, told = change(toy_study, training={"loader": STREAM, "epochs": 1}, weights=FLAT), list[str]()
    run = train_tagger(study, "sparse", seed=1, output=tmp_path, listener=SilentListener(), say=told.append)
    assert "'stream': asked for" in told[0]
    assert run.record.extra["loader"] == "stream"
    assert run.record.extra["weights"]["clipped"].keys() == {"qcd", "top"}
    scores, test = read_scores(paths.scores(tmp_path)), open_sample(study).part("test")
    assert np.array_equal(scores.label, test.label)
    assert np.array_equal(scores.weight, test.weight)
    assert np.array_equal(scores.jets["pt"], test.jets["pt"])
    assert scores.score.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_a_periodic_grid_travels_with_the_bundle(toy_study: StudyConfig, tmp_path: Path) -> None:
    grid = {"kind": "detector", "n_eta": 12, "n_phi": 16, "eta_max": 2.5}
    images = toy_study.images.model_dump() | {"grid": grid, "preprocess": [], "channels": ["pt"]}
    images["jet_features"] = ["pt", "mass", "n_constituents"]
    study = change(toy_study, images=images, results=str(tmp_path), training={"epochs": 1})
    root = paths.study_dir(study.results, study.study)
    for name in study.samples:
        convert_samples(study, [name], paths.images(root, name))
    run = train_tagger(study, "cnn", seed=1, output=tmp_path / "run", listener=SilentListener())
    network = load_network(run.bundle)
    assert network.model.periodic == (False, True)
    assert any(isinstance(module, PeriodicConv2d) for module in network.modules())
    assert export_bundle(run.bundle, tmp_path / "model.onnx") < 1e-5
