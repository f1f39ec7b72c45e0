"""Python, processors and memory."""

import os
import platform
from pathlib import Path

from hepcnn.doctor.finding import Finding

PYTHONS = (3, 11), (3, 14)
ENOUGH_MEMORY_GB = 3.0
"""What the demonstration takes."""
CGROUP = Path("/sys/fs/cgroup")
OLD_CGROUP = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
MEMINFO = Path("/proc/meminfo")


def examine_python() -> Finding:
    """Whether hepcnn runs with this release."""
    version = platform.python_version_tuple()
    fits = PYTHONS[0] <= (int(version[0]), int(version[1])) < PYTHONS[1]
    mend = "" if fits else "hepcnn needs 3.11 to 3.13"
    return Finding("Python", fits, f"{platform.python_version()} on {platform.machine()}", mend=mend)


def count_cores() -> float:
    """Cores that this process may use: of its affinity, and of a container's or job's share of time."""
    usable = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return usable
    return usable if quota == "max" else min(usable, int(quota) / int(period))


def examine_processors() -> Finding:
    """How many cores there are, and whether more threads than these are asked for."""
    usable, threads = count_cores(), os.environ.get("OMP_NUM_THREADS")
    detail = f"{usable:g} core{'s' if usable != 1 else ''}" + (f", OMP_NUM_THREADS={threads}" if threads else "")
    if threads and threads.isdigit() and int(threads) > usable:
        mend = "more threads than cores slow each other down: unset OMP_NUM_THREADS"
        return Finding("processors", False, detail, False, mend)
    return Finding("processors", True, detail)


def examine_memory() -> Finding:
    """How much memory this process may still take; a batch job's limit counts."""
    free = _free_memory()
    if free is None:
        return Finding("memory", True, "this system does not say how much is free", False)
    detail = f"{free / 1e9:.1f} GB free"
    if free < ENOUGH_MEMORY_GB * 1e9:
        mend = f"the demonstration takes {ENOUGH_MEMORY_GB:g} GB: ask for more (Slurm: --mem)"
        return Finding("memory", False, detail, False, mend)
    return Finding("memory", True, detail)


def _free_memory() -> float | None:
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        free = float(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return None
    for limit, used in (
        (CGROUP / "memory.max", CGROUP / "memory.current"),
        (OLD_CGROUP, OLD_CGROUP.with_name("memory.usage_in_bytes")),
    ):
        try:
            free = min(free, float(limit.read_text()) - float(used.read_text()))
        except (OSError, ValueError):  # none there, or "max"
            continue
    return max(free, 0.0)
