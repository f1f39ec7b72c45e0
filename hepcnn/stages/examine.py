"""Examine a machine before a study is run on it: all that would else be found hours later."""

from collections.abc import Iterator
from pathlib import Path

from hepcnn import paths
from hepcnn.batch.slurm import examine_slurm
from hepcnn.config import StudyConfig
from hepcnn.doctor.credentials import examine_credentials
from hepcnn.doctor.data import examine_data
from hepcnn.doctor.extras import examine_extras
from hepcnn.doctor.finding import Finding
from hepcnn.doctor.folder import examine_folder
from hepcnn.doctor.gpu import count_cards, examine_gpus, find_driver
from hepcnn.doctor.machine import examine_memory, examine_processors, examine_python
from hepcnn.doctor.mounts import find_mount
from hepcnn.doctor.scheduler import examine_schedulers
from hepcnn.doctor.store import examine_store
from hepcnn.doctor.versions import examine_versions
from hepcnn.errors import NotReadyError
from hepcnn.stages.plan import gpus_of

HERE = ("", "local", "dryrun", "touch")
"""Snakemake's executors that leave jobs on this machine."""


def examine_machine(executor: str = "") -> Iterator[Finding]:
    """What a machine can do, whatever the study: Python, packages, processors, memory, GPUs, scheduler, work folder."""
    yield examine_python()
    yield from examine_extras()
    yield examine_versions()
    yield examine_processors()
    yield examine_memory()
    yield from examine_gpus()
    yield from examine_schedulers(executor, ask_slurm=examine_slurm)
    yield from examine_folder(Path.cwd(), executor=executor)


def examine_study(study: StudyConfig, executor: str = "") -> Iterator[Finding]:
    """What a machine can do for a study: the same, with what the study needs of it, its files and its store."""
    yield examine_python()
    yield from examine_extras(_needed_extras(study))
    yield examine_versions()
    yield examine_processors()
    yield examine_memory()
    yield from examine_gpus(is_needed=_wants_gpu(study) and not executor)
    yield from _examine_surroundings(study, executor, is_store_needed=True)


def examine_before_run(study: StudyConfig, executor: str = "") -> Iterator[Finding]:
    """What would end a workflow hours later, in a second: no package is imported for it.

    A store that does not answer is a warning here, since runs can be brought there later.
    """
    yield from (finding for finding in examine_extras(_needed_extras(study)) if not finding.is_ok)
    if _wants_gpu(study) and not executor and find_driver() is None and not count_cards():
        mend = "set training.device to 'auto' or 'cpu', or submit to a batch system"
        yield Finding("GPU", False, "the study wants one (training.device: cuda), there is none here", mend=mend)
    yield from _examine_surroundings(study, executor, is_store_needed=False)


def require_ready(study: StudyConfig, executor: str) -> list[str]:
    """Let a workflow begin, or say why not.

    Parameters
    ----------
    study, executor
        The study, and what Snakemake runs jobs with.

    Returns
    -------
    list of str
        What is worth knowing, a line each.

    Raises
    ------
    NotReadyError
        When something fails that the study needs; a line each.
    """
    findings = list(examine_before_run(study, "" if executor in HERE else executor))
    failed = [finding.describe() for finding in findings if finding.state == "fail"]
    if failed:
        lines = "\n".join(f"  {line}" for line in failed)
        raise NotReadyError(f"this study cannot be run here, and nothing was started:\n{lines}")
    return [finding.describe() for finding in findings if finding.state == "warn"]


def _examine_surroundings(study: StudyConfig, executor: str, *, is_store_needed: bool) -> Iterator[Finding]:
    root = paths.study_dir(study.results, study.study)
    files = {name: sample.files for name, sample in study.samples.items()}
    if executor or is_store_needed:
        yield from examine_schedulers(executor, ask_slurm=examine_slurm)
    yield from examine_folder(root, executor=executor)
    yield from examine_data(files)
    yield from examine_credentials([path for named in files.values() for path in named], find_mount(Path.cwd()))
    yield examine_store(study.tracking.store, is_needed=is_store_needed)


def _wants_gpu(study: StudyConfig) -> bool:
    return any(gpus_of(study, name) for name in study.models)


def _needed_extras(study: StudyConfig) -> tuple[str, ...]:
    generated = ("generate",) if any(sample.process for sample in study.samples.values()) else ()
    files = [path for sample in study.samples.values() for path in sample.files]
    remote = ("remote",) if any("://" in path for path in files) else ()
    return ("train", "evaluate", "workflow", *generated, *remote)
