"""Networks over three axes, sparse against dense: ``python -m benchmarks.showers IMAGES… [--seconds 20]``.

IMAGES are files of showers over 45 × 16 × 9 voxels, as `hepcnn generate showers` and `hepcnn convert` make them: their
occupancy decides; ``--most N`` keeps only the N brightest voxels of each. A training step, optimiser included, of
`sparse_resnet3d` and of submanifold blocks alone, against the dense networks with the same windows, strides, widths and
head. Times are processor time of one thread, best of many in turns, so that other processes on the machine count less;
ratios are taken within one run.
"""

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hepcnn.data.batches import Rows
from hepcnn.data.dataset import read_dataset
from hepcnn.models import create_model
from hepcnn.models.base import put_channels_last
from hepcnn.models.shape import ImageShape
from hepcnn.models.volume_layers import ResidualBlock3d, conv_block, plan_strides
from hepcnn.sparse import SparseTensor
from hepcnn.training.synchronise import one_batch

BATCH, GOAL = 32, 14
STEM, KERNEL = (5, 3, 3), (3, 3, 3)
CASES = (((32,), 1, 2), ((16, 32, 64, 96), 2, 1), ((32, 64), 1, 2))
"""Widths, sparse levels, blocks a level."""


class DenseTwin(nn.Module):
    """Ordinary layers as `sparse_resnet3d` has them: the same stem, blocks, widths and head, all dense."""

    def __init__(self, model: nn.Module, shape: ImageShape, widths: tuple[int, ...], depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_block(shape.in_channels, widths[0], STEM)]
        width, strides = widths[0], [(1, 1, 1), *plan_strides(shape, len(widths) - 1)]
        for after, step in zip(widths, strides, strict=True):
            for block in range(depth):
                layers.append(ResidualBlock3d(width, after, KERNEL, (1, 1, 1) if block else step))
                width = after
        self.trunk, self.head = nn.Sequential(*layers), model.head

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(self.trunk(images), None)
        return logits


def make_step(network: nn.Module, entry: Callable[[], Tensor | SparseTensor], label: Tensor) -> Callable[[], None]:
    """A training step as the loop takes it, with its batch normalisation."""
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)

    def step() -> None:
        optimiser.zero_grad()
        with one_batch(network, rows=Rows(0, len(label), len(label)), world=1, fold=True):
            logits = network(entry())
        nn.functional.cross_entropy(logits, label).backward()
        optimiser.step()

    return step


def best_of(functions: list[Callable[[], None]], *, seconds: float, least: int = 3) -> list[float]:
    """The least processor time of each function in milliseconds, taken in turns."""
    best, started, rounds = [math.inf] * len(functions), time.process_time(), 0
    while rounds < least or time.process_time() - started < seconds:
        for number, function in enumerate(functions):
            before = time.process_time()
            function()
            best[number] = min(best[number], 1e3 * (time.process_time() - before))
        rounds += 1
    return best


def measure(dense: Tensor, widths: tuple[int, ...], sparse_levels: int, depth: int, *, seconds: float) -> str:
    """One row of the table."""
    torch.manual_seed(0)
    grid, label = tuple(dense.shape[2:]), torch.arange(len(dense)) % 2
    options = {"widths": widths, "sparse_levels": sparse_levels, "depth": depth, "pool": "average"}
    models = [
        create_model("sparse_resnet3d", in_channels=dense.shape[1], n_classes=2, grid=grid, **options) for _ in range(2)
    ]
    twin = DenseTwin(models[1], ImageShape(dense.shape[1], 2, grid), widths, depth)
    put_channels_last(twin)
    image, found = dense.contiguous(memory_format=torch.channels_last_3d), SparseTensor.from_dense(dense)

    def entry() -> SparseTensor:
        return SparseTensor.trusted(found.coords, found.features, grid, len(dense))

    steps = [make_step(models[0], entry, label), make_step(twin, lambda: image, label)]
    sparse_ms, dense_ms = best_of(steps, seconds=seconds)
    ratio = dense_ms / sparse_ms
    return (
        f"| widths {', '.join(map(str, widths))}, blocks a level {depth}, sparse levels {sparse_levels} "
        f"| {sparse_ms:.0f} | {dense_ms:.0f} | {ratio:.1f} | {GOAL} | {'yes' if ratio >= GOAL else 'NO'} |"
    )


def keep_brightest(dense: Tensor, most: int) -> Tensor:
    """Empty all but so many voxels of each shower (N, C, …), by the first channel."""
    first = dense[:, 0].flatten(1)
    least = first.topk(most, dim=1).values[:, -1].view(-1, *(1,) * (dense.ndim - 1))
    return torch.where(dense[:, :1] >= least, dense, 0.0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=20, help="of processor time for each row")
    parser.add_argument("--most", type=int, default=0, help="voxels of each shower to keep, the brightest; 0: all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"CPU, one thread, torch {torch.__version__}, float32, batch {BATCH}; processor time in ms")
    for path in arguments.images:
        showers = read_dataset([path])
        chosen = np.random.default_rng(0).permutation(len(showers))[:BATCH]
        dense = torch.from_numpy(showers.to_dense(chosen))
        if arguments.most:
            dense = keep_brightest(dense, arguments.most)
        active = float((dense != 0).any(dim=1).float().mean())
        sites = active * math.prod(dense.shape[2:])
        print(
            f"\n{path.name}: {'x'.join(map(str, dense.shape[2:]))}, {sites:.0f} voxels a shower, {100 * active:.1f} %\n"
        )
        print("| training step | sparse | dense | ratio | goal | met |\n| --- | ---: | ---: | ---: | ---: | --- |")
        for widths, sparse_levels, depth in CASES:
            print(measure(dense, widths, sparse_levels, depth, seconds=arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
