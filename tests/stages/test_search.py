"""Searches: what is tried, that they go on, share work, and survive trials that fail."""

import contextlib
import csv
import math
import multiprocessing
import os
import signal
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from hepcnn import paths
from hepcnn.config import StudyConfig, parse_model, read_study
from hepcnn.errors import ConfigError, TrainingError
from hepcnn.spool.reader import read_spool
from hepcnn.stages import search as search_stage
from hepcnn.stages import search_journal
from hepcnn.stages.records import RunRecord, read_record
from hepcnn.stages.search import search_parameters
from hepcnn.stages.search_journal import Search, SearchError, SearchSettings
from hepcnn.stages.search_space import set_parameters
from hepcnn.stages.train import TrainedRun
from hepcnn.training.signals import StopRequest
from tests.conftest import SilentListener

SPACE: dict[str, Any] = {
    "training.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "training.loss.label_smoothing": {"low": 0.0, "high": 0.2},
    "options.depth": {"low": 1, "high": 3},
    "options.widths": {"choices": [[4, 8], [8, 16]]},
}


def with_search(study: StudyConfig, space: dict[str, Any] = SPACE, **model: Any) -> StudyConfig:
    content = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    content["models"] = {"cnn": {"search": space, **model}}
    return parse_model(StudyConfig, content, where="test")


@contextlib.contextmanager
def silent(*_: Any) -> Iterator[SilentListener]:
    yield SilentListener()


def search(study: StudyConfig, output: Path, n_trials: int, *, listen: Any = silent, **settings: Any) -> Any:
    return search_parameters(study, "cnn", output=output, settings=SearchSettings(n_trials, **settings), listen=listen)


def goodness(study: StudyConfig) -> float:
    """What the pretended trainings come to: best at a learning rate of 0.01 and two layers."""
    training = study.training_of("cnn")
    return 1 - abs(math.log10(training.learning_rate) + 2) / 10 - 0.05 * abs(study.models["cnn"].options["depth"] - 2)


def pretend(study: StudyConfig, name: str, *, seed: int, output: Path, listener: Any, **_: Any) -> TrainedRun:
    """Train nothing: four epochs whose numbers follow from the parameters."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "parameters.txt").write_text(repr(study.models[name].options))
    history = [{"epoch": float(epoch), "val_auc": goodness(study) * epoch / 4} for epoch in (1, 2, 3, 4)]
    for record in history:
        listener.on_step(epoch=0, step=1, n_steps=1, loss=1.0, jets_per_second=1.0)
        listener.on_epoch(record)
    record = RunRecord(study.study, name, seed, False, {}, {}, history, 1, 1.0, {}, [], {})
    return TrainedRun(record, output / "bundle")


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_stage, "train_tagger", pretend)


def read_rows(output: Path) -> list[dict[str, str]]:
    with (output / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_search_trains_for_real_and_its_best_study_reads_back(toy_study: StudyConfig, tmp_path: Path) -> None:
    study = with_search(toy_study, training={"epochs": 1, "batch_size": 128}, options={"hidden": 8, "stem": 4})
    result = search(study, tmp_path, 2, pruner="none")
    rows = read_rows(tmp_path)
    assert [row["state"] for row in rows] == ["complete", "complete"]
    best = max(rows, key=lambda row: float(row["value"]))
    found = read_study(tmp_path / "best.yaml")
    assert found.models["cnn"].search == {}
    assert found.training_of("cnn").learning_rate == pytest.approx(float(best["training.learning_rate"]))
    assert found.models["cnn"].options["hidden"] == 8
    assert str(found.models["cnn"].options["widths"]) == best["options.widths"]
    assert result.best["trial"] == int(best["trial"])
    record = read_record(paths.run_record(tmp_path / best["folder"]))
    assert record.history[-1]["val_auc"] == pytest.approx(float(best["value"]))
    assert (record.extra["search"], record.extra["trial"]) == (tmp_path.name, int(best["trial"]))
    assert (tmp_path / best["folder"] / "bundle" / "manifest.json").exists()
    assert found.samples == study.samples


@pytest.mark.usefixtures("pretended")
def test_a_search_goes_on_as_if_it_had_never_stopped(toy_study: StudyConfig, tmp_path: Path) -> None:
    study = with_search(toy_study)
    whole = search(study, tmp_path / "whole", 14, pruner="none")
    for n_trials in (1, 5, 14, 14):
        parts = search(study, tmp_path / "parts", n_trials, pruner="none")
    columns = ("trial", "value", *SPACE)
    assert [[row[key] for key in columns] for row in parts.rows] == [
        [row[key] for key in columns] for row in whole.rows
    ]
    values = [row["value"] for row in sorted(whole.rows, key=lambda row: row["trial"])]
    assert whole.best["value"] == max(values) > 0.9
    assert all(1e-4 <= row["training.learning_rate"] <= 1e-1 for row in whole.rows)
    assert {row["options.depth"] for row in whole.rows} <= {1, 2, 3}


@pytest.mark.usefixtures("pretended")
def test_poor_trials_are_cut_short_by_the_median(toy_study: StudyConfig, tmp_path: Path) -> None:
    result = search(with_search(toy_study, training={"epochs": 4}), tmp_path, 14)
    rows = sorted(result.rows, key=lambda row: row["trial"])
    assert {row["state"] for row in rows[:5]} == {"complete"}
    # What a trial comes to is known here: it ends when it is worse than the median of those before, not in epoch 1.
    seen: list[float] = []
    for row in rows:
        content = {key: row[key] for key in SPACE}
        value = goodness(set_parameters(with_search(toy_study), "cnn", content))
        is_poor = len(seen) >= 5 and value < statistics.median(seen)
        assert (row["state"] == "pruned") == is_poor
        assert row["epochs"] == (2 if is_poor else 4)
        seen.append(value)
    assert any(row["state"] == "pruned" for row in rows)
    ends = {"pruned": "KILLED", "complete": "FINISHED"}
    for row in rows:
        spool = read_spool(tmp_path / row["folder"] / "track.jsonl")
        assert spool.status == ends[row["state"]]
        assert spool.tags["hepcnn.search"] == tmp_path.name
        assert float(spool.params["training.learning_rate"]) == row["training.learning_rate"]
        assert sum(point.key == "epoch/val_auc" for point in spool.points) == row["epochs"]


@pytest.mark.usefixtures("pretended")
def test_a_trial_that_ships_its_best_epoch_is_judged_by_it(
    toy_study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rise_and_fall(*told: Any, **options: Any) -> TrainedRun:
        run = pretend(*told, **options)
        for record, (value, loss) in zip(
            run.record.history, [(0.5, 0.9), (0.8, 0.4), (0.7, 0.3), (0.6, 0.5)], strict=True
        ):
            record |= {"val_auc": value, "val_loss": loss}
        return run

    monkeypatch.setattr(search_stage, "train_tagger", rise_and_fall)
    found = {}
    for name, training in {
        "last": {},
        "best": {"keep_best": True},
        "least loss": {"keep_best": True, "early_stopping": {"metric": "val_loss"}},
    }.items():
        found[name] = search(with_search(toy_study, training=training), tmp_path / name, 1).best["value"]
    assert found == {"last": 0.6, "best": 0.8, "least loss": 0.7}


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(
    toy_study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sometimes(study: StudyConfig, name: str, **told: Any) -> TrainedRun:
        if study.models["cnn"].options["depth"] == 2:
            raise TrainingError("the loss is nan in epoch 1, batch 3")
        return pretend(study, name, **told)

    monkeypatch.setattr(search_stage, "train_tagger", sometimes)
    result = search(with_search(toy_study), tmp_path, 10, pruner="none")
    failed = [row for row in result.rows if row["state"] == "failed" or row["state"] == "fail"]
    assert failed
    assert all(row["reason"].startswith("TrainingError: the loss is nan in epoch 1") for row in failed)
    assert all((row["options.depth"] == 2) == (row in failed) for row in result.rows)
    assert len(read_rows(tmp_path)) == 10


def test_a_search_whose_trials_all_fail_says_why(
    toy_study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> TrainedRun:
        raise TrainingError("out of memory")

    monkeypatch.setattr(search_stage, "train_tagger", never)
    with pytest.raises(SearchError, match="no trial was finished: TrainingError: out of memory"):
        search(with_search(toy_study), tmp_path, 2)


class StopsAtStep(SilentListener):
    """Asks for a stop at a step, as a batch system does."""

    def __init__(self, step: int) -> None:
        self.left = step

    def on_step(self, **_: object) -> None:
        """Count down."""
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_stopped_trial_goes_on_and_the_finished_ones_stay(toy_study: StudyConfig, tmp_path: Path) -> None:
    study = with_search(toy_study, training={"epochs": 1, "batch_size": 128}, options={"hidden": 8, "stem": 4})
    stops = StopsAtStep(2)

    @contextlib.contextmanager
    def listen(*_: Any) -> Iterator[SilentListener]:
        yield stops

    with pytest.raises(StopRequest):
        search(study, tmp_path, 1, listen=listen, pruner="none")
    heard: list[int] = []

    class Counts(SilentListener):
        def on_step(self, *, step: int, **_: object) -> None:
            heard.append(step)

    @contextlib.contextmanager
    def count(*_: Any) -> Iterator[SilentListener]:
        yield Counts()

    result = search(study, tmp_path, 1, listen=count, pruner="none")
    assert heard[0] == 3, "it goes on from its checkpoint"
    (row,) = result.rows
    assert (row["state"], row["folder"]) == ("complete", "trial0000")
    journal = optuna.load_study(
        study_name="toy/cnn",
        storage=optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal.log"))
        ),
    )
    first, second = journal.trials
    assert first.params == second.params


def _work(study: StudyConfig, output: Path, n_trials: int) -> None:
    search_stage.train_tagger = pretend  # type: ignore[assignment]
    search(study, output, n_trials, pruner="none")


@pytest.mark.usefixtures("pretended")
def test_processes_share_a_search_and_one_that_is_killed_leaves_its_trial_to_others(
    toy_study: StudyConfig, tmp_path: Path
) -> None:
    study, context = with_search(toy_study), multiprocessing.get_context("fork")
    shared = Search(study, "cnn", tmp_path, SearchSettings(8, pruner="none"))
    claimed = shared.claim(lambda _: None)
    assert claimed is not None
    with claimed[1]:
        workers = [context.Process(target=_work, args=(study, tmp_path, 4)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    # This process's trial counts while it is being made.
    assert len(read_rows(tmp_path)) == 3
    said: list[str] = []
    result = search_parameters(
        study, "cnn", output=tmp_path, settings=SearchSettings(8, pruner="none"), listen=silent, say=said.append
    )
    assert any("its process ended; it goes on" in line for line in said)
    assert len(result.rows) == 8
    assert len({row["folder"] for row in result.rows}) == 8


@pytest.mark.usefixtures("pretended")
def test_a_process_that_died_while_it_claimed_a_trial_does_not_stop_the_others(
    toy_study: StudyConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_journal, "GRACE_SECONDS", 3)
    (tmp_path / "claim").touch()
    (tmp_path / "claim.lock").symlink_to(tmp_path / "claim")
    assert len(search(with_search(toy_study), tmp_path, 1).rows) == 1


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "names nothing to search"),
        ({"options.dept": {"low": 1, "high": 2}}, "options.dept: no such option; did you mean 'depth'"),
        ({"training.lr": {"low": 1, "high": 2}}, "lr: unknown key"),
        ({"training.epochs": {"low": 0, "high": 2}}, "epochs: Input should be greater than or equal to 1"),
        ({"training.loss.disko": {"low": 0, "high": 2}}, "disko: unknown key; did you mean 'disco'"),
    ],
)
def test_a_space_that_cannot_be_is_named_before_the_first_trial(
    toy_study: StudyConfig, tmp_path: Path, space: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        search(with_search(toy_study, space), tmp_path, 1)
    assert not (tmp_path / "journal.log").exists()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"learning_rate": {"low": 1, "high": 2}}, "learning_rate: expected training.KEY or options.NAME"),
        ({"options.a": {"low": 1}}, "give either 'low' and 'high', or 'choices'"),
        ({"options.a": {"low": 2, "high": 1}}, "'low' must be below 'high'"),
        ({"options.a": {"low": 0, "high": 1, "log": True}}, "begins above 0"),
        ({"options.a": {"choices": [1]}}, "'choices' must be two at least"),
        ({"options.a": {"choices": [1, 2], "low": 1}}, "'choices' stand alone"),
    ],
)
def test_a_range_that_cannot_be_is_named(toy_study: StudyConfig, space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_search(toy_study, space)


@pytest.mark.usefixtures("pretended")
def test_another_search_in_the_folder_and_an_unknown_metric_are_refused(toy_study: StudyConfig, tmp_path: Path) -> None:
    search(with_search(toy_study), tmp_path / "a", 1)
    other = with_search(toy_study, SPACE | {"options.depth": {"low": 1, "high": 2}})
    with pytest.raises(SearchError, match="begun with another config, metric or seed"):
        search(other, tmp_path / "a", 2)
    with pytest.raises(SearchError, match="'val_ac' is not measured; did you mean 'val_auc'"):
        search(with_search(toy_study), tmp_path / "b", 1, metric="val_ac")


def test_a_value_inside_a_section_leaves_the_rest_of_it(toy_study: StudyConfig) -> None:
    study = with_search(toy_study, training={"loss": {"kind": "focal", "gamma": 1.0}})
    found = set_parameters(study, "cnn", {"training.loss.disco": 3.0, "options.depth": 1})
    loss = found.training_of("cnn").loss
    assert (loss.kind, loss.gamma, loss.disco) == ("focal", 1.0, 3.0)
    assert study.models["cnn"].training == {"loss": {"kind": "focal", "gamma": 1.0}}
