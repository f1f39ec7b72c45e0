"""An MLflow store, opened so that it fails soon and in words, and created once however many ask."""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hepcnn.errors import HepcnnError, did_you_mean, hide_password, require
from hepcnn.tracking.create import created_once, sqlite_path
from hepcnn.tracking.view import QUERY, TAG, make_view

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
LOCAL_ADDRESS = "http://127.0.0.1:5000"
# MLflow's own defaults block for minutes when a server is down.
HTTP_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
DRIVERS = {
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "pymysql": "pymysql",
    "pymssql": "pymssql",
    "boto3": "boto3",
}
DATABASE = {
    "readonly database": "this database cannot be written to: check the permissions of the file and its folder",
    "disk is full|disk I/O error|No space left": (
        "the disk of this store is full, or fails; what was not sent stays in the spools: make room and sync again"
    ),
    "Connection refused|could not connect|server closed the connection|could not translate host name": (
        "no database answers there; what was not sent stays in the spools"
    ),
    "authentication failed|no password supplied": (
        "this database wants another password: put it into ~/.pgpass or PGPASSWORD"
    ),
}
"""What a database says, and what that means."""


class TrackingError(HepcnnError):
    """The tracking store cannot be reached or written to."""


class Store:
    """One experiment of an MLflow store.

    Parameters
    ----------
    uri
        Of the store: a server, or a database.
    experiment
        Its name; made if the store has none of this name.
    artifacts
        Where a new experiment keeps files; by default ``mlruns`` beside a SQLite file, else what the store decides.

    Raises
    ------
    TrackingError
        When the URI is none that hepcnn tracks to, or the store cannot be opened; the message says what to do.
    """

    def __init__(self, uri: str, experiment: str, *, artifacts: str | None = None) -> None:
        self.uri, self.name = hide_password(check_uri(uri)), experiment
        self.mlflow = import_mlflow()
        with explained(uri), created_once(uri):
            self.client = self.mlflow.MlflowClient(tracking_uri=uri)
            self.experiment = self._find_experiment(artifacts or _beside(uri, experiment))

    def _find_experiment(self, artifacts: str | None) -> str:
        found = self.client.get_experiment_by_name(self.name)
        if found is None:
            try:
                return self._with_view(self.client.create_experiment(self.name, artifact_location=artifacts), {})
            except self.mlflow.exceptions.MlflowException:
                # Somebody else may have made it meanwhile.
                found = self.client.get_experiment_by_name(self.name)
                if found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            raise TrackingError(
                f"{self.uri}: the experiment '{self.name}' was deleted there: restore it "
                f"('mlflow experiments restore -x {found.experiment_id}'), or name another in tracking.experiment"
            )
        return self._with_view(str(found.experiment_id), found.tags)

    def _with_view(self, experiment: str, tags: Mapping[str, str]) -> str:
        """Give the experiment its view, unless somebody changed it."""
        if TAG not in tags:
            self.client.set_experiment_tag(experiment, TAG, make_view())
        return experiment

    def find_run(self, tag: str, value: str) -> Any:
        """The run with this value of a tag, deleted or not, or None.

        Notes
        -----
        When a server's answer is lost, MLflow asks again, and the server makes a run twice. All but one are deleted
        here: they are empty.
        """
        found = self._search(tag, value)
        for run in found[1:]:
            if run.info.lifecycle_stage != "deleted":
                with contextlib.suppress(self.mlflow.exceptions.MlflowException):
                    self.client.delete_run(run.info.run_id)
        return found[0] if found else None

    def create_run(self, tag: str, value: str, *, tags: Mapping[str, str], name: str, start_time: int) -> Any:
        """Make the one run with this value of a tag; nobody else may be making it now."""
        self.client.create_run(self.experiment, tags={tag: value, **tags}, run_name=name, start_time=start_time)
        return self.find_run(tag, value)

    def _search(self, tag: str, value: str) -> list[Any]:
        """Runs with this value of a tag: those that are there first, then deleted ones."""
        quoted = value.replace("'", "")
        found = self.client.search_runs(
            [self.experiment],
            f"tags.`{tag}` = '{quoted}'",
            run_view_type=self.mlflow.entities.ViewType.ALL,
            max_results=20,
        )
        return sorted(found, key=lambda run: (run.info.lifecycle_stage == "deleted", run.info.run_id))

    def address(self, run_id: str = "") -> str:
        """The page of a run, or of the experiment."""
        base = self.uri.rstrip("/") if self.uri.startswith(("http://", "https://")) else LOCAL_ADDRESS
        place = f"runs/{run_id}?workflowType=machine_learning" if run_id else f"runs?{QUERY}"
        return f"{base}/#/experiments/{self.experiment}/{place}"


def _beside(uri: str, experiment: str) -> str | None:
    """Where a SQLite store keeps an experiment's files, wherever the process that makes it runs: not for strangers."""
    if (path := sqlite_path(uri)) is None:
        return None
    folder = path.resolve().parent / "mlruns"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
    return str(folder / re.sub(r"[^\w.-]", "_", experiment))


def import_mlflow() -> Any:
    """MLflow, told to give up soon where nothing answers; what its own variables say stays."""
    for name, value in HTTP_DEFAULTS.items():
        os.environ.setdefault(name, value)
    # The store is no place for news about the program that made it.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    return require("mlflow", extra="workflow")


def check_uri(uri: str) -> str:
    """The URI, if it is of a kind that runs are tracked to.

    Raises
    ------
    TrackingError
        For a folder, or a scheme that MLflow has not.
    """
    scheme, shown = uri.partition(":")[0].partition("+")[0] if "://" in uri else "", hide_password(uri)
    if scheme in ("", "file") and uri != "databricks":
        raise TrackingError(
            f"{shown}: a folder of files is no store (MLflow gave these up, and they break when several write): "
            "use a database, as sqlite:///mlflow.db, or a server, as http://HOST:5000"
        )
    if scheme not in SCHEMES and uri != "databricks":
        raise TrackingError(f"{shown}: no store is called '{scheme}://'{did_you_mean(scheme, SCHEMES)}")
    return uri


@contextlib.contextmanager
def explained(uri: str) -> Iterator[None]:
    """Turn what MLflow, SQLAlchemy and HTTP raise into one sentence that says what to do."""
    try:
        yield
    except HepcnnError:
        raise
    except Exception as error:
        shown = hide_password(uri)
        raise TrackingError(f"{shown}: {_explain(shown, error)}") from error


def _explain(uri: str, error: Exception) -> str:
    # Some of these quote the address that they were given.
    text = hide_password(str(error))
    first = next((line for line in text.splitlines() if line.strip()), type(error).__name__)[:400]
    if isinstance(error, ModuleNotFoundError) and error.name in DRIVERS:
        return f"this needs a driver that is not installed: pip install {DRIVERS[error.name]}"
    if "out-of-date database schema" in text or "Can't locate revision" in text:
        return (
            f"this store was made by another MLflow than this one: {first} After a backup, an older store is brought "
            f"up to date by 'mlflow db upgrade {uri}'; for a newer one, install a newer MLflow"
        )
    if uri.startswith("http"):
        return _explain_http(text, first)
    return next((said for pattern, said in DATABASE.items() if re.search(pattern, text)), f"the store refuses: {first}")


def _explain_http(text: str, first: str) -> str:
    if found := re.search(r"too many (\d+) error responses|failed with error code (5\d\d)", text):
        code = found[1] or found[2]
        return f"the server answers with errors ({code}): see its log; what was not sent stays in the spools"
    if re.search("Max retries|Connection|Timeout|timed out|resolve", text):
        return f"no MLflow server answers there; what was not sent stays in the spools: {first}"
    if re.search("error code 40[13]|not authenticated|Permission denied", text):
        return (
            "the server wants another login: name and password come from MLFLOW_TRACKING_USERNAME and "
            f"MLFLOW_TRACKING_PASSWORD, or a token from MLFLOW_TRACKING_TOKEN: {first}"
        )
    if re.search("error code 404|not in a valid JSON format", text):
        return f"what answers there is no MLflow server: check host, port and path: {first}"
    return f"the store refuses: {first}"


def list_views(uri: str, base: str) -> dict[str, str]:
    """The experiments of a store that have hepcnn's view, with its address; makes a database that is not there yet."""
    mlflow: Any = require("mlflow", extra="workflow")
    with explained(uri), created_once(uri):
        found = mlflow.MlflowClient(tracking_uri=check_uri(uri)).search_experiments(max_results=100)
    return {one.name: f"{base}/#/experiments/{one.experiment_id}/runs?{QUERY}" for one in found if TAG in one.tags}
