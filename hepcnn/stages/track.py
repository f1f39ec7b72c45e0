"""Each stage of a study leaves a spool: what it was, what went in, what came out, and how it ended.

Nothing here talks to MLflow; ``hepcnn track sync`` does. Nothing here stops a stage either.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hepcnn import paths
from hepcnn.config import StudyConfig, hash_config, read_study
from hepcnn.errors import HepcnnError, hide_password
from hepcnn.spool.follower import start_follower
from hepcnn.spool.listener import Listener, SpoolListener
from hepcnn.spool.lock import FileLock
from hepcnn.spool.monitor import Monitor
from hepcnn.spool.origin import describe_origin
from hepcnn.spool.reader import read_spool
from hepcnn.spool.writer import Identity, SpoolWriter, find_spool
from hepcnn.stages.describe import spool_record
from hepcnn.stages.records import RunRecord, flatten
from hepcnn.training.signals import StopRequest

Say = Callable[[str], None]


def find_study_uid(study: StudyConfig, *, say: Say | None = None) -> str:
    """What names the run of the whole study; decided by whichever stage asks first.

    Returns
    -------
    str
        Empty where the study's folder cannot be written to: its runs are then no part of any.
    """
    root = paths.study_dir(study.results, study.study)
    spool = find_spool(root)
    identity = identify(study, "study", "", config=hash_config(_content(study)), parent="")
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(spool.with_name(f"{spool.name}.new"), wait=10):
            if spool.exists():
                with contextlib.suppress(HepcnnError):
                    before = read_spool(spool)
                    if before.start["config"] == identity.config:
                        return before.uid
            writer = SpoolWriter(spool, identity, say=say)
            writer.close()
            return writer.uid
    except (OSError, HepcnnError) as error:
        if say is not None:
            say(f"{spool}: this run will be no part of a study's run: {error}")
        return ""


def identify(study: StudyConfig, stage: str, item: str, *, config: str, parent: str) -> Identity:
    """What a stage's run is, with its tags."""
    parts = (study.study, "" if stage in ("study", "train", "baseline") else stage, item)
    key = "/".join(part for part in parts if part)
    run = item.replace("/seed", " seed ")
    title = {"study": f"study {study.study}", "train": run, "baseline": run}.get(stage, f"{stage} {item}")
    tags = describe_origin() | {"hepcnn.study": study.study, "hepcnn.stage": stage, "mlflow.source.type": "JOB"}
    tags |= {"mlflow.source.name": f"hepcnn {stage}", "hepcnn.config.sha256": config}
    experiment = study.tracking.experiment or f"hepcnn-{study.study}"
    store = hide_password(study.tracking.store)
    files = study.tracking.artifacts or ""
    return Identity(key, title.strip(), stage, study.study, config, parent, store, experiment, files, tags)


@contextlib.contextmanager
def track_stage(
    study: StudyConfig, stage: str, item: str = "", *, output: Path | None = None, say: Say | None = None
) -> Iterator[SpoolWriter]:
    """Keep the spool of a stage, within a ``with`` block; the way the block ends is the run's status.

    Parameters
    ----------
    study
        Whose stage it is.
    stage, item
        Which, as in ``convert``, ``top``.
    output
        The run's folder; by default one in the study's ``track``.
    say
        Called when the spool cannot be written.

    Yields
    ------
    SpoolWriter
        To add what is known of the run.
    """
    folder = output or paths.stage_track(paths.study_dir(study.results, study.study), stage, item)
    config = hash_config(_content(study), stage, item)
    identity = identify(study, stage, item, config=config, parent=find_study_uid(study, say=say))
    with _kept(SpoolWriter(find_spool(folder), identity, say=say)) as writer:
        yield writer


@contextlib.contextmanager
def track_in_study(root: Path, stage: str, item: str = "") -> Iterator[SpoolWriter | None]:
    """As `track_stage`, where a folder is that of a study, as its ``config.yaml`` says; else nothing is kept."""
    config = paths.effective_config(root)
    study = None
    with contextlib.suppress(HepcnnError):
        study = read_study(config) if config.exists() else None
    if study is None:
        yield None
        return
    with track_stage(study, stage, item) as writer:
        yield writer


class TrackedTraining:
    """A training and its spool, which only one of several processes has."""

    def __init__(self, writer: SpoolWriter | None, output: Path, *, n_epochs: int) -> None:
        self.writer, self.output, self.n_epochs = writer, output, n_epochs

    def listen(self, inner: Listener) -> Listener:
        """A listener that writes to the spool and passes on what it hears."""
        return inner if self.writer is None else SpoolListener(inner, self.writer, n_epochs=self.n_epochs)

    def finish(self, record: RunRecord) -> None:
        """Take in what the run ended with."""
        if self.writer is not None:
            spool_record(self.writer, record, self.output)


@dataclass(frozen=True)
class TrialOf:
    """A training that is one trial of a search.

    ``study`` is the one that is searched; ``values`` are what this trial tries. The errors in ``pruned`` end it as
    KILLED: it was no failure.
    """

    study: StudyConfig
    search: str
    number: int
    values: Mapping[str, Any]
    pruned: tuple[type[BaseException], ...]


@contextlib.contextmanager
def track_training(
    study: StudyConfig,
    name: str,
    *,
    seed: int,
    output: Path,
    is_first: bool = True,
    say: Say | None = None,
    trial: TrialOf | None = None,
) -> Iterator[TrackedTraining]:
    """Keep the spool of a training, or go on with it; see `track_stage`. Of several processes, only the first does.

    Notes
    -----
    ``trial`` is given where the training is one of a search. Where the study's tracking is live, one process is started
    that pushes the spool while it grows. The training never waits for it.
    """
    training = study.training_of(name)
    if not is_first:
        yield TrackedTraining(None, output, n_epochs=training.epochs)
        return
    config = _content(study, models=False) | {
        "training": training.model_dump(mode="json", exclude={"loader", "device", "precision"}),
        "model": study.model_of(name).model_dump(mode="json", exclude={"training", "search"}),
        "seed": seed,
    }
    parent = find_study_uid(trial.study if trial else study, say=say)
    item = f"{trial.search}/{output.name}" if trial else f"{name}/seed{seed}"
    identity = identify(study, "train", item, config=hash_config(config), parent=parent)
    if trial is not None:
        tags = {"hepcnn.search": trial.search, "hepcnn.trial": str(trial.number)}
        identity = replace(identity, name=f"{name} {trial.search} {output.name}", tags=dict(identity.tags) | tags)
    writer = SpoolWriter(find_spool(output), identity, say=say)
    with _kept(writer, early=trial.pruned if trial else ()), _watched(study, writer):
        writer.add_params(flatten(config["training"]) | {"tagger": name, "seed": seed})
        if trial is not None:
            writer.add_params(dict(trial.values))
        if study.tracking.is_live and start_follower(output) is None and say is not None:
            say("no process could be started that tracks this run live: 'hepcnn track sync' will bring it to the store")
        yield TrackedTraining(writer, output, n_epochs=training.epochs)


def _content(study: StudyConfig, *, models: bool = True) -> dict[str, Any]:
    """A study's config without what changes no number of it."""
    left_out = {"tracking", "results"} | (
        set() if models else {"models", "training", "seeds", "baselines", "evaluation"}
    )
    return study.model_dump(mode="json", by_alias=True, exclude=left_out)


@contextlib.contextmanager
def _kept(writer: SpoolWriter, *, early: tuple[type[BaseException], ...] = ()) -> Iterator[SpoolWriter]:
    """End the run as the block ends; errors in ``early`` stop it, they are no failure."""
    stops: tuple[type[BaseException], ...] = (KeyboardInterrupt, StopRequest, *early)
    try:
        yield writer
    except stops:
        writer.end("KILLED")
        raise
    except BaseException:
        writer.end("FAILED")
        raise
    else:
        writer.end("FINISHED")
    finally:
        writer.close()


@contextlib.contextmanager
def _watched(study: StudyConfig, writer: SpoolWriter) -> Iterator[None]:
    with Monitor(writer) if study.tracking.system_metrics else contextlib.nullcontext():
        yield
