"""From a calibration to the cost of a study: jobs, their times, and who waits for whom."""

import datetime
import heapq
import platform
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from hepcnn.config import StudyConfig
from hepcnn.planning.calibration import Calibration, NetworkCost
from hepcnn.stages.costs import STAGES, CostPlan, StageCost
from hepcnn.stages.plan import THREADS, ensembles_of, gpus_of, seeds_of

HOUR, GIGA = 3600.0, 1e9
"""Seconds, and bytes."""


@dataclass(frozen=True)
class Job:
    """One job: seconds on its cores, and the jobs that it waits for."""

    name: str
    stage: str
    seconds: float
    cores: int = 1
    gpus: int = 0
    disk: float = 0.0
    waits_for: tuple[str, ...] = ()


def estimate(study: StudyConfig, calibration: Calibration, *, parallel: int) -> CostPlan:
    """Cost of a study with so many cores at a time.

    Parameters
    ----------
    study, calibration
        The study, and what was measured of it on a machine like those it will run on.
    parallel
        Cores that jobs may hold at a time, over all machines.

    Returns
    -------
    CostPlan
        Wall time is that of jobs that begin as soon as there is room: a batch system's queue comes on top.
    """
    jobs = list_jobs(study, calibration, parallel=parallel)
    ends = schedule(jobs, cores=parallel)
    unknown = any(job.gpus for job in jobs) and not any(cost.uses_gpu for cost in calibration.networks.values())
    stages = []
    for stage in STAGES:
        mine = [job for job in jobs if job.stage == stage]
        if not mine:
            continue
        hours = sum(job.seconds for job in mine) / HOUR
        gpu_hours = sum(job.seconds * job.gpus for job in mine) / HOUR
        stages.append(
            StageCost(
                stage=stage,
                jobs=len(mine),
                job_hours=hours,
                core_hours=sum(job.seconds * job.cores for job in mine) / HOUR,
                gpu_hours=None if unknown and gpu_hours else gpu_hours,
                disk_gb=sum(job.disk for job in mine) / GIGA,
                wall_hours=(max(ends[j.name] for j in mine) - min(ends[j.name] - j.seconds for j in mine)) / HOUR,
            )
        )
    return CostPlan(
        study=study.study,
        parallel=parallel,
        machine=f"{platform.machine()}, {platform.system()}",
        date=datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
        wall_hours=max(ends.values()) / HOUR,
        stages=stages,
        notes=calibration.notes,
    )


def list_jobs(study: StudyConfig, calibration: Calibration, *, parallel: int) -> list[Job]:
    """The jobs of the workflow, each after those that it waits for."""
    jobs = []
    for name, cost in calibration.samples.items():
        workers = {stage: min(threads, parallel) for stage, threads in THREADS.items()}
        waits: tuple[str, ...] = ()
        if cost.generate is not None:
            seconds = cost.generate.seconds(cost.n_jets, workers=workers["generate"])
            disk = cost.n_jets * cost.generated_bytes
            jobs.append(Job(f"generate {name}", "generate", seconds, workers["generate"], disk=disk))
            waits = (f"generate {name}",)
        seconds = cost.convert.seconds(cost.n_jets, workers=workers["convert"])
        disk = cost.n_jets * cost.kept * cost.image_bytes
        jobs.append(Job(f"convert {name}", "convert", seconds, workers["convert"], disk=disk, waits_for=waits))
    images = tuple(job.name for job in jobs if job.stage == "convert")
    jobs += _list_taggers(study, calibration, images)
    taggers = tuple(job.name for job in jobs if job.stage not in ("generate", "convert"))
    jobs.append(Job("evaluate", "evaluate", calibration.evaluate, waits_for=taggers))
    jobs.append(Job("track", "track", calibration.track, waits_for=("evaluate",)))
    jobs.append(Job("report", "report", calibration.report, waits_for=("track",)))
    return jobs


def _list_taggers(study: StudyConfig, calibration: Calibration, images: tuple[str, ...]) -> list[Job]:
    total = sum(cost.n_jets * cost.kept for cost in calibration.samples.values())
    n_train, n_val, n_test = _split(study, total)
    jobs = []
    for name, cost in calibration.networks.items():
        gpus, cores = gpus_of(study, name), study.training_of(name).processes
        seconds = time_training(study, name, cost, n_train, n_val, n_test)
        jobs += [
            Job(f"train {name} {seed}", "train", seconds, cores, gpus, disk=cost.disk, waits_for=images)
            for seed in study.seeds
        ]
        if study.evaluation.control:
            # Two halves of the background: about a class's share of the jets.
            share = 1 / len(study.samples)
            seconds = time_training(study, name, cost, n_train * share, n_val * share, n_test * share)
            jobs.append(Job(f"control {name}", "control", seconds, cores, gpus, waits_for=images))
    for name, rate in calibration.baselines.items():
        jobs += [
            Job(f"baseline {name} {seed}", "baseline", rate.seconds(n_train), waits_for=images)
            for seed in seeds_of(study, name)
        ]
    for name, member in ensembles_of(study).items():
        cost = calibration.networks[member]
        seconds = cost.start + len(study.seeds) * (n_val + n_test) * cost.score_per_jet
        waits = (*images, *(f"train {member} {seed}" for seed in study.seeds))
        jobs.append(Job(f"ensemble {name}", "ensemble", seconds, disk=cost.disk * len(study.seeds), waits_for=waits))
    return jobs


def _split(study: StudyConfig, total: float) -> tuple[float, float, float]:
    split = study.split
    sizes = [total * fraction for fraction in (split.train, split.val, split.test)]
    if split.max_jets is not None:
        sizes = [min(size, split.max_jets * len(study.samples)) for size in sizes]
    return sizes[0], sizes[1], sizes[2]


def time_training(
    study: StudyConfig, name: str, cost: NetworkCost, n_train: float, n_val: float, n_test: float
) -> float:
    """Seconds of one training to its last epoch: steps and validation, shared by its processes, and scoring by one."""
    config = study.training_of(name)
    steps = config.epochs * (n_train * cost.train_per_jet + n_val * cost.score_per_jet) / config.processes
    return cost.start + steps + (n_val + n_test) * cost.score_per_jet


def schedule(jobs: Sequence[Job], *, cores: int) -> dict[str, float]:
    """When each job ends, in seconds, if each begins once it can; of several that can, the longest first.

    Parameters
    ----------
    jobs
        Each after those that it waits for.
    cores
        At a time. A job that wants more gets all.
    """
    waiting, needed_by = {}, defaultdict(list)
    for job in jobs:
        waiting[job.name] = len(job.waits_for)
        for name in job.waits_for:
            needed_by[name].append(job)
    ready = sorted((job for job in jobs if not job.waits_for), key=lambda job: -job.seconds)
    running: list[tuple[float, int, Job]] = []
    ends: dict[str, float] = {}
    now, free = 0.0, cores
    while ready or running:
        for job in list(ready):
            taken = min(job.cores, cores)
            if taken <= free:
                ready.remove(job)
                free -= taken
                heapq.heappush(running, (now + job.seconds, len(ends) + len(running), job))
        now, _, done = heapq.heappop(running)
        free += min(done.cores, cores)
        ends[done.name] = now
        for job in needed_by[done.name]:
            waiting[job.name] -= 1
            if not waiting[job.name]:
                ready.append(job)
        ready.sort(key=lambda job: -job.seconds)
    return ends
