"""Writers, syncers and the server are killed in mid-run; afterwards every point of every run is there exactly once."""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from hepcnn.config import StudyConfig, write_study
from hepcnn.spool.reader import find_spools, read_spool
from hepcnn.tracking.sync import sync_paths
from tests.tracking.servers import MlflowServer, Postgres

Process = subprocess.Popen[bytes]
N_WRITERS, N_EPOCHS, N_METRICS = 8, 40, 6
SYNC = """
import sys, time
from pathlib import Path
from hepcnn.errors import HepcnnError
from hepcnn.tracking.sync import sync_paths
while True:
    try:
        sync_paths([Path(sys.argv[2])], say=print)
        failed = 0
    except HepcnnError as error:
        print(error)
        failed = 1
    if sys.argv[1] == "once":
        sys.exit(failed)
    time.sleep(0.05)
"""
WRITE = """
import sys, time
from pathlib import Path
from hepcnn.spool.writer import Identity, SpoolWriter
folder, uri, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[6])
first, last, n_metrics = map(int, sys.argv[3:6])
identity = Identity(folder.name, folder.name, "train", "crash", "c", "the-parent", uri, "crashes")
writer = SpoolWriter(folder / "track.jsonl", identity)
writer.add_params({"lr": 0.1})
for epoch in range(first, last + 1):
    values = {f"m{k}": epoch + k / 10 for k in range(n_metrics)}
    writer.add_metrics(values, step=epoch, fsync=True)
    time.sleep(seconds)
writer.end("FINISHED")
"""


def write(folder: Path, uri: str, *, last: int = N_EPOCHS, first: int = 1, pause: float = 0.1) -> Process:
    numbers = [str(value) for value in (first, last, N_METRICS, pause)]
    return subprocess.Popen([sys.executable, "-c", WRITE, str(folder), uri, *numbers])


def sync(mode: str, folder: Path) -> Process:
    """Push all below a folder, once or for ever; what it says goes to a file there."""
    with (folder / "sync.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", SYNC, mode, str(folder)], stdout=log, stderr=log)


def wait_for(*processes: Process, seconds: float = 600) -> list[int]:
    """How they end; one that does not is killed."""
    try:
        return [process.wait(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()


def count_points(uri: str) -> dict[str, Counter[tuple[str, int, float]]]:
    """All points of all runs in the store, by the run's key; fails where a run is there twice."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("crashes")
    found: dict[str, Counter[tuple[str, int, float]]] = {}
    for run in client.search_runs([experiment.experiment_id], max_results=100):
        key = run.data.tags["hepcnn.key"]
        assert key not in found, f"{key} is there twice"
        points = (point for name in run.data.metrics for point in client.get_metric_history(run.info.run_id, name))
        found[key] = Counter((point.key, point.step, point.value) for point in points)
    return found


def check_store(root: Path, uri: str) -> None:
    """Each run once, with each point of its spool once, and nothing else."""
    stored = count_points(uri)
    assert not stored.pop("crash"), "the run of the study has no points"
    spools = [read_spool(path) for path in find_spools([root])]
    assert set(stored) == {spool.start["key"] for spool in spools}
    for spool in spools:
        expected = Counter((point.key, point.step, point.value) for point in spool.points)
        assert max(expected.values()) == 1
        assert stored[spool.start["key"]] == expected
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("crashes")
    runs = client.search_runs([experiment.experiment_id], max_results=100)
    statuses = {run.data.tags["hepcnn.key"]: run.info.status for run in runs if run.data.tags["hepcnn.key"] != "crash"}
    assert set(statuses.values()) == {"FINISHED"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["server with sqlite", "postgresql"])
def test_no_point_is_lost_or_doubled_when_anything_is_killed(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    store = request.getfixturevalue("postgres" if kind == "postgresql" else "server")
    folders = [tmp_path / f"run{k}" for k in range(N_WRITERS)]
    writers = [write(folder, store.uri) for folder in folders]
    syncer = sync("for ever", tmp_path)
    wait_for_points(tmp_path)
    # A writer, and then the syncer, between any two bytes.
    writers[0].kill()
    syncer.kill()
    store.stop(signal.SIGKILL)
    other = sync("for ever", tmp_path)
    wait_for(syncer, writers[0])
    # Goes on from its checkpoint, some epochs before.
    last = max(point.step for point in read_spool(folders[0] / "track.jsonl").points)
    writers[0] = write(folders[0], store.uri, first=max(1, last - 3), pause=0)
    store.start()
    assert wait_for(*writers) == [0] * N_WRITERS
    other.kill()
    # Two at once, each on all spools.
    assert wait_for(other, sync("once", tmp_path), sync("once", tmp_path))[1:] == [0, 0]
    check_store(tmp_path, store.uri)
    assert all(run.n_points == 0 and not run.is_new for run in sync_paths([tmp_path]))
    for memory in tmp_path.rglob("track.pushed.json"):
        memory.unlink()
    sync_paths([tmp_path])
    check_store(tmp_path, store.uri)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """An empty database; its tables are made by whoever comes first."""
    postgres = Postgres().make()
    yield postgres
    postgres.remove()


def wait_for_points(root: Path) -> None:
    """Until points of three runs are in the store."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        pushed = [json.loads(path.read_text()).values() for path in root.rglob("track.pushed.json")]
        if sum(store["points"] > 0 for stores in pushed for store in stores) >= 3:
            return
        time.sleep(0.1)
    pytest.fail("nothing was pushed")


@pytest.mark.slow
def test_eight_processes_at_once_make_one_sqlite_store(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/fresh/mlflow.db"
    folders = [tmp_path / "study" / f"run{k}" for k in range(N_WRITERS)]
    assert wait_for(*[write(folder, uri, last=3, pause=0) for folder in folders]) == [0] * N_WRITERS
    assert wait_for(*[sync("once", folder) for folder in folders]) == [0] * N_WRITERS
    check_store(tmp_path / "study", uri)
    assert (tmp_path / "fresh" / "mlflow.db").stat().st_mode & 0o077 == 0, "strangers can read the store"


@pytest.mark.slow
def test_a_server_that_is_gone_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    assert wait_for(write(tmp_path / "run", "http://127.0.0.1:9", last=3, pause=0)) == [0]
    command = [sys.executable, "-m", "hepcnn", "track", "sync", str(tmp_path)]
    failed = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert failed.returncode == 1
    assert failed.stderr.startswith("hepcnn: http://127.0.0.1:9: no MLflow server answers there")
    assert "Traceback" not in failed.stderr
    assert len(read_spool(tmp_path / "run" / "track.jsonl").points) == 3 * N_METRICS


@pytest.mark.slow
def test_a_training_is_in_the_store_without_being_told(
    server: MlflowServer, toy_study: StudyConfig, tmp_path: Path
) -> None:
    """`tracking.live` is on where the store is a server; the process beside the training ends by itself."""
    tracking = toy_study.tracking.model_copy(update={"uri": server.uri, "experiment": "live"})
    config = write_study(toy_study.model_copy(update={"tracking": tracking}), tmp_path / "study.yaml")
    run = tmp_path / "run"
    command = [sys.executable, "-m", "hepcnn", "train", "-c", str(config), "-m", "sparse", "-o", str(run)]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    spool = read_spool(run / "track.jsonl")
    assert spool.status == "FINISHED"
    client = mlflow.MlflowClient(tracking_uri=server.uri)
    deadline, found = time.monotonic() + 120, []
    while not (found and found[0].info.status == "FINISHED") and time.monotonic() < deadline:
        time.sleep(0.5)
        if experiment := client.get_experiment_by_name("live"):
            found = client.search_runs([experiment.experiment_id], f"tags.`hepcnn.run` = '{spool.uid}'")
    (tracked,) = found
    assert tracked.info.status == "FINISHED"
    for name in ("epoch/val_auc", "step/loss"):
        points = [(point.step, point.value) for point in client.get_metric_history(tracked.info.run_id, name)]
        assert points == [(point.step, point.value) for point in spool.points if point.key == name] != []
    metrics = json.loads((run / "metrics.json").read_text())["top"]
    assert tracked.data.metrics["test.top.auc"] == metrics["auc"]["value"]
    assert tracked.data.metrics["auc"] == pytest.approx(metrics["auc"]["value"], rel=1e-5)
    assert tracked.data.metrics["auc_err"] == pytest.approx(metrics["auc"]["err_stat"], rel=1e-4)
    assert {"bundle", "run.json"} <= {item.path for item in client.list_artifacts(tracked.info.run_id)}
    assert "seed 1" in tracked.data.tags["mlflow.note.content"]
    while (run / "track.follow.lock").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not (run / "track.follow.lock").exists(), "the process beside the training has not ended"
