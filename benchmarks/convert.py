"""How fast files become images, against the time that plain uproot needs to read the same branches.

``python -m benchmarks.convert [--jets 300000] [--repeat 5]`` makes a file of jets in JetClass's layout and, in turns,
reads it with plain uproot and converts it with one and with two processes. Each is a process of its own, timed whole,
start-up included. It prints medians as ratios, the peak of memory, and the size of what was written. With
``--large 1000000`` one conversion of so many jets is added, for its memory.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.jets import write_jets
from benchmarks.memory import MemorySampler

READ = """
import sys, uproot
n = 0
for block in uproot.iterate(sys.argv[1] + ":tree", sys.argv[2:], step_size=20_000, library="ak"):
    n += len(block)
print(n)
"""
BRANCHES = (
    *("jet_pt", "jet_eta", "jet_phi", "jet_energy", "event_number"),
    *(f"part_{name}" for name in ("px", "py", "pz", "energy", "charge", "ecal", "hcal")),
)
CHANNELS = ("pt", "ecal", "hcal", "track_pt", "multiplicity")


def run(command: list[str]) -> tuple[float, int]:
    """Seconds that a command takes, and its peak of memory in bytes."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    sampler = MemorySampler(process.pid)
    sampler.start()
    _, errors = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{errors}")
    return time.perf_counter() - started, sampler.peak


def convert_command(source: Path, output: Path, *, workers: int, channels: tuple[str, ...] = CHANNELS) -> list[str]:
    """The command that converts a file."""
    hepcnn = str(Path(sys.executable).parent / "hepcnn")
    options = ["--schema", "hepcnn", "--label", "top", "--channels", ",".join(channels), "--workers", str(workers)]
    return [hepcnn, "convert", str(source), *options, "-o", str(output)]


def compare(source: Path, folder: Path, repeat: int) -> dict[str, list[tuple[float, int]]]:
    """Times and memory of reading and converting, in turns; the first round fills caches and is left out."""
    commands = {
        "plain uproot, reading only": [sys.executable, "-c", READ, str(source), *BRANCHES],
        "hepcnn convert, 1 process": convert_command(source, folder / "one.h5", workers=1),
        "hepcnn convert, 2 processes": convert_command(source, folder / "two.h5", workers=2),
    }
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in commands}
    for turn in range(repeat + 1):
        for name, command in commands.items():
            for made in folder.glob("*.h5"):
                made.unlink()
            result = run(command)
            if turn:
                found[name].append(result)
    return found


def print_speed(found: dict[str, list[tuple[float, int]]], n_jets: int) -> None:
    """The table of times."""
    seconds = {name: statistics.median(t for t, _ in runs) for name, runs in found.items()}
    read, one, two = seconds.values()
    print("| | seconds | jets/s | times plain reading | peak memory, GB |\n| --- | ---: | ---: | ---: | ---: |")
    for name, took in seconds.items():
        peak = max(memory for _, memory in found[name]) / 1e9
        print(f"| {name} | {took:.2f} | {n_jets / took:,.0f} | {took / read:.2f} | {peak:.2f} |")
    print(f"\nconvert ÷ read: {one / read:.2f} (goal: at most 1.5)")
    print(f"one process ÷ two: {one / two:.2f} (goal: at least 1.7)\n")


def print_sizes(source: Path, folder: Path, n_jets: int) -> None:
    """How large images.h5 is, against dense float32."""
    print("| channels | images.h5, bytes a jet | dense float32 | ratio |\n| ---: | ---: | ---: | ---: |")
    for channels in (("pt",), CHANNELS):
        output = folder / f"{len(channels)}.h5"
        run(convert_command(source, output, workers=2, channels=channels))
        size, dense = output.stat().st_size / n_jets, 40 * 40 * 4 * len(channels)
        print(f"| {len(channels)} | {size:.0f} | {dense} | 1/{dense / size:.0f} |")
    print("\ngoal: at most 1/15\n")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jets", type=int, default=300_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--large", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_jets(folder / "jets.root", arguments.jets, seed=1)
        print(f"{arguments.jets:,} jets, {source.stat().st_size / 1e6:.0f} MB, 40×40 pixels, 5 channels\n")
        print_speed(compare(source, folder, arguments.repeat), arguments.jets)
        print_sizes(source, folder, arguments.jets)
        if arguments.large:
            large = write_jets(folder / "large.root", arguments.large, seed=2)
            for workers in (1, 2):
                took, peak = run(convert_command(large, folder / f"large{workers}.h5", workers=workers))
                print(f"{arguments.large:,} jets, {workers} process(es): {took:.1f} s, peak {peak / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
