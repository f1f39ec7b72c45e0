"""Runs → MLflow. The only module that imports mlflow.

Training never talks to MLflow: a run leaves a record on disk, and one process brings the records of a study to the
store afterwards. So compute nodes need no network, and no two processes create a store at once.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.convert.card import read_card
from hepcnn.errors import HepcnnError, require
from hepcnn.stages.evaluate import read_tables
from hepcnn.stages.records import RunRecord, read_json, read_record, write_json

KEY, CONTENT, SKIPPED = "hepcnn.key", "hepcnn.content", "hepcnn.skipped_files"
MOST_TEXT = 5000
"""Characters of a tag that every MLflow store takes."""
LOCAL_ADDRESS = "http://127.0.0.1:5000"
MOST_PARAMETERS = 100
# MLflow's own defaults block for minutes when a server is down.
HTTP_DEFAULTS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


class TrackingError(HepcnnError):
    """The tracking store cannot be reached or written to."""


@dataclass(frozen=True)
class TrackedRun:
    """Where a run is in MLflow; ``address`` is its page."""

    name: str
    run_id: str
    address: str
    is_new: bool


def sync_study(study: StudyConfig) -> list[TrackedRun]:
    """Bring all finished runs of a study to MLflow; what is there already is left as it is.

    Parameters
    ----------
    study
        The study; ``tracking.uri`` and ``tracking.experiment`` say where to.

    Returns
    -------
    list of TrackedRun
        The study's own run first, then its trainings. Also written to ``mlflow.json`` in the study's folder.

    Raises
    ------
    TrackingError
        When the store cannot be reached.
    InputError
        When a record is damaged.
    """
    root = paths.study_dir(study.results, study.study)
    runs = {path.parent: read_record(path) for path in _find_records(root)}
    records = list(runs.values())
    if not records:
        raise TrackingError(f"{root}: no finished run to track")
    cards = find_cards(study, root)
    store = _Store(study)
    try:
        parent = store.put_study(study, root, records, cards)
        tracked = [parent, *(store.put_run(record, root, folder, parent.run_id) for folder, record in runs.items())]
    except HepcnnError:
        raise
    except Exception as error:  # mlflow, SQLAlchemy and HTTP raise their own kinds; the records stay on disk
        raise TrackingError(f"{study.tracking.uri}: tracking failed, the records stay in {root}: {error}") from error
    write_json(paths.tracked(root), {"uri": study.tracking.uri, "runs": [asdict(run) for run in tracked]})
    return tracked


def _find_records(root: Path) -> list[Path]:
    """The records of trainings, and of the trials of searches, which are runs too."""
    return [*sorted(root.glob("*/seed*/run.json")), *sorted(root.glob("*/trial*/run.json"))]


def find_cards(study: StudyConfig, root: Path) -> dict[Path, Any]:
    """The data cards of a study's samples, where it has its images in its own folder."""
    names = [paths.data_card(paths.images(root, name)) for name in study.samples]
    return {path: read_card(path) for path in names if path.exists()}


def attach_report(study: StudyConfig, report: Path) -> None:
    """Add the report to the study's run.

    Raises
    ------
    TrackingError
        When the study was not tracked, or the store cannot be reached.
    """
    root = paths.study_dir(study.results, study.study)
    run_id = read_json(paths.tracked(root))["runs"][0]["run_id"]
    try:
        _Store(study).client.log_artifact(run_id, str(report))
    except Exception as error:
        raise TrackingError(f"{study.tracking.uri}: the report could not be attached: {error}") from error


class _Store:
    """The experiment of a study in an MLflow store."""

    def __init__(self, study: StudyConfig) -> None:
        for name, value in HTTP_DEFAULTS.items():
            os.environ.setdefault(name, value)
        self.mlflow: Any = require("mlflow", extra="workflow")
        self.uri = study.tracking.uri
        try:
            self.client = self.mlflow.MlflowClient(tracking_uri=self.uri)
            name = study.tracking.experiment or f"hepcnn-{study.study}"
            found = self.client.get_experiment_by_name(name)
            self.experiment = found.experiment_id if found else self.client.create_experiment(name)
        except Exception as error:
            raise TrackingError(f"{self.uri}: cannot open this MLflow store: {error}") from error

    def put_study(
        self, study: StudyConfig, root: Path, records: Sequence[RunRecord], cards: Mapping[Path, Any]
    ) -> TrackedRun:
        config = study.model_dump(mode="json", by_alias=True, exclude_none=True)
        skipped = _list_skipped(cards.values())
        content = _hash([config, [asdict(record) for record in records], skipped])
        tags = {KEY: study.study, CONTENT: content, "hepcnn.study": study.study, SKIPPED: str(len(skipped))}
        if skipped:
            tags[f"{SKIPPED}.names"] = "\n".join(skipped)[:MOST_TEXT]
        if existing := self._find(content, study.study):
            return existing
        if tables := read_tables(paths.summary_dir(root)):
            tags["mlflow.note.content"] = "\n\n".join(tables)
        run_id = self._start(f"study {study.study}", tags)
        self.client.log_dict(run_id, config, "config.json")
        self._log_batch(run_id, parameters=_flatten(config), metrics={}, history=[])
        for card in cards:
            self.client.log_artifact(run_id, str(card), "data")
        if paths.summary_dir(root).exists():
            self.client.log_artifacts(run_id, str(paths.summary_dir(root)), "summary")
        return self._finish(run_id, study.study)

    def put_run(self, record: RunRecord, root: Path, folder: Path, parent: str) -> TrackedRun:
        name = f"{record.tagger} seed {record.seed}"
        key = f"{record.study}/{record.tagger}/seed{record.seed}"
        search = str(record.extra.get("search", ""))
        if search:
            name, key = f"{record.tagger} {search} {folder.name}", f"{record.study}/{search}/{folder.name}"
        content = _hash(asdict(record))
        if existing := self._find(content, name):
            return existing
        tags = {
            KEY: key,
            CONTENT: content,
            "hepcnn.study": record.study,
            "hepcnn.tagger": record.tagger,
            "hepcnn.bundle": record.bundle_id,
            "mlflow.parentRunId": parent,
        }
        if search:
            tags["hepcnn.search"] = search
        tags |= {f"data.{Path(source['path']).name}.sha256": str(source["sha256"]) for source in record.sources}
        tags |= {f"version.{package}": version for package, version in record.versions.items()}
        ended = paths.run_record(folder).stat().st_mtime
        run_id = self._start(name, tags, at=ended - record.train_seconds)
        parameters = {"tagger": record.tagger, "seed": record.seed, "parameters": record.n_parameters}
        parameters |= dict(record.extra.get("searched", {}))
        self._log_batch(
            run_id,
            parameters=parameters | dict(record.parameters),
            metrics=_final_metrics(record),
            history=record.history,
        )
        self._log_files(run_id, folder, plots=sorted(paths.summary_dir(root).glob(f"scores_{record.tagger}*.png")))
        return self._finish(run_id, name, at=ended)

    def _find(self, content: str, name: str) -> TrackedRun | None:
        found = self.client.search_runs(
            [self.experiment], f"tags.`{CONTENT}` = '{content}' and attributes.status = 'FINISHED'", max_results=1
        )
        return TrackedRun(name, found[0].info.run_id, self._address(found[0].info.run_id), False) if found else None

    def _start(self, name: str, tags: Mapping[str, str], *, at: float | None = None) -> str:
        started = int(1000 * (at or time.time()))
        run = self.client.create_run(self.experiment, tags=dict(tags), run_name=name, start_time=started)
        return str(run.info.run_id)

    def _finish(self, run_id: str, name: str, *, at: float | None = None) -> TrackedRun:
        self.client.set_terminated(run_id, "FINISHED", end_time=int(1000 * (at or time.time())))
        return TrackedRun(name, run_id, self._address(run_id), True)

    def _address(self, run_id: str) -> str:
        base = self.uri.rstrip("/") if self.uri.startswith(("http://", "https://")) else LOCAL_ADDRESS
        return f"{base}/#/experiments/{self.experiment}/runs/{run_id}?workflowType=machine_learning"

    def _log_batch(
        self,
        run_id: str,
        *,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        history: Sequence[Mapping[str, float]],
    ) -> None:
        entities, now = self.mlflow.entities, int(time.time() * 1000)
        points = [entities.Metric(name, value, now, 0) for name, value in metrics.items()]
        for record in history:
            step = int(record["epoch"])
            points += [entities.Metric(name, value, now, step) for name, value in record.items() if name != "epoch"]
        listed = [entities.Param(name, str(value)[:500]) for name, value in parameters.items()]
        for start in range(0, len(listed), MOST_PARAMETERS):
            self.client.log_batch(run_id, params=listed[start : start + MOST_PARAMETERS])
        for start in range(0, len(points), 1000):
            self.client.log_batch(run_id, metrics=points[start : start + 1000])

    def _log_files(self, run_id: str, folder: Path, *, plots: Sequence[Path]) -> None:
        if paths.bundle(folder).exists():
            self.client.log_artifacts(run_id, str(paths.bundle(folder)), "bundle")
        for path in (paths.run_record(folder), paths.metrics(folder), paths.working_points(folder)):
            if path.exists():
                self.client.log_artifact(run_id, str(path))
        for plot in plots:
            self.client.log_artifact(run_id, str(plot), "plots")


def _list_skipped(cards: Iterable[Mapping[str, Any]]) -> list[str]:
    """The input files that were set aside, each once, with the reason."""
    return list(dict.fromkeys(f"{file['path']}: {file['reason']}" for card in cards for file in card["skipped_files"]))


def _final_metrics(record: RunRecord) -> dict[str, float]:
    values: dict[str, float] = {"train_seconds": record.train_seconds}
    for signal, measured in record.metrics.items():
        numbers = {"auc": measured["auc"], "accuracy": measured["accuracy"]}
        numbers |= {f"rejection_at_{eps}": value for eps, value in measured["rejection"].items()}
        for name, number in numbers.items():
            values[f"test.{signal}.{name}"] = number["value"]
            if number.get("err_stat") is not None:
                values[f"test.{signal}.{name}.err_stat"] = number["err_stat"]
    return values


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _hash(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]


def open_dashboard(uri: str, *, port: int = 5000) -> int:
    """Serve the MLflow dashboard on this machine until it is stopped; returns the server's exit status.

    Notes
    -----
    Bound to 127.0.0.1, so that only users of this machine reach it. On a login node those are many, and MLflow's
    assistant would let any of them run commands as this user: it belongs to the default server, so the plain WSGI
    server is taken, which has no such endpoint.
    """
    require("mlflow", extra="workflow")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", uri, "--gunicorn-opts", "--workers 1 --log-level warning"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    return subprocess.call(command, env=environment)
