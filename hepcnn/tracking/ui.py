"""The dashboard, and what deleted runs left behind."""

import os
import subprocess
import sys
from collections.abc import Callable

from hepcnn.errors import require
from hepcnn.tracking.store import TrackingError, check_uri, list_views

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def open_dashboard(
    uri: str, *, host: str = "127.0.0.1", port: int = 5000, say: Callable[[str], None] | None = None
) -> int:
    """Serve the MLflow dashboard on this machine until it is stopped; returns the server's exit status.

    Parameters
    ----------
    uri
        The store.
    host, port
        Where to listen.
    say
        Called with the addresses to open.

    Raises
    ------
    TrackingError
        For a host that others reach, or a store that is a server itself; the message says what to do instead.

    Notes
    -----
    Bound to 127.0.0.1, so that only users of this machine reach it. On a login node those are many, and MLflow's
    assistant would let any of them run commands as this user: it belongs to the default server, so the plain WSGI
    server is taken, which has no such endpoint.
    """
    if host not in LOOPBACK:
        raise TrackingError(
            f"--host {host}: others would read and change all runs without a password. Serve them by MLflow with basic "
            "auth: pip install 'mlflow[auth]', then MLFLOW_FLASK_SERVER_SECRET_KEY=… mlflow server --app-name "
            f"basic-auth --host {host} --backend-store-uri {uri}; or look from afar through 'ssh -L {port}:127.0.0.1:"
            f"{port}'"
        )
    if check_uri(uri).startswith(("http://", "https://")):
        raise TrackingError(f"{uri}: this is a server already: open {uri}/#/experiments?workflowType=machine_learning")
    require("mlflow", extra="workflow")
    base = f"http://{host}:{port}"
    views = list_views(uri, base)
    for name, address in (views or {"the dashboard": f"{base}/#/experiments?workflowType=machine_learning"}).items():
        if say is not None:
            say(f"{name}: {address}")
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    command += ["--backend-store-uri", uri, "--gunicorn-opts", "--workers 1 --log-level warning"]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
    return subprocess.call(command, env=environment)


def remove_deleted(uri: str, *, older_than: str = "") -> str:
    """Remove for good what was deleted in a database: runs, their points and their files.

    Parameters
    ----------
    uri
        The store.
    older_than
        Only what was deleted so long ago, as in ``30d``.

    Returns
    -------
    str
        What MLflow says of it.

    Raises
    ------
    TrackingError
        When the store is a server, or MLflow refuses.
    """
    if check_uri(uri).startswith(("http://", "https://")):
        raise TrackingError(f"{uri}: a server cannot be told to: run this where its database is, with --uri DATABASE")
    require("mlflow", extra="workflow")
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri, "--tracking-uri", uri]
    command += ["--older-than", older_than] if older_than else []
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        last = (found.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TrackingError(f"{uri}: nothing was removed: {last}")
    return found.stdout.strip()
