"""Which Snakemake works in a folder: a record that it leaves when it starts.

Snakemake's own lock says that a folder is taken, not by whom; and it stays when Snakemake is killed.
"""

import datetime
import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from hepcnn.atomic import atomic_path
from hepcnn.spool.lock import is_alive

RECORD = Path(".snakemake") / "hepcnn-run.json"


@dataclass(frozen=True)
class SnakemakeRun:
    """A Snakemake that was started in a folder: where, by which command, and whether it has said good-bye.

    ``made_by`` is a hash of all that decides its results: the study and the code.
    """

    host: str
    pid: int
    born: int
    since: str
    command: list[str]
    executor: str
    made_by: str = ""
    is_over: bool = False

    @property
    def is_alive(self) -> bool | None:
        """Whether it is still at work; None where that cannot be known, since it is on another machine."""
        if self.is_over:
            return False
        alive = is_alive(self.host, self.pid)
        # The number may be another process's by now.
        return alive and self.born in (0, _born(self.pid))

    def describe(self) -> str:
        """Who it is, for a message."""
        return f"Snakemake (process {self.pid} on {self.host}, started {self.since})"


def describe_this_run(executor: str, *, made_by: str = "") -> SnakemakeRun:
    """The record of the Snakemake that this process is."""
    since = datetime.datetime.now().astimezone().isoformat(timespec="seconds", sep=" ")
    command = [sys.executable, "-m", "snakemake", *sys.argv[1:]]
    return SnakemakeRun(socket.gethostname(), os.getpid(), _born(os.getpid()), since, command, executor, made_by)


def write_run(folder: Path, run: SnakemakeRun) -> None:
    """Leave the record, instead of an earlier one."""
    with atomic_path(folder / RECORD) as partial:
        partial.write_text(json.dumps(asdict(run), indent=1), encoding="utf-8")


def read_run(folder: Path) -> SnakemakeRun | None:
    """The record of the last Snakemake that started here; None where there is none, or none that can be read."""
    try:
        return SnakemakeRun(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _born(pid: int) -> int:
    """When a process of this machine started, in ticks since boot; 0 where the system does not tell."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0
