"""Two processes that train together against one: the same batches of 40 × 40 pixels on a CPU, one thread each.

``python -m benchmarks.train_processes [--jets 1280] [--batch 128] [--network cnn]`` prints, for one and for two
processes, the processor time of a step in all processes together and its wall time, and their ratios. On a machine with
other work only the processor time means something: two processes can at most be 2 × (processor time of one / that of
two) times as fast.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.train import BATCH, CPU, make_dataset, make_network
from hepcnn.config import TrainingConfig
from hepcnn.data.sources import DeviceDataset
from hepcnn.training.fabric import make_fabric
from hepcnn.training.loop import train_network


class Clock:
    """Notes processor and wall time after each step."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []

    def on_step(self, **_: Any) -> None:
        """A batch is done."""
        self.times.append((time.process_time(), time.perf_counter()))

    def on_epoch(self, record: dict[str, float]) -> None:
        """An epoch is done."""


def train_here(network: str, n_jets: int, batch_size: int, folder: Path) -> None:
    """Be one of the processes: train, and write the seconds of a step, the first two left out."""
    torch.set_num_threads(1)
    config = TrainingConfig(epochs=1, batch_size=batch_size, jet_features=[], device="cpu", checkpoint_minutes=1000.0)
    clock, fabric = Clock(), make_fabric(config)
    train, val = (DeviceDataset(make_dataset(n, seed=n), feature_names=(), device=CPU) for n in (n_jets, 64))
    options: dict[str, Any] = {"seed": 1, "checkpoint": folder / "checkpoint.safetensors", "fingerprint": ""}
    started = time.process_time()
    train_network(
        make_network(network),
        train,
        val,
        config=config,
        fabric=fabric,
        validate=lambda *_: {"val_auc": 0.5},
        listener=clock,
        **options,
    )
    used = time.process_time() - started
    n_steps = len(train.label) // batch_size
    told: dict[str, float] = {"whole": used, "steps": n_steps}
    if clock.times:
        timed = len(clock.times) - 2
        told |= {
            "cpu": (clock.times[-1][0] - clock.times[1][0]) / timed,
            "wall": (clock.times[-1][1] - clock.times[1][1]) / timed,
        }
    (folder / f"{fabric.global_rank}.json").write_text(json.dumps(told))


def run(network: str, n_jets: int, batch_size: int, n_processes: int) -> tuple[float, float]:
    """Processor seconds of a step in all processes, and its wall time in the first."""
    start = [sys.executable, "-m"]
    if n_processes > 1:
        start += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(n_processes), "-m"]
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["benchmarks.train_processes", "--network", network, "--folder", folder]
        arguments += ["--jets", str(n_jets), "--batch", str(batch_size)]
        subprocess.run([*start, *arguments], check=True, capture_output=True)
        told = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("*.json"))]
    # A process that no listener hears takes as long a step as the first does, up to its share of the start.
    share = sum(one["whole"] for one in told) / told[0]["whole"]
    return told[0]["cpu"] * share, told[0]["wall"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jets", type=int, default=1280)
    parser.add_argument("--batch", type=int, default=BATCH, help="jets of a step, of all processes together")
    parser.add_argument("--network", default="cnn")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.folder is not None:
        train_here(options.network, options.jets, options.batch, options.folder)
        return
    print("| processes | processor time of a step, s | wall, s |\n| ---: | ---: | ---: |")
    found = {}
    for n_processes in (1, 2):
        found[n_processes] = run(options.network, options.jets, options.batch, n_processes)
        print(f"| {n_processes} | {found[n_processes][0]:.3f} | {found[n_processes][1]:.3f} |", flush=True)
    cpu, wall = (found[1][k] / found[2][k] for k in (0, 1))
    print(f"\ntwo are {wall:.2f} times as fast by the wall here, {2 * cpu:.2f} at most by processor time")


if __name__ == "__main__":
    main()
