"""What a study was expected to cost, what it used, and the two side by side.

The plan is ``plan.json``, which `hepcnn plan` writes; what was used are Snakemake's benchmarks, one file a job.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hepcnn import paths
from hepcnn.errors import InputError
from hepcnn.evaluation.report import CostLine
from hepcnn.records import StrictModel, parse_model
from hepcnn.stages.records import read_json, write_json

STAGES = ("generate", "convert", "train", "control", "baseline", "ensemble", "evaluate", "track", "report")


class StageCost(StrictModel):
    """What one stage costs.

    ``job_hours`` is the time of its jobs added up, ``core_hours`` the same times the cores that they hold,
    ``gpu_hours`` times their GPUs (None: unknown). ``wall_hours`` is from the start of its first job to the end of its
    last.
    """

    stage: str
    jobs: int
    job_hours: float
    core_hours: float
    gpu_hours: float | None
    disk_gb: float
    wall_hours: float


class CostPlan(StrictModel):
    """What a study is expected to cost on ``parallel`` cores, with what a reader should know of it."""

    study: str
    parallel: int
    machine: str
    date: str
    wall_hours: float
    stages: list[StageCost]
    notes: list[str] = []

    @property
    def core_hours(self) -> float:
        """Of all stages."""
        return sum(stage.core_hours for stage in self.stages)

    @property
    def gpu_hours(self) -> float | None:
        """Of all stages; None where that is not known."""
        hours = [stage.gpu_hours for stage in self.stages]
        return None if None in hours else sum(hour for hour in hours if hour is not None)

    @property
    def disk_gb(self) -> float:
        """Of all stages."""
        return sum(stage.disk_gb for stage in self.stages)


@dataclass(frozen=True)
class StageUse:
    """What the jobs of one stage used: hours added up, processor hours (sampled), and the largest memory in GB.

    NaN stands for what Snakemake could not sample.
    """

    stage: str
    jobs: int
    job_hours: float
    processor_hours: float
    memory_gb: float


def write_plan(plan: CostPlan, root: Path) -> Path:
    """Write ``plan.json`` into a study's folder, for the report."""
    path = paths.cost_plan(root)
    write_json(path, plan.model_dump(mode="json"))
    return path


def read_plan(root: Path) -> CostPlan | None:
    """The plan of a study; None where none was made.

    Raises
    ------
    ConfigError, InputError
        When the file is damaged.
    """
    path = paths.cost_plan(root)
    return parse_model(CostPlan, read_json(path), where=str(path)) if path.exists() else None


def read_uses(root: Path) -> list[StageUse]:
    """What each stage used, of the jobs that left a benchmark; a job that was sent again counts with its last try.

    Raises
    ------
    InputError
        When a benchmark is damaged.
    """
    found: dict[str, list[dict[str, float]]] = {}
    for path in sorted(paths.benchmark(root, "none").parent.glob("*.tsv")):
        stage = path.stem.partition("_")[0]
        found.setdefault(stage, []).append(_read_benchmark(path))
    return [_add_up(stage, found[stage]) for stage in (*STAGES, *sorted(set(found) - {*STAGES})) if stage in found]


def _read_benchmark(path: Path) -> dict[str, float]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    try:
        return {name: _number(rows[-1][name]) for name in ("s", "cpu_time", "max_pss", "max_rss")}
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: no benchmark of Snakemake: expected a table with s, cpu_time and max_pss") from error


def _number(text: str) -> float:
    return math.nan if text in ("NA", "-") else float(text)


def _add_up(stage: str, jobs: Sequence[dict[str, float]]) -> StageUse:
    # A job that ends before it was looked at has no samples; all of a stage are then not known.
    memory = [max(job["max_pss"], job["max_rss"] if math.isnan(job["max_pss"]) else 0.0) for job in jobs]
    return StageUse(
        stage,
        len(jobs),
        sum(job["s"] for job in jobs) / 3600,
        sum(job["cpu_time"] for job in jobs) / 3600,
        max(memory, key=lambda value: -math.inf if math.isnan(value) else value) / 1000,
    )


def compare_costs(root: Path) -> tuple[list[CostLine], list[str]]:
    """What each stage used beside what was planned for it, and notes on that; empty where there are no benchmarks.

    Raises
    ------
    ConfigError, InputError
        When the plan or a benchmark is damaged.
    """
    plan, uses = read_plan(root), read_uses(root)
    if not uses:
        return [], []
    planned = {stage.stage: stage.job_hours for stage in plan.stages} if plan else {}
    lines = [
        CostLine(use.stage, use.jobs, planned.get(use.stage), use.job_hours, use.processor_hours, use.memory_gb)
        for use in uses
    ]
    lines.append(_whole(lines))
    return lines, _describe(plan)


def _whole(lines: Sequence[CostLine]) -> CostLine:
    """All stages; of the plan, those that both have."""
    planned = [line.planned_hours for line in lines if line.planned_hours is not None]
    return CostLine(
        "whole",
        sum(line.jobs for line in lines),
        sum(planned) if len(planned) == len(lines) else None,
        sum(line.used_hours for line in lines),
        sum(line.processor_hours for line in lines),
        max((line.memory_gb for line in lines if not math.isnan(line.memory_gb)), default=math.nan),
    )


def _describe(plan: CostPlan | None) -> list[str]:
    notes = [
        "Times of jobs added up, of the last try of each, as Snakemake measured them; this report is not among them. "
        "Processor time and memory are sampled, and miss the last seconds of a job."
    ]
    if plan is None:
        notes.append("There was no plan: 'hepcnn plan --config …' makes one.")
    else:
        notes.append(f"The plan is of {plan.date}, made on {plan.machine}.")
        notes += plan.notes
    return notes
