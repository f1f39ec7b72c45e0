"""The verbs about batch systems: batch jobs, batch resume."""

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hepcnn.cli.app import JsonOption, app

if TYPE_CHECKING:
    from hepcnn.batch.queue import QueuedJob
    from hepcnn.batch.runs import SnakemakeRun

batch_app = typer.Typer(help="Jobs on a batch system, and a Snakemake that was killed.", no_args_is_help=True)
app.add_typer(batch_app, name="batch")

FolderArgument = Annotated[Path, typer.Argument(help="Where Snakemake was started.")]


@batch_app.command("jobs")
def batch_jobs_verb(folder: FolderArgument = Path(), json_: JsonOption = False) -> None:
    """List the jobs that Snakemake has in the queue for a folder, and say whether that Snakemake lives."""
    from hepcnn import console
    from hepcnn.batch.queue import find_systems, list_jobs
    from hepcnn.batch.runs import read_run
    from hepcnn.errors import BatchError

    if not find_systems():
        raise BatchError("neither squeue nor condor_q is on PATH: is this a login node of the cluster?")
    jobs, run = list_jobs(folder), read_run(folder)
    if json_:
        alive = run.is_alive if run else None
        console.print_json({"jobs": [vars(job) for job in jobs], "run": run and vars(run), "is_alive": alive})
        return
    _print_jobs(jobs)
    states = {True: "is at work", False: "has ended" if run and run.is_over else "was killed", None: "may be at work"}
    console.out.print(f"{run.describe()} {states[run.is_alive]}" if run else "no Snakemake has run here")


@batch_app.command("resume")
def batch_resume_verb(
    folder: FolderArgument = Path(),
    wait: Annotated[bool, typer.Option("--wait", help="Let the jobs that were left end first.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the jobs that were left first.")] = False,
    gone: Annotated[
        bool, typer.Option("--gone", help="I know that a Snakemake on another machine is not at work any more.")
    ] = False,
) -> None:
    """Go on after Snakemake was killed: settle the jobs that it left, unlock the folder, start it again as it was.

    Without --wait and --cancel it goes on if no job was left, and else lists the jobs and stops.
    """
    from hepcnn import console
    from hepcnn.batch.queue import cancel_jobs, list_jobs, wait_for_jobs

    if wait and cancel:
        raise typer.BadParameter("--wait or --cancel, not both")
    folder = folder.resolve()
    run = _find_dead_run(folder, gone=gone)
    if left := list_jobs(folder):
        _print_jobs(left)
        if not (wait or cancel):
            console.err.print("say --wait to let these jobs end first, or --cancel to end them")
            raise typer.Exit(1)
        if cancel:
            cancel_jobs(left)
        wait_for_jobs(folder, every=2.0 if cancel else 15.0, say=console.err.print)
    os.chdir(folder)
    subprocess.run([*run.command, "--unlock"], check=False, capture_output=True)
    console.err.print(f"starting again: {' '.join(run.command)}")
    os.execvp(run.command[0], run.command)


def _find_dead_run(folder: Path, *, gone: bool) -> "SnakemakeRun":
    """The record of a Snakemake that is not at work."""
    from hepcnn.batch.runs import read_run
    from hepcnn.errors import BatchError

    run = read_run(folder)
    if run is None:
        raise BatchError(f"{folder}: no Snakemake has run here; start it as usual")
    alive = run.is_alive
    if alive:
        raise BatchError(f"{run.describe()} is at work in {folder}: there is nothing to resume")
    if alive is None and not gone:
        raise BatchError(
            f"{run.describe()} ran on another machine: look there, and if it is not at work any more, say --gone"
        )
    return run


def _print_jobs(jobs: "list[QueuedJob]") -> None:
    from hepcnn import console

    for job in jobs:
        console.out.print(f"{job.number:>10}  {job.state:<12} {job.what}")
    console.out.print(f"{len(jobs) or 'no'} jobs in the queue for this folder")
