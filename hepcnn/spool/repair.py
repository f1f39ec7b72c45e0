"""Spools whose writer is gone without a word."""

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from hepcnn.errors import InputError
from hepcnn.spool.lock import is_alive
from hepcnn.spool.reader import Spool, read_spool
from hepcnn.spool.writer import cut_tail

IDLE_SECONDS = 6 * 3600.0
"""Another machine's writer is taken for dead when its spool did not grow for so long."""


def is_orphan(spool: Spool, *, idle: float = IDLE_SECONDS) -> bool:
    """Whether a run has no end and its writer is gone.

    Parameters
    ----------
    spool
        The run's spool. That of a study has no writer of its own, and is never one.
    idle
        Seconds without a record after which a writer on another machine is taken for dead; on this machine its process
        is asked for.
    """
    if spool.status is not None or spool.start["stage"] == "study":
        return False
    alive = is_alive(str(spool.writer.get("host")), int(spool.writer.get("pid") or 0))
    if alive is None:
        return time.time() - spool.path.stat().st_mtime > idle
    return not alive


def close_orphans(
    spools: Iterable[Path], *, idle: float = IDLE_SECONDS, say: Callable[[str], None] | None = None
) -> list[Path]:
    """End the runs whose writer is gone as KILLED, at the time of their last record; returns their spools.

    Spools that cannot be read are left as they are, and ``say`` is called with the reason.
    """
    closed = []
    for path in spools:
        try:
            spool = read_spool(path)
        except InputError as error:
            if say is not None:
                say(f"left out: {error}")
            continue
        if not is_orphan(spool, idle=idle):
            continue
        cut_tail(path)
        record = {"kind": "end", "status": "KILLED", "time": spool.time, "by": "repair"}
        with path.open("ab") as file:
            file.write(json.dumps(record).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        closed.append(path)
    return closed
