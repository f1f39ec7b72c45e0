"""What the training loop costs: against a bare loop, and against weaver-core's on the same network and jets.

``python -m benchmarks.train [--jets 4000] [--repeat 5] [--network cnn] [--weaver-python PATH]`` trains on images of
40 × 40 pixels on a CPU, one thread, and prints jets per second of processor time (so that other work on the machine
counts little), medians over turns that alternate:

- bare: forward, cross entropy, backward, AdamW, on dense batches that are cut and shuffled beforehand
- hepcnn: an epoch of `train_network` as `hepcnn train` runs it: cutting batches, weights, clipping, schedule, progress
- weaver-core: an epoch of its ``train_classification``, dense images in memory through its own loader, if
  ``--weaver-python`` names a Python that has weaver-core 0.5.3 and torch; in single precision, since its mixed
  precision is for CUDA alone

The first two take turns in bf16 as well, which some CPUs have instructions for.

``python -m benchmarks.train_networks`` is the part for a GPU.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import torch
import yaml
from torch import nn

from benchmarks.jets import make_jets
from hepcnn.config import TrainingConfig
from hepcnn.config.training import Precision
from hepcnn.data.dataset import ImageDataset
from hepcnn.data.normalisation import Normalisation
from hepcnn.data.sources import DeviceDataset
from hepcnn.io.root import write_tree
from hepcnn.models import create_model
from hepcnn.training.fabric import make_fabric
from hepcnn.training.loop import train_network
from hepcnn.training.network import TaggerNetwork

REPOSITORY = Path(__file__).parent.parent
GRID, HALF_WIDTH, BATCH = (40, 40), 0.8, 128
NORMALISATION = Normalisation((1.0,), 0.5, (), (), ())
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
CPU = torch.device("cpu")


def make_dataset(n_jets: int, *, seed: int) -> ImageDataset:
    """Sparse images of one- and three-pronged jets, pT per pixel in GeV, half of each."""
    parts = []
    for label, n_prongs in enumerate((1, 3)):
        columns = make_jets(n_jets // 2, n_prongs=n_prongs, seed=seed + label)
        counts = ak.to_numpy(ak.num(columns["part_px"]))
        px, py, pz = (ak.to_numpy(ak.flatten(columns[f"part_{axis}"])) for axis in ("px", "py", "pz"))
        jet, pt = np.repeat(np.arange(len(counts)), counts), np.hypot(px, py)
        deta = np.arcsinh(pz / pt) - columns["jet_eta"][jet]
        dphi = np.angle(np.exp(1j * (np.arctan2(py, px) - columns["jet_phi"][jet])))
        places = [np.floor((x + HALF_WIDTH) / (2 * HALF_WIDTH) * GRID[0]).astype(int) for x in (deta, dphi)]
        inside = (np.minimum(*places) >= 0) & (np.maximum(*places) < GRID[0])
        pixel = (jet * GRID[0] + places[0]) * GRID[1] + places[1]
        found, inverse = np.unique(pixel[inside], return_inverse=True)
        per_jet = np.bincount(found // np.prod(GRID), minlength=len(counts))
        parts.append((label, per_jet, found % np.prod(GRID), np.bincount(inverse, pt[inside])))
    counts = np.concatenate([part[1] for part in parts])
    label = np.concatenate([np.full(len(part[1]), part[0]) for part in parts])
    return ImageDataset(
        indptr=np.concatenate([[0], np.cumsum(counts)]),
        label=label,
        weight=np.ones(len(label), np.float32),
        jets={"mass": np.zeros(len(label), np.float32)},
        features={},
        class_names=("qcd", "top"),
        attributes={"grid": {"kind": "window", "half_width": HALF_WIDTH, "n_eta": GRID[0], "n_phi": GRID[1]}},
        sources=[],
        index=np.concatenate([part[2] for part in parts]).astype(np.uint16),
        value=np.concatenate([part[3] for part in parts]).astype(np.float32)[:, None],
    )


def make_network(name: str) -> TaggerNetwork:
    """The same weights at every call."""
    torch.manual_seed(1)
    return TaggerNetwork(create_model(name, in_channels=1, n_classes=2, grid=GRID), NORMALISATION)


def time_bare(name: str, data: DeviceDataset, precision: Precision) -> float:
    """Jets/s of an epoch that consists of the arithmetic alone."""
    network = make_network(name).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    batches = []
    for batch in data.epoch(seed=1, epoch=0, batch_size=BATCH, sparse=network.takes_sparse):
        images = batch.images.clone() if isinstance(batch.images, torch.Tensor) else batch.images
        batches.append((images, batch.jet_features, batch.label))
    started = time.process_time()
    for images, jet_features, label in batches:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = nn.functional.cross_entropy(network(images, jet_features), label)
        loss.backward()
        optimizer.step()
    return data.n_jets / (time.process_time() - started)


class Clock:
    """Notes the processor time of the first and the last step; shows nothing, as where there is no terminal."""

    def __init__(self) -> None:
        self.times = [time.process_time()]

    def on_step(self, **_: Any) -> None:
        """A batch is done."""
        self.times.append(time.process_time())

    def on_epoch(self, record: dict[str, float]) -> None:
        """An epoch is done."""


def time_hepcnn(name: str, data: DeviceDataset, precision: Precision, folder: Path) -> float:
    """Jets/s of an epoch of `train_network`, from its second batch to its last."""
    config = TrainingConfig(epochs=1, batch_size=BATCH, jet_features=[], device="cpu", precision=precision)
    clock, val = Clock(), DeviceDataset(make_dataset(64, seed=9), feature_names=(), device=CPU)
    train_network(
        make_network(name),
        data,
        val,
        config=config,
        fabric=make_fabric(config),
        seed=1,
        checkpoint=folder / f"{len(list(folder.iterdir()))}.safetensors",
        fingerprint="",
        validate=lambda *_: {"val_auc": 0.5},
        listener=clock,
    )
    # The first step is timed with the set-up before it, and left out; the last batch may be shorter.
    return (data.n_jets - BATCH) / (clock.times[-1] - clock.times[1])


def write_weaver_files(dataset: ImageDataset, folder: Path) -> tuple[Path, dict[str, Path]]:
    """The dense images as weaver-core reads them, and its data config."""
    images, files = dataset.to_dense().reshape(len(dataset), -1), {}
    for number, name in enumerate(dataset.class_names):
        chosen = np.flatnonzero(dataset.label == number)
        columns: dict[str, Any] = {"image_pt": ak.unflatten(images[chosen].ravel(), [images.shape[1]] * len(chosen))}
        columns |= {f"is_{other}": np.full(len(chosen), other == name, np.int32) for other in dataset.class_names}
        files[name] = folder / f"{name}.root"
        write_tree(files[name], "tree", [columns])
    config = {
        "treename": "tree",
        "inputs": {"image": {"length": images.shape[1], "vars": [["image_pt", None]]}},
        "labels": {"type": "simple", "value": [f"is_{name}" for name in dataset.class_names]},
    }
    path = folder / "weaver.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path, files


def time_weaver(python: str, name: str, dataset: ImageDataset, folder: Path, repeat: int) -> list[float]:
    """Jets/s of epochs of weaver-core's training loop."""
    config, files = write_weaver_files(dataset, folder)
    command = [python, REPOSITORY / "benchmarks/weaver_train.py", config, name, str(BATCH), str(repeat)]
    command += [str(len(dataset)), *(f"{key}={path}" for key, path in files.items())]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)
    if done.returncode != 0:
        print(f"weaver-core's training failed:\n{done.stderr[-3000:]}", file=sys.stderr)
        return [math.nan]
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jets", type=int, default=4000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--network", default="cnn")
    parser.add_argument("--weaver-python", default="", help="a Python with weaver-core 0.5.3 and torch")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    dataset = make_dataset(arguments.jets, seed=1)
    data = DeviceDataset(dataset, feature_names=(), device=CPU)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, list[float]] = {}
        for turn in range(arguments.repeat + 1):
            for precision in PRECISIONS:
                bare = time_bare(arguments.network, data, precision)
                loop = time_hepcnn(arguments.network, data, precision, folder)
                if turn:  # the first warms up
                    found.setdefault(f"bare loop, {precision}", []).append(bare)
                    found.setdefault(f"hepcnn, {precision}", []).append(loop)
        print(found, flush=True)
        if arguments.weaver_python:
            python = arguments.weaver_python
            found["weaver-core"] = time_weaver(python, arguments.network, dataset, folder, arguments.repeat)
        else:
            print("weaver-core: not run; --weaver-python names a Python that has it")
    print(f"\n{arguments.network}, {arguments.jets} jets, batches of {BATCH}, one thread, {arguments.repeat} turns\n")
    medians = {key: statistics.median(speeds) for key, speeds in found.items()}
    weaver = medians.get("weaver-core", math.nan)
    print("| | jets per second of processor time, median | ÷ bare loop | ÷ weaver-core |\n| --- | ---: | ---: | ---: |")
    for key, speed in medians.items():
        bare = medians["bare loop, bf16" if key.endswith("bf16") else "bare loop, fp32"]
        print(f"| {key} | {speed:,.0f} | {speed / bare:.2f} | {speed / weaver:.2f} |")


if __name__ == "__main__":
    main()
