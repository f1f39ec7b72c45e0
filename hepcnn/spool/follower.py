"""The one process beside a training that brings its spool to the store while it grows."""

import os
import subprocess
import sys
from pathlib import Path

LOG = "track.log"


def start_follower(folder: Path) -> int | None:
    """Start ``hepcnn track sync --follow`` for a run's folder, at low priority and in a session of its own.

    Returns
    -------
    int or None
        The process, which ends with the run; None where none can be started. Nobody waits for it.
    """
    command = [sys.executable, "-m", "hepcnn", "track", "sync", "--follow", str(folder.resolve())]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Numerical libraries would start a thread a core for nothing.
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
    except OSError:
        return None
    return process.pid
