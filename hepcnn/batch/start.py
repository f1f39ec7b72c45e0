"""What happens when Snakemake starts: is anybody else at work in the folder, can the batch system do what is asked?

Snakemake's own objects are taken as they come, without importing it; jobs carry the resources that their profile and
the command line gave them.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hepcnn.batch.commands import has_program
from hepcnn.batch.queue import list_jobs
from hepcnn.batch.runs import SnakemakeRun, describe_this_run, read_run, write_run
from hepcnn.batch.slurm import Request, examine_slurm, has_accounting
from hepcnn.errors import BatchError

PLUGINS = "snakemake_executor_plugin_"
OPTIONS = {"constraint": "--constraint", "qos": "--qos", "slurm_account": "--account"}
REPLACED = "--default-resources", "--set-resources", "--set-threads"
CheckpointMinutes = Callable[[Any], float]
"""How often a job of Snakemake's saves its state, in minutes; 0 for one that does not."""


def name_executor(workflow: Any) -> str:
    """``slurm``, ``htcondor`` and so on; ``local`` on one machine."""
    module = type(getattr(workflow, "executor_settings", None)).__module__
    return module.split(".")[0].removeprefix(PLUGINS) if module.startswith(PLUGINS) else "local"


def warn_of_other(folder: Path) -> str:
    """What to know before the lock refuses: who is at work here, or who was killed; empty if there is nothing."""
    run = read_run(folder)
    if run is None or run.is_over:
        return ""
    alive = run.is_alive
    if run.executor == "local" and not alive:
        return ""  # its jobs were its own processes
    if alive:
        return f"{run.describe()} is at work in this folder: a second one can only look (--dry-run)"
    if alive is None:
        return f"{run.describe()} did not say good-bye: if it is not at work any more, 'hepcnn batch resume' goes on"
    return f"{run.describe()} was killed: 'hepcnn batch resume' finds the jobs that it left, and goes on"


def begin_run(workflow: Any, folder: Path, *, checkpoint_minutes: CheckpointMinutes, made_by: str) -> None:
    """Check the batch system, take over what a killed Snakemake's jobs finished, and leave a record of this one.

    Parameters
    ----------
    workflow
        Snakemake's.
    folder
        Where it works.
    checkpoint_minutes
        How often a job saves its state.
    made_by
        Hash of all that decides the results: the study and the code.

    Raises
    ------
    BatchError
        When jobs of another Snakemake run in this folder, whose outputs would be made twice; when the batch system
        does not answer; or when it cannot do what the jobs ask for. The message names the rules and what is right.
    """
    executor = name_executor(workflow)
    if executor != "local" and (left := list_jobs(folder)):
        told = ", ".join(f"{job.number} ({job.what})" for job in left[:5]) + (", …" if len(left) > 5 else "")
        raise BatchError(
            f"{len(left)} jobs of a Snakemake that is gone are still in the queue for this folder: {told}; "
            "'hepcnn batch resume --wait' or '--cancel' goes on without doing their work twice"
        )
    if executor == "slurm":
        wrong = [
            f for f in examine_slurm(collect_requests(workflow, checkpoint_minutes)) if f.is_needed and not f.is_ok
        ]
        if wrong:
            lines = "\n".join(f"  {finding.what}: {finding.detail}" for finding in wrong)
            raise BatchError(f"Slurm cannot run this study, and nothing was submitted:\n{lines}")
        keep_to_squeue()
    adopt_outputs(workflow, folder, made_by)
    write_run(folder, describe_this_run(executor, made_by=made_by))


def keep_to_squeue() -> None:
    """Let the plugin not turn to ``sacct`` where that can never answer.

    When the controller is away, the plugin cannot learn how long it remembers jobs, and takes ``sacct`` instead of
    ``squeue`` if only there is such a program; without accounting it then asks in vain, for ever, even when the
    controller is back (seen with version 2.8).
    """
    plugin: Any = sys.modules.get("snakemake_executor_plugin_slurm")
    if plugin is not None and hasattr(plugin, "is_query_tool_available") and not has_accounting():
        plugin.is_query_tool_available = lambda name: name != "sacct" and has_program(name)


def adopt_outputs(workflow: Any, folder: Path, made_by: str) -> None:
    """Give outputs the record that a killed Snakemake could not: what they were made with.

    A job that ended when nobody watched has whole outputs, and Snakemake takes them; but without such a record no later
    change of the study would make them again. They get it only if study and code are still those of that Snakemake.
    """
    run = read_run(folder)
    if run is None or run.is_over:
        return
    dag, known = workflow.dag, workflow.persistence
    left = [job for job in dag.jobs if not dag.needrun(job) and not known.has_metadata(job)]
    if not left:
        return
    if run.made_by == made_by:
        for job in left:
            workflow.async_run(known.finished(job))
    else:
        names = ", ".join(sorted({job.rule.name for job in left}))
        _say(
            f"study or code have changed since {run.describe()} was killed, and outputs of {len(left)} jobs have no "
            f"record of what made them; if the change matters for them, make them again: --forcerun {names}"
        )


def end_run(folder: Path) -> None:
    """Note that this Snakemake ended by itself."""
    run = read_run(folder)
    if run is not None:
        write_run(folder, SnakemakeRun(**vars(run) | {"is_over": True}))


def collect_requests(workflow: Any, checkpoint_minutes: CheckpointMinutes) -> Iterable[Request]:
    """What the jobs to come ask of Slurm; a value that depends on a file that is not there yet counts as not asked."""
    settings = workflow.executor_settings
    chooses = getattr(settings, "partition_config", None) is not None
    for job in workflow.dag.needrun_jobs():
        known = job.resources.get
        elsewhere = known("clusters") or known("cluster") or known("slurm_cluster")
        if not (job.is_local or elsewhere or (chooses and not known("slurm_partition"))):
            yield _read_request(job, checkpoint_minutes(job))


def _read_request(job: Any, checkpoint_minutes: float) -> Request:
    known = job.resources.get
    nodes = _number(known("nodes")) or 1
    gpus, gpu_type = _number(known("gpu")), str(known("gpu_model") or "")
    words = str(known("gres") or "").split(":")
    if words[0] == "gpu":
        gpus, gpu_type = nodes * (_number(words[-1]) or 1), words[1] if len(words) == 3 else ""
    cpus = _number(known("cpus_per_task")) or job.threads
    memory = _number(known("mem_mb_per_cpu")) * cpus or _number(known("mem_mb"))
    options = [f"{option}={known(name)}" for name, option in OPTIONS.items() if known(name)]
    return Request(
        what=f"rule {job.rule.name}",
        partition=str(known("slurm_partition") or ""),
        minutes=float(_number(known("runtime"))),
        memory_mb=memory,
        cpus=cpus,
        gpus=-(-gpus // nodes),
        gpu_type=gpu_type,
        nodes=nodes,
        tasks=_number(known("tasks_per_node")) or -(-_number(known("tasks")) // nodes) or 1,
        checkpoint_minutes=checkpoint_minutes,
        options=(*options, *str(known("slurm_extra") or "").split()),
    )


def _number(value: Any) -> int:
    """A resource's number; 0 where it is missing, or known only when the job starts."""
    if isinstance(value, str):
        return int(value) if value.isdigit() else 0
    return int(value) if isinstance(value, int | float) else 0


def warn_of_replaced(arguments: Sequence[str]) -> str:
    """What to know where the command line replaces what a profile says; empty if it does not.

    Of an option that takes a list, Snakemake reads the command line's or the profile's, not both.
    """
    words = [argument.partition("=")[0] for argument in arguments]
    named = [option for option in REPLACED if option in words]
    if not named or not {"--workflow-profile", "--profile"} & set(words):
        return ""
    return (
        f"{' and '.join(named)} on the command line replaced all that the profile says there, for the other rules too; "
        "to change single values, copy the profile's folder and edit its config.yaml"
    )


def say_before_lock(folder: Path) -> None:
    """Print what is to be known at once, where Snakemake prints its own messages."""
    for text in warn_of_other(folder), warn_of_replaced(sys.argv):
        if text:
            _say(text)


def _say(text: str) -> None:
    from hepcnn import console

    console.err.print(f"hepcnn: {text}")
