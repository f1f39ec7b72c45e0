"""Spools in a real store, without a server: what arrives, and what is refused."""

import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
import pytest

from hepcnn.errors import InputError
from hepcnn.spool.reader import read_spool
from hepcnn.spool.repair import close_orphans
from hepcnn.spool.writer import Identity, SpoolWriter
from hepcnn.stages.describe import spool_summary
from hepcnn.tracking.follow import Rhythm, follow_run
from hepcnn.tracking.push import push_spool
from hepcnn.tracking.store import Store, TrackingError, check_uri
from hepcnn.tracking.sync import sync_paths
from hepcnn.tracking.ui import remove_deleted


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Store:
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    shutil.copy(empty_store, path)
    return Store(f"sqlite:///{path}", "pushes")


def begin(folder: Path, store: Store, **changes: Any) -> SpoolWriter:
    values = {"config": "a", "parent": "", "uri": store.uri, "experiment": store.name} | changes
    return SpoolWriter(folder / "track.jsonl", Identity(f"toy/{folder.name}", "cnn seed 1", "train", "toy", **values))


def stored(store: Store, run_id: str) -> Any:
    return store.client.get_run(run_id)


def history(store: Store, run_id: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in store.client.get_metric_history(run_id, name)]


def test_everything_of_a_spool_arrives(store: Store, tmp_path: Path) -> None:
    writer = begin(tmp_path, store, tags={"hepcnn.git.dirty": "true"})
    long = "x" * 7000
    writer.add_params({"lr": 0.1, "long": long, "odd!name": 1})
    writer.add_metrics({"a": 1.0, "none": math.nan, "up": math.inf, "down": -math.inf}, step=1)
    writer.add_note("**note**")
    (tmp_path / "metrics.json").write_text("{}")
    writer.add_artifact(tmp_path / "metrics.json")
    writer.add_dataset("/data/qcd.root", sha256="ab" * 32, entries=5)
    writer.end("FINISHED")
    tracked = push_spool(writer.path, store)
    assert tracked is not None
    run = stored(store, tracked.run_id)
    assert run.info.run_name.startswith("cnn seed 1 20")
    assert run.info.status == "FINISHED"
    assert (run.data.params["lr"], run.data.params["odd_name"]) == ("0.1", "1")
    assert len(run.data.params["long"]) == 6000
    whole = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/long_parameters.json")
    assert whole == {"long": long}
    assert "long" in run.data.tags["hepcnn.cut_parameters"]
    assert math.isnan(run.data.metrics["none"])
    assert run.data.metrics["up"] == -run.data.metrics["down"] == sys.float_info.max
    assert run.data.tags["hepcnn.infinite_metrics"] == "down, up"
    assert run.data.tags["mlflow.note.content"] == "**note**"
    assert run.data.tags["hepcnn.git.dirty"] == "true"
    (dataset,) = run.inputs.dataset_inputs
    assert json.loads(dataset.dataset.source)["sha256"] == "ab" * 32
    found = store.client.search_runs([store.experiment], f"dataset.digest = '{'ab' * 16}'")
    assert [one.info.run_id for one in found] == [tracked.run_id], "every training on a file can be found"
    again = push_spool(writer.path, store)
    assert again is not None
    assert (again.run_id, again.is_new, again.n_points) == (tracked.run_id, False, 0)
    writer.path.with_name("track.pushed.json").unlink()
    push_spool(writer.path, store)
    run = stored(store, tracked.run_id)
    assert len(run.inputs.dataset_inputs) == 1
    for name in ("a", "none", "up"):
        assert len(history(store, tracked.run_id, name)) == 1, "an equal point is stored once"


def test_settings_of_a_generation_are_parameters_and_counts_are_metrics(tmp_path: Path) -> None:
    @dataclass
    class Summary:
        n_jets: int = 5
        seed: int = 3
        process: str = "top"
        settings: dict[str, float] = field(default_factory=lambda: {"pt_min": 550.0})

    writer = SpoolWriter(tmp_path / "track.jsonl", Identity("k", "n", "generate", "s"))
    spool_summary(writer, Summary())
    spool = read_spool(writer.path)
    assert [(point.key, point.value) for point in spool.points] == [("n_jets", 5.0)]
    assert spool.params == {"seed": 3, "process": "top", "settings.pt_min": 550.0}


def test_a_resumed_training_goes_on_in_the_same_run(store: Store, tmp_path: Path) -> None:
    writer = begin(tmp_path, store)
    writer.add_metrics({"val_auc": 0.1}, step=1)
    writer.add_metrics({"val_auc": 0.2}, step=2)
    writer.end("KILLED")
    first = push_spool(writer.path, store)
    assert first is not None
    assert stored(store, first.run_id).info.status == "KILLED"
    again = begin(tmp_path, store)
    again.add_metrics({"val_auc": 0.2001}, step=2)
    again.add_metrics({"val_auc": 0.3}, step=3)
    running = push_spool(writer.path, store)
    assert running is not None
    assert stored(store, first.run_id).info.status == "RUNNING"
    again.end("FINISHED")
    last = push_spool(writer.path, store)
    assert last is not None
    assert first.run_id == running.run_id == last.run_id
    assert history(store, first.run_id, "val_auc") == [(1, 0.1), (2, 0.2), (3, 0.3)]
    run = stored(store, first.run_id)
    assert (run.info.status, run.data.tags["hepcnn.resumed"]) == ("FINISHED", "1")


def test_parts_are_nested_in_one_run_of_the_study(store: Store, tmp_path: Path) -> None:
    runs = []
    for name in ("a", "b"):
        writer = begin(tmp_path / name, store, parent="study-uid")
        writer.end("FINISHED")
        runs.append(push_spool(writer.path, store))
    parents = {stored(store, run.run_id).data.tags["mlflow.parentRunId"] for run in runs if run is not None}
    assert len(parents) == 1
    assert stored(store, parents.pop()).data.tags["hepcnn.run"] == "study-uid"


def test_a_run_that_was_deleted_in_the_store_stays_deleted(store: Store, tmp_path: Path) -> None:
    writer = begin(tmp_path, store)
    run = push_spool(writer.path, store)
    assert run is not None
    store.client.delete_run(run.run_id)
    said: list[str] = []
    assert sync_paths([tmp_path], say=said.append) == []
    assert "deleted in the store" in said[0]


def test_a_damaged_spool_holds_up_no_other(store: Store, tmp_path: Path) -> None:
    begin(tmp_path / "good", store).end("FINISHED")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "track.jsonl").write_text("nonsense\n")
    said: list[str] = []
    assert len(sync_paths([tmp_path], say=said.append)) == 1
    assert "line 1 is damaged" in said[0]


def test_an_orphan_is_ended(store: Store, tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from hepcnn.spool.writer import Identity, SpoolWriter\n"
    code += "SpoolWriter(Path(sys.argv[1]), Identity('k', 'n', 'train', 's')).add_metrics({'a': 1.0}, step=1)"
    orphan = tmp_path / "gone" / "track.jsonl"
    subprocess.run([sys.executable, "-c", code, str(orphan)], check=True)
    alive = begin(tmp_path / "alive", store).path
    elsewhere = tmp_path / "elsewhere" / "track.jsonl"
    elsewhere.parent.mkdir()
    lines = orphan.read_text().splitlines()
    elsewhere.write_text("\n".join([json.dumps(json.loads(lines[0]) | {"host": "node7"}), *lines[1:]]) + '\n{"ki')
    assert close_orphans([orphan, alive, elsewhere]) == [orphan]
    assert read_spool(orphan).status == "KILLED"
    assert read_spool(alive).status is None
    long_ago = elsewhere.stat().st_mtime - 7 * 3600
    os.utime(elsewhere, (long_ago, long_ago))
    assert close_orphans([orphan, alive, elsewhere]) == [elsewhere]
    assert read_spool(elsewhere).status == "KILLED"


def test_a_follower_pushes_to_the_end_and_gives_up_on_a_store_that_is_gone(store: Store, tmp_path: Path) -> None:
    writer = begin(tmp_path, store)
    writer.add_metrics({"a": 1.0}, step=1)
    writer.end("FINISHED")
    rhythm = Rhythm(every=0.01, at_most=0.02, after_end=0.05)
    assert follow_run(tmp_path, rhythm=rhythm)
    said: list[str] = []
    assert not follow_run(tmp_path, uri="http://127.0.0.1:9", rhythm=rhythm, say=said.append)
    assert "no MLflow server answers there" in said[0]
    writer.path.unlink()
    assert not follow_run(tmp_path, rhythm=rhythm), "it would wait for ever for a spool that is gone"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mlruns", "a folder of files is no store"),
        ("file:///tmp/mlruns", "a folder of files is no store"),
        ("postgres://host/x", "no store is called 'postgres://'; did you mean 'postgresql'"),
    ],
)
def test_what_is_no_store_is_refused(uri: str, message: str) -> None:
    with pytest.raises(TrackingError, match=message):
        check_uri(uri)


def test_a_store_of_another_mlflow_says_how_to_bring_it_up_to_date(empty_store: Path, tmp_path: Path) -> None:
    shutil.copy(empty_store, tmp_path / "old.db")
    with sqlite3.connect(tmp_path / "old.db") as old:
        old.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    with pytest.raises(TrackingError, match=r"'mlflow db upgrade sqlite:///.*old\.db'"):
        Store(f"sqlite:///{tmp_path}/old.db", "x")


def test_folders_without_a_spool_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no spool"):
        sync_paths([tmp_path])


@pytest.mark.slow
def test_what_was_deleted_is_removed_for_good(store: Store, tmp_path: Path) -> None:
    for name in ("kept", "deleted"):
        writer = begin(tmp_path / name, store)
        (tmp_path / name / "file").write_text("x")
        writer.add_artifact(tmp_path / name / "file")
        run = push_spool(writer.path, store)
        assert run is not None
    files = Path(stored(store, run.run_id).info.artifact_uri.removeprefix("file://"))
    assert (files / "file").exists()
    store.client.delete_run(run.run_id)
    assert run.run_id in remove_deleted(store.uri)
    assert not (files / "file").exists()
    kept = push_spool(tmp_path / "kept" / "track.jsonl", store)
    assert kept is not None
    assert not kept.is_new
