"""A name and a password before the dashboard: MLflow's basic auth, with users of one evening or of one's own."""

import contextlib
import getpass
import ipaddress
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from hepcnn.errors import require
from hepcnn.tracking.store import TrackingError

ALL = ("0.0.0.0", "::")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
CONFIG = """[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{folder}/users.db
admin_username = {user}
admin_password = {password}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


def needs_login(host: str, wanted: bool | None) -> bool:
    """Whether whoever opens the dashboard must say who they are.

    Parameters
    ----------
    host
        The address that it listens on.
    wanted
        What the user asked for; None leaves it to the place: everywhere but on the loopback of a machine that one sits
        at. One that is reached by ssh has other users, to whom its loopback is open.

    Raises
    ------
    TrackingError
        When others would be let in without a password.
    """
    is_open = host not in LOOPBACK
    if wanted is False and is_open:
        raise TrackingError(
            f"--host {host} --no-login: others would read and change all runs without a password; leave --no-login out"
        )
    return is_open or bool(os.environ.get("SSH_CONNECTION")) if wanted is None else wanted


@contextlib.contextmanager
def login_environment(host: str, port: int) -> Iterator[tuple[dict[str, str], str]]:
    """Variables for a server with basic auth, and a sentence that says how to log in.

    Notes
    -----
    The name is this user's and the password a new one each time, unless ``MLFLOW_AUTH_ADMIN_USERNAME`` and
    ``MLFLOW_AUTH_ADMIN_PASSWORD`` say others. Users are kept in a folder of this user alone that goes when the server
    ends; who wants lasting ones names MLflow's own ``MLFLOW_AUTH_CONFIG_PATH``.
    """
    # Without it, MLflow's server would say so in a traceback.
    require("flask_wtf", extra="workflow")
    known = os.environ
    variables = {"MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32)} | list_names(host, port)
    if "MLFLOW_AUTH_CONFIG_PATH" in known:
        yield _keep(variables, known), f"log in as {known['MLFLOW_AUTH_CONFIG_PATH']} says"
        return
    user = known.get("MLFLOW_AUTH_ADMIN_USERNAME") or getpass.getuser()
    given = known.get("MLFLOW_AUTH_ADMIN_PASSWORD")
    password = given or secrets.token_urlsafe(12)
    with tempfile.TemporaryDirectory(prefix="hepcnn-login-") as folder:
        config = Path(folder) / "auth.ini"
        config.touch(0o600)
        # A percent sign begins a reference there.
        shown = {name: text.replace("%", "%%") for name, text in (("user", user), ("password", password))}
        config.write_text(CONFIG.format(folder=folder, **shown), encoding="utf-8")
        variables["MLFLOW_AUTH_CONFIG_PATH"] = str(config)
        said = "the one in MLFLOW_AUTH_ADMIN_PASSWORD" if given else password
        yield _keep(variables, known), f"log in as {user}, password: {said}"


def list_names(host: str, port: int) -> dict[str, str]:
    """The names of this machine, as the variables by which MLflow refuses pages that pretend to be it."""
    names = {"localhost", "127.0.0.1", "::1", socket.gethostname(), socket.getfqdn()}
    names |= {host} - set(ALL)
    with contextlib.suppress(OSError):
        names |= {str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)}
    written = sorted(f"[{name}]" if _is_ipv6(name) else name for name in names if "%" not in name)
    return {
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join([*written, *(f"{name}:{port}" for name in written)]),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{name}:{port}" for name in written),
    }


def shown_name(host: str) -> str:
    """What stands for an address in a link."""
    name = socket.getfqdn() if host in ALL else host
    return f"[{name}]" if _is_ipv6(name) else name


def _is_ipv6(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).version == 6
    except ValueError:
        return False


def _keep(variables: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """What the user set stays."""
    return {name: text for name, text in variables.items() if name not in known}
