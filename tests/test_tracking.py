"""A study in a real MLflow store: what is in it, and that a second sync adds nothing."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import pytest

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.convert.card import read_card
from hepcnn.errors import HepcnnError
from hepcnn.tracking import TrackingError, attach_report, sync_study


@pytest.mark.usefixtures("toy_run")
def test_runs_reach_the_store_once(toy_study: StudyConfig, in_folder: Path) -> None:
    root = paths.study_dir(toy_study.results, toy_study.study)
    runs = sync_study(toy_study)
    assert [run.is_new for run in runs] == [True, True]
    assert json.loads(paths.tracked(root).read_text())["runs"][1]["run_id"] == runs[1].run_id
    client = mlflow.MlflowClient(tracking_uri=toy_study.tracking.uri)
    run = client.get_run(runs[1].run_id)
    expected = json.loads((root / "cnn" / "seed1" / "metrics.json").read_text())["top"]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test.top.auc"] == pytest.approx(expected["auc"]["value"])
    assert run.data.params["epochs"] == "2"
    assert run.data.tags["mlflow.parentRunId"] == runs[0].run_id
    assert len(run.data.tags["data.qcd.root.sha256"]) == 64
    assert run.data.tags["version.torch"]
    assert [point.step for point in client.get_metric_history(runs[1].run_id, "val_auc")] == [1, 2]
    assert {item.path for item in client.list_artifacts(runs[1].run_id)} >= {"bundle", "metrics.json", "run.json"}
    assert client.get_run(runs[0].run_id).data.tags["hepcnn.skipped_files"] == "0"
    cards = {item.path for item in client.list_artifacts(runs[0].run_id, "data")}
    assert cards == {"data/qcd.card.json", "data/top.card.json"}
    again = sync_study(toy_study)
    assert [run.is_new for run in again] == [False, False]
    assert [run.run_id for run in again] == [run.run_id for run in runs]
    report = in_folder / "report.html"
    report.write_text("<p>report</p>")
    attach_report(toy_study, report)
    assert "report.html" in {item.path for item in client.list_artifacts(runs[0].run_id)}


def test_the_trials_of_a_search_are_runs_of_the_study(toy_study: StudyConfig, toy_run: Path, tmp_path: Path) -> None:
    root = tmp_path / "toy"
    trial = paths.search_dir(root, "cnn") / "trial0003"
    shutil.copytree(toy_run, trial)
    record = json.loads(paths.run_record(trial).read_text())
    record["extra"] |= {"search": "search_cnn", "trial": 3, "searched": {"options.depth": 2}}
    paths.run_record(trial).write_text(json.dumps(record))
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracking = toy_study.tracking.model_copy(update={"uri": uri})
    runs = sync_study(toy_study.model_copy(update={"results": str(tmp_path), "tracking": tracking}))
    assert [run.name for run in runs[1:]] == ["cnn search_cnn trial0003"]
    found = mlflow.MlflowClient(tracking_uri=uri).get_run(runs[1].run_id)
    assert found.data.tags["hepcnn.search"] == "search_cnn"
    assert found.data.tags["mlflow.parentRunId"] == runs[0].run_id
    assert found.data.params["options.depth"] == "2"


@pytest.mark.usefixtures("toy_run")
def test_files_that_were_set_aside_are_in_the_store(toy_study: StudyConfig, tmp_path: Path) -> None:
    root = paths.study_dir(toy_study.results, toy_study.study)
    shutil.copytree(root, tmp_path / "toy")
    path = paths.data_card(paths.images(tmp_path / "toy", "top"))
    card = read_card(path) | {"skipped_files": [{"path": "bad.root", "reason": "cut short"}]}
    path.write_text(json.dumps(card))
    study = toy_study.model_copy(update={"results": str(tmp_path)})
    run = mlflow.MlflowClient(tracking_uri=study.tracking.uri).get_run(sync_study(study)[0].run_id)
    assert run.data.tags["hepcnn.skipped_files"] == "1"
    assert run.data.tags["hepcnn.skipped_files.names"] == "bad.root: cut short"


def test_the_dashboard_shows_the_runs_and_offers_no_shell(
    toy_study: StudyConfig, tmp_path: Path, toy_run: Path
) -> None:
    """MLflow's assistant runs commands for whoever asks; on a shared machine that is everybody."""
    assert toy_run.exists()
    sync_study(toy_study)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "hepcnn", "track", "ui", "--uri", toy_study.tracking.uri, "--port", str(port)]
    server = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        runs = ask_until_up(port, "/ajax-api/2.0/mlflow/experiments/search?max_results=10")
        assert b"hepcnn-toy" in runs
        for path in ("message", "config", "sessions/x/permission"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ajax-api/3.0/mlflow/assistant/{path}", data=b"{}")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def ask_until_up(port: int, path: str) -> bytes:
    deadline = time.monotonic() + 90
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                return bytes(answer.read())
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def test_a_store_that_cannot_be_opened_is_named(toy_study: StudyConfig, toy_run: Path) -> None:
    assert toy_run.exists()
    wrong = toy_study.model_copy(
        update={"tracking": toy_study.tracking.model_copy(update={"uri": "sqlite:////proc/none/x.db"})}
    )
    with pytest.raises(TrackingError, match="sqlite:////proc/none"):
        sync_study(wrong)


def test_nothing_to_track(toy_study: StudyConfig, tmp_path: Path) -> None:
    with pytest.raises(HepcnnError, match="no finished run"):
        sync_study(toy_study.model_copy(update={"results": str(tmp_path)}))
