"""How much memory an image of a liquid-argon detector takes: conversion, and a training step of a sparse U-Net.

``python -m benchmarks.lartpc [--size 192] [--voxels 20000] [--images 4] [--batch 1] [--width 16] [--json]`` makes a
larcv file of tracks and showers in a volume, converts it, and takes training steps of a U-Net that tells the kind of
each voxel. ``--file F.h5`` takes a real file of the family instead. Conversion and training are processes of their own;
the table has the peak of each one's resident memory, as the kernel counted it, and the processor time of a step. Goal:
an image of 192³ goes forward and backward in less than 2 GB.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

GOAL = 2.0
CHANNELS = "energy,sum:segment"


def convert(source: Path, output: Path) -> None:
    """Images with charge and kind of each voxel."""
    from hepcnn.config import ImagesConfig
    from hepcnn.convert.files import convert_files
    from hepcnn.convert.inputs import LabelledFiles
    from hepcnn.grids import NativeGrid

    images = ImagesConfig(grid=NativeGrid(), channels=CHANNELS.split(","), preprocess=[], jet_features=[])
    convert_files([LabelledFiles([source], "larcv", "event")], output, class_names=["event"], images=images)


def make_unet(n_axes: int, width: int, n_levels: int, n_classes: int) -> Any:
    """A U-Net of submanifold convolutions, halving the image ``n_levels - 1`` times; a forward gives (n, K) logits."""
    import torch
    from torch import nn

    from hepcnn import sparse

    same, down, up = (
        getattr(sparse, f"{kind}{n_axes}d") for kind in ("SubmanifoldConv", "SparseConv", "SparseInverseConv")
    )

    class Block(nn.Module):
        """Two convolutions that keep the sites."""

        def __init__(self, n_in: int, n_out: int) -> None:
            super().__init__()
            layers = []
            for n in (n_in, n_out):
                layers += [
                    same(n, n_out, 3, bias=False),
                    sparse.SparseBatchNorm(n_out),
                    sparse.SparseActivation(nn.ReLU()),
                ]
            self.layers = nn.Sequential(*layers)

        def forward(self, x: Any) -> Any:
            return self.layers(x)

    class UNet(nn.Module):
        """Down by strided convolutions, up by transposed ones onto the sites that there were."""

        def __init__(self) -> None:
            super().__init__()
            widths = [width * (level + 1) for level in range(n_levels)]
            self.down = nn.ModuleList([Block(n, n) for n in widths])
            self.first = same(1, widths[0], 3)
            self.shrink = nn.ModuleList([down(a, b, 2, stride=2) for a, b in itertools.pairwise(widths)])
            self.grow = nn.ModuleList([up(b, a, 2, stride=2) for a, b in itertools.pairwise(widths)])
            self.up = nn.ModuleList([Block(2 * n, n) for n in widths[:-1]])
            self.head = nn.Linear(widths[0], n_classes)

        def forward(self, x: Any) -> Any:
            x, kept = self.first(x), []
            for level, block in enumerate(self.down):
                x = block(x)
                if level < len(self.shrink):
                    kept.append(x)
                    x = self.shrink[level](x)
            for level in reversed(range(len(kept))):
                grown = self.grow[level](x, kept[level])
                x = kept[level].replace(features=torch.cat([kept[level].features, grown.features], dim=1))
                x = self.up[level](x)
            return self.head(x.features)

    return UNet()


def train(images: Path, *, batch: int, width: int, steps: int) -> dict[str, Any]:
    """Take steps on the images of a file, and say what they took."""
    import numpy as np
    import torch
    from torch.nn.functional import cross_entropy

    from hepcnn.data.compiled import gather_coords
    from hepcnn.data.dataset import read_dataset
    from hepcnn.sparse import SparseTensor

    dataset = read_dataset([images])
    torch.manual_seed(1)
    unet = make_unet(len(dataset.shape), width, n_levels=5, n_classes=3)
    optimiser = torch.optim.AdamW(unet.parameters(), lr=3e-3)
    losses, seconds, voxels = [], [], []
    for step in range(steps):
        jets = np.arange(step * batch, (step + 1) * batch) % len(dataset)
        coords, value = gather_coords(jets, dataset.indptr, dataset.index, dataset.value, dataset.shape)
        charge, kind = torch.from_numpy(value[:, :1]), torch.from_numpy(value[:, 1].astype(np.int64))
        x = SparseTensor(torch.from_numpy(coords), torch.log1p(charge.clamp(min=0)), dataset.shape, batch)
        start = time.process_time()
        loss = cross_entropy(unet(x), kind)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss))
        seconds.append(time.process_time() - start)
        voxels.append(len(coords))
    n_parameters = sum(parameter.numel() for parameter in unet.parameters())
    return {"losses": losses, "seconds": seconds, "voxels": voxels, "shape": dataset.shape, "parameters": n_parameters}


def run_part(*arguments: str) -> dict[str, Any]:
    """A part of this program in a process of its own; its answer has the peak of its memory."""
    command = [sys.executable, "-m", "benchmarks.lartpc", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Make or take a file, convert it, train on it."""
    from tests.io.lartpc_files import make_tracks, write_larcv

    with tempfile.TemporaryDirectory() as folder:
        source, images = options.file, Path(folder) / "images.h5"
        if source is None:
            tracks = [make_tracks(options.voxels, options.size, seed=seed) for seed in range(options.images)]
            source = write_larcv(Path(folder) / "larcv.h5", tracks, (options.size,) * 3)
        found = {"convert": run_part("--part", "convert", "--file", str(source), "--output", str(images))}
        more = [f"--{name}={getattr(options, name)}" for name in ("batch", "width", "steps")]
        found["train"] = run_part("--part", "train", "--output", str(images), *more)
        found["files"] = {"source_mb": source.stat().st_size / 1e6, "images_mb": images.stat().st_size / 1e6}
    return found


def report(found: dict[str, Any], batch: int) -> None:
    """The table."""
    train_ = found["train"]
    shape = " × ".join(map(str, train_["shape"]))
    print(f"{shape}, {max(train_['voxels']):,} voxels in a batch of {batch}, {train_['parameters']:,} parameters")
    print("\n| | peak memory, GB | processor time, s |\n| --- | ---: | ---: |")
    print(f"| conversion of all | {found['convert']['peak_gb']:.2f} | {found['convert']['cpu']:.1f} |")
    later = train_["seconds"][1:] or train_["seconds"]
    print(f"| forward and backward, first step | | {train_['seconds'][0]:.2f} |")
    print(f"| later steps, each | {train_['peak_gb']:.2f} | {sum(later) / len(later):.2f} |")
    print(f"\nloss {train_['losses'][0]:.3f} → {train_['losses'][-1]:.3f}; goal: less than {GOAL:g} GB")


def main() -> None:
    """Read options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("size", 192), ("voxels", 20_000), ("images", 4), ("batch", 1), ("width", 16), ("steps", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", choices=["convert", "train"], help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is None:
        found = measure(options)
        print(json.dumps(found)) if options.json else report(found, options.batch)
        return
    answer: dict[str, Any] = {}
    if options.part == "convert":
        convert(options.file, options.output)
    else:
        answer = train(options.output, batch=options.batch, width=options.width, steps=options.steps)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    # Linux counts kB.
    print(json.dumps({**answer, "peak_gb": usage.ru_maxrss * 1024 / 1e9, "cpu": usage.ru_utime + usage.ru_stime}))


if __name__ == "__main__":
    main()
