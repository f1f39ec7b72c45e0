"""Where a run comes from: the code, the machine, the batch job. All as tags."""

import contextlib
import getpass
import hashlib
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

LOCKS = ("requirements.lock", "uv.lock", "pixi.lock", "conda-lock.yml", "poetry.lock")
JOBS: Mapping[str, str] = {
    "SLURM_JOB_ID": "slurm",
    "PBS_JOBID": "pbs",
    "LSB_JOBID": "lsf",
    "JOB_ID": "sge",
    "CONDOR_JOB_ID": "htcondor",
}
"""Variables that batch systems set; HTCondor's is what the submit description calls so."""
GIT_SECONDS = 5.0


def describe_origin(folder: Path | None = None, *, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Tags of a run that starts here: git commit and whether files differ from it, lock file, host, user, batch job.

    Parameters
    ----------
    folder
        Where the user's code is; by default the working directory.
    environment
        By default that of this process.

    Returns
    -------
    dict
        What cannot be found out is left out.
    """
    folder = folder or Path.cwd()
    known = os.environ if environment is None else environment
    tags = {"hepcnn.host": socket.gethostname()} | _describe_git(folder) | _describe_lock(folder)
    with contextlib.suppress(KeyError, OSError):  # a container's user may have no name
        tags["mlflow.user"] = getpass.getuser()
    for variable, system in JOBS.items():
        if known.get(variable):
            tags["hepcnn.job"] = f"{system} {known[variable]}"
            break
    return tags


def _describe_git(folder: Path) -> dict[str, str]:
    commit = _ask_git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    tags = {"mlflow.source.git.commit": commit}
    changes = _ask_git(folder, "status", "--porcelain", "--untracked-files=no")
    if changes is not None:
        tags["hepcnn.git.dirty"] = "true" if changes else "false"
    branch = _ask_git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    return tags | ({"mlflow.source.git.branch": branch} if branch else {})


def _ask_git(folder: Path, *arguments: str) -> str | None:
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _describe_lock(folder: Path) -> dict[str, str]:
    """The nearest lock file, from the folder upwards."""
    for parent in (folder, *folder.resolve().parents):
        for name in LOCKS:
            try:
                content = (parent / name).read_bytes()
            except OSError:
                continue
            return {"hepcnn.lock": name, "hepcnn.lock.sha256": hashlib.sha256(content).hexdigest()}
    return {}
