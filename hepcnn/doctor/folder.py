"""The file system that a study works on: room, quota, locks, how long small files take, whether nodes share it."""

import ctypes
import errno
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from hepcnn.doctor.finding import Finding
from hepcnn.doctor.mounts import Mount, find_mount

ENOUGH_DISK_GB, LEAST_DISK_GB = 5.0, 0.5
"""A study of some size, and the demonstration."""
FEW_FILES = 5000
SLOW_MS, N_PROBES = 50.0, 9
LOCK_PATIENCE_S = 10.0
OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
TRY_LOCKS = """
import fcntl, sys
for call in (fcntl.flock, fcntl.lockf):
    try:
        with open(sys.argv[1], 'r+b') as file:
            call(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        print('granted')
    except BlockingIOError:
        print('refused')
    except OSError as error:
        print(error.strerror)
"""


def examine_folder(folder: Path, *, executor: str = "", needed_gb: float | None = None) -> Iterator[Finding]:
    """Examine where a study is to write.

    Parameters
    ----------
    folder
        It need not exist yet; the nearest folder above it is looked at.
    executor
        ``slurm`` or ``htcondor`` where jobs run on other nodes.
    needed_gb
        What the study will write, where that is known.
    """
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    mount = find_mount(place)
    yield _examine_kind(place, mount, executor)
    try:
        with tempfile.TemporaryDirectory(prefix=".hepcnn-doctor-", dir=place) as probe:
            yield _examine_room(place, Path(probe), mount, needed_gb)
            yield _examine_locks(Path(probe))
            yield _examine_latency(Path(probe))
    except OSError as error:
        yield _explain(place, error)


def _explain(place: Path, error: OSError) -> Finding:
    what = "disk" if error.errno in OUT_OF_ROOM else "work folder"
    mend = "free some, or work elsewhere" if what == "disk" else "work in a folder of your own, on a disk that is well"
    return Finding(what, False, f"cannot write in {place}: {error.strerror}", mend=mend)


def _examine_kind(place: Path, mount: Mount | None, executor: str) -> Finding:
    what = "file system"
    if mount is None:
        return Finding(what, True, f"{place}: this system does not say of what kind it is", False)
    detail = f"{mount.kind} ({mount.source} on {mount.point})"
    if executor and mount.is_memory:
        mend = "work on the cluster's shared file system"
        return Finding(what, False, f"{detail} is this machine's memory, which no other node sees", mend=mend)
    if executor and not mount.is_shared:
        mend = f"if 'ls {place}' fails on a node, work on the cluster's shared file system"
        return Finding(what, False, f"{detail} looks like a disk of this machine alone", False, mend)
    if mount.is_memory:
        mend = "it is gone after a restart, and what it holds is taken from the memory"
        return Finding(what, False, f"{detail} is memory, not disk", False, mend)
    return Finding(what, True, f"{detail}, {'shared' if mount.is_shared else 'of this machine'}", False)


def _examine_room(place: Path, probe: Path, mount: Mount | None, needed_gb: float | None) -> Finding:
    usage, files = shutil.disk_usage(place), os.statvfs(place)
    free_gb = usage.free / 1e9
    wanted = needed_gb if needed_gb is not None else ENOUGH_DISK_GB
    told = f"{free_gb:.1f} GB free" + (f", the study takes some {needed_gb:.1f}" if needed_gb is not None else "")
    least = max(LEAST_DISK_GB, needed_gb or 0.0)
    if free_gb < least:
        return Finding("disk", False, told, mend=f"free {least:.1f} GB, or work elsewhere")
    if files.f_files and files.f_favail < FEW_FILES:
        return Finding("disk", False, f"{told}, but only {files.f_favail} more files fit (inodes)", mend="delete some")
    # A reservation in memory would take it, and is no quota's business.
    if (mount is None or not mount.is_memory) and (refused := _try_reserving(probe, min(wanted, free_gb / 2))):
        detail = f"{told}, but not for you: {refused}"
        return Finding(
            "disk", False, detail, mend="see your quota ('quota -s', 'lfs quota'), delete, or work elsewhere"
        )
    if free_gb < wanted:
        return Finding("disk", False, told, False, f"a study of some size takes {wanted:.0f} GB")
    return Finding("disk", True, told)


def _try_reserving(probe: Path, gigabytes: float) -> str:
    """Why so much cannot be had, or nothing; without writing, where the file system can reserve."""
    fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
    if fallocate is None:
        return ""
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    with tempfile.TemporaryFile(dir=probe) as file:
        if fallocate(file.fileno(), 0, 0, int(gigabytes * 1e9)) == 0:
            return ""
    number = ctypes.get_errno()
    return f"{gigabytes:.1f} GB are refused ({os.strerror(number)})" if number in OUT_OF_ROOM else ""


def _examine_locks(probe: Path) -> Finding:
    """Hold a lock of each kind, and let another process ask for the same."""
    import fcntl

    path, what = probe / "lock", "file locks"
    mend = "mount it with locks (NFS: without 'nolock'), or keep the tracking store elsewhere"
    path.touch()
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return Finding(what, False, f"this file system gives none: {error.strerror}", mend=mend)
        try:
            other = subprocess.run(
                [sys.executable, "-I", "-S", "-c", TRY_LOCKS, str(path)],
                capture_output=True,
                text=True,
                timeout=LOCK_PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Finding(what, False, f"no answer within {LOCK_PATIENCE_S:g} s", mend=mend)
    answers = other.stdout.split("\n")[:2]
    if answers == ["refused", "refused"]:
        return Finding(what, True, "hold between processes of this machine")
    return Finding(what, False, f"two processes hold one lock (flock {answers[0]}, lockf {answers[-1]})", mend=mend)


def _examine_latency(probe: Path) -> Finding:
    times = []
    for number in range(N_PROBES):
        started = time.perf_counter()
        with (probe / f"{number}.partial").open("wb") as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
        (probe / f"{number}.partial").rename(probe / str(number))
        (probe / str(number)).stat()
        times.append(1e3 * (time.perf_counter() - started))
    median = statistics.median(times)
    detail = f"a small file is safe on it after {median:.1f} ms (median of {N_PROBES}, at most {max(times):.0f})"
    mend = "Snakemake and tracking write many small files: prefer another file system" if median > SLOW_MS else ""
    return Finding("latency", not mend, detail, False, mend)
