"""How fast every network learns, and how much of a GPU a training uses.

``python -m benchmarks.train_networks [--batch 2048] [--jets 65536]`` prints, in bfloat16, the matrix product's peak as
measured on the GPU; then for every network, on 40 × 40 pixels of four channels, jets per second of `train_network` (an
epoch, after one that warms up), its floating-point operations per second as a part of that peak (counted by torch,
forward and backward), and the peak memory. This part has not run yet: it was written where there was no GPU.

``--device cpu`` measures jets per second of one thread's processor time, in fp32 and in bf16: so few jets that a
network takes some ``--seconds``, and the best of two epochs after one that warms up.
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hepcnn.config import TrainingConfig
from hepcnn.data.dataset import ImageDataset
from hepcnn.data.normalisation import Normalisation
from hepcnn.data.sources import DeviceDataset
from hepcnn.errors import HepcnnError
from hepcnn.models import create_model, list_models
from hepcnn.sparse import SparseTensor
from hepcnn.training.fabric import make_fabric
from hepcnn.training.loop import train_network
from hepcnn.training.network import TaggerNetwork

GRID, CHANNELS, PIXELS = (40, 40), 4, 50


def measure_peak(size: int = 8192, repeats: int = 30) -> float:
    """Operations per second of a product of two matrices, the median."""
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(repeats + 5):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        torch.mm(a, b)
        end.record()
        torch.cuda.synchronize()
        times.append(1e-3 * start.elapsed_time(end))
    return 2 * size**3 / statistics.median(times[5:])


def make_dataset(n_jets: int, *, seed: int) -> ImageDataset:
    """Jets of 50 pixels anywhere: a dense network's speed does not depend on where."""
    random = np.random.default_rng(seed)
    n_grid = int(np.prod(GRID))
    index = np.sort(random.integers(0, n_grid // PIXELS, (n_jets, PIXELS)) + np.arange(PIXELS) * (n_grid // PIXELS))
    return ImageDataset(
        indptr=np.arange(n_jets + 1) * PIXELS,
        label=random.integers(0, 2, n_jets),
        weight=np.ones(n_jets, np.float32),
        jets={"mass": np.zeros(n_jets, np.float32)},
        features={},
        class_names=("qcd", "top"),
        attributes={"grid": {"kind": "window", "half_width": 0.8, "n_eta": GRID[0], "n_phi": GRID[1]}},
        sources=[],
        index=index.ravel().astype(np.uint16),
        value=random.exponential(1.0, (n_jets * PIXELS, CHANNELS)).astype(np.float32),
    )


def make_network(name: str) -> TaggerNetwork:
    """A network for these images."""
    normalisation = Normalisation((1.0,) * CHANNELS, 0.5, (), (), ())
    return TaggerNetwork(create_model(name, in_channels=CHANNELS, n_classes=2, grid=GRID), normalisation)


def count_flops(name: str, data: DeviceDataset) -> float:
    """Operations of a step per jet; those of sparse layers, which torch does not know, are not among them."""
    network = make_network(name).cuda()
    batch = next(data.epoch(seed=1, epoch=0, batch_size=64, sparse=False))
    images = batch.images.to_dense() if isinstance(batch.images, SparseTensor) else batch.images
    with FlopCounterMode(display=False) as counter:
        nn.functional.cross_entropy(network(images, batch.jet_features), batch.label).backward()
    return counter.get_total_flops() / 64


class Speeds:
    """Notes how fast each epoch was."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.processor: list[float] = []

    def on_step(self, **_: Any) -> None:
        """A batch is done."""

    def on_epoch(self, record: dict[str, float]) -> None:
        """An epoch is done."""
        self.seconds.append(record["seconds"])
        self.processor.append(time.process_time())


def time_training(name: str, data: DeviceDataset, config: TrainingConfig, folder: Path) -> Speeds:
    """Train a network with fresh weights, and say how fast its epochs were."""
    val, speeds = DeviceDataset(make_dataset(2, seed=2), feature_names=(), device=torch.device(config.device)), Speeds()
    train_network(
        make_network(name),
        data,
        val,
        config=config,
        fabric=make_fabric(config),
        seed=1,
        checkpoint=folder / f"{name.replace('/', '_')}-{len(list(folder.iterdir()))}.safetensors",
        fingerprint="",
        validate=lambda *_: {"val_auc": 0.5},
        listener=speeds,
    )
    return speeds


def measure(name: str, data: DeviceDataset, batch_size: int, folder: Path, **options: Any) -> tuple[float, float]:
    """Jets/s of the epochs after the first, and the peak memory in GB."""
    changed = {"epochs": 3, "batch_size": batch_size, "jet_features": [], "precision": "bf16", "device": "cuda"}
    torch.cuda.reset_peak_memory_stats()
    seconds = time_training(name, data, TrainingConfig(**(changed | options)), folder).seconds
    speed = data.n_jets * (len(seconds) - 1) / (seconds[-1] - seconds[0])
    return speed, torch.cuda.max_memory_allocated() / 1e9


def measure_cpu(name: str, precision: str, *, n_jets: int, folder: Path) -> float:
    """Jets/s of processor time of one thread, in the better of two epochs after the first; validation is part of it."""
    config = TrainingConfig(epochs=3, batch_size=min(64, n_jets), jet_features=[], precision=precision, device="cpu")
    data = DeviceDataset(make_dataset(n_jets, seed=1), feature_names=(), device=torch.device("cpu"))
    processor = time_training(name, data, config, folder).processor
    return n_jets / min(stop - start for start, stop in itertools.pairwise(processor))


def print_cpu(networks: Sequence[str], *, seconds: float) -> None:
    """Print jets/s of every network on the CPU."""
    torch.set_num_threads(1)
    print("| network | jets/s, fp32 | jets/s, bf16 |\n| --- | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name in networks:
            rates = []
            for precision in ("fp32", "bf16"):
                rough = measure_cpu(name, precision, n_jets=16, folder=Path(folder))
                n_jets = int(min(2048, max(32, rough * seconds / 3)) // 32 * 32)
                rates.append(measure_cpu(name, precision, n_jets=n_jets, folder=Path(folder)))
            print(f"| `{name}` | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |", flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--jets", type=int, default=65_536)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--seconds", type=float, default=10.0, help="on the CPU, about, for each precision")
    parser.add_argument("networks", nargs="*", help="by default all")
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        print_cpu(arguments.networks or list_models(), seconds=arguments.seconds)
        return
    if not torch.cuda.is_available():
        sys.exit("benchmarks.train_networks has not run: torch sees no CUDA device here; --device cpu measures the CPU")
    peak = measure_peak()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}: bfloat16 products {peak / 1e12:.0f} TFLOP/s\n")
    print("| network | options | jets/s | TFLOP/s | of the peak | peak memory, GB |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    data = DeviceDataset(make_dataset(arguments.jets, seed=1), feature_names=(), device=torch.device("cuda"))
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.networks or list_models():
            for options in ({}, {"channels_last": True}, {"channels_last": True, "compile": True}):
                shown = ", ".join(options) or "–"
                try:
                    flops = count_flops(name, data)
                    speed, memory = measure(name, data, arguments.batch, Path(folder), **options)
                except (HepcnnError, RuntimeError) as error:
                    print(f"| {name} | {shown} | {str(error).splitlines()[0][:80]} | | | |", flush=True)
                    continue
                rate = flops * speed
                print(
                    f"| {name} | {shown} | {speed:,.0f} | {rate / 1e12:.1f} | {rate / peak:.0%} | {memory:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
