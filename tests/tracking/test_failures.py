"""Stores that fail in all the ways that stores fail: a message that says what to do, and nothing lost."""

import math
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from hepcnn.config import StudyConfig, TrackingConfig
from hepcnn.errors import ConfigError
from hepcnn.records import parse_model
from hepcnn.spool.reader import read_spool
from hepcnn.spool.writer import Identity, SpoolWriter
from hepcnn.stages.report_links import link_runs, note_runs
from hepcnn.tracking.later import sync_or_later
from hepcnn.tracking.push import push_spool
from hepcnn.tracking.store import Store, TrackingError
from hepcnn.tracking.sync import sync_paths
from tests.tracking.servers import MlflowServer
from tests.tracking.standins import Proxy


def spool_epochs(folder: Path, uri: str, *, n_epochs: int = 20) -> SpoolWriter:
    identity = Identity(folder.name, folder.name, "train", "toy", uri=uri, experiment="failures")
    writer = SpoolWriter(folder / "track.jsonl", identity)
    writer.add_params({"lr": 0.1})
    for epoch in range(1, n_epochs + 1):
        writer.add_metrics({f"metric{k}": epoch + k / 10 for k in range(5)}, step=epoch)
    writer.end("FINISHED")
    return writer


def check_complete(client: Any, experiment: str, writer: SpoolWriter) -> None:
    """One run, with each point of the spool once."""
    (run,) = client.search_runs([experiment], f"tags.`hepcnn.run` = '{writer.uid}'")
    found = [
        (point.key, point.step, point.value)
        for name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    ]
    assert sorted(found) == sorted((point.key, point.step, point.value) for point in read_spool(writer.path).points)
    assert run.info.status == "FINISHED"


@pytest.fixture
def proxy(server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before the server, and clients that give up after a second."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    proxy = Proxy(server.uri)
    yield proxy
    proxy.close()


@pytest.mark.slow
def test_a_server_that_fails_in_every_way_costs_no_point(
    proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    store = Store(proxy.uri, "failures")
    writer = spool_epochs(tmp_path, proxy.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    for mode, message in (
        ("errors", r"answers with errors \(500\): see its log; what was not sent stays in the spools"),
        ("hang", "no MLflow server answers there; what was not sent stays in the spools"),
        ("login", "wants another login: name and password come from MLFLOW_TRACKING_USERNAME"),
        ("page", "what answers there is no MLflow server"),
        ("missing", "what answers there is no MLflow server"),
    ):
        proxy.mode = mode
        with pytest.raises(TrackingError, match=message):
            push_spool(writer.path, store)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    # What was done though the answer was lost: a run, twice, since MLflow asks again; then parameters; then points.
    for _ in range(4):
        proxy.mode = "lose"
        with pytest.raises(TrackingError, match="answers with errors"):
            push_spool(writer.path, store)
    proxy.mode = "pass"
    assert push_spool(writer.path, store) is not None
    check_complete(store.client, store.experiment, writer)


@pytest.mark.parametrize("n_bytes", [4096, 100_000])
def test_a_full_disk_under_the_store_is_named_and_nothing_is_lost(
    empty_store: Path, tmp_path: Path, n_bytes: int
) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_store, path)
    store = Store(f"sqlite:///{path}", "failures")
    writer = spool_epochs(tmp_path / "run", store.uri, n_epochs=1000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + n_bytes, before[1]))
    try:
        with pytest.raises(TrackingError, match="the disk of this store is full, or fails"):
            push_spool(writer.path, store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    push_spool(writer.path, store)
    check_complete(store.client, store.experiment, writer)


def test_a_store_that_cannot_be_written_to_is_named(empty_store: Path, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_store, path)
    uri = f"sqlite:///file:{path}?mode=ro&uri=true"
    spool_epochs(tmp_path / "run", uri)
    with pytest.raises(TrackingError, match="this database cannot be written to: check the permissions"):
        sync_paths([tmp_path / "run"])


def test_infinities_of_several_pushes_are_all_named(empty_store: Path, tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_store, path)
    store = Store(f"sqlite:///{path}", "failures")
    writer = SpoolWriter(tmp_path / "track.jsonl", Identity("k", "n", "train", "s"))
    for step, name in enumerate(("a", "b")):
        writer.add_metrics({name: math.inf}, step=step)
        run = push_spool(writer.path, store)
    assert run is not None
    assert store.client.get_run(run.run_id).data.tags["hepcnn.infinite_metrics"] == "a, b"


def test_files_of_a_sqlite_store_lie_beside_it_and_not_in_the_working_directory(
    empty_store: Path, tmp_path: Path, in_folder: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(empty_store, tmp_path / "elsewhere" / "mlflow.db")
    store = Store(f"sqlite:///{tmp_path}/elsewhere/mlflow.db", "failures")
    writer = SpoolWriter(tmp_path / "run" / "track.jsonl", Identity("k", "n", "train", "s"))
    (tmp_path / "run" / "metrics.json").write_text("{}")
    writer.add_artifact(tmp_path / "run" / "metrics.json")
    run = push_spool(writer.path, store)
    assert run is not None
    folder = tmp_path / "elsewhere" / "mlruns"
    assert (folder / "failures" / run.run_id / "artifacts" / "metrics.json").exists()
    assert folder.stat().st_mode & 0o077 == 0, "strangers can read the files"
    assert not (in_folder / "mlruns").exists()


def test_a_password_is_neither_kept_nor_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ConfigError, match=r"postgresql://me@db/mlflow: a config is copied.*MLFLOW_TRACKING_URI"
    ) as found:
        parse_model(TrackingConfig, {"uri": "postgresql://me:secret@db/mlflow"}, where="study.yaml")
    assert "secret" not in str(found.value)
    spool_epochs(tmp_path, "http://me@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    asked: list[str] = []
    client = mlflow.MlflowClient
    monkeypatch.setattr(mlflow, "MlflowClient", lambda tracking_uri: asked.append(tracking_uri) or client(tracking_uri))
    with pytest.raises(TrackingError, match=r"^http://me@127.0.0.1:9: no MLflow server answers") as refused:
        sync_paths([tmp_path])
    assert "secret" not in str(refused.value)
    assert asked == ["http://me:secret@127.0.0.1:9"]


@pytest.mark.slow
def test_files_go_to_s3(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket of moto's on this machine stands for a real one."""
    boto3 = pytest.importorskip("boto3", reason="no driver for S3 here: boto3 is not installed")
    servers = pytest.importorskip("moto.server", reason="no bucket to write to here: moto is not installed")
    bucket = servers.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    bucket.start()
    host, port = bucket.get_host_and_port()
    try:
        known = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
        for name, text in (known | {"MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}"}).items():
            monkeypatch.setenv(name, text)
        s3 = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        s3.create_bucket(Bucket="runs")
        shutil.copy(empty_store, tmp_path / "mlflow.db")
        uri = f"sqlite:///{tmp_path}/mlflow.db"
        identity = Identity("k", "n", "train", "s", uri=uri, experiment="s3", artifacts="s3://runs/top")
        writer = SpoolWriter(tmp_path / "run" / "track.jsonl", identity)
        (tmp_path / "run" / "bundle").mkdir()
        (tmp_path / "run" / "bundle" / "model.onnx").write_bytes(b"weights")
        writer.add_artifact(tmp_path / "run" / "bundle", "bundle")
        for _ in range(2):
            (run,) = sync_paths([tmp_path / "run"])
        (stored,) = s3.list_objects_v2(Bucket="runs")["Contents"]
        assert stored["Key"] == f"top/{run.run_id}/artifacts/bundle/model.onnx"
        assert s3.get_object(Bucket="runs", Key=stored["Key"])["Body"].read() == b"weights"
    finally:
        bucket.stop()


def test_a_store_that_is_gone_does_not_end_a_workflow(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    content = {
        "study": "late",
        "results": str(tmp_path),
        "samples": {"qcd": {"process": "qcd"}, "top": {"process": "top"}},
        "models": {"cnn": {}},
        "tracking": {"uri": "http://127.0.0.1:9"},
    }
    study, root, said = parse_model(StudyConfig, content, where="late"), tmp_path / "late", []
    spool_epochs(root / "cnn" / "seed1", "http://127.0.0.1:9")
    assert sync_or_later(study, say=said.append) == []
    assert "no MLflow server answers there" in said[-1]
    assert "'hepcnn track sync' will bring them to the store" in said[-1]
    assert link_runs(root) == []
    (note,) = note_runs(study, root)
    assert note.startswith("The runs are not in the tracking store yet (http://127.0.0.1:9: no MLflow server answers")
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    there = TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db")
    sync_or_later(study.model_copy(update={"tracking": there}), say=said.append)
    assert [link.name for link in link_runs(root)] == ["study late", "seed1"]
