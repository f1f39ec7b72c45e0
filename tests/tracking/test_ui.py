"""The dashboard's door: who is let in, and where the assistant would be."""

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepcnn.tracking.login import list_names, needs_login
from hepcnn.tracking.store import TrackingError
from hepcnn.tracking.ui import open_dashboard
from tests.tracking.servers import ask_until_up, find_port

# Of this machine alone, but none of the addresses that are taken for it: as good as 0.0.0.0.
HOST = "127.0.0.2"
SEARCH = "/ajax-api/2.0/mlflow/runs/search"


@pytest.mark.parametrize(
    ("host", "wanted", "by_ssh", "expected"),
    [
        ("127.0.0.1", None, False, False),
        ("127.0.0.1", None, True, True),
        ("127.0.0.1", True, False, True),
        ("::1", False, True, False),
        ("0.0.0.0", None, False, True),
        ("login1.example.org", True, False, True),
    ],
)
def test_a_password_is_wanted_where_others_could_look(
    monkeypatch: pytest.MonkeyPatch, host: str, wanted: bool | None, by_ssh: bool, expected: bool
) -> None:
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    if by_ssh:
        monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    assert needs_login(host, wanted) is expected


def test_others_are_not_let_in_without_a_password() -> None:
    with pytest.raises(TrackingError, match=r"--host 0\.0\.0\.0 --no-login: others would read and change all runs"):
        open_dashboard("sqlite:///x.db", host="0.0.0.0", login=False)


def test_the_page_of_a_server_is_its_own() -> None:
    with pytest.raises(TrackingError, match=r"^http://me@host:5000: a server already: open http://me@host:5000/#/exp"):
        open_dashboard("http://me:secret@host:5000/")


def test_a_page_may_be_opened_by_this_machines_names_alone() -> None:
    names = list_names("0.0.0.0", 5000)
    hosts = names["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert {"localhost:5000", "127.0.0.1:5000", "[::1]:5000", f"{socket.gethostname()}:5000"} <= set(hosts)
    assert not [host for host in hosts if host.startswith("0.0.0.0") or "*" in host]
    assert "http://localhost:5000" in names["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",")


@pytest.fixture(scope="module")
def guarded(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """A dashboard that others can reach: its port and its login."""
    folder = tmp_path_factory.mktemp("guarded")
    shutil.copy(empty_store, folder / "mlflow.db")
    port = find_port()
    command = [sys.executable, "-m", "hepcnn", "track", "ui", "--host", HOST, "--port", str(port)]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, stderr=said, env=os.environ | {"TMPDIR": str(folder)})
    try:
        ask_until_up(port, "/health", host=HOST)
        found = re.search(r"log in as (\S+), password: (\S+)", (folder / "said").read_text())
        assert found, (folder / "said").read_text()
        yield port, f"{found[1]}:{found[2]}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
    assert not list(folder.glob("hepcnn-login-*")), "the users of the evening are still there"
    with socket.socket() as probe:
        assert probe.connect_ex((HOST, port)) != 0, "the server outlived its program"


def ask(port: int, path: str, *, login: str = "", data: bytes | None = None, **headers: str) -> int:
    """The status of the answer."""
    request = urllib.request.Request(f"http://{HOST}:{port}{path}", data=data)
    for name, value in ({"Content-Type": "application/json"} | headers).items():
        request.add_header(name, value)
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.slow
def test_whoever_reaches_the_dashboard_must_log_in(guarded: tuple[int, str]) -> None:
    port, login = guarded
    user = login.partition(":")[0]
    runs = b'{"experiment_ids": ["0"]}'
    for path, data in (
        ("/", None),
        ("/ajax-api/2.0/mlflow/experiments/search?max_results=10", None),
        ("/api/2.0/mlflow/experiments/search?max_results=10", None),
        (SEARCH, runs),
        ("/get-artifact?path=x&run_uuid=y", None),
        ("/api/2.0/mlflow/users/create", b'{"username": "eve", "password": "0123456789abcdef"}'),
    ):
        assert ask(port, path, data=data) == 401, path
        assert ask(port, path, data=data, login=f"{user}:password1234") == 401, path
    assert ask(port, "/", login=login) == 200
    assert ask(port, SEARCH, data=runs, login=login) == 200
    # As a browser asks: by the machine's name; and as a page elsewhere would.
    here, there = f"{socket.gethostname()}:{port}", f"elsewhere.example.org:{port}"
    assert ask(port, SEARCH, data=runs, login=login, Host=here, Origin=f"http://{here}") == 200
    assert ask(port, SEARCH, data=runs, login=login, Host=there) == 403
    assert ask(port, SEARCH, data=runs, login=login, Origin=f"http://{there}") == 403


@pytest.mark.slow
def test_nobody_reaches_the_assistant(guarded: tuple[int, str]) -> None:
    port, login = guarded
    for path in ("message", "config", "sessions/x/permission"):
        for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}):
            address = f"/ajax-api/3.0/mlflow/assistant/{path}"
            assert ask(port, address, data=b"{}", **headers) in (401, 404)
            assert ask(port, address, data=b"{}", login=login, **headers) == 404


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="no /proc to look at other processes with")
def test_no_command_shows_the_password(guarded: tuple[int, str]) -> None:
    _, login = guarded
    shown = b""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            shown += (folder / "cmdline").read_bytes()
        except OSError:
            continue
    assert b"mlflow\0server" in shown, "the server is not among them"
    assert login.partition(":")[2].encode() not in shown
