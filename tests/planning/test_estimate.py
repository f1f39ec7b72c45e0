"""The arithmetic of a plan: who waits for whom, what adds up, and how it is told."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcnn.config import StudyConfig, parse_model
from hepcnn.planning.calibration import Calibration, NetworkCost, Rate, SampleCost
from hepcnn.planning.estimate import Job, estimate, list_jobs, schedule
from hepcnn.planning.table import describe_hours, make_table

SAMPLE = SampleCost(
    n_jets=1000,
    kept=0.5,
    generate=Rate(start=10, per_jet=0.2),
    convert=Rate(start=4, per_jet=0.01),
    generated_bytes=2000,
    image_bytes=1000,
)
NETWORK = NetworkCost(start=20, train_per_jet=0.01, score_per_jet=0.001, disk=5e6, uses_gpu=False)
CALIBRATION = Calibration(
    samples={"qcd": SAMPLE, "top": SAMPLE},
    networks={"cnn": NETWORK},
    baselines={"pixel_logistic": Rate(start=1, per_jet=0.001)},
    evaluate=9,
    track=7,
    report=20,
)


def make_study(**changes: object) -> StudyConfig:
    content = {
        "study": "small",
        "samples": {"qcd": {"process": "qcd"}, "top": {"process": "top"}},
        "models": {"cnn": {}},
        "baselines": ["pixel_logistic"],
        "split": {"train": 0.5, "val": 0.25, "test": 0.25},
        "training": {"epochs": 3},
    }
    return parse_model(StudyConfig, content | changes, where="study")


def test_jobs_are_those_of_the_workflow() -> None:
    """As the workflow's own tests count them."""
    study = make_study(seeds=[1, 2], ensembles=True, evaluation={"control": True})
    jobs = list_jobs(study, CALIBRATION, parallel=2)
    assert Counter(job.stage for job in jobs) == {
        "generate": 2,
        "convert": 2,
        "train": 2,
        "control": 1,
        "baseline": 1,
        "ensemble": 1,
        "evaluate": 1,
        "track": 1,
        "report": 1,
    }
    waits = {job.name: set(job.waits_for) for job in jobs}
    assert waits["train cnn 2"] == {"convert qcd", "convert top"}
    assert {"train cnn 1", "train cnn 2"} <= waits["ensemble cnn_ensemble"]
    assert waits["evaluate"] == {job.name for job in jobs if job.stage in ("train", "control", "baseline", "ensemble")}


def test_a_plan_by_hand() -> None:
    plan = estimate(make_study(), CALIBRATION, parallel=2)
    stages = {stage.stage: stage for stage in plan.stages}
    # Two workers share what grows with the jets; the one job holds both cores.
    assert stages["generate"].job_hours == pytest.approx(2 * (10 + 1000 * 0.2 / 2) / 3600)
    assert stages["generate"].core_hours == pytest.approx(2 * stages["generate"].job_hours)
    assert stages["convert"].disk_gb == pytest.approx(2 * 1000 * 0.5 * 1000 / 1e9)
    # 500 train, 250 validate after each of three epochs, and 500 are scored in the end.
    train = 20 + 3 * (500 * 0.01 + 250 * 0.001) + 500 * 0.001
    assert stages["train"].job_hours == pytest.approx(train / 3600)
    assert stages["train"].gpu_hours == 0
    wall = 2 * 110 + 2 * (4 + 1000 * 0.01 / 2) + train + 9 + 7 + 20
    assert plan.wall_hours == pytest.approx(wall / 3600)
    assert plan.core_hours == pytest.approx(sum(stage.core_hours for stage in plan.stages))


def test_more_cores_shorten_the_wall_and_cost_nothing_more() -> None:
    study = make_study(seeds=[1, 2, 3, 4])
    plans = [estimate(study, CALIBRATION, parallel=n) for n in (2, 4, 8)]
    assert plans[0].wall_hours > plans[1].wall_hours > plans[2].wall_hours
    assert plans[0].core_hours == pytest.approx(plans[2].core_hours)


def test_gpu_hours_are_unknown_where_no_gpu_was_measured() -> None:
    study = make_study(training={"device": "cuda"})
    assert estimate(study, CALIBRATION, parallel=2).gpu_hours is None
    measured = CALIBRATION.model_copy(update={"networks": {"cnn": NETWORK.model_copy(update={"uses_gpu": True})}})
    plan = estimate(study, measured, parallel=2)
    assert plan.gpu_hours == pytest.approx({s.stage: s.job_hours for s in plan.stages}["train"])


def test_processes_share_steps_but_not_the_start() -> None:
    plans = [estimate(make_study(training={"epochs": 3, "processes": n}), CALIBRATION, parallel=8) for n in (1, 4)]
    one, four = (next(stage for stage in plan.stages if stage.stage == "train") for plan in plans)
    shared = 3 * (500 * 0.01 + 250 * 0.001) / 3600
    assert four.job_hours == pytest.approx(one.job_hours - shared * 3 / 4)
    assert four.core_hours == pytest.approx(4 * four.job_hours)


def test_fewer_jets_by_the_split() -> None:
    whole, limited = (
        estimate(make_study(split={"train": 0.5, "val": 0.25, "test": 0.25} | more), CALIBRATION, parallel=1)
        for more in ({}, {"max_jets": 10})
    )
    assert limited.core_hours < whole.core_hours


@st.composite
def job_lists(draw: st.DrawFn) -> list[Job]:
    jobs: list[Job] = []
    for number in range(draw(st.integers(1, 12))):
        earlier = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        jobs.append(
            Job(
                str(number),
                "train",
                draw(st.floats(0, 100)),
                cores=draw(st.integers(1, 4)),
                waits_for=tuple(map(str, sorted(earlier))),
            )
        )
    return jobs


@given(jobs=job_lists(), cores=st.integers(1, 6))
def test_a_schedule_keeps_its_promises(jobs: list[Job], cores: int) -> None:
    ends = schedule(jobs, cores=cores)
    assert set(ends) == {job.name for job in jobs}
    starts = {job.name: ends[job.name] - job.seconds for job in jobs}
    for job in jobs:
        assert starts[job.name] >= max((ends[name] for name in job.waits_for), default=0) - 1e-6
        # Those that hold cores in the middle of this job.
        middle = starts[job.name] + job.seconds / 2
        held = [min(j.cores, cores) for j in jobs if starts[j.name] + 1e-6 < middle < ends[j.name] - 1e-6]
        assert sum(held) <= cores
    work = sum(job.seconds * min(job.cores, cores) for job in jobs)
    assert max(ends.values()) >= work / cores - 1e-6
    assert max(ends.values()) <= sum(job.seconds for job in jobs) + 1e-6


@pytest.mark.parametrize(
    ("hours", "told"), [(41 / 3600, "41 s"), (330 / 3600, "5.5 min"), (7.24, "7.2 h"), (100, "4.2 days")]
)
def test_times_are_easy_to_read(hours: float, told: str) -> None:
    assert describe_hours(hours) == told


def test_the_table_has_a_line_for_each_stage_and_one_for_all() -> None:
    plan = estimate(make_study(training={"device": "cuda"}), CALIBRATION, parallel=2)
    table = make_table(plan)
    first = list(table.columns[0].cells)
    assert first == ["generate", "convert", "train", "baseline", "evaluate", "track", "report", "whole"]
    assert "unknown" in list(table.columns[3].cells)
