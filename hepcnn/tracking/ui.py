"""The dashboard, and what deleted runs left behind."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from hepcnn.errors import hide_password, require
from hepcnn.tracking.login import login_environment, needs_login, shown_name
from hepcnn.tracking.store import TrackingError, check_uri, list_views

STOP_SECONDS = 10.0
GC = """import os, sys
from mlflow.cli import cli
uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
cli(["gc", "--backend-store-uri", uri, "--tracking-uri", uri, *sys.argv[1:]])
"""


def open_dashboard(
    uri: str,
    *,
    host: str = "127.0.0.1",
    port: int = 5000,
    login: bool | None = None,
    say: Callable[[str], None] | None = None,
) -> int:
    """Serve the MLflow dashboard on this machine until it is stopped; returns the server's exit status.

    Parameters
    ----------
    uri
        The store.
    host, port
        Where to listen.
    login
        Whether to ask for a name and a password; by default where others could open the page, see `needs_login`.
    say
        Called with the addresses to open, and with how to log in.

    Raises
    ------
    TrackingError
        For a store that is a server itself, or when others would be let in without a password; the message says what
        to do instead.

    Notes
    -----
    MLflow's assistant would let whoever reaches the page run commands as this user: it belongs to the default server,
    so the plain WSGI server is taken, which has no such endpoint.
    """
    is_asked = needs_login(host, login)
    if check_uri(uri).startswith(("http://", "https://")):
        shown = hide_password(uri).rstrip("/")
        raise TrackingError(f"{shown}: a server already: open {shown}/#/experiments?workflowType=machine_learning")
    require("mlflow", extra="workflow")
    base = f"http://{shown_name(host)}:{port}"
    views = list_views(uri, base)
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    command += ["--gunicorn-opts", "--workers 1 --threads 4 --timeout 300 --log-level warning"]
    # Not in the command, which every user of this machine can read: the address may hold a password.
    environment = {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment |= {"PYTHONWARNINGS": "ignore"}
    with contextlib.ExitStack() as stack:
        sentences = [f"{name}: {address}" for name, address in views.items()]
        sentences = sentences or [f"the dashboard: {base}/#/experiments?workflowType=machine_learning"]
        if is_asked:
            more, how = stack.enter_context(login_environment(host, port))
            environment |= more
            command += ["--app-name", "basic-auth"]
            sentences.append(how)
        if say is not None:
            for sentence in sentences:
                say(sentence)
        return _serve(command, os.environ | environment)


def _serve(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a server until it ends, or until Ctrl-C or SIGTERM, which none of its processes outlives."""
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return process.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


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
        raise TrackingError(
            f"{hide_password(uri)}: a server cannot be told to: run this where its database is, with --uri DATABASE"
        )
    require("mlflow", extra="workflow")
    command = [sys.executable, "-c", GC, *(["--older-than", older_than] if older_than else [])]
    environment = os.environ | {"MLFLOW_BACKEND_STORE_URI": uri}
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if found.returncode:
        last = (found.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TrackingError(f"{hide_password(uri)}: nothing was removed: {last}")
    return found.stdout.strip()
