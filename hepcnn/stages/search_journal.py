"""What the processes of a search share: a journal of trials, and locks that say which of them are being made."""

import contextlib
import fcntl
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, Trial, TrialState

from hepcnn.config import StudyConfig, hash_config
from hepcnn.errors import HepcnnError
from hepcnn.stages.search_results import FOLDER, REASON, STOPPED, is_stopped

Pruner = Literal["median", "hyperband", "none"]
FINGERPRINT = "fingerprint"
GRACE_SECONDS = 30
"""After so long a process that claims a trial is taken for dead."""


class SearchError(HepcnnError):
    """A search that cannot go on."""


@dataclass(frozen=True)
class SearchSettings:
    """How a search is done: what is to be best, which trials are cut short, and the seed of networks and sampling."""

    n_trials: int
    metric: str = "val_auc"
    pruner: Pruner = "median"
    seed: int = 1

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """A loss shall be small, all else large."""
        return "minimize" if self.metric.endswith("loss") else "maximize"


class Search:
    """A search in a folder, which several processes may open."""

    def __init__(self, study: StudyConfig, name: str, output: Path, settings: SearchSettings) -> None:
        optuna.logging.set_verbosity(logging.WARNING)
        self.study, self.name, self.output, self.settings = study, name, output, settings
        output.mkdir(parents=True, exist_ok=True)
        self.storage = JournalStorage(JournalFileBackend(str(output / "journal.log")))
        with self._alone():
            self.optuna = optuna.create_study(
                storage=self.storage,
                study_name=f"{study.study}/{name}",
                direction=settings.direction,
                load_if_exists=True,
                pruner=_make_pruner(settings.pruner, study.training_of(name).epochs),
            )
            # What decides a trial's value; other models of the study may change.
            decisive = study.model_dump(mode="json", include={"training", "samples", "images", "split", "weights"})
            model = study.models[name].model_dump(mode="json")
            fingerprint = hash_config(decisive, model, settings.metric, settings.seed)
            known = self.optuna.user_attrs.setdefault(FINGERPRINT, fingerprint)
            if known != fingerprint:
                raise SearchError(
                    f"{output}: this search was begun with another config, metric or seed: name another folder, or "
                    "restore the config"
                )
            self.optuna.set_user_attr(FINGERPRINT, fingerprint)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process claim a trial meanwhile."""
        # The lock points to a file, whose date says when it was last taken: one held for long was left by the dead.
        target = self.output / "claim"
        target.touch()
        lock = JournalFileSymlinkLock(str(target), grace_period=GRACE_SECONDS)
        lock.acquire()
        try:
            target.touch()
            yield
        finally:
            lock.release()

    def claim(self, say: Callable[[str], None]) -> tuple[Trial, AbstractContextManager[None]] | None:
        """The next trial, with the lock that says that it is being made; None when there are enough."""
        with self._alone():
            self._reclaim(say)
            trials = self.optuna.get_trials(deepcopy=False)
            made = [t for t in trials if t.state != TrialState.WAITING and not is_stopped(t)]
            if len(made) >= self.settings.n_trials:
                return None
            # Of the seed and the number alone, so that a search that goes on draws what it would have drawn.
            self.optuna.sampler = optuna.samplers.TPESampler(
                seed=(self.settings.seed * 1_000_003 + len(trials)) % 2**32,
                n_startup_trials=min(10, max(3, self.settings.n_trials // 4)),
                constant_liar=True,
            )
            trial = self.optuna.ask()
            trial.set_user_attr(FOLDER, self.folder_of(trial).name)
            return trial, _hold(self.folder_of(trial))

    def folder_of(self, trial: Trial | FrozenTrial) -> Path:
        """Where a trial's training is."""
        return self.output / str(trial.user_attrs.get(FOLDER, f"trial{trial.number:04d}"))

    def give_up(self, trial: Trial | FrozenTrial) -> None:
        """Record a trial as stopped, and let the next call go on with it."""
        self.storage.set_trial_user_attr(trial._trial_id, REASON, STOPPED)
        self.optuna.tell(trial.number, state=TrialState.FAIL)
        self.optuna.enqueue_trial(dict(trial.params), user_attrs={FOLDER: self.folder_of(trial).name})

    def _reclaim(self, say: Callable[[str], None]) -> None:
        for trial in self.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not _is_held(self.folder_of(trial)):
                say(f"trial {trial.number}: its process ended; it goes on")
                self.give_up(trial)


def _make_pruner(kind: Pruner, n_epochs: int) -> optuna.pruners.BasePruner:
    if kind == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
    if kind == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=n_epochs)
    return optuna.pruners.NopPruner()


def _hold(folder: Path) -> AbstractContextManager[None]:
    """Hold a trial's folder: the system lets go of it when the process ends, however it does."""
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / ".held").open("w")
    with contextlib.suppress(OSError):  # a file system without locks: then no process is ever taken for dead
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return contextlib.closing(file)  # type: ignore[return-value]


def _is_held(folder: Path) -> bool:
    try:
        with (folder / ".held").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
