"""The container's list of packages is the lock file's, but for what a variant leaves out."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parent.parent
CONTAINERS = REPOSITORY / "containers"
LOCK = (REPOSITORY / "requirements.lock").read_text()


def load_program() -> object:
    spec = importlib.util.spec_from_file_location("requirements", CONTAINERS / "requirements.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(text: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE))


def run(variant: str) -> str:
    return subprocess.check_output([sys.executable, str(CONTAINERS / "requirements.py"), variant], text=True)


def test_the_variants_share_the_lock() -> None:
    whole, cpu, torch = (run(variant) for variant in ("cuda", "cpu", "torch"))
    assert names(whole) == names(LOCK)
    left_out = names(whole) - names(cpu)
    assert {"torch", "torchvision"} <= left_out
    assert all(re.match("torch|nvidia-|cuda-|triton", name) for name in left_out)
    assert names(torch) == {"torch", "torchvision"}
    # Each package keeps its hashes, and gets no other's.
    assert cpu.count("--hash=") < whole.count("--hash=") == LOCK.count("--hash=")
    for entry in load_program().split_lock(cpu):  # type: ignore[attr-defined]
        assert "--hash=" in entry


@pytest.mark.parametrize("name", ["install.sh", "../workflow/profiles/htcondor/job.sh"])
def test_shell_scripts_parse_and_may_be_run(name: str) -> None:
    path = CONTAINERS / name
    subprocess.run(["sh", "-n", str(path)], check=True)
    assert path.stat().st_mode & 0o111


def test_what_the_images_take_exists() -> None:
    files = re.findall(r"^COPY (.+) \S+$", (CONTAINERS / "Dockerfile").read_text(), re.MULTILINE)
    sources = [name for line in files for name in line.split()]
    section = (CONTAINERS / "Apptainer.def").read_text().split("%files\n")[1].split("\n\n")[0]
    sources += [line.split()[0] for line in section.splitlines()]
    assert len(sources) > 15
    for name in sources:
        assert (REPOSITORY / name).exists(), name


def test_reana_runs_a_study_that_exists() -> None:
    reana = yaml.safe_load((REPOSITORY / "reana.yaml").read_text())
    for name in reana["inputs"]["files"]:
        assert (REPOSITORY / name).exists()
    study = yaml.safe_load((REPOSITORY / reana["inputs"]["parameters"]["config"]).read_text())["study"]
    assert all(path.startswith(f"results/{study}/") for paths in reana["outputs"].values() for path in paths)
    (step,) = reana["workflow"]["specification"]["steps"]
    for command in step["commands"]:
        assert set(re.findall(r"\$\{(\w+)\}", command)) <= set(reana["inputs"]["parameters"])
