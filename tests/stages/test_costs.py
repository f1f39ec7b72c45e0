"""What a study used, from Snakemake's benchmarks, beside the plan."""

import math
from pathlib import Path

import pytest

from hepcnn import paths
from hepcnn.errors import ConfigError, InputError
from hepcnn.stages.costs import CostPlan, StageCost, compare_costs, read_plan, read_uses, write_plan

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def write_benchmark(root: Path, name: str, seconds: float, memory: str = "1500.00", cpu: str = "30.00") -> None:
    path = paths.benchmark(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}{seconds}\t0:00:36\t{memory}\t1\t1\t{memory}\t0\t0\t90.0\t{cpu}\n")


def make_plan(**hours: float) -> CostPlan:
    stages = [
        StageCost(stage=name, jobs=1, job_hours=h, core_hours=h, gpu_hours=0.0, disk_gb=0.1, wall_hours=h)
        for name, h in hours.items()
    ]
    return CostPlan(study="s", parallel=2, machine="x86_64", date="2026-11-21", wall_hours=1.0, stages=stages)


def test_nothing_is_said_without_benchmarks(tmp_path: Path) -> None:
    write_plan(make_plan(train=1.0), tmp_path)
    assert compare_costs(tmp_path) == ([], [])


def test_jobs_of_a_stage_add_up(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "train_cnn_seed1", 1800, "1000.00")
    write_benchmark(tmp_path, "train_my_net_seed2", 3600, "2500.00")
    write_benchmark(tmp_path, "evaluate", 36, "NA", "NA")
    train, evaluate = read_uses(tmp_path)
    assert (train.stage, train.jobs, train.job_hours, train.memory_gb) == ("train", 2, 1.5, 2.5)
    assert train.processor_hours == pytest.approx(60 / 3600)
    assert evaluate.job_hours == 0.01
    assert math.isnan(evaluate.memory_gb)


def test_a_plan_stands_beside_what_was_used(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "train_cnn_seed1", 5400)
    lines, notes = compare_costs(tmp_path)
    assert [line.planned_hours for line in lines] == [None, None]
    assert "There was no plan" in notes[1]
    plan = make_plan(train=1.0, evaluate=0.5)
    assert read_plan(write_plan(plan, tmp_path).parent) == plan
    lines, notes = compare_costs(tmp_path)
    assert [(line.stage, line.planned_hours, line.used_hours) for line in lines] == [
        ("train", 1.0, 1.5),
        ("whole", 1.0, 1.5),
    ]
    assert "2026-11-21" in notes[1]


@pytest.mark.parametrize("text", ["", HEADER, "s\n1.0\n", HEADER.replace("s\t", "t\t") + "1\t" * 9])
def test_a_damaged_benchmark_is_named(text: str, tmp_path: Path) -> None:
    write_benchmark(tmp_path, "train_cnn_seed1", 1)
    paths.benchmark(tmp_path, "train_cnn_seed1").write_text(text)
    with pytest.raises(InputError, match=r"train_cnn_seed1\.tsv: no benchmark"):
        compare_costs(tmp_path)


def test_a_damaged_plan_is_named(tmp_path: Path) -> None:
    write_benchmark(tmp_path, "train_cnn_seed1", 1)
    paths.cost_plan(tmp_path).write_text('{"study": "s"}')
    with pytest.raises(ConfigError, match=r"plan\.json"):
        compare_costs(tmp_path)
