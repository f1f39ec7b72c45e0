"""The main job, clean: wall time of each stage, and the memory that the whole of it takes.

``python -m benchmarks.demo [--cores 2]`` runs the workflow of ``configs/demo.yaml`` in an empty folder, samples the
memory of all its processes, and prints a table.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.memory import MemorySampler

REPOSITORY = Path(__file__).parent.parent
START, STOP = re.compile(r"^(?:local)?rule (\w+):"), re.compile(r"^Finished jobid: \d+ \(Rule: (\w+)\)")


def run_demo(folder: str, cores: int) -> tuple[dict[str, list[tuple[float, float]]], float, int]:
    """Spans of each rule in seconds since the start, the whole wall time, the peak of memory in bytes."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--directory", folder]
    started = time.monotonic()
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    sampler = MemorySampler(process.pid)
    sampler.start()
    open_spans: dict[str, list[float]] = {}
    spans: dict[str, list[tuple[float, float]]] = {}
    assert process.stdout is not None
    for line in process.stdout:
        now = time.monotonic() - started
        if match := START.match(line):
            open_spans.setdefault(match[1], []).append(now)
        elif match := STOP.match(line):
            spans.setdefault(match[1], []).append((open_spans[match[1]].pop(0), now))
    if process.wait() != 0:
        sys.exit("the workflow failed")
    return spans, time.monotonic() - started, sampler.peak


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    cores = parser.parse_args().cores
    with tempfile.TemporaryDirectory() as folder:
        spans, wall, peak = run_demo(folder, cores)
        table = (Path(folder) / "results/demo/summary/table.md").read_text()
    print("| stage | jobs | from, s | to, s |\n| --- | ---: | ---: | ---: |")
    for rule, times in spans.items():
        if rule != "all":
            print(f"| {rule} | {len(times)} | {min(a for a, _ in times):.0f} | {max(b for _, b in times):.0f} |")
    print(f"\nwhole: {wall:.0f} s on {cores} cores, peak memory {peak / 1e9:.2f} GB\n\n{table}")


if __name__ == "__main__":
    main()
