"""What is asked of a batch system, what it says, and what is left there: with programs that stand in for its own."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcnn.batch.queue import cancel_jobs, list_jobs, wait_for_jobs
from hepcnn.batch.runs import RECORD, describe_this_run, read_run, write_run
from hepcnn.batch.slurm import Request, check_request, examine_slurm, read_gpus, read_minutes, read_partitions
from hepcnn.batch.start import keep_to_squeue, warn_of_other
from hepcnn.config import TrainingConfig
from hepcnn.errors import BatchError, ConfigError, HepcnnError
from hepcnn.training.launch import make_launch
from tests.batch.folder import call

SINFO = """short|short*|up|1:00:00|64|256000+|(null)
gpu|gpu|up|2-00:00:00|32|512000|gpu:a100:4(S:0-1),nvme:1
gpu|gpu|up|2-00:00:00|128|128000|gpu:v100:8
old|old|down|infinite|8|16000|(null)
"""
RUN_ID = "3df952d9-76e2-5ca0-8591-c8c2a06270a8"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH but for a shell; programs are put there by `stand_in`."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def stand_in(folder: Path, name: str, says: str = "", *, code: int = 0) -> None:
    """A program that notes its arguments, prints a text and ends with a code."""
    (folder / f"{name}.txt").write_text(says)
    script = f'#!/bin/sh\necho "$@" >> {folder}/{name}.calls\n/bin/cat {folder}/{name}.txt\nexit {code}\n'
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


def calls(folder: Path, name: str) -> list[str]:
    path = folder / f"{name}.calls"
    return path.read_text().splitlines() if path.exists() else []


@given(days=st.integers(0, 400), seconds=st.integers(0, 86_399))
def test_time_limits_are_read_as_slurm_writes_them(days: int, seconds: int) -> None:
    hours, rest = divmod(seconds, 3600)
    clock = f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}" if hours or days else f"{rest // 60:02d}:{rest % 60:02d}"
    minutes = read_minutes(f"{days}-{clock}" if days else clock)
    assert minutes == pytest.approx(1440 * days + seconds / 60)


def test_no_limit_and_no_time() -> None:
    assert read_minutes("infinite") is None
    with pytest.raises(BatchError, match="'soon'"):
        read_minutes("soon")


def test_gpus_are_counted_by_type_beside_other_resources() -> None:
    assert read_gpus("gpu:a100:4(S:0-1),nvme:1,gpu:h100:2") == {"a100": 4, "h100": 2}
    assert read_gpus("gpu:3") == {"": 3}
    assert read_gpus("(null)") == {}


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("r", partition="gpus"), "no partition 'gpus'; did you mean 'gpu'"),
        (Request("r", partition="old"), "partition 'old' is down"),
        (Request("r", minutes=61), "above the limit of partition 'short', 60"),
        (Request("r", gpus=1), "no node of partition 'short' has 1 GPU: they have none"),
        (Request("r", partition="gpu", gpus=9), "has 9 GPUs: they have 4 a100 or 8 v100"),
        (Request("r", partition="gpu", gpus=5, gpu_type="a100"), "5 GPUs of type 'a100'"),
        (Request("r", partition="gpu", gpus=5, memory_mb=200_000), "200000 MB beside 5 GPUs: 128000 at most"),
        (Request("r", partition="gpu", gpus=4, gpu_type="a100", cpus=16, tasks=4), "64 CPUs beside 4 GPUs: 32 at most"),
        (Request("r", cpus=65), "no node of partition 'short' has 65 CPUs: 64 at most"),
        (Request("r", minutes=10, checkpoint_minutes=10), "not above training.checkpoint_minutes, 10"),
        (Request("r", minutes=2, options=("--signal=TERM@120",)), "leaves nothing before the signal 120 s"),
        (Request("r", minutes=60, checkpoint_minutes=10, memory_mb=256_000, cpus=64), ""),
        (Request("r", partition="gpu", minutes=2880, gpus=8, gpu_type="v100", cpus=16, tasks=8), ""),
        (Request("r", minutes=3, options=("--signal=B:TERM@120",)), ""),
        (Request("r"), ""),
    ],
)
def test_a_request_is_held_against_the_partitions(programs: Path, request_: Request, message: str) -> None:
    stand_in(programs, "sinfo", SINFO)
    found = check_request(request_, read_partitions())
    assert message in found
    assert bool(message) == bool(found)


@pytest.mark.parametrize("before", ["sbatch: error: ", "allocation failure: ", "sbatch: error: allocation failure: "])
def test_what_only_the_scheduler_knows_is_asked_of_it(programs: Path, before: str) -> None:
    stand_in(programs, "sinfo", SINFO)
    stand_in(programs, "scontrol", "MinJobAge  = 60 sec")
    stand_in(programs, "sbatch", code=1)
    (programs / "sbatch").write_text(f"#!/bin/sh\necho '{before}Invalid qos specification' >&2\nexit 1\n")
    findings = {finding.what: finding for finding in examine_slurm([Request("rule train", options=("--qos=vip",))])}
    assert findings["rule train"].detail == "Invalid qos specification"
    assert not findings["Slurm accounting"].is_ok
    assert "60 s after its end" in findings["Slurm accounting"].detail


def test_no_slurm_is_no_fault_but_a_silent_one_is(programs: Path) -> None:
    (found,) = examine_slurm()
    assert not found.is_needed
    for name in ("sbatch", "sinfo"):
        stand_in(programs, name, code=1)
    (found,) = examine_slurm()
    assert found.is_needed
    assert "'sinfo --version' failed: exit code 1" in found.detail


@pytest.mark.parametrize("code", [0, 1])
def test_the_plugin_does_not_turn_to_an_accounting_that_never_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Its own functions, of the version that is installed: they are what is called at each question."""
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm")
    from snakemake_executor_plugin_slurm.job_status_query import is_query_tool_available

    monkeypatch.setattr(plugin, "is_query_tool_available", is_query_tool_available)
    names = plugin.Executor.check_active_jobs.__code__.co_names
    assert "is_query_tool_available" in names, "the plugin asks in another way now"
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("sacct", "squeue"):
        stand_in(tmp_path, name, code=code)
    keep_to_squeue()
    assert (plugin.is_query_tool_available is is_query_tool_available) == (code == 0)
    if code:
        assert not plugin.is_query_tool_available("sacct")
        assert plugin.is_query_tool_available("squeue")


def test_jobs_of_a_folder_are_told_from_others(programs: Path, tmp_path: Path) -> None:
    here = tmp_path / "study"
    here.mkdir()
    lines = [
        f"12|{RUN_ID}|RUNNING|rule_train_wildcards_cnn_1|{here}",
        f"13|mine_{RUN_ID}|PENDING|group_baselines_baseline|{here}/../study",
        f"14|{RUN_ID}|RUNNING|rule_train_wildcards_cnn_1|{tmp_path}",
        f"15|bash|RUNNING|(null)|{here}",
    ]
    stand_in(programs, "squeue", "\n".join(lines) + "\n")
    found = {"ClusterId": 7, "ProcId": 0, "JobStatus": 5, "JobBatchName": "train-3", "Iwd": str(here)}
    ours = found | {"UserLog": f"{here}/logs/htcondor/snakemake-rules.log"}
    others = [found | {"UserLog": "/x/job.log"}, ours | {"JobStatus": 4}, ours | {"Iwd": "/x"}]
    stand_in(programs, "condor_q", json.dumps([ours, *others]))
    jobs = list_jobs(here)
    assert [(job.number, job.state, job.what) for job in jobs] == [
        ("12", "RUNNING", "train cnn_1"),
        ("13", "PENDING", "group baselines_baseline"),
        ("7.0", "HELD", "train-3"),
    ]
    for name in ("scancel", "condor_rm"):
        stand_in(programs, name)
    cancel_jobs(jobs)
    assert calls(programs, "scancel") == ["12 13"]
    assert calls(programs, "condor_rm") == ["7.0"]


def test_an_empty_queue_of_condor_says_nothing(programs: Path, tmp_path: Path) -> None:
    stand_in(programs, "condor_q", "")
    assert list_jobs(tmp_path) == []
    stand_in(programs, "condor_q", "-- Failed to fetch ads")
    with pytest.raises(BatchError, match="Failed to fetch ads"):
        list_jobs(tmp_path)


def test_waiting_outlives_an_outage_but_not_a_system_that_is_gone(programs: Path, tmp_path: Path) -> None:
    said: list[str] = []
    job = f"12|{RUN_ID}|RUNNING|rule_train|{tmp_path}\n"
    answers = f'n=$(/bin/cat {programs}/n)\necho $((n + 1)) > {programs}/n\ncase $n in\n0) echo "{job.strip()}";;\n'
    (programs / "n").write_text("0")
    (programs / "squeue").write_text(f"#!/bin/sh\n{answers}1|2) exit 1;;\nesac\n")
    (programs / "squeue").chmod(0o755)
    wait_for_jobs(tmp_path, every=0.01, say=said.append)
    assert said[0] == "1 jobs left"
    assert said[-1] == "no job is left"
    assert sum("asking again" in text for text in said) == 2
    stand_in(programs, "squeue", code=1)
    with pytest.raises(BatchError, match="squeue"):
        wait_for_jobs(tmp_path, every=0.0)


def test_who_works_in_a_folder_is_known(tmp_path: Path) -> None:
    assert read_run(tmp_path) is None
    assert warn_of_other(tmp_path) == ""
    run = describe_this_run("slurm")
    write_run(tmp_path, run)
    assert read_run(tmp_path) == run
    assert run.is_alive
    assert f"process {os.getpid()} on {socket.gethostname()}" in warn_of_other(tmp_path)
    # Another process has the number by now.
    write_run(tmp_path, dataclasses.replace(run, born=run.born + 1))
    assert "was killed: 'hepcnn batch resume'" in warn_of_other(tmp_path)
    write_run(tmp_path, dataclasses.replace(run, born=run.born + 1, executor="local"))
    assert warn_of_other(tmp_path) == ""
    write_run(tmp_path, dataclasses.replace(run, host="elsewhere"))
    assert "did not say good-bye" in warn_of_other(tmp_path)
    write_run(tmp_path, dataclasses.replace(run, is_over=True))
    assert warn_of_other(tmp_path) == ""
    (tmp_path / RECORD).write_text('{"host": ')
    assert read_run(tmp_path) is None


WORKFLOW = """
from pathlib import Path
from hepcnn.batch.start import adopt_outputs

onstart:
    adopt_outputs(workflow, Path.cwd(), "this study")

rule later:
    input: "first"
    output: "later"
    shell: "touch {output}"

rule first:
    output: "first"
    params: config["value"]
    shell: "touch {output}"
"""


@pytest.mark.parametrize(("made_by", "expected"), [("this study", "rule first:"), ("another", "")])
def test_what_an_orphan_made_gets_its_record(tmp_path: Path, made_by: str, expected: str) -> None:
    """So that a later change makes it again: the file stands here without one, as when nobody saw its job end."""
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    (tmp_path / "first").touch()
    write_run(tmp_path, dataclasses.replace(describe_this_run("slurm", made_by=made_by), born=1))

    def snakemake(*arguments: str) -> str:
        command = [sys.executable, "-m", "snakemake", "--cores", "1", *arguments]
        found = call(command, tmp_path)
        assert found.returncode == 0, found.stdout
        return found.stdout

    said = snakemake("--config", "value=1")
    assert ("--forcerun first" in said) == (not expected)
    said = snakemake("--config", "value=2", "--dry-run")
    assert (expected or "Nothing to be done") in said


def hepcnn(*arguments: str, path: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"PATH": path}
    command = [sys.executable, "-m", "hepcnn", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_resume_settles_what_was_left_and_starts_the_same_command(programs: Path, tmp_path: Path) -> None:
    """From the record of a Snakemake that a stand-in for Python's was."""
    stand_in(programs, "snakemake", "started\n")
    left = f"12|{RUN_ID}|RUNNING|rule_train_wildcards_cnn_1|{tmp_path}\n"
    stand_in(programs, "squeue", left)
    (programs / "scancel").write_text(f'#!/bin/sh\necho "$@" >> {programs}/scancel.calls\n: > {programs}/squeue.txt\n')
    (programs / "scancel").chmod(0o755)

    def resume(*options: str) -> "subprocess.CompletedProcess[str]":
        return hepcnn("batch", "resume", str(tmp_path), *options, path=str(programs))

    assert "no Snakemake has run here" in resume().stderr
    run = dataclasses.replace(describe_this_run("slurm"), command=[str(programs / "snakemake"), "--jobs", "3"])
    write_run(tmp_path, run)
    assert "is at work" in resume("--cancel").stderr
    write_run(tmp_path, dataclasses.replace(run, host="elsewhere"))
    assert "say --gone" in resume("--cancel").stderr
    write_run(tmp_path, dataclasses.replace(run, born=run.born + 1))
    asked = resume()
    assert asked.returncode == 1
    assert "train cnn_1" in asked.stdout
    assert "--wait" in asked.stderr
    assert calls(programs, "snakemake") == []
    listed = json.loads(hepcnn("batch", "jobs", str(tmp_path), "--json", path=str(programs)).stdout)
    assert [job["number"] for job in listed["jobs"]] == ["12"]
    done = resume("--cancel")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("started\n")
    assert calls(programs, "scancel") == ["12"]
    assert calls(programs, "snakemake") == ["--jobs 3 --unlock", "--jobs 3"]


def test_several_processes_are_started_by_srun_or_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    two = TrainingConfig(processes=4, nodes=2, device="cuda")
    words = ["train", "-m", "cnn"]
    started = make_launch(two, words, threads=3, environment={"SLURM_JOB_ID": "1"})
    assert started[0] == "srun"
    assert {"--nodes=2", "--ntasks=4", "--ntasks-per-node=2", "--cpus-per-task=3", "--gpus-per-node=2"} <= set(started)
    assert started[-5:] == ["-m", "hepcnn", *words]
    with pytest.raises(ConfigError, match="2 nodes are for a job of Slurm"):
        make_launch(two, words, threads=0, environment={})
    here = make_launch(TrainingConfig(processes=4), words, threads=0, environment={})
    assert "torch.distributed.run" in here
    assert "--nproc-per-node=4" in here
    assert make_launch(TrainingConfig(), words, threads=0, environment={"SLURM_JOB_ID": "1"}) == []
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert make_launch(two, words, threads=0, environment={"SLURM_JOB_ID": "1"}) == []


def test_processes_must_share_nodes_evenly() -> None:
    from hepcnn.records import parse_model

    with pytest.raises(HepcnnError, match="3 'processes' cannot be shared evenly by 2 'nodes'"):
        parse_model(TrainingConfig, {"processes": 3, "nodes": 2}, where="training")
