"""A study in a real MLflow store: what is in it, and that a second sync adds nothing."""

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc.scoring_server as serving
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.convert.card import read_card
from hepcnn.errors import HepcnnError, InputError
from hepcnn.tagger import Tagger
from hepcnn.tracking.pyfunc import TaggerModel
from hepcnn.tracking.registry import is_better
from hepcnn.tracking.store import Store, TrackingError
from hepcnn.tracking.sync import attach_report, sync_study
from tests.toy import make_constituents
from tests.tracking.servers import ask_until_up, find_port


@pytest.fixture(scope="module", autouse=True)
def _tables(toy_study: StudyConfig, empty_store: Path) -> None:
    """The study's store has its tables: making them takes seconds, and is for other tests."""
    path = Path(toy_study.tracking.store.removeprefix("sqlite:///"))
    if not path.exists():
        shutil.copy(empty_store, path)


@pytest.mark.usefixtures("toy_run")
def test_runs_reach_the_store_once(toy_study: StudyConfig, in_folder: Path) -> None:
    root = paths.study_dir(toy_study.results, toy_study.study)
    runs = sync_study(toy_study)
    # The study, its training, and stages that other tests may have run in it.
    assert all(run.is_new for run in runs)
    assert [run.name for run in runs[:2]] == ["study toy", "cnn seed 1"]
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
    assert [point.step for point in client.get_metric_history(runs[1].run_id, "epoch/val_auc")] == [1, 2]
    assert {item.path for item in client.list_artifacts(runs[1].run_id)} >= {"bundle", "metrics.json", "run.json"}
    assert client.get_run(runs[0].run_id).data.tags["hepcnn.skipped_files"] == "0"
    cards = {item.path for item in client.list_artifacts(runs[0].run_id, "data")}
    assert cards == {"data/qcd.card.json", "data/top.card.json"}
    check_registered_model(toy_study, runs[1].run_id)
    again = sync_study(toy_study)
    assert len(client.search_model_versions("name='toy'")) == 1, "a bundle is registered once"
    assert [run.name for run in again if run.is_new] == []
    assert [run.run_id for run in again] == [run.run_id for run in runs]
    report = in_folder / "report.html"
    report.write_text("<p>report</p>")
    attach_report(toy_study, report)
    assert "report.html" in {item.path for item in client.list_artifacts(runs[0].run_id)}
    note = client.get_run(runs[0].run_id).data.tags["mlflow.note.content"]
    places = re.findall(rf"/runs/{runs[0].run_id}/artifacts/(\S+)\?", note.splitlines()[0])
    assert "report.html" in places
    assert "data/top.card.json" in places
    for place in places:
        assert client.download_artifacts(runs[0].run_id, place), "a link that leads nowhere"


def check_registered_model(study: StudyConfig, run_id: str) -> None:
    """The registered model scores as the bundle does, without a pickle, and is stored once."""
    mlflow.set_tracking_uri(study.tracking.store)
    jets = make_constituents(5, seed=2)
    names = ("pt", "eta", "phi", "energy", "charge", "ecal", "hcal")
    table = pd.DataFrame({name: [np.asarray(cell, np.float64) for cell in jets[name]] for name in names})
    bundle = paths.bundle(paths.run_dir(paths.study_dir(study.results, study.study), "cnn", 1))
    for address in ("models:/toy/latest", "models:/toy@champion"):
        model = mlflow.pyfunc.load_model(address)
        assert model.metadata.run_id == run_id
        inputs = model.metadata.get_input_schema().input_names()
        scores = model.predict(table[inputs])
        np.testing.assert_allclose(scores.to_numpy(), Tagger.load(bundle)(jets), atol=1e-6)
    check_json(model, {name: [[float(value) for value in cell] for cell in jets[name]] for name in inputs}, scores)
    example = model.input_example
    assert model.predict(example).shape == (1, 2)
    stored = mlflow.MlflowClient().list_artifacts(run_id, "bundle")
    assert not [item.path for item in stored if item.path.endswith((".pkl", ".pickle"))]
    assert len([item for item in stored if item.path.endswith(".onnx")]) == 1


def check_json(model: Any, columns: dict[str, list[list[float]]], scores: pd.DataFrame) -> None:
    """Jets sent to ``mlflow models serve`` as JSON; what answers here is its own function, without the socket."""
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    split = {"columns": list(columns), "data": rows}
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    for body in ({"dataframe_split": split}, {"dataframe_records": records}, {"inputs": records}):
        answer = serving.invocations(json.dumps(body), "application/json", model, model.metadata.get_input_schema())
        assert answer.status == 200, answer.response
        found = json.loads(answer.response)["predictions"]
        np.testing.assert_allclose([[row[name] for name in scores] for row in found], scores.to_numpy(), atol=1e-6)


def test_a_table_that_is_no_jets_is_refused_with_its_row(toy_run: Path) -> None:
    model = TaggerModel(Tagger.load(paths.bundle(toy_run)))
    fields = ("pt", "eta", "phi", "energy", "charge", "ecal", "hcal")
    jets = {name: [[1.0, 2.0], [3.0]] for name in fields}
    for changed, message in (
        ({"eta": [[1.0, 2.0], [3.0, 4.0]]}, "row 1: 1 constituents have 'pt', but 2 have 'eta'"),
        ({"phi": [[1.0, 2.0], None]}, "row 1: 'phi' is 'None': expected the list"),
        ({"phi": [[1.0, 2.0], 5.0]}, "row 1: 'phi' is '5.0': expected the list"),
        ({"phi": [["a", "b"], [1.0]]}, r"row 0: 'phi' is .* expected the list"),
    ):
        with pytest.raises(InputError, match=message):
            model.predict(jets | changed)
    with pytest.raises(InputError, match="no column"):
        model.predict({})
    assert model.predict({name: [] for name in fields}).shape == (0, 2)
    assert model.predict({name: [[1, 2], []] for name in fields}).shape == (2, 2)


def test_a_champion_is_not_dethroned_by_luck() -> None:
    def tags(value: float, error: float) -> dict[str, str]:
        return {"hepcnn.value": repr(value), "hepcnn.error": repr(error)}

    assert is_better(tags(0.95, 0.01), tags(0.93, 0.01))
    assert not is_better(tags(0.94, 0.01), tags(0.93, 0.01))
    assert not is_better(tags(0.94, 0.01), {})


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


@pytest.fixture(scope="module")
def dashboard(toy_study: StudyConfig, toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a dashboard with the toy study."""
    assert toy_run.exists()
    figure = paths.summary_dir(paths.study_dir(toy_study.results, toy_study.study)) / "roc.png"
    figure.parent.mkdir(exist_ok=True)
    Image.new("RGB", (40, 30), "red").save(figure)
    sync_study(toy_study)
    port = find_port()
    command = [sys.executable, "-m", "hepcnn", "track", "ui", "--uri", toy_study.tracking.store, "--port", str(port)]
    folder = tmp_path_factory.mktemp("dashboard")
    server = subprocess.Popen(command, cwd=folder, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        ask_until_up(port, "/health")
        yield port
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=30)


def test_the_dashboard_shows_the_runs_and_offers_no_shell(dashboard: int) -> None:
    """MLflow's assistant runs commands for whoever asks; on a shared machine that is everybody."""
    runs = ask_until_up(dashboard, "/ajax-api/2.0/mlflow/experiments/search?max_results=10")
    assert b"hepcnn-toy" in runs
    assert b"mlflow.sharedViewState.hepcnn" in runs
    for path in ("message", "config", "sessions/x/permission"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{dashboard}/ajax-api/3.0/mlflow/assistant/{path}", data=b"{}")


def look(address: str, folder: Path) -> str:
    """What a browser makes of a page."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium here to look at the dashboard with")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]
    flags += [f"--user-data-dir={folder}", "--window-size=1900,900", "--virtual-time-budget=60000", "--dump-dom"]
    return subprocess.run([browser, *flags, address], capture_output=True, text=True, timeout=1200, check=True).stdout


@pytest.mark.slow
def test_a_browser_shows_runs_with_auc_and_rejection(dashboard: int, toy_study: StudyConfig, tmp_path: Path) -> None:
    store = Store(toy_study.tracking.store, "hepcnn-toy")
    seen = look(store.address().replace("127.0.0.1:5000", f"127.0.0.1:{dashboard}"), tmp_path)
    for text in ("cnn seed 1 20", "study toy 20", "auc_err", "rej_0.3"):
        assert text in seen, text


@pytest.mark.slow
def test_a_browser_shows_a_study_and_its_figures(dashboard: int, toy_study: StudyConfig, tmp_path: Path) -> None:
    run_id = json.loads(paths.tracked(paths.study_dir(toy_study.results, "toy")).read_text())["runs"][0]["run_id"]
    store = Store(toy_study.tracking.store, "hepcnn-toy")
    seen = look(store.address(run_id).replace("127.0.0.1:5000", f"127.0.0.1:{dashboard}"), tmp_path)
    links = re.findall(r'href="(#/experiments/[^"]*/artifacts/[^"]*)', seen)
    places = {re.sub(r".*/artifacts/|\?.*", "", link): html.unescape(link) for link in links}
    assert set(places) >= {"summary/roc.png", "data/top.card.json"}
    figure = look(f"http://127.0.0.1:{dashboard}/{places['summary/roc.png']}", tmp_path)
    assert re.search(r'<img[^>]* src="(blob:|[^"]*get-artifact)', figure), "the picture is not in its page"


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


def test_the_trials_of_a_search_are_runs_of_the_study(
    toy_study: StudyConfig, toy_run: Path, empty_store: Path, tmp_path: Path
) -> None:
    root = tmp_path / "toy"
    trial = paths.search_dir(root, "cnn") / "trial0003"
    # Without the spool that another test may have left there.
    shutil.copytree(toy_run, trial, ignore=shutil.ignore_patterns("track*"))
    record = json.loads(paths.run_record(trial).read_text())
    record["extra"] |= {"search": "search_cnn", "trial": 3, "searched": {"options.depth": 2}}
    paths.run_record(trial).write_text(json.dumps(record))
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracking = toy_study.tracking.model_copy(update={"uri": uri})
    runs = sync_study(toy_study.model_copy(update={"results": str(tmp_path), "tracking": tracking}))
    assert [run.name for run in runs[1:]] == ["cnn search_cnn trial0003"]
    found = mlflow.MlflowClient(tracking_uri=uri).get_run(runs[1].run_id)
    assert found.data.tags["hepcnn.search"] == "search_cnn"
    assert found.data.tags["mlflow.parentRunId"] == runs[0].run_id
    assert found.data.params["options.depth"] == "2"
