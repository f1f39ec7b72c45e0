"""The work folder: real file systems where they can be had, real limits, and what each fault is called."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepcnn.doctor import Finding, folder
from hepcnn.doctor.folder import examine_folder
from hepcnn.doctor.mounts import Mount, find_mount

MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /home rw - nfs4 server:/export/home rw,vers=4.2
31 30 0:41 / /home/me/with\\040space rw - lustre 10.0.0.1@tcp:/fs rw
32 22 0:42 / /dev/shm rw - tmpfs tmpfs rw
33 22 0:43 / /eos rw - fuse.eosxd eos rw
34 22 0:44 / /home/overlaid rw - nfs a rw
35 22 0:45 / /home/overlaid rw - ext4 b rw
"""


@pytest.mark.parametrize(
    ("place", "kind", "is_shared"),
    [
        ("/usr/bin", "ext4", False),
        ("/home/me/x", "nfs4", True),
        ("/home/me/with space/y", "lustre", True),
        ("/homer", "ext4", False),
        ("/dev/shm", "tmpfs", False),
        ("/eos/user", "fuse.eosxd", True),
        ("/home/overlaid", "ext4", False),
    ],
)
def test_the_file_system_of_a_folder(place: str, kind: str, is_shared: bool, tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTINFO)
    mount = find_mount(Path(place), tmp_path / "mountinfo")
    assert mount is not None
    assert (mount.kind, mount.is_shared) == (kind, is_shared)


def test_the_kinds_agree_with_another_program(tmp_path: Path) -> None:
    if shutil.which("df") is None or find_mount(tmp_path) is None:
        pytest.skip("no df, or no /proc/self/mountinfo")
    for place in (tmp_path, Path("/"), Path("/proc"), Path("/dev/shm")):
        if place.exists():
            said = subprocess.check_output(["df", "--output=fstype", str(place)], text=True).split()[-1]
            found = find_mount(place)
            assert found is not None
            assert found.kind == said


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_a_healthy_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    found = by_name(examine_folder(tmp_path / "results" / "study"))
    assert set(found) == {"file system", "disk", "file locks", "latency"}
    assert found["file locks"].state == "ok"
    assert found["disk"].state in ("ok", "warn")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "executor", "state"),
    [
        ("ext4", "", "ok"),
        ("ext4", "slurm", "warn"),
        ("tmpfs", "", "warn"),
        ("tmpfs", "htcondor", "fail"),
        ("nfs4", "slurm", "ok"),
    ],
)
def test_a_folder_that_nodes_do_not_share(
    kind: str, executor: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "find_mount", lambda _: Mount(kind, "source", "/"))
    found = by_name(examine_folder(tmp_path, executor=executor))["file system"]
    assert found.state == state
    if executor and state != "ok":
        assert "shared file system" in found.mend


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: usage(10**12, 10**12 - 10**8, 10**8))
    assert by_name(examine_folder(tmp_path))["disk"].describe() == (
        "fail disk: 0.1 GB free; free 0.5 GB, or work elsewhere"
    )
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda _: usage(10**12, 9 * 10**11, 10**11))
    found = by_name(examine_folder(tmp_path, needed_gb=200.0))["disk"]
    assert (found.state, "the study takes some 200.0" in found.detail) == ("fail", True)


def fill(number: int) -> None:
    """Write until it fails."""
    while True:
        os.write(number, bytes(4096))


def test_a_real_file_system_of_two_megabytes(tmp_path: Path) -> None:
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "x", tmp_path], check=False).returncode:
        pytest.skip("mounting a small file system takes root, and a kernel that lets it")
    try:
        found = by_name(examine_folder(tmp_path, executor="slurm"))
        assert (found["disk"].state, found["file system"].state) == ("fail", "fail")
        (tmp_path / "filler").write_bytes(bytes(1 << 20))
        with (tmp_path / "filler").open("ab") as file, pytest.raises(OSError, match="No space"):
            fill(file.fileno())
        assert any(f.state == "fail" and "No space left" in f.detail for f in examine_folder(tmp_path))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_quota_that_leaves_less_than_the_disk_has(tmp_path: Path) -> None:
    """A limit on the size of files is refused as a quota is, when room is reserved."""
    mount = find_mount(tmp_path)
    if mount is None or mount.kind not in ("ext4", "xfs", "btrfs", "overlay"):
        pytest.skip("this file system reserves no room")
    program = (
        "import resource, sys, pathlib; from hepcnn.doctor.folder import examine_folder\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, {resource.RLIM_INFINITY}))\n"
        "print(*[f.describe() for f in examine_folder(pathlib.Path(sys.argv[1]))], sep='\\n')"
    )
    said = subprocess.check_output([sys.executable, "-c", program, str(tmp_path)], text=True)
    assert "but not for you" in said
    assert "see your quota" in said


@pytest.mark.parametrize("place", ["/proc", "/sys"])
def test_a_folder_that_cannot_be_written_to(place: str) -> None:
    if not Path(place).is_dir():
        pytest.skip(f"no {place} here")
    found = by_name(examine_folder(Path(place) / "results"))
    assert found["work folder"].state == "fail"
    assert place in found["work folder"].detail


def test_locks_that_do_not_hold_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that grants every lock: the other process asks for another file's."""
    monkeypatch.setattr(folder, "TRY_LOCKS", folder.TRY_LOCKS.replace("sys.argv[1]", "'/dev/null'"))
    found = by_name(examine_folder(tmp_path))["file locks"]
    assert (found.state, "flock granted" in found.detail) == ("fail", True)
