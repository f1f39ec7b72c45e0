"""Search of hyper-parameters with Optuna: every trial is a training of its own, and several processes share a search.

What was tried is in a journal, a file that processes append to: it needs no server and works on NFS.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from hepcnn import paths
from hepcnn.config import EarlyStoppingConfig, StudyConfig, TrainingConfig
from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.models.registry import model_options
from hepcnn.stages.records import write_record
from hepcnn.stages.samples import open_sample
from hepcnn.stages.search_journal import Search, SearchError, SearchSettings
from hepcnn.stages.search_results import REASON, SearchResult, write_results
from hepcnn.stages.search_space import set_parameters, suggest_parameters
from hepcnn.stages.track import TrackedTraining, TrialOf, track_training
from hepcnn.stages.train import train_tagger
from hepcnn.training.loop import Listener
from hepcnn.training.signals import StopRequest


def search_parameters(
    study: StudyConfig,
    name: str,
    *,
    output: Path,
    settings: SearchSettings,
    listen: Callable[[str, int], AbstractContextManager[Listener]],
    images: Sequence[Path] = (),
    say: Callable[[str], None] = lambda _: None,
) -> SearchResult:
    """Search the hyper-parameters of a tagger, or go on with it, or help another process that does.

    Parameters
    ----------
    study, name
        The study, and which of its models; its ``search`` says what to try.
    output
        The search's folder: gets ``journal.log``, a folder ``trial0000`` and so on for each trial, as of a training,
        ``trials.csv``, and ``best.yaml``, the study with the best values found so far.
    settings
        How. Trials that were made before, or are being made by other processes, count.
    listen
        Makes what hears of a trial, from its title and its number of epochs.
    images
        The study's ``images.h5`` files, if they are not in its folder.
    say
        Called with a sentence for each trial.

    Raises
    ------
    ConfigError
        When the model names nothing to search, or a key or value that it cannot have.
    SearchError
        When the folder holds the search of another config, the metric is not measured, or every trial failed.
    StopRequest
        On SIGINT or SIGTERM. The trial that was going on goes on with the next call.

    Notes
    -----
    Values are drawn by a tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), which counts trials that
    other processes are making as bad ones, so that they do not all try the same. A trial's value is that of the epoch
    that is shipped: the last, or the best with ``keep_best``. ``median`` ends a trial that, after its second epoch or a
    later one, is worse than half of the others were there, once there are five; ``hyperband`` (arXiv:1603.06560) gives
    most epochs to few. A trial that raises is recorded as failed, with the reason, and the search goes on. The choice
    looks at validation jets alone. Every trial keeps a spool, as a training does.
    """
    _check_space(study, name)
    open_sample(study, images)  # a problem with the jets is every trial's: better now than once a trial
    search = Search(study, name, output, settings)
    while (claimed := search.claim(say)) is not None:
        trial, lock = claimed
        with lock:
            _run_trial(search, trial, listen, images, say)
    result = write_results(search.optuna, output, study, name)
    if result.best is None:
        reasons = {str(trial.user_attrs.get(REASON, "pruned")) for trial in search.optuna.trials}
        raise SearchError(f"{output}: no trial was finished: {'; '.join(sorted(reasons))[:500]}")
    return result


class _TrialListener:
    """Passes on what it hears, and ends a trial that the pruner gives up."""

    def __init__(self, inner: Listener, trial: Trial, metric: str, n_epochs: int) -> None:
        self.inner, self.trial, self.metric, self.n_epochs = inner, trial, metric, n_epochs

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def on_step(self, **values: Any) -> None:
        self.inner.on_step(**values)

    def on_epoch(self, record: dict[str, float]) -> None:
        self.inner.on_epoch(record)
        if self.metric not in record:
            raise SearchError(f"--metric: '{self.metric}' is not measured{did_you_mean(self.metric, record)}")
        self.trial.report(record[self.metric], step=int(record["epoch"]))
        # After the last epoch there is nothing left to save.
        if record["epoch"] < self.n_epochs and self.trial.should_prune():
            raise optuna.TrialPruned


def _run_trial(
    search: Search,
    trial: Trial,
    listen: Callable[[str, int], AbstractContextManager[Listener]],
    images: Sequence[Path],
    say: Callable[[str], None],
) -> None:
    name, settings = search.name, search.settings
    try:
        values = suggest_parameters(trial, search.study.models[name].search)
        study = set_parameters(search.study, name, values)
        title, folder = f"trial {trial.number}", search.folder_of(trial)
        n_epochs = study.training_of(name).epochs
        about = {"search": search.output.name, "trial": trial.number, "searched": values}
        with listen(title, n_epochs) as listener, _tracked(search, trial, study, values, say) as tracked:
            heard = _TrialListener(tracked.listen(listener), trial, settings.metric, n_epochs)
            run = train_tagger(study, name, seed=settings.seed, output=folder, listener=heard, images=images)
            record = replace(run.record, extra={**run.record.extra, **about})
            write_record(paths.run_record(folder), record)
            tracked.finish(record)
        value = _value_of(record.history, settings.metric, study.training_of(name))
        search.optuna.tell(trial, value)
        say(f"trial {trial.number}: {settings.metric} {value:.5f} with {_show(values)}")
    except optuna.TrialPruned:
        search.optuna.tell(trial, state=TrialState.PRUNED)
        say(f"trial {trial.number}: ended early with {_show(values)}")
    except (StopRequest, KeyboardInterrupt, SearchError):
        search.give_up(trial)
        raise
    except Exception as error:  # whatever a network or a driver raises shall not end a search of days
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        trial.set_user_attr(REASON, reason)
        search.optuna.tell(trial, state=TrialState.FAIL)
        say(f"trial {trial.number}: failed: {reason}")
    write_results(search.optuna, search.output, search.study, name)


def _tracked(
    search: Search, trial: Trial, study: StudyConfig, values: Mapping[str, Any], say: Callable[[str], None]
) -> AbstractContextManager[TrackedTraining]:
    """A trial is a run like any training, finished or not."""
    about = TrialOf(search.study, search.output.name, trial.number, values, (optuna.TrialPruned,))
    folder, seed = search.folder_of(trial), search.settings.seed
    return track_training(study, search.name, seed=seed, output=folder, say=say, trial=about)


def _value_of(history: Sequence[Mapping[str, float]], metric: str, training: TrainingConfig) -> float:
    """The metric of the epoch that is shipped: the last, or the best where ``keep_best`` ships that."""
    if not training.keep_best:
        return float(history[-1][metric])
    stopping = training.early_stopping or EarlyStoppingConfig()
    judged = [epoch for epoch in history if not math.isnan(epoch[stopping.metric])] or list(history)
    return float(max(judged, key=lambda epoch: stopping.sign * epoch[stopping.metric])[metric])


def _check_space(study: StudyConfig, name: str) -> None:
    model = study.model_of(name)
    if not model.search:
        raise ConfigError(
            f"models.{name}.search: names nothing to search, as in search: "
            "{training.learning_rate: {low: 1.0e-4, high: 1.0e-2, log: true}}"
        )
    known = model_options(model.network or name)
    for key in model.search:
        option = key.split(".")[1]
        if key.startswith("options.") and option not in known:
            raise ConfigError(f"models.{name}.search: {key}: no such option{did_you_mean(option, known)}")
    for end in (0, -1):
        ends = {key: ((r.low, r.high) if r.choices is None else r.choices)[end] for key, r in model.search.items()}
        set_parameters(study, name, ends)


def _show(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {v:.4g}" if isinstance(v, float) else f"{key} {v}" for key, v in values.items())
