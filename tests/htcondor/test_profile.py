"""The HTCondor profile: what the plugin submits, and jobs that run from a copied wrapper in a bare environment."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from hepcnn.doctor.mounts import find_mount
from hepcnn.io.store import read_image_attributes
from tests.toy import write_toy_jets

REPOSITORY = Path(__file__).parent.parent.parent
PROFILE = REPOSITORY / "workflow" / "profiles" / "htcondor"
pytestmark = pytest.mark.skipif(
    find_spec("snakemake_executor_plugin_htcondor") is None, reason="needs pip install 'hepcnn[htcondor]'"
)


def write_study(folder: Path, **changes: Any) -> None:
    samples = {}
    for name, prongs in (("qcd", 1), ("top", 3)):
        write_toy_jets(folder / f"{name}.root", n_jets=60, n_prongs=prongs, seed=prongs)
        samples[name] = {"files": [f"{name}.root"], "schema": "hepcnn"}
    study = {"study": "small", "samples": samples, "models": {"cnn": {}}, "baselines": []} | changes
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    shutil.copytree(PROFILE, folder / "workflow" / "profiles" / "htcondor")


def run(folder: Path, *arguments: str, fail_first: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.htcondor.pool", str(folder / "submitted.jsonl"), *fail_first, "--"]
    command += ["-s", str(REPOSITORY / "Snakefile"), "--configfile", "study.yaml", "--directory", str(folder)]
    command += ["--workflow-profile", str(folder / "workflow" / "profiles" / "htcondor"), *arguments]
    for name in ("condor_submit", "condor_q", "condor_rm"):
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)
    places = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places)), "CONDOR_CONFIG": "/dev/null"}
    environment["PATH"] = f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment | {"NOT_FOR_NODES": "1"}
    )


def test_a_dry_run_shows_what_is_asked_for(tmp_path: Path) -> None:
    write_study(tmp_path, training={"device": "cuda"})
    found = run(tmp_path, "--dry-run")
    text = found.stdout + found.stderr
    assert found.returncode == 0, text
    jobs = {match[1]: match[0] for match in re.finditer(r"rule (\w+):\n(?:    .*\n)+", text)}
    assert "request_gpus=1" in jobs["train"]
    assert re.search(r"classad_MaxRuntime=28800\b", jobs["train"])
    assert "request_gpus" not in jobs["convert"]
    # Of one thread: a dry run has one core.
    assert "htcondor_request_mem_mb=3000" in jobs["convert"]


@pytest.mark.slow
def test_jobs_run_and_get_more_memory_when_they_are_sent_again(tmp_path: Path) -> None:
    mount = find_mount(tmp_path)
    if mount is None or mount.is_memory:
        pytest.skip("takes a folder that other machines might see")
    write_study(tmp_path)
    targets = [f"results/small/images/{name}.h5" for name in ("qcd", "top")]
    found = run(tmp_path, *targets, "--set-threads", "convert=1", fail_first=("convert",))
    text = found.stdout + found.stderr
    assert found.returncode == 0, text
    for name in targets:
        assert read_image_attributes(tmp_path / name)["class_names"] == ["qcd", "top"]
    # Of the two conversions one fails, and is sent again.
    submitted = [json.loads(line) for line in (tmp_path / "submitted.jsonl").read_text().splitlines()]
    assert sorted(job["request_memory"].split()[0] for job in submitted) in (
        ["3000", "3000", "6000"],
        ["3000MB", "3000MB", "6000MB"],
    )
    first = submitted[0]
    assert first["executable"] == "workflow/profiles/htcondor/job.sh"
    assert "True" not in first["getenv"], "pools may refuse to copy the whole environment"
    assert "NOT_FOR_NODES" not in first["getenv"]
    assert first.get("+MaxRuntime", first.get("MY.MaxRuntime")) == first["allowed_execute_duration"]
    assert ("looks like a disk of this machine alone" in text) is not mount.is_shared
