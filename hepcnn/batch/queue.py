"""Jobs that a Snakemake submitted from a folder, as the batch system knows them.

Slurm's jobs are known by their working directory and their name, which is the id of the Snakemake that submitted them;
HTCondor's by their working directory and the log that the plugin has all of them write.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hepcnn.batch.commands import ask, has_program
from hepcnn.errors import BatchError

System = Literal["slurm", "htcondor"]
RUN_ID = re.compile(r"(?:[\w-]+_)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PURPOSE = re.compile(r"(rule|group)_(\w+?)(?:_wildcards_(.*))?")
SLURM_FIELDS = "%i|%j|%T|%k|%Z"
CONDOR_LOG = "snakemake-rules.log"
CONDOR_STATES = {1: "IDLE", 2: "RUNNING", 3: "REMOVED", 4: "COMPLETED", 5: "HELD", 6: "OUTPUT", 7: "SUSPENDED"}
CONDOR_OVER = {"REMOVED", "COMPLETED"}
FAILURES_IN_A_ROW = 60
"""After so many questions without an answer, waiting ends with an error."""


@dataclass(frozen=True)
class QueuedJob:
    """A job in the queue, waiting or running.

    ``run`` is the id of the Snakemake that submitted it (Slurm alone tells), ``what`` the rule and its wildcards.
    """

    system: System
    number: str
    state: str
    what: str
    run: str = ""


def find_systems() -> list[System]:
    """The batch systems whose commands are here."""
    programs: dict[System, str] = {"slurm": "squeue", "htcondor": "condor_q"}
    return [system for system, program in programs.items() if has_program(program)]


def list_jobs(folder: Path) -> list[QueuedJob]:
    """The user's jobs that some Snakemake submitted from a folder and that are not over.

    Raises
    ------
    BatchError
        When a batch system does not answer; there may be jobs then.
    """
    ways = {"slurm": _list_slurm, "htcondor": _list_condor}
    return [job for system in find_systems() for job in ways[system](folder.resolve())]


def _list_slurm(folder: Path) -> list[QueuedJob]:
    jobs = []
    for line in ask(["squeue", "--me", "--noheader", f"--format={SLURM_FIELDS}"]).splitlines():
        number, name, state, comment, place = line.split("|", 4)
        if RUN_ID.fullmatch(name) and Path(place).resolve() == folder:
            jobs.append(QueuedJob("slurm", number, state, _describe_purpose(comment), run=name))
    return jobs


def _describe_purpose(comment: str) -> str:
    match = PURPOSE.fullmatch(comment)
    if match is None:
        return comment
    kind, name, wildcards = match.groups()
    return " ".join(filter(None, [name if kind == "rule" else f"group {name}", wildcards]))


def _list_condor(folder: Path) -> list[QueuedJob]:
    attributes = "ClusterId,ProcId,JobStatus,JobBatchName,Iwd,UserLog"
    text = ask(["condor_q", "-json", "-attributes", attributes]).strip()
    try:
        found = json.loads(text) if text else []
    except ValueError as error:
        raise BatchError(f"condor_q did not answer in JSON but with: {text[:200]}") from error
    jobs = []
    for job in found:
        state = CONDOR_STATES.get(int(job.get("JobStatus", 0)), "UNKNOWN")
        ours = str(job.get("UserLog", "")).endswith(CONDOR_LOG) and Path(str(job.get("Iwd", ""))).resolve() == folder
        if ours and state not in CONDOR_OVER:
            number = f"{job['ClusterId']}.{job.get('ProcId', 0)}"
            jobs.append(QueuedJob("htcondor", number, state, str(job.get("JobBatchName", ""))))
    return jobs


def cancel_jobs(jobs: Sequence[QueuedJob]) -> None:
    """Ask the batch system to end jobs; they may take a while to obey.

    Raises
    ------
    BatchError
        When it does not answer or refuses.
    """
    programs: dict[System, list[str]] = {"slurm": ["scancel"], "htcondor": ["condor_rm"]}
    for system, command in programs.items():
        if numbers := [job.number for job in jobs if job.system == system]:
            ask([*command, *numbers])


def wait_for_jobs(folder: Path, *, every: float = 15.0, say: Callable[[str], None] | None = None) -> None:
    """Wait until a folder has no jobs in the queue.

    Parameters
    ----------
    folder
        Where Snakemake submitted them.
    every
        Seconds between two questions.
    say
        Called with a sentence whenever the number of jobs has changed, or the system does not answer.

    Raises
    ------
    BatchError
        When there was no answer so often in a row that somebody should look.
    """
    last, failures = -1, 0
    while True:
        try:
            jobs, failures = list_jobs(folder), 0
        except BatchError as error:
            failures += 1
            if failures >= FAILURES_IN_A_ROW:
                raise
            _tell(say, f"{error}; asking again")
            time.sleep(every)
            continue
        if len(jobs) != last:
            _tell(say, f"{len(jobs)} jobs left" if jobs else "no job is left")
            last = len(jobs)
        if not jobs:
            return
        time.sleep(every)


def _tell(say: Callable[[str], None] | None, text: str) -> None:
    if say is not None:
        say(text)
