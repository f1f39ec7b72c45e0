"""A study's tagger that starts from another's bundle or weights."""

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from hepcnn import paths
from hepcnn.bundle import read_manifest
from hepcnn.config import StartConfig, StudyConfig, TrainingConfig, parse_model, read_study
from hepcnn.data.normalisation import Normalisation
from hepcnn.data.sources import DeviceDataset
from hepcnn.errors import BundleError, ConfigError
from hepcnn.stages.export import load_network
from hepcnn.stages.finetune import Start, read_start, train_in_phases
from hepcnn.stages.inputs import open_inputs
from hepcnn.stages.samples import convert_samples, open_sample
from hepcnn.stages.train import train_tagger
from hepcnn.training.loop import make_fabric
from hepcnn.training.network import TaggerNetwork
from hepcnn.training.signals import StopRequest
from tests.conftest import REPOSITORY, SilentListener
from tests.toy import make_images
from tests.training.test_finetune import changed_stages, make_network, state_of


def with_start(study: StudyConfig, start: dict[str, Any], **model: Any) -> StudyConfig:
    """A study with one tagger, which starts from elsewhere."""
    content = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    content["models"] = {"tuned": {"network": "cnn", "start_from": start, **model}}
    return parse_model(StudyConfig, content, where="test")


def read(study: StudyConfig) -> Any:
    inputs = open_inputs(study, "tuned", device=torch.device("cpu"))
    return read_start(study, "tuned", inputs.sample.columns, inputs.normalisation)


def test_the_shipped_study_runs_and_starts_where_it_says(toy_study: StudyConfig, toy_run: Path, tmp_path: Path) -> None:
    content = read_study(REPOSITORY / "configs" / "finetune.yaml").model_dump(mode="json", exclude_none=True)
    names = dict(zip(("qcd", "w"), ("qcd", "top"), strict=True))
    content["samples"] = {
        name: {"files": list(toy_study.samples[of].files), "schema": "hepcnn"} for name, of in names.items()
    }
    content |= {"results": str(tmp_path), "training": content["training"] | {"epochs": 2}}
    start = content["models"]["finetuned"]["start_from"]
    start |= {"bundle": str(paths.bundle(toy_run)), "freeze": "trunk", "head_epochs": 0}
    study = parse_model(StudyConfig, content, where="test")
    for name in study.samples:
        convert_samples(study, [name], paths.images(tmp_path / "finetune", name))
    said: list[str] = []
    run = train_tagger(study, "finetuned", seed=1, output=tmp_path / "run", listener=SilentListener(), say=said.append)
    parent = read_manifest(paths.bundle(toy_run))
    assert any(f"({parent.bundle_id})" in line and "the head is new (as the config says)" in line for line in said)
    assert run.record.extra["start_from"]["identity"] == parent.bundle_id
    assert read_manifest(run.bundle).values["start_from"]["head"] == "replace"
    before, after = (load_file(folder / "weights.safetensors") for folder in (paths.bundle(toy_run), run.bundle))
    same = {key for key in before if np.array_equal(before[key], after[key])}
    assert {key for key in before if "trunk" in key or key == "channel_scale"} <= same
    assert not any("classify" in key for key in same)
    assert load_network(run.bundle).n_jet_features == 3


def test_the_kept_head_brings_its_scales_and_another_number_of_classes_a_new_one(
    toy_study: StudyConfig, toy_run: Path
) -> None:
    start = read(with_start(toy_study, {"bundle": str(paths.bundle(toy_run))}))
    assert not start.replace_head
    assert list(start.normalisation.feature_mean) == read_manifest(start.place).values["normalisation"]["feature_mean"]
    columns = replace(open_sample(toy_study).columns, class_names=("qcd", "top", "w"))
    study = with_start(toy_study, {"bundle": str(paths.bundle(toy_run))})
    three = read_start(study, "tuned", columns, start.normalisation)
    assert three is not None
    assert (three.replace_head, three.reason) == (True, "3 classes instead of 2")


def test_weights_of_a_file_are_taken_by_their_hash(toy_study: StudyConfig, toy_run: Path, tmp_path: Path) -> None:
    weights = load_file(paths.bundle(toy_run) / "weights.safetensors")
    save_file(weights, tmp_path / "one.safetensors")
    save_file(weights | {"channel_scale": 2 * weights["channel_scale"]}, tmp_path / "two.safetensors")
    one, two = (
        read(with_start(toy_study, {"weights": str(tmp_path / f"{name}.safetensors")})) for name in ("one", "two")
    )
    assert one.identity != two.identity
    assert two.normalisation.channel_scale == pytest.approx([2 * x for x in one.normalisation.channel_scale])


def test_what_does_not_fit_is_named(toy_study: StudyConfig, toy_run: Path, tmp_path: Path) -> None:
    bundle = {"bundle": str(paths.bundle(toy_run))}
    with pytest.raises(BundleError, match="a tagger with network cnn cannot start one with network resnet"):
        read(with_start(toy_study, bundle, network="resnet"))
    with pytest.raises(BundleError, match=r"training\.power 0\.5 cannot start one with training\.power 0\.7"):
        read(with_start(toy_study, bundle, training={"power": 0.7}))
    with pytest.raises(BundleError, match=r"training\.jet_features says \['mass'\].*or say head: replace"):
        read(with_start(toy_study, bundle, training={"jet_features": ["mass"]}))
    assert read(with_start(toy_study, bundle | {"head": "replace"}, training={"jet_features": ["mass"]})).replace_head
    with pytest.raises(BundleError, match=r"none: not a bundle: cannot read manifest\.json"):
        read(with_start(toy_study, {"bundle": str(tmp_path / "none")}))
    shutil.copy(paths.bundle(toy_run) / "manifest.json", tmp_path / "bad.safetensors")
    with pytest.raises(BundleError, match="not a safetensors file"):
        read(with_start(toy_study, {"weights": str(tmp_path / "bad.safetensors")}))
    with pytest.raises(ConfigError, match="name either a 'bundle'"):
        with_start(toy_study, {})


def test_another_grid_is_refused(toy_study: StudyConfig, toy_run: Path) -> None:
    study = with_start(toy_study, {"bundle": str(paths.bundle(toy_run))})
    inputs = open_inputs(study, "tuned", device=torch.device("cpu"))
    columns = inputs.sample.columns
    columns = replace(columns, attributes=dict(columns.attributes) | {"channels": ["pt"]})
    with pytest.raises(BundleError, match=r"channels \['pt', 'ecal'.* cannot start one with channels \['pt'\]"):
        read_start(study, "tuned", columns, inputs.normalisation)


class Watch(SilentListener):
    """Remembers epochs and the state at the end of each; asks for a stop at a step."""

    def __init__(self, network: TaggerNetwork, stop_at: int = -1) -> None:
        self.network, self.stop_at, self.steps = network, stop_at, 0
        self.states: list[dict[str, torch.Tensor]] = []
        self.epochs: list[float] = []

    def on_step(self, **_: object) -> None:
        """Count."""
        self.steps += 1
        if self.steps == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)

    def on_epoch(self, record: dict[str, float]) -> None:
        """Remember."""
        self.states.append(state_of(self.network))
        self.epochs.append(record["epoch"])


def train_phases(folder: Path, stop_at: int = -1) -> tuple[TaggerNetwork, Watch, Any]:
    """One epoch of the head, two of all, three steps each."""
    network = make_network()
    data = DeviceDataset(make_images(96, seed=1, shape=(12, 12)), feature_names=("mass",), device=torch.device("cpu"))
    config = TrainingConfig(epochs=3, batch_size=32, learning_rate=0.01, jet_features=["mass"], device="cpu")
    normalisation = Normalisation((1.0,), 0.5, ("mass",), (1.0,), (1.0,))
    start = Start(StartConfig(bundle="there", head_epochs=1, layer_decay=0.5), "id", {}, normalisation, False)
    watch = Watch(network, stop_at)
    state = train_in_phases(
        network,
        start=start,
        train=data,
        val=data,
        config=config,
        fabric=make_fabric(config),
        seed=3,
        checkpoint=paths.checkpoint(folder),
        fingerprint="a",
        validate=lambda score, label: {"val_auc": float(((score[:, 1] > 0.5) == label).mean())},
        listener=watch,
    )
    return network, watch, state


def test_the_head_learns_first_and_then_all(tmp_path: Path) -> None:
    network, watch, state = train_phases(tmp_path)
    before = state_of(make_network())
    network.load_state_dict(watch.states[0])
    assert changed_stages(before, network) == [False, False, False]
    assert not torch.equal(before["model.head.classify.3.weight"], network.model.head.classify[3].weight)
    network.load_state_dict(watch.states[1])
    assert changed_stages(before, network) == [True, True, True]
    assert watch.epochs == [record["epoch"] for record in state.history] == [1, 2, 3]
    assert state.seconds == state.history[-1]["seconds"] > state.history[0]["seconds"]


@pytest.mark.parametrize("stop_at", [2, 3, 5])
def test_a_training_in_phases_goes_on_to_the_bit(tmp_path: Path, stop_at: int) -> None:
    expected, _, _ = train_phases(tmp_path / "whole")
    with pytest.raises(StopRequest):
        train_phases(tmp_path / "cut", stop_at)
    found, rest, state = train_phases(tmp_path / "cut")
    assert rest.steps == 9 - stop_at
    assert [record["epoch"] for record in state.history] == [1, 2, 3]
    for name, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name


def test_phases_that_leave_nothing_are_refused(toy_study: StudyConfig) -> None:
    with pytest.raises(ConfigError, match="head_epochs: 2 of 2 epochs leave none in which all learns"):
        with_start(toy_study, {"bundle": "there", "head_epochs": 2})
    with pytest.raises(ConfigError, match="leave 'head_epochs' out"):
        with_start(toy_study, {"bundle": "there", "head_epochs": 1, "freeze": "trunk"})
