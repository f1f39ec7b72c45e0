"""A study, a folder or a run → MLflow."""

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hepcnn import paths
from hepcnn.config import StudyConfig, reveal_password
from hepcnn.convert.card import read_card
from hepcnn.errors import InputError
from hepcnn.spool.reader import find_spools, read_spool
from hepcnn.spool.writer import find_spool
from hepcnn.stages.adopt import adopt_record
from hepcnn.stages.records import RunRecord, read_json, read_record, write_json
from hepcnn.stages.track import find_study_uid
from hepcnn.tracking.note import describe_study
from hepcnn.tracking.push import TrackedRun, push_spool
from hepcnn.tracking.registry import register_bundle
from hepcnn.tracking.send import MOST_TEXT
from hepcnn.tracking.store import Store, TrackingError, explained

SKIPPED = "hepcnn.skipped_files"
Say = Callable[[str], None]


def sync_study(study: StudyConfig, *, say: Say | None = None) -> list[TrackedRun]:
    """Bring all runs of a study to MLflow; what is there already is left as it is.

    Parameters
    ----------
    study
        The study; ``tracking.uri`` and ``tracking.experiment`` say where to.
    say
        Called with a sentence about each spool that is left out, and why.

    Returns
    -------
    list of TrackedRun
        The study's own run first, then its trainings, then its other stages. Also written to ``mlflow.json`` in the
        study's folder.

    Raises
    ------
    TrackingError
        When the store cannot be reached.
    InputError
        When a record is damaged.
    """
    root = paths.study_dir(study.results, study.study)
    records = {path.parent: read_record(path) for path in find_records(root)}
    if not records and not _find_stages(root):
        raise TrackingError(f"{root}: no finished run to track")
    store = Store(study.tracking.store, _experiment(study), artifacts=study.tracking.artifacts)
    uid = find_study_uid(study)
    current = {folder: adopt_record(study, record, folder, parent=uid) for folder, record in records.items()}
    # Only now: a run that is adopted puts another's spool aside, which counts too.
    others = _find_stages(root)
    parent = push_study(study, root, store, list(records.values()))
    tracked = [parent]
    for spool in [*current.values(), *(path for path in others if path not in current.values())]:
        record = records.get(spool.parent) if spool in current.values() else None
        files = _list_plots(root, spool.parent, record) if record else {}
        run = _push_or_say(spool, store, say, files=files)
        if run is not None:
            tracked.append(run)
            if record is not None:
                with explained(store.uri):
                    store.client.set_tag(run.run_id, "mlflow.parentRunId", parent.run_id)
                register_bundle(store, record, spool.parent, run.run_id, metric=study.tracking.champion)
    close_study(find_spool(root), store, parent.run_id)
    write_json(paths.tracked(root), {"uri": store.uri, "runs": [asdict(run) for run in tracked]})
    return tracked


def _find_stages(root: Path) -> list[Path]:
    """The spools of a study's runs; its own is left out, and so are those of samples that are only scored."""
    others = paths.others_dir(root)
    return [path for path in find_spools([root]) if path != find_spool(root) and others not in path.parents]


def find_records(root: Path) -> list[Path]:
    """The records of trainings, and of the trials of searches, which are runs too."""
    return [*sorted(root.glob("*/seed*/run.json")), *sorted(root.glob("*/trial*/run.json"))]


def push_study(study: StudyConfig, root: Path, store: Store, records: Sequence[RunRecord]) -> TrackedRun:
    """The run that all others of a study are part of: its config, data cards, tables and plots."""
    cards = find_cards(study, root)
    skipped = _list_skipped(cards.values())
    report = paths.report(root)
    run = _push_study_files(study, root, store, cards, report if report.exists() else None)
    tags = {SKIPPED: str(len(skipped)), "hepcnn.taggers": ", ".join(sorted({record.tagger for record in records}))}
    if skipped:
        tags[f"{SKIPPED}.names"] = "\n".join(skipped)[:MOST_TEXT]
    config = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    with explained(store.uri):
        for name, text in tags.items():
            store.client.set_tag(run.run_id, name, text)
        store.client.log_dict(run.run_id, config, "config.json")
    return run


def _push_study_files(
    study: StudyConfig, root: Path, store: Store, cards: Iterable[Path], report: Path | None
) -> TrackedRun:
    cards, summary = list(cards), paths.summary_dir(root)
    files = {_relative(card, root): "data" for card in cards}
    files |= {"config.yaml": ""} if paths.effective_config(root).exists() else {}
    files |= {_relative(summary, root): "summary"} if summary.exists() else {}
    files |= {_relative(report, root): ""} if report else {}
    run = push_spool(find_spool(root), store, files=files)
    if run is None:
        raise TrackingError(f"{store.uri}: the run of study '{study.study}' was deleted there: restore it in the page")
    name = report.name if report else ""
    note = describe_study(study, root, experiment=store.experiment, run_id=run.run_id, cards=cards, report=name)
    with explained(store.uri):
        store.client.set_tag(run.run_id, "mlflow.note.content", note)
    return run


def close_study(spool: Path, store: Store, run_id: str) -> None:
    """Say of a study's run that it is over when all its parts are."""
    uid = read_spool(spool).uid
    parts = []
    for path in find_spools([spool.parent]):
        with contextlib.suppress(InputError):
            parts.append(read_spool(path))
    parts = [part for part in parts if part.start.get("parent") == uid]
    with explained(store.uri):
        if parts and all(part.status for part in parts):
            store.client.set_terminated(run_id, "FINISHED", end_time=max(part.time for part in parts))
        else:
            store.client.update_run(run_id, status="RUNNING")


def sync_paths(
    places: Iterable[Path],
    *,
    uri: str = "",
    experiment: str = "",
    say: Say | None = None,
    stores: dict[tuple[str, str], Store] | None = None,
) -> list[TrackedRun]:
    """Bring all spools below some folders to the stores that they name, or to another.

    Parameters
    ----------
    places
        Run folders, folders of studies, or of results.
    uri, experiment
        Where to, instead of what the spools say.
    say
        As for `sync_study`.
    stores
        Those that are open already; gets those that are opened.

    Raises
    ------
    InputError
        When there is no spool.
    TrackingError
        When a store cannot be reached.
    """
    spools = find_spools(places)
    if not spools:
        raise InputError(f"{', '.join(map(str, places))}: no spool (track.jsonl) here or below")
    stores = {} if stores is None else stores
    tracked = []
    studies = []
    for path in spools:
        try:
            start = read_spool(path).start
        except InputError as error:
            _say(say, f"left out: {error}")
            continue
        place = (
            uri or reveal_password(str(start.get("uri", ""))),
            experiment or str(start.get("experiment", "hepcnn")),
        )
        if place not in stores:
            # Elsewhere than the spool says, its place for files may mean nothing.
            stores[place] = Store(*place, artifacts=None if uri else start.get("artifacts") or None)
        run = _push_or_say(path, stores[place], say)
        if run is not None:
            tracked.append(run)
            studies += [(path, stores[place], run.run_id)] if start["stage"] == "study" else []
    for study in studies:
        close_study(*study)
    return tracked


def find_cards(study: StudyConfig, root: Path) -> dict[Path, Any]:
    """The data cards of a study's samples, where it has its images in its own folder."""
    names = [paths.data_card(paths.images(root, name)) for name in study.samples]
    return {path: read_card(path) for path in names if path.exists()}


def attach_report(study: StudyConfig, report: Path) -> None:
    """Add the report to the study's run, and the plots that were drawn for it.

    Raises
    ------
    InputError
        When the study was not tracked.
    TrackingError
        When the store cannot be reached.
    """
    root = paths.study_dir(study.results, study.study)
    read_json(paths.tracked(root))
    store = Store(study.tracking.store, _experiment(study))
    _push_study_files(study, root, store, find_cards(study, root), report)


def _experiment(study: StudyConfig) -> str:
    return study.tracking.experiment or f"hepcnn-{study.study}"


def _push_or_say(
    spool: Path, store: Store, say: Say | None, *, files: Mapping[str, str] | None = None
) -> TrackedRun | None:
    """Push a spool; one that is damaged holds up no other."""
    try:
        run = push_spool(spool, store, files=files)
    except InputError as error:
        _say(say, f"left out: {error}")
        return None
    if run is None:
        _say(say, f"left out: {spool}: its run was deleted in the store")
    return run


def _say(say: Say | None, sentence: str) -> None:
    if say is not None:
        say(sentence)


def _list_plots(root: Path, folder: Path, record: RunRecord) -> dict[str, str]:
    plots = sorted(paths.summary_dir(root).glob(f"scores_{record.tagger}*.png"))
    return {_relative(plot, folder): "plots" for plot in plots}


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)


def _list_skipped(cards: Iterable[Mapping[str, Any]]) -> list[str]:
    """The input files that were set aside, each once, with the reason."""
    return list(dict.fromkeys(f"{file['path']}: {file['reason']}" for card in cards for file in card["skipped_files"]))
