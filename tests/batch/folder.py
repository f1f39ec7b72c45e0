"""A folder in which Snakemake is at work on the tests' Slurm, and what may happen to its jobs."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from safetensors import safe_open

from hepcnn import paths
from hepcnn.config import StudyConfig, parse_model
from tests.batch.cluster import ask
from tests.toy import write_toy_jets

REPOSITORY = Path(__file__).parents[2]
PROFILE = REPOSITORY / "workflow" / "profiles" / "slurm"
PATIENCE_S = 900.0
NETWORK = {"options": {"stem": 4, "widths": [8, 8], "depth": 1, "dropout": 0.0}}
PAIR = {"epochs": 2, "processes": 2, "nodes": 2}
STUDY: dict[str, Any] = {
    "study": "small",
    "images": {"jet_features": ["pt", "mass", "n_constituents"]},
    "split": {"train": 0.5, "val": 0.2, "test": 0.3},
    "models": {
        "cnn": NETWORK,
        "pair": NETWORK | {"network": "cnn", "training": PAIR},
    },
    "baselines": [],
    "training": {
        "epochs": 30,
        "batch_size": 64,
        "checkpoint_steps": 2,
        "checkpoint_minutes": 0.2,
        "optimizer": "sgd",
        "device": "cpu",
    },
    "evaluation": {"explain": False},
    "tracking": {"system_metrics": False},
}


def wait_until(condition: Callable[[], Any], what: str, *, patience: float = PATIENCE_S) -> Any:
    """What a condition gives, once that is true."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"after {patience:.0f} s still not: {what}")


class Folder:
    """A study of toy jets, and Snakemake with the shipped profile."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        samples = {}
        for name, prongs in (("qcd", 1), ("top", 3)):
            file = write_toy_jets(path / f"{name}.root", n_jets=300, n_prongs=prongs, seed=prongs)
            samples[name] = {"files": [file.name], "schema": "hepcnn"}
        self.content = STUDY | {"samples": samples}
        (path / "study.yaml").write_text(yaml.safe_dump(self.content))

    @property
    def study(self) -> StudyConfig:
        """The config, to be used from within the folder."""
        return parse_model(StudyConfig, self.content, where="study.yaml")

    def run_folder(self, seed: int, model: str = "cnn") -> Path:
        """Of a training."""
        return self.path / paths.run_dir(Path("results/small"), model, seed)

    def target(self, seed: int, model: str = "cnn") -> str:
        """What Snakemake is asked for, to have a training."""
        return str(paths.scores(paths.run_dir(Path("results/small"), model, seed)))

    def command(self, *arguments: str) -> list[str]:
        """Of Snakemake. One thread, so that results can be compared to the bit."""
        lists = ["--configfile", "study.yaml", "--set-threads", "train=1", "convert=1"]
        single = ["--workflow-profile", str(PROFILE), "-s", str(REPOSITORY / "Snakefile")]
        return [sys.executable, "-m", "snakemake", *lists, *single, *arguments]

    def start(self, *arguments: str, log: str = "snakemake.log") -> "subprocess.Popen[bytes]":
        """Start Snakemake; what it says goes to a file."""
        with (self.path / log).open("wb") as file:
            return subprocess.Popen(
                self.command(*arguments), cwd=self.path, env=environment(), stdout=file, stderr=subprocess.STDOUT
            )

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run Snakemake to its end, and have what it says in ``stdout``."""
        return call(self.command(*arguments), self.path)

    def hepcnn(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run hepcnn in the folder."""
        return call([sys.executable, "-m", "hepcnn", *arguments], self.path)

    def jobs(self, seed: int, model: str = "cnn", *, over: bool = False) -> dict[str, str]:
        """States of the jobs of a training by number: those in the queue, or all that Slurm remembers."""
        which = ["--states=all"] if over else []
        comment = f"rule_train_wildcards_{model}_{seed}"
        lines = ask("squeue", "-h", *which, "-o", "%i|%T|%k|%Z").splitlines()
        rows = (line.split("|", 3) for line in lines)
        return {number: state for number, state, what, place in rows if (what, place) == (comment, str(self.path))}

    def hold(self, seed: int, snakemake: "subprocess.Popen[bytes]") -> tuple[str, int]:
        """Stop a training's process once it has written a checkpoint; returns the job and the process.

        So what happens to it happens in its middle, however fast or slow this machine is.
        """
        checkpoint = paths.checkpoint(self.run_folder(seed))
        wait_until(lambda: checkpoint.exists() or snakemake.poll() is not None, f"seed {seed} has a checkpoint")
        assert snakemake.poll() is None, "Snakemake ended before"
        (process,) = wait_until(lambda: list(self.trainings(seed)), f"seed {seed} is found")
        os.kill(process, signal.SIGSTOP)
        with safe_open(checkpoint, framework="pt") as file:
            (done,) = re.findall(r'\["epoch", (\d+)\]', file.metadata()["state"])
        assert int(done) < STUDY["training"]["epochs"], "it was stopped too late"
        (job,) = self.jobs(seed)
        return job, process

    def trainings(self, seed: int) -> Iterator[int]:
        """Processes that train a seed here."""
        for process, words in list_processes():
            if {"hepcnn", "train", "--seed", str(seed)} <= set(words) and "-c" not in words:
                place = Path(f"/proc/{process}/cwd")
                if place.exists() and place.resolve() == self.path:
                    yield process


def list_processes() -> Iterator[tuple[int, list[str]]]:
    """Processes of this machine that are programs of Python, with their arguments."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "python" in Path(words[0]).name:
            yield int(place.name), words


def environment() -> dict[str, str]:
    """Of Snakemake, and so of its jobs: this hepcnn, one thread, and nodes that are all this machine."""
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}


def call(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=2 * PATIENCE_S,
    )
