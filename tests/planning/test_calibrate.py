"""A calibration: what it measures of files whose size is known, and that it leaves the study alone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hepcnn import paths
from hepcnn.config import StudyConfig, write_study
from hepcnn.io.reader import iterate_jets
from hepcnn.planning.calibrate import calibrate
from hepcnn.planning.clock import Clock, time_import
from hepcnn.planning.estimate import estimate
from hepcnn.planning.jets import EVENTS, FEW_EVENTS, choose_file, copy_often, split_chunk_time
from tests.toy import write_toy_jets


def test_a_chunks_start_and_events_are_told_apart() -> None:
    seconds = [3.0 + chunks * (0.5 + events * 0.01) for chunks, events in ((1, FEW_EVENTS), (4, EVENTS))]
    assert split_chunk_time(seconds, [1, 4], began=3.0) == pytest.approx((0.5, 0.01))
    assert split_chunk_time([3.1, 3.0], [1, 1], began=3.2) == (0.0, 0.0)


def test_jets_are_copied_as_other_events(tmp_path: Path) -> None:
    few = write_toy_jets(tmp_path / "few.root", n_jets=50, n_prongs=2, seed=1)
    many = copy_often(few, tmp_path / "many.root", 220)
    batches = list(iterate_jets(many, "hepcnn"))
    pt, event = (np.concatenate([getattr(batch, name) for batch in batches]) for name in ("pt", "event_id"))
    assert len(pt) == len(np.unique(event)) == 250
    original = np.concatenate([batch.pt for batch in iterate_jets(few, "hepcnn")])
    assert np.array_equal(pt, np.tile(original, 5))


def test_the_clock_counts_work_and_not_waiting() -> None:
    import time

    with Clock().measure() as waiting:
        time.sleep(0.3)
    with Clock(wall=True).measure() as wall:
        time.sleep(0.3)
    assert waiting[0] < 0.2
    assert wall[0] >= 0.3
    assert time_import("json") > 0, "the time of other processes counts"


def test_the_smallest_file_stands_for_all(tmp_path: Path, toy_study: StudyConfig) -> None:
    sizes = {"a": 300, "b": 100, "c": 500}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    sample = toy_study.samples["qcd"].model_copy(update={"files": [str(tmp_path / name) for name in sizes]})
    study = toy_study.model_copy(update={"samples": toy_study.samples | {"qcd": sample}})
    assert choose_file(study, "qcd") == (str(tmp_path / "b"), 9.0)


@pytest.mark.slow
def test_a_calibration_of_files(toy_study: StudyConfig, tmp_path: Path) -> None:
    study = toy_study.model_copy(update={"baselines": [], "models": {"cnn": toy_study.models["cnn"]}})
    root = paths.study_dir(study.results, study.study)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    found = calibrate(study, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    for name, sample in found.samples.items():
        assert (sample.generate, sample.n_jets, sample.kept) == (None, 400, 1)
        size = paths.images(root, name).stat().st_size
        assert sample.image_bytes == pytest.approx(size / 400, rel=0.2)
        assert sample.convert.start > 0
    cnn = found.networks["cnn"]
    assert cnn.train_per_jet > cnn.score_per_jet > 0
    assert cnn.start > 0
    assert not cnn.uses_gpu
    plan = estimate(study, found, parallel=1)
    assert plan.wall_hours == pytest.approx(plan.core_hours)
    convert = next(stage for stage in plan.stages if stage.stage == "convert")
    written = sum(paths.images(root, name).stat().st_size for name in study.samples)
    assert convert.disk_gb == pytest.approx(written / 1e9, rel=0.2)


def test_a_plan_for_no_core_is_refused(toy_study: StudyConfig, tmp_path: Path) -> None:
    config = write_study(toy_study, tmp_path / "study.yaml")
    command = [sys.executable, "-m", "hepcnn", "plan", "--config", str(config), "--parallel", "-1"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (1, "hepcnn: --parallel must be at least 1 (got -1)\n")
