"""The program itself, killed: the same command goes on, and ends with the weights of a run that nobody disturbed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from hepcnn import paths
from hepcnn.cli.main import app
from hepcnn.config import StudyConfig, write_study
from hepcnn.errors import ConfigError
from hepcnn.stages.train import train_tagger
from tests.conftest import SilentListener

TRAINING = {
    "epochs": 8,
    "batch_size": 64,
    "ema": 0.9,
    "keep_best": True,
    "early_stopping": {"metric": "val_loss", "patience": 10},
    "checkpoint_steps": 3,
}


def make_arguments(config: Path, run: Path) -> list[str]:
    return ["train", "-c", str(config), "-m", "cnn", "-o", str(run), "--threads", "1"]


def start(config: Path, run: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hepcnn", *make_arguments(config, run)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_change(path: Path, process: subprocess.Popen[str]) -> None:
    """Until a new checkpoint is there."""
    before, deadline = path.stat().st_mtime_ns if path.exists() else 0, time.monotonic() + 400
    while process.poll() is None and time.monotonic() < deadline:
        if path.exists() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.005)


@pytest.mark.slow
def test_a_killed_training_ends_with_the_weights_of_an_uninterrupted_one(
    toy_study: StudyConfig, tmp_path: Path
) -> None:
    study = toy_study.with_training("cnn", **TRAINING)
    small = study.model_of("cnn").model_copy(update={"options": {"stem": 4, "widths": [8, 8], "depth": 1}})
    study = study.model_copy(update={"models": {"cnn": small}})
    config, run, whole = write_study(study, tmp_path / "study.yaml"), tmp_path / "run", tmp_path / "whole"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train_tagger(study, "cnn", seed=1, output=whole, listener=SilentListener())
    finally:
        torch.set_num_threads(threads)
    moment = random.Random()
    for kind, code in ((signal.SIGKILL, -9), (signal.SIGUSR1, 75)):
        process = start(config, run)
        wait_for_change(paths.checkpoint(run), process)
        time.sleep(moment.uniform(0.0, 0.2))
        os.kill(process.pid, kind)
        _, stderr = process.communicate(timeout=400)
        assert process.returncode == code, stderr
        assert "Traceback" not in stderr
        assert not paths.bundle(run).exists(), "it was killed too late: this machine is faster than expected"
    # To its end in this process, which has everything imported.
    try:
        ended = CliRunner().invoke(app, make_arguments(config, run), catch_exceptions=False)
    finally:
        torch.set_num_threads(threads)
    assert ended.exit_code == 0, ended.output
    assert "going on from epoch" in ended.stderr
    names = {path.name for path in run.iterdir() if not path.name.startswith(".")}
    assert "checkpoint.previous.safetensors" not in names
    assert not [path for path in run.iterdir() if "partial" in path.name]
    one, other = (load_file(folder / "bundle" / "weights.safetensors") for folder in (whole, run))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert one.keys() == other.keys()
    histories = [json.loads(paths.history(folder).read_text()) for folder in (whole, run)]
    kept = "epoch", "train_loss", "val_loss", "val_auc", "val_rejection"
    first, second = ([[record[key] for key in kept] for record in history] for history in histories)
    assert first == second


def test_learning_rates_are_tried_beside_the_run(toy_study: StudyConfig, tmp_path: Path) -> None:
    config = write_study(toy_study, tmp_path / "study.yaml")
    found = CliRunner().invoke(app, ["train", "-c", str(config), "-m", "cnn", "-o", str(tmp_path / "run"), "--find-lr"])
    assert found.exit_code == 0, found.output
    assert "suggested training.learning_rate" in found.output
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"lr_finder.json"}
    measured = json.loads((tmp_path / "run" / "lr_finder.json").read_text())
    assert len(measured["learning_rate"]) == len(measured["loss"]) > 20


def test_a_batch_size_is_checked_before_the_work(toy_study: StudyConfig, tmp_path: Path) -> None:
    config = write_study(toy_study, tmp_path / "study.yaml")
    arguments = ["train", "-c", str(config), "-m", "cnn", "-o", str(tmp_path / "run"), "--batch-size", "many"]
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, ConfigError)
    assert "models.cnn.training: batch_size: expected a number of jets, at least 1, or 'auto'" in str(found.exception)
