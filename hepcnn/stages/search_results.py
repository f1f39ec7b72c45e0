"""What a search found, as files and as a table."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hepcnn.atomic import atomic_path
from hepcnn.config import StudyConfig, write_study
from hepcnn.stages.search_space import read_choice, set_parameters

FOLDER, REASON, STOPPED = "folder", "reason", "stopped"
"""What is noted of a trial: where its training is, and why it ended before its time."""


@dataclass(frozen=True)
class SearchResult:
    """The trials, one row each with ``trial, state, value, epochs, seconds, folder, reason`` and a column per key.

    ``best`` is the best row, None where no trial was finished; ``config`` the study with its values.
    """

    rows: Sequence[Mapping[str, Any]]
    best: Mapping[str, Any] | None
    config: Path | None

    def ranked(self, *, most: int = 10) -> list[Mapping[str, Any]]:
        """Finished trials, the best first."""
        return list(self.rows[:most])


def is_stopped(trial: FrozenTrial) -> bool:
    """Whether a trial was stopped from outside: it goes on as another one, and does not count."""
    return trial.state == TrialState.FAIL and trial.user_attrs.get(REASON) == STOPPED


def write_results(search: optuna.Study, output: Path, study: StudyConfig, name: str) -> SearchResult:
    """Write ``trials.csv`` and, once a trial is finished, ``best.yaml`` into the search's folder."""
    trials = [t for t in search.get_trials(deepcopy=False) if t.state.is_finished() and not is_stopped(t)]
    rows = [_make_row(trial) for trial in trials]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if rows:
        with atomic_path(output / "trials.csv") as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
    finished = [t for t in trials if t.state == TrialState.COMPLETE]
    if not finished:
        return SearchResult(rows, None, None)
    sign = -1 if search.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    # The first of equal ones, so that the result does not depend on who asks.
    ranked = sorted(finished, key=lambda t: (sign * float(t.value or 0.0), t.number))
    best_study = set_parameters(study, name, dict(ranked[0].params))
    config = write_study(best_study, output / "best.yaml")
    rest = [row for trial, row in zip(trials, rows, strict=True) if trial.state != TrialState.COMPLETE]
    ordered = [_make_row(trial) for trial in ranked]
    return SearchResult([*ordered, *rest], ordered[0], config)


def _make_row(trial: FrozenTrial) -> dict[str, Any]:
    seconds = "" if trial.duration is None else round(trial.duration.total_seconds(), 1)
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "value": trial.value if trial.state == TrialState.COMPLETE else "",
        "epochs": max(trial.intermediate_values, default=0),
        "seconds": seconds,
        "folder": trial.user_attrs.get(FOLDER, ""),
        "reason": trial.user_attrs.get(REASON, ""),
        **{key: read_choice(value) for key, value in trial.params.items()},
    }
