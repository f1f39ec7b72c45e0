"""Losses and augmentation as a study asks for them, in its training."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from hepcnn.config import StudyConfig, parse_model
from hepcnn.errors import ConfigError
from hepcnn.stages.train import train_tagger
from hepcnn.training.signals import StopRequest
from tests.conftest import SilentListener

RECIPE: dict[str, Any] = {
    "epochs": 1,
    "loss": {"kind": "focal", "label_smoothing": 0.05, "disco": 2.0},
    "augment": {
        "flip": ["deta"],
        "rotate": 0.3,
        "shift": 0.5,
        "smear": 0.3,
        "drop": 0.05,
        "noise": {"probability": 0.001, "energy": 1.0},
    },
}


class StopAt(SilentListener):
    """Asks for a stop after some steps."""

    def __init__(self, step: int) -> None:
        self.left = step

    def on_step(self, **_: object) -> None:
        """Count down."""
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def with_training(study: StudyConfig, name: str, **training: Any) -> StudyConfig:
    """A study whose model is trained otherwise."""
    content = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    content["models"] = {name: {"training": training}}
    return parse_model(StudyConfig, content, where="test")


@pytest.mark.slow
def test_a_stopped_training_with_a_recipe_ends_as_an_uninterrupted_one(toy_study: StudyConfig, tmp_path: Path) -> None:
    name = "sparse"
    study = with_training(toy_study, name, **RECIPE)
    whole = train_tagger(study, name, seed=1, output=tmp_path / "whole", listener=SilentListener())
    with pytest.raises(StopRequest):
        train_tagger(study, name, seed=1, output=tmp_path / "cut", listener=StopAt(3))
    cut = train_tagger(study, name, seed=1, output=tmp_path / "cut", listener=SilentListener())
    expected, found = (load_file(run.bundle / "weights.safetensors") for run in (whole, cut))
    assert all(np.array_equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"loss": {"class_weights": {"tob": 2}}}, "no class 'tob'; did you mean 'top'"),
        ({"augment": {"flip": ["eta"]}}, "no axis 'eta'; did you mean 'deta'"),
        ({"augment": {"smear": 0.5}, "jet_features": ["mass"]}, "add 'pt' to training.jet_features"),
    ],
)
def test_a_recipe_that_does_not_fit_the_study_is_named(
    toy_study: StudyConfig, tmp_path: Path, training: dict[str, Any], message: str
) -> None:
    study = with_training(toy_study, "cnn", **training)
    with pytest.raises(ConfigError, match=message):
        train_tagger(study, "cnn", seed=1, output=tmp_path, listener=SilentListener())


def test_a_gamma_without_a_focal_loss_is_refused(toy_study: StudyConfig) -> None:
    with pytest.raises(ConfigError, match="'gamma' belongs to the focal loss"):
        with_training(toy_study, "cnn", loss={"gamma": 1.0})
