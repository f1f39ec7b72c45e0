"""The tracking store: whether it answers. MLflow itself, which takes seconds to import, is not asked."""

import os
import re
import socket
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from hepcnn.doctor.finding import Finding
from hepcnn.doctor.mounts import find_mount

PATIENCE_S = 4.0
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
LATER = "runs are kept beside their results meanwhile; 'hepcnn track sync' brings them there later"
WHAT = "tracking store"
LOGIN = re.compile("//[^/@]*@")
"""Names and passwords, which are not repeated."""


def examine_store(uri: str, *, is_needed: bool = True) -> Finding:
    """Whether a store can be reached and written to.

    Parameters
    ----------
    uri
        As MLflow takes it: a server, or a database.
    is_needed
        Whether it is to answer now; runs can be brought there later.
    """
    scheme = uri.partition("://")[0].partition("+")[0] if "://" in uri else ""
    if scheme == "sqlite":
        return _examine_file(uri, is_needed)
    if scheme in ("http", "https"):
        return _examine_server(uri, is_needed)
    if scheme in PORTS:
        return _examine_database(uri, scheme, is_needed)
    if uri == "databricks" or scheme == "databricks":
        return Finding(WHAT, True, f"{uri}: not asked", is_needed)
    mend = "use a database, as sqlite:///mlflow.db, or a server, as http://HOST:5000"
    return Finding(WHAT, False, f"{uri}: no store that runs are tracked to", mend=mend)


def _examine_file(uri: str, is_needed: bool) -> Finding:
    path = Path(uri.partition("://")[2].removeprefix("/"))
    if not path.exists():
        parent = next(folder for folder in path.absolute().parents if folder.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            return Finding(WHAT, True, f"{uri}: will be made", is_needed)
        return Finding(WHAT, False, f"{uri}: no right to write in {parent}", is_needed, "name another in tracking.uri")
    try:
        with closing(
            sqlite3.connect(
                f"file:{urllib.parse.quote(str(path))}?mode=rw", uri=True, timeout=2.0, isolation_level=None
            )
        ) as store:
            store.execute("BEGIN IMMEDIATE")
            tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master")}
            store.execute("ROLLBACK")
    except sqlite3.Error as error:
        mend = "if another program holds it, wait; if it is damaged or read-only, name another in tracking.uri"
        return Finding(WHAT, False, f"{uri}: {error}", is_needed, mend)
    if tables and "experiments" not in tables:
        return Finding(WHAT, False, f"{uri}: a database, but not MLflow's", is_needed, "name another in tracking.uri")
    mount = find_mount(path)
    if mount is not None and mount.is_shared:
        detail = f"{uri}: on {mount.kind}, whose locks SQLite cannot rely on"
        return Finding(WHAT, False, detail, False, "let one process write (rule track does), or run a server")
    return Finding(WHAT, True, f"{uri}: can be written to", is_needed)


def _examine_server(uri: str, is_needed: bool) -> Finding:
    request, uri = urllib.request.Request(uri.rstrip("/") + "/health"), LOGIN.sub("//", uri)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            text = answer.read(64).decode(errors="replace").strip()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            mend = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            has_login = any(os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "TOKEN"))
            detail = f"{uri}: wants a login ({error.code})" + (", which the environment has" if has_login else "")
            return Finding(WHAT, has_login, detail, is_needed, "" if has_login else mend)
        detail = f"{uri}: answers {error.code} {error.reason}"
        return Finding(WHAT, False, detail, is_needed, f"is this MLflow? {LATER}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        detail = f"{uri}: no answer ({reason})"
        return Finding(WHAT, False, detail, is_needed, f"start it, or mend tracking.uri; {LATER}")
    if text != "OK":
        return Finding(WHAT, False, f"{uri}: answers, but not as MLflow does", is_needed, "mend tracking.uri")
    return Finding(WHAT, True, f"{uri}: answers", is_needed)


def _examine_database(uri: str, scheme: str, is_needed: bool) -> Finding:
    try:
        parts = urllib.parse.urlsplit(uri)
        host, port = parts.hostname or "localhost", parts.port or PORTS[scheme]
    except ValueError as error:
        return Finding(WHAT, False, f"{scheme}://…: {error}", is_needed, "mend tracking.uri")
    place = f"{scheme}://{host}:{port}"
    try:
        socket.create_connection((host, port), timeout=PATIENCE_S).close()
    except OSError as error:
        detail = f"{place}: no answer ({error})"
        return Finding(WHAT, False, detail, is_needed, f"start it, or mend tracking.uri; {LATER}")
    if scheme == "postgresql" and find_spec("psycopg2") is None:
        return Finding(WHAT, False, f"{place} needs a driver", is_needed, "pip install psycopg2-binary")
    return Finding(WHAT, True, f"{place}: takes connections", is_needed)
