"""How fast batches come, against weaver-core's loader on the same jets.

``python -m benchmarks.loader [--jets 60000] [--repeat 5]`` makes so many jets of each of two classes in JetClass's
layout, converts them with hepcnn, and times batches of dense 40 × 40 images (batch size 512) and weaver-core's batches
of the same jets' constituents (five fields, padded to 128). weaver-core runs aside, in an environment that uv makes for
it, and never becomes a dependency. It prints medians over the repetitions, the best of them, and the ratios of the best
to those of weaver's fastest way of reading files, and of its fastest in memory.
"""

import argparse
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from benchmarks.jets import make_jets
from hepcnn.data.batches import JetSource
from hepcnn.data.dataset import read_columns, read_dataset
from hepcnn.data.sources import DeviceDataset, HostDataset, StreamDataset
from hepcnn.io.root import write_tree

REPOSITORY = Path(__file__).parent.parent
BATCH, BLOCK, POOL, SHARDS, STEP = 512, 16_384, 4, 2, 10_000
CHANNELS = {1: ["pt"], 5: ["pt", "ecal", "hcal", "track_pt", "multiplicity"]}
CLASSES = {"qcd": 1, "top": 3}
CPU = torch.device("cpu")
KINDS = ("reading", "in memory")
WEAVER = ("weaver-core==0.5.3", "torch==2.15.0")
WEAVER_CONFIG = {
    "treename": "tree",
    "new_variables": {"part_mask": "ak.ones_like(part_energy)"},
    "inputs": {
        "part": {
            "length": 128,
            "vars": [[f"part_{name}", None] for name in ("px", "py", "pz", "energy", "charge")],
        }
    },
    "labels": {"type": "simple", "value": [f"is_{name}" for name in CLASSES]},
}


def write_files(folder: Path, n_jets: int) -> dict[str, list[Path]]:
    """Files of each class, each jet with one label branch per class, as JetClass has it."""
    files: dict[str, list[Path]] = {name: [] for name in CLASSES}
    for name, n_prongs in CLASSES.items():
        for shard in range(SHARDS):
            files[name].append(folder / f"{name}_{shard}.root")
            write_tree(files[name][-1], "tree", _blocks(name, n_prongs, n_jets // SHARDS, 10 * n_prongs + shard))
    return files


def _blocks(name: str, n_prongs: int, n_jets: int, seed: int) -> Iterator[dict[str, Any]]:
    for start in range(0, n_jets, STEP):
        n = min(STEP, n_jets - start)
        labels = {f"is_{other}": np.full(n, other == name, dtype=np.int32) for other in CLASSES}
        event = {"event_number": np.arange(start, start + n) + seed * 1_000_000_000}
        yield make_jets(n, n_prongs=n_prongs, seed=seed * 1_000_000 + start) | labels | event


def convert(folder: Path, files: dict[str, list[Path]], channels: list[str]) -> Path:
    """Convert them all to one ``images.h5`` with the command line."""
    study = {
        "study": "loader",
        "results": str(folder / "results"),
        "samples": {name: {"files": [str(p) for p in group], "schema": "hepcnn"} for name, group in files.items()},
        "images": {"channels": channels},
        "models": {"cnn": {}},
    }
    config, output = folder / "study.yaml", folder / f"{len(channels)}.h5"
    config.write_text(yaml.safe_dump(study, sort_keys=False))
    hepcnn = Path(sys.executable).parent / "hepcnn"
    subprocess.run([hepcnn, "convert", "--config", config, "-o", output], check=True, stdout=subprocess.DEVNULL)
    return output


def run_epoch(source: JetSource, epoch: int, *, sparse: bool = False) -> int:
    """Go through an epoch, and count its jets."""
    return sum(len(b.label) for b in source.epoch(seed=1, epoch=epoch, batch_size=BATCH, sparse=sparse))


def repeat_timed(action: Callable[[int], int], repeat: int) -> list[float]:
    """Jets/s of each repetition, after one that is left out: it fills caches and compiles."""
    found = []
    for number in range(repeat + 1):
        started = time.perf_counter()
        n_jets = action(number)
        found.append(n_jets / (time.perf_counter() - started))
    return found[1:]


def time_hepcnn(path: Path, repeat: int) -> dict[str, list[float]]:
    """Jets/s of every way to feed a training."""
    options: dict[str, Any] = {"feature_names": ("pt", "mass"), "device": CPU}
    columns, files = read_columns([path])
    resident = DeviceDataset(read_dataset([path]), **options)
    in_host = HostDataset(read_dataset([path]), **options, block=BLOCK)
    stream = StreamDataset(files, columns, np.arange(len(columns)), **options, block=BLOCK, pool=POOL)
    return {
        "in memory, dense": repeat_timed(lambda k: run_epoch(resident, k), repeat),
        "in memory, sparse": repeat_timed(lambda k: run_epoch(resident, k, sparse=True), repeat),
        "from memory in blocks, dense": repeat_timed(lambda k: run_epoch(in_host, k), repeat),
        "first epoch with reading, dense": repeat_timed(
            lambda k: run_epoch(DeviceDataset(read_dataset([path]), **options), k), repeat
        ),
        "streamed from disk, dense": repeat_timed(lambda k: run_epoch(stream, k), repeat),
    }


def time_weaver(folder: Path, files: dict[str, list[Path]], n_jets: int, repeat: int) -> dict[str, list[float]]:
    """Jets/s of weaver-core's loader, in an environment of its own."""
    beside = REPOSITORY / ".uv/bin/uv"
    uv = shutil.which("uv") or (str(beside) if beside.exists() else None)
    if uv is None:
        sys.exit(
            "weaver-core is run by uv, which is neither on PATH nor in .uv/bin of the checkout: 'make setup' gets it"
        )
    config = folder / "weaver.yaml"
    config.write_text(yaml.safe_dump(WEAVER_CONFIG, sort_keys=False))
    command = [uv, "run", "--no-project", "--python", f"{sys.version_info.major}.{sys.version_info.minor}"]
    command += [option for package in WEAVER for option in ("--with", package)]
    command += ["python", str(REPOSITORY / "benchmarks/weaver_loader.py"), str(config), str(BATCH), str(repeat)]
    command += [str(n_jets), *(f"{name}={path}" for name, group in files.items() for path in group)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    if done.returncode != 0:
        sys.exit(f"weaver-core's loader failed:\n{done.stderr[-3000:]}")
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jets", type=int, default=60_000, help="of each class")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--without-weaver", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_files(folder, arguments.jets)
        found: dict[str, list[float]] = {}
        for n_channels, channels in CHANNELS.items():
            path = convert(folder, files, channels)
            for key, speeds in time_hepcnn(path, arguments.repeat).items():
                found[f"hepcnn, {n_channels} channel{'s' * (n_channels > 1)}: {key}"] = speeds
        peer = {} if arguments.without_weaver else time_weaver(folder, files, 2 * arguments.jets, arguments.repeat)
        found |= {f"weaver-core: {key}": speeds for key, speeds in peer.items()}
    best = {kind: max((max(v) for k, v in peer.items() if k.startswith(kind)), default=math.nan) for kind in KINDS}
    print(f"torch uses {torch.get_num_threads()} threads; {arguments.repeat} repetitions, batches of {BATCH}\n")
    heads = [f"best ÷ weaver's best {kind}" for kind in KINDS]
    print(f"| | jets/s, median | best | {' | '.join(heads)} |\n| --- | ---: | ---: | ---: | ---: |")
    for key, speeds in found.items():
        ratios = " | ".join(f"{max(speeds) / best[kind]:.1f}" for kind in KINDS)
        print(f"| {key} | {statistics.median(speeds):,.0f} | {max(speeds):,.0f} | {ratios} |")


if __name__ == "__main__":
    main()
