"""Spools: what is written is read, whatever happened in between."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from hepcnn.errors import InputError
from hepcnn.spool.listener import MOST_POINTS, SpoolListener, choose_stride
from hepcnn.spool.lock import FileLock, LockedError
from hepcnn.spool.monitor import Monitor
from hepcnn.spool.origin import describe_origin
from hepcnn.spool.reader import read_spool
from hepcnn.spool.writer import Identity, SpoolWriter
from tests.conftest import SilentListener

CNN = Identity("toy/cnn/seed1", "cnn seed 1", "train", "toy", config="a")


def write_epochs(path: Path, *epochs: int) -> SpoolWriter:
    writer = SpoolWriter(path, CNN)
    for epoch in epochs:
        writer.add_metrics({"val_auc": epoch / 10}, step=epoch)
    return writer


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run" / "track.jsonl"
    writer = write_epochs(path, 1, 2)
    writer.add_metrics({"a": math.nan, "b": math.inf, "c": -math.inf}, step=3)
    writer.add_params({"lr": 0.1})
    writer.add_params({"lr": 0.2, "epochs": 4})
    writer.add_tags({"x": "1"})
    writer.add_note("**good**")
    writer.add_artifact(path.parent / "metrics.json")
    writer.add_dataset("/data/qcd.root", sha256="ab" * 32, entries=5)
    writer.end("FINISHED")
    found = read_spool(path)
    assert [(point.key, point.step, point.value) for point in found.points[:2]] == [
        ("val_auc", 1, 0.1),
        ("val_auc", 2, 0.2),
    ]
    assert math.isnan(found.points[2].value)
    assert [point.value for point in found.points[3:]] == [math.inf, -math.inf]
    assert found.params == {"lr": 0.1, "epochs": 4}, "the first value stays, since MLflow takes no other"
    assert (found.tags["x"], found.note, found.status) == ("1", "**good**", "FINISHED")
    assert found.artifacts == {"metrics.json": ""}
    assert found.datasets[0]["name"] == "qcd.root"
    assert found.writer["pid"] == os.getpid()


def test_a_run_that_goes_on_keeps_its_name_and_the_first_value_of_each_step(tmp_path: Path) -> None:
    path = tmp_path / "track.jsonl"
    first = write_epochs(path, 1, 2)
    first.end("KILLED")
    again = SpoolWriter(path, CNN)
    again.add_metrics({"val_auc": 0.9}, step=2)
    again.add_metrics({"val_auc": 0.3}, step=3)
    found = read_spool(path)
    assert found.uid == first.uid == again.uid
    assert [point.value for point in found.points] == [0.1, 0.2, 0.3]
    assert (found.status, found.n_resumed, found.n_repeated) == (None, 1, 1)


def test_another_config_is_another_run_and_the_first_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "track.jsonl"
    first = write_epochs(path, 1)
    (tmp_path / "track.pushed.json").write_text("{}")
    second = SpoolWriter(path, Identity(CNN.key, CNN.name, CNN.stage, CNN.study, config="b"))
    aside = tmp_path / f"track-{first.uid[:8]}.jsonl"
    assert read_spool(aside).status == "KILLED"
    assert aside.with_name(f"{aside.stem}.pushed.json").exists()
    assert read_spool(path).uid == second.uid != first.uid


def test_a_training_that_starts_over_is_a_new_run(tmp_path: Path) -> None:
    path = tmp_path / "track.jsonl"
    first = write_epochs(path, 1)
    again = SpoolWriter(path, CNN)
    SpoolListener(SilentListener(), again, n_epochs=2).on_step(
        epoch=0, step=1, n_steps=3, loss=1.0, jets_per_second=1.0
    )
    found = read_spool(path)
    assert found.uid != first.uid
    assert [(point.key, point.step) for point in found.points] == [("step/loss", 1), ("step/jets_per_second", 1)]
    assert read_spool(tmp_path / f"track-{first.uid[:8]}.jsonl").status == "KILLED"


@hypothesis.given(st.integers(1, 10**9))
def test_steps_are_thinned_by_the_length_of_the_training_alone(n_steps: int) -> None:
    stride = choose_stride(n_steps)
    kept = n_steps // stride
    assert kept <= MOST_POINTS
    assert stride == 1 or kept >= MOST_POINTS // 2
    assert stride & (stride - 1) == 0


def test_a_stopped_and_a_whole_training_keep_the_same_steps(tmp_path: Path) -> None:
    steps = [(epoch, step) for epoch in range(3) for step in range(1, 901)]

    def run(path: Path, parts: list[list[tuple[int, int]]]) -> set[int]:
        for part in parts:
            writer = SpoolWriter(path, CNN)
            listener = SpoolListener(SilentListener(), writer, n_epochs=3)
            for epoch, step in part:
                listener.on_step(epoch=epoch, step=step, n_steps=900, loss=1.0, jets_per_second=1.0)
            writer.close()
        return {point.step for point in read_spool(path).points}

    whole = run(tmp_path / "a" / "track.jsonl", [steps])
    # Stopped at step 1500, gone on from the checkpoint at 900.
    assert run(tmp_path / "b" / "track.jsonl", [steps[:1500], steps[900:]]) == whole
    assert whole == set(range(4, 2701, 4))


def test_a_cut_last_line_is_left_out_and_then_replaced(tmp_path: Path) -> None:
    path = tmp_path / "track.jsonl"
    write_epochs(path, 1, 2).close()
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    found = read_spool(path)
    assert [point.step for point in found.points] == [1]
    assert found.n_cut > 0
    write_epochs(path, 3).close()
    assert [point.step for point in read_spool(path).points] == [1, 3]


@hypothesis.given(st.integers(0, 10_000))
def test_any_beginning_of_a_spool_can_be_read_or_has_no_record(
    tmp_path_factory: pytest.TempPathFactory, n: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "track.jsonl"
    write_epochs(path, 1, 2, 3).end("FINISHED")
    content = path.read_bytes()[: n % 700]
    path.write_bytes(content)
    if b"\n" not in content:
        with pytest.raises(InputError, match="has no record"):
            read_spool(path)
    else:
        read_spool(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", r"line 2 is damaged"),
        ('{"kind": "metricz"}', r"line 2 is no record.*'metricz'"),
        ('{"kind": "metrics", "step": 1}', r"line 2: this 'metrics' has no time, values"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "track.jsonl"
    write_epochs(path, 1).close()
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    with pytest.raises(InputError, match=message):
        read_spool(path)


def test_a_damaged_spool_stops_no_training(tmp_path: Path) -> None:
    path = tmp_path / "track.jsonl"
    path.write_text("nonsense\n")
    said: list[str] = []
    writer = SpoolWriter(path, CNN, say=said.append)
    assert read_spool(path).uid == writer.uid
    assert "line 1 is damaged" in said[0]
    assert [one.read_text() for one in tmp_path.glob("track-damaged-*.jsonl")] == ["nonsense\n"]


def test_times_never_go_back(tmp_path: Path) -> None:
    path, now = tmp_path / "track.jsonl", [1000.0]
    writer = SpoolWriter(path, CNN, clock=lambda: now[0])
    for step, seconds in enumerate((1001.0, 990.0, 1002.0), 1):
        now[0] = seconds
        writer.add_metrics({"a": 1.0}, step=step)
    now[0] = 5.0
    SpoolWriter(path, CNN, clock=lambda: now[0]).add_metrics({"a": 1.0}, step=4)
    assert [point.time for point in read_spool(path).points] == [1_001_000, 1_001_000, 1_002_000, 1_002_000]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from hepcnn.spool.writer import Identity, SpoolWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
said = []
writer = SpoolWriter(Path(sys.argv[1]), Identity("k", "n", "train", "s"), say=said.append)
limit = Path(sys.argv[1]).stat().st_size + 250
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
for step in range(20):
    writer.add_metrics({"a": 1.0}, step=step)
lines = Path(sys.argv[1]).read_bytes()
assert lines.endswith(b"\\n") and lines.count(b"\\n") < 10, lines
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
writer.end("FINISHED")
print(len(said), said[0])
"""


def test_a_disk_that_fills_up_loses_nothing_once_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "track.jsonl"
    said = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("2 ")
    assert "cannot be written" in said.stdout
    found = read_spool(path)
    assert [point.step for point in found.points] == list(range(20))
    assert found.status == "FINISHED"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


KILLED = """
import sys
from pathlib import Path
from hepcnn.spool.writer import Identity, SpoolWriter
writer = SpoolWriter(Path(sys.argv[1]), Identity("k", "n", "train", "s"))
step = 0
while True:
    step += 1
    writer.add_metrics({"a": float(step), "b": 1.0}, step=step)
"""


def test_a_writer_that_is_killed_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "track.jsonl"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
    deadline = time.monotonic() + 60
    while (not path.exists() or path.stat().st_size < 100_000) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = read_spool(path)
    steps = [point.step for point in found.points if point.key == "a"]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > 100
    assert found.status is None


def test_spooling_imports_no_mlflow_and_no_torch() -> None:
    code = "import hepcnn.spool.listener, hepcnn.spool.monitor, hepcnn.spool.origin, hepcnn.spool.follower, sys"
    code += "; print({'mlflow', 'torch', 'numpy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


class TestLock:
    """One holder at a time."""

    def test_a_second_holder_waits_and_is_told_by_whom(self, tmp_path: Path) -> None:
        with FileLock(tmp_path / "lock"), pytest.raises(LockedError, match=f"held by process {os.getpid()}"):
            FileLock(tmp_path / "lock", wait=0.1).__enter__()
        with FileLock(tmp_path / "lock", wait=0.1):
            pass
        assert not (tmp_path / "lock").exists()

    def test_the_lock_of_a_killed_process_is_broken(self, tmp_path: Path) -> None:
        code = "import sys; from hepcnn.spool.lock import FileLock; FileLock(sys.argv[1]).__enter__()"
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], check=True)
        assert (tmp_path / "lock").exists()
        with FileLock(tmp_path / "lock", wait=5):
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()

    def test_the_lock_of_another_machine_is_broken_when_nobody_touches_it(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
        with pytest.raises(LockedError, match="on elsewhere"):
            FileLock(path, wait=0.1).__enter__()
        long_ago = time.time() - 3600
        os.utime(path, (long_ago, long_ago))
        with FileLock(path, wait=5):
            pass

    def test_many_add_up(self, tmp_path: Path) -> None:
        code = """
import sys
from pathlib import Path
from hepcnn.spool.lock import FileLock
count = Path(sys.argv[1])
for _ in range(25):
    with FileLock(count.with_name("lock")):
        count.write_text(str(int(count.read_text()) + 1))
"""
        (tmp_path / "count").write_text("0")
        command = [sys.executable, "-c", code, str(tmp_path / "count")]
        processes = [subprocess.Popen(command) for _ in range(4)]
        assert [process.wait() for process in processes] == [0] * 4
        assert (tmp_path / "count").read_text() == "100"


def test_the_origin_says_commit_dirtiness_lock_and_batch_job(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "requirements.lock").write_text("x")
    (tmp_path / "sub").mkdir()
    commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    tags = describe_origin(tmp_path / "sub", environment={"SLURM_JOB_ID": "17"})
    assert tags["mlflow.source.git.commit"] == commit
    assert tags["hepcnn.git.dirty"] == "false"
    assert tags["hepcnn.lock.sha256"] == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert tags["hepcnn.job"] == "slurm 17"
    subprocess.run([*git, "add", "-A"], check=True)
    assert describe_origin(tmp_path)["hepcnn.git.dirty"] == "true"
    assert "mlflow.source.git.commit" not in describe_origin(Path("/"))


def test_the_machines_load_is_written_now_and_then(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    path = tmp_path / "track.jsonl"
    with Monitor(SpoolWriter(path, CNN), seconds=0.01):
        deadline = time.monotonic() + 30
        while len(read_spool(path).points) < 10 and time.monotonic() < deadline:
            time.sleep(0.02)
    found = {point.key: point.value for point in read_spool(path).points}
    assert found["system/process_memory_megabytes"] > 5
    with Monitor(SpoolWriter(path, CNN)) as later:
        assert later._step == max(point.step for point in read_spool(path).points)
