"""``hepcnn doctor`` as a user calls it."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from tests.doctor.test_surroundings import free_port


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hepcnn", "doctor", *arguments]
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert "Traceback" not in found.stderr
    return found


def write_study(folder: Path, *, uri: str) -> None:
    samples = {name: {"files": [f"{name}.root"], "schema": "hepcnn"} for name in ("qcd", "top")}
    study = {"study": "small", "samples": samples, "models": {"cnn": {}}, "tracking": {"uri": uri}}
    (folder / "study.yaml").write_text(yaml.safe_dump(study))


def test_a_store_that_is_down_stops_no_workflow_but_missing_data_do(tmp_path: Path) -> None:
    write_study(tmp_path, uri=f"http://127.0.0.1:{free_port()}")
    (tmp_path / "qcd.root").write_bytes(b"root" + bytes(100))
    found = run(tmp_path, "--config", "study.yaml", "--before-run")
    lines = found.stdout.splitlines()
    assert found.returncode == 1
    assert any(
        line.startswith("fail sample 'top': 1 of 1 files cannot be read: top.root: cannot open") for line in lines
    )
    assert any(line.startswith("warn tracking store: http://127.0.0.1:") for line in lines)
    assert any(line.startswith("ok   file locks: ") for line in lines)
    (tmp_path / "top.root").write_bytes(b"root" + bytes(100))
    found = run(tmp_path, "--config", "study.yaml", "--before-run", "--json")
    told = json.loads(found.stdout)
    assert (found.returncode, told["ok"]) == (0, True)
    assert {finding["state"] for finding in told["findings"]} <= {"ok", "warn"}
    assert {"study.yaml", "qcd.root", "top.root"} == {path.name for path in tmp_path.iterdir()}


def test_wrong_usage_is_refused(tmp_path: Path) -> None:
    found = run(tmp_path, "--before-run")
    assert (found.returncode, "--before-run is about a study" in found.stderr) == (2, True)
    found = run(tmp_path, "--config", "none.yaml")
    assert (found.returncode, "none.yaml" in found.stderr) == (1, True)
