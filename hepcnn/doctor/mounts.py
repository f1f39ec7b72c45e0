"""Which file system a folder is on."""

import re
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
SHARED = re.compile(
    r"nfs\d*|lustre|gpfs|ceph|beegfs|beegfs_nodev|afs|openafs|pvfs2|orangefs|panfs|glusterfs|gfs2|ocfs2|cifs|smb3|wekafs"
    r"|fhgfs|9p|virtiofs|fuse\.(?!snapfuse|overlayfs|squashfuse).*|eosfs|fuse"
)
MEMORY = ("tmpfs", "ramfs")


@dataclass(frozen=True)
class Mount:
    """A file system: its kind, what is mounted, and where."""

    kind: str
    source: str
    point: str

    @property
    def is_shared(self) -> bool:
        """Whether other machines see it, as far as its kind tells."""
        return SHARED.fullmatch(self.kind) is not None

    @property
    def is_memory(self) -> bool:
        """Whether what is written there takes memory, and is gone after a restart."""
        return self.kind in MEMORY


def find_mount(folder: Path, mounts: Path = MOUNTS) -> Mount | None:
    """The file system that a folder is on; None where the system does not say."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    place, best = folder.resolve(), None
    for line in lines:
        # 36 35 98:0 /root /point options - kind source more; spaces are written as \040
        left, _, right = line.partition(" - ")
        fields, described = left.split(), right.split()
        if len(fields) < 5 or len(described) < 2:
            continue
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields[4])
        # Of several on one point, the last hides the others.
        if place.is_relative_to(point) and (best is None or len(point) >= len(best.point)):
            best = Mount(described[0], described[1], point)
    return best
