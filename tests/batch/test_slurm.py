"""A study on a real Slurm, with the shipped profile: all goes well, jobs are killed in every way, Snakemake is too."""

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hepcnn import paths
from hepcnn.bundle import WEIGHTS
from hepcnn.spool.reader import read_spool
from tests.batch import cluster
from tests.batch.cluster import ask
from tests.batch.folder import Folder, list_processes, wait_until
from tests.conftest import SilentListener

pytestmark = pytest.mark.slow
CANCELLED, TIMED_OUT, STARVED, REQUEUED, DESERTED, TERMINATED, ORPHANED, DROPPED = range(2, 10)
"""A seed for each fate."""
RESOURCES = [
    "train:runtime=60 * attempt",
    # The job's own Snakemake alone takes more than that.
    f"train:mem_mb=120 if wildcards.seed == '{STARVED}' and attempt == 1 else 3000 + 100 * attempt",
    f"train:slurm_extra=('-w hep2 ' if wildcards.seed == '{DESERTED}' else '') + '--signal=TERM@20'",
]


@pytest.fixture(scope="module")
def finished(folder: Folder) -> Folder:
    """The folder, with the study's own seed done."""
    found = folder.run("--set-resources", "train:mem_mb=3000")
    assert found.returncode == 0, found.stdout
    return folder


def test_a_study_runs_from_files_to_the_report(finished: Folder) -> None:
    root = finished.path / "results" / "small"
    assert (root / "report.html").exists()
    assert "top" in json.loads((root / "cnn" / "seed1" / "metrics.json").read_text())
    assert set(finished.jobs(1, over=True).values()) == {"COMPLETED"}


def test_two_processes_on_two_nodes_end_with_the_weights_of_one(finished: Folder, undisturbed: Path) -> None:
    (job,) = finished.jobs(1, "pair", over=True)
    told = ask("scontrol", "show", "job", job)
    assert "NumNodes=2" in told
    assert "NumTasks=2" in told
    runs = finished.run_folder(1, "pair"), undisturbed / "pair"
    pair, alone = (load_file(paths.bundle(run) / WEIGHTS) for run in runs)
    assert max(float((pair[key].double() - alone[key].double()).abs().max()) for key in alone) < 1e-5


@pytest.fixture(scope="module")
def disturbed(finished: Folder, slurm: Path) -> Folder:
    """Five trainings side by side, each with its own fate; and the controller is away for a while."""
    seeds = (CANCELLED, TIMED_OUT, STARVED, REQUEUED, DESERTED)
    targets = [finished.target(seed) for seed in seeds]
    process = finished.start(*targets, "--set-resources", *RESOURCES, log="disturbed.log")
    held = {seed: finished.hold(seed, process) for seed in (CANCELLED, TIMED_OUT, REQUEUED, DESERTED)}
    ask("scancel", held[CANCELLED][0])
    shorten(held[TIMED_OUT][0])
    ask("scontrol", "requeue", held[REQUEUED][0])
    desert(slurm, "hep2")
    wait_until(lambda: "down" in ask("sinfo", "-h", "-N", "-n", "hep2", "-p", "cpu", "-o", "%T"), "hep2 is down")
    cluster.kill(slurm / "slurmctld.pid")
    wait_until(lambda: not ask("sinfo", "-h"), "the controller is gone")
    assert process.poll() is None
    cluster.start_controller()
    cluster.start_node("hep2")
    try:
        assert process.wait(timeout=1800) == 0, (finished.path / "disturbed.log").read_text()[-5000:]
    finally:
        process.kill()
    return finished


def shorten(job: str) -> None:
    """Let a job's time be over in a minute or two, however long it took to come so far."""
    told = ask("scontrol", "show", "job", job)
    hours, minutes = re.findall(r"RunTime=(\d+):(\d+):", told)[0]
    ask("scontrol", "update", f"JobId={job}", f"TimeLimit={60 * int(hours) + int(minutes) + 1}")


def desert(folder: Path, node: str) -> None:
    """Let a node vanish: its daemon and all that runs there, at once and without a word."""
    cluster.kill(folder / f"{node}.pid", signal.SIGKILL)
    programs, keepers = set(), set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"SLURMD_NODENAME={node}".encode() in (place / "environ").read_bytes().split(b"\0"):
                programs.add(int(place.name))
                keepers |= set(find_keepers(int(place.name)))
    # Those first that would tell the controller of the others' end.
    for process in (*keepers, *(programs - keepers)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def find_keepers(process: int) -> Iterator[int]:
    """The slurmstepd among the ancestors of a process."""
    while process > 1:
        status = Path(f"/proc/{process}/status").read_text()
        if "slurmstepd" in status.partition("\n")[0]:
            yield process
        process = int(re.findall(r"PPid:\t(\d+)", status)[0])


@pytest.fixture(scope="module")
def undisturbed(finished: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings of the same seeds that nothing happens to, one after the other in this one process."""
    from hepcnn.stages.train import train_tagger

    output, before, threads = tmp_path_factory.mktemp("undisturbed"), Path.cwd(), torch.get_num_threads()
    os.chdir(finished.path)
    torch.set_num_threads(1)
    try:
        for seed in (CANCELLED, TIMED_OUT, REQUEUED, DESERTED, ORPHANED):
            train_tagger(finished.study, "cnn", seed=seed, output=output / str(seed), listener=SilentListener())
        train_tagger(finished.study, "pair", seed=1, output=output / "pair", listener=SilentListener())
    finally:
        os.chdir(before)
        torch.set_num_threads(threads)
    return output


def assert_same_weights(run: Path, other: Path) -> None:
    one, two = (load_file(paths.bundle(folder) / WEIGHTS) for folder in (run, other))
    assert one.keys() == two.keys()
    assert all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize("seed", [CANCELLED, TIMED_OUT, REQUEUED, DESERTED])
def test_a_disturbed_training_ends_with_the_same_weights_and_run(
    disturbed: Folder, undisturbed: Path, seed: int
) -> None:
    run = disturbed.run_folder(seed)
    assert_same_weights(run, undisturbed / str(seed))
    assert [path.name for path in run.glob("track*.jsonl")] == ["track.jsonl"], "it was tracked as several runs"
    assert read_spool(run / "track.jsonl").status == "FINISHED"


def test_what_happened_is_what_was_meant(disturbed: Folder) -> None:
    """Slurm's own account of the jobs, so that the tests above cannot pass because nothing happened."""
    assert sorted(disturbed.jobs(CANCELLED, over=True).values()) == ["CANCELLED", "COMPLETED"]
    assert sorted(disturbed.jobs(TIMED_OUT, over=True).values()) in (["COMPLETED", "FAILED"], ["COMPLETED", "TIMEOUT"])
    assert sorted(disturbed.jobs(STARVED, over=True).values())[0] == "COMPLETED"
    for seed in (REQUEUED, DESERTED):
        ((job, state),) = disturbed.jobs(seed, over=True).items()
        assert state == "COMPLETED"
        assert "Restarts=1" in ask("scontrol", "show", "job", job)


def test_a_retry_after_too_little_memory_asks_for_more_and_says_so(disturbed: Folder) -> None:
    jobs = [ask("scontrol", "show", "job", job) for job in sorted(disturbed.jobs(STARVED, over=True), key=int)]
    assert [int(re.findall(r"MinMemoryNode=(\d+)M", told)[0]) for told in jobs] == [120, 3200]
    said = (disturbed.path / "disturbed.log").read_text()
    assert re.search(rf"wildcards: model=cnn, seed={STARVED}\n +resources: .*mem_mb=3200\b", said)


def test_sigterm_lets_jobs_end_and_submits_no_more(finished: Folder) -> None:
    process = finished.start(finished.target(TERMINATED), "--set-resources", *RESOURCES, log="terminated.log")
    job, training = finished.hold(TERMINATED, process)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    os.kill(training, signal.SIGCONT)
    assert process.wait(timeout=900) == 1
    assert finished.jobs(TERMINATED, over=True) == {job: "COMPLETED"}
    assert finished.run_folder(TERMINATED).joinpath("scores.h5").exists()
    again = finished.run("--dry-run", finished.target(TERMINATED))
    assert "Nothing to be done" in again.stdout


@pytest.mark.parametrize(("seed", "how"), [(ORPHANED, "--wait"), (DROPPED, "--cancel")])
def test_one_command_goes_on_after_snakemake_was_killed(
    finished: Folder, undisturbed: Path, seed: int, how: str
) -> None:
    process = finished.start(finished.target(seed), "--set-resources", *RESOURCES, log="killed.log")
    job, training = finished.hold(seed, process)
    while_it_lives = finished.run(finished.target(seed))
    assert while_it_lives.returncode == 1
    assert f"process {process.pid} on" in while_it_lives.stdout
    assert "is at work in this folder" in while_it_lives.stdout
    process.kill()
    process.wait()

    listed = json.loads(finished.hepcnn("batch", "jobs", "--json").stdout)
    assert [found["number"] for found in listed["jobs"]] == [job]
    assert listed["is_alive"] is False
    unlocked = finished.run(finished.target(seed), "--unlock")
    assert unlocked.returncode == 0
    started = finished.run(finished.target(seed), "--set-resources", *RESOURCES)
    assert started.returncode == 1
    assert "hepcnn batch resume" in started.stdout
    assert finished.jobs(seed, over=True) == {job: "RUNNING"}, "it was submitted beside the orphan"

    if how == "--wait":
        os.kill(training, signal.SIGCONT)
    resumed = finished.hepcnn("batch", "resume", how)
    assert resumed.returncode == 0, resumed.stdout
    after = finished.jobs(seed, over=True)
    assert after[job] == ("COMPLETED" if how == "--wait" else "CANCELLED")
    assert finished.run_folder(seed).joinpath("scores.h5").exists()
    assert not [process for process, words in list_processes() if str(finished.path) in words]
    if seed == ORPHANED:
        assert_same_weights(finished.run_folder(seed), undisturbed / str(seed))


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("train:slurm_partition=gpus", "no partition 'gpus'; did you mean 'gpu'"),
        ("train:gpu=3", "no node of partition 'cpu' has 3 GPUs: they have 2 fake"),
        ("train:runtime=1", "a run time of 1 minutes leaves nothing before the signal 120 s before its end"),
        ("train:mem_mb=900000", "no node of partition 'cpu' has 900000 MB"),
        ("train:constraint=avx", "Invalid feature specification"),
    ],
)
def test_what_slurm_cannot_do_is_said_before_anything_is_submitted(
    finished: Folder, resource: str, message: str
) -> None:
    found = finished.run(finished.target(99), "--set-resources", resource)
    assert found.returncode == 1
    assert f"rule train: {message}" in found.stdout
    assert "Traceback" not in found.stdout
    assert not finished.jobs(99, over=True)


def test_doctor_says_what_this_slurm_is(finished: Folder) -> None:
    from hepcnn.batch.slurm import examine_slurm

    del finished
    found = {finding.what: finding for finding in examine_slurm()}
    assert found["Slurm"].is_ok
    assert "cpu (default), gpu, short" in found["Slurm"].detail
    assert "squeue" in found["Slurm accounting"].detail
