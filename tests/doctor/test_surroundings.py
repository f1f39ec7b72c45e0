"""Stores, files, credentials and schedulers, with servers and programs that the tests make."""

import base64
import http.server
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepcnn.doctor import Finding
from hepcnn.doctor.credentials import examine_credentials
from hepcnn.doctor.data import examine_data
from hepcnn.doctor.scheduler import examine_schedulers
from hepcnn.doctor.store import examine_store


class _Answer(http.server.BaseHTTPRequestHandler):
    status, text = 200, "OK"

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.end_headers()
        self.wfile.write(self.text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.mark.parametrize(
    ("status", "text", "state", "told"),
    [
        (200, "OK", "ok", "answers"),
        (200, "<html>", "fail", "not as MLflow"),
        (401, "", "fail", "USERNAME"),
        (500, "", "fail", "500"),
    ],
)
def test_a_server(server: str, status: int, text: str, state: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Answer, "status", status)
    monkeypatch.setattr(_Answer, "text", text)
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN", raising=False)
    found = examine_store(server)
    assert (found.state, told in found.describe()) == (state, True)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "postgresql", "mysql+pymysql"])
def test_a_store_that_does_not_answer(scheme: str) -> None:
    uri = f"{scheme}://me:secret@127.0.0.1:{free_port()}/mlflow"
    found = examine_store(uri)
    assert (found.state, "no answer" in found.detail) == ("fail", True)
    assert "hepcnn track sync" in found.mend
    assert "secret" not in found.describe()
    assert examine_store(uri, is_needed=False).state == "warn"


def test_a_file_as_store(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    assert examine_store(uri).detail == f"{uri}: will be made"
    assert not path.exists()
    with sqlite3.connect(path) as store:
        store.execute("CREATE TABLE experiments (a)")
    assert examine_store(uri).state == "ok"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert "locked" in examine_store(uri).detail
    holder.close()
    path.write_text("this is no database, whatever its name says, and it is long enough to have a header of its own")
    assert "not a database" in examine_store(uri).detail
    with sqlite3.connect(tmp_path / "other.db") as store:
        store.execute("CREATE TABLE jets (a)")
    assert "not MLflow's" in examine_store(f"sqlite:///{tmp_path}/other.db").detail
    assert examine_store("./mlruns").state == "fail"


def test_data(tmp_path: Path) -> None:
    good, cut, page = tmp_path / "good.root", tmp_path / "empty.root", tmp_path / "page.h5"
    good.write_bytes(b"root" + bytes(100))
    cut.touch()
    page.write_text("<html>Please log in</html>")
    samples = {"a": [str(good)], "b": [str(good), str(cut), str(page), str(tmp_path / "none.root")], "made": []}
    fine, bad = examine_data(samples)
    assert (fine.what, fine.state, fine.detail) == ("sample 'a'", "ok", "1 file, 0.00 GB")
    assert bad.state == "fail"
    for told in ("3 of 4", "empty.root: this file is empty", "begins with b'<html>Pl'", "none.root: cannot open"):
        assert told in bad.detail


def make_program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, and no credentials in the environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "FSSPEC_S3_ANON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "no_proxy"))
    return folder


def make_token(seconds: float) -> str:
    content = json.dumps({"exp": time.time() + seconds}).encode()
    return "head." + base64.urlsafe_b64encode(content).decode().rstrip("=") + ".signature"


@pytest.mark.parametrize(("seconds", "state"), [(-5, "fail"), (3600, "warn"), (90_000, "ok")])
def test_a_token(programs: Path, seconds: float, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert programs.is_dir()
    monkeypatch.setenv("BEARER_TOKEN", make_token(seconds))
    (found,) = examine_credentials(["root://host//file.root"])
    assert (found.what, found.state) == ("token", state)
    assert list(examine_credentials(["/a/file.root"])) == []


@pytest.mark.parametrize(("left", "state"), [("0", "fail"), ("7200", "warn"), ("90000", "ok")])
def test_a_grid_proxy(programs: Path, left: str, state: str) -> None:
    make_program(programs, "voms-proxy-info", f"echo {left}")
    (found,) = examine_credentials(["root://host//file.root"])
    assert (found.what, found.state) == ("grid proxy", state)


def test_a_ticket(programs: Path) -> None:
    assert [f.state for f in examine_credentials(["root://host//f.root"])] == ["warn"]
    until = time.strftime("%m/%d/%y %H:%M:%S", time.localtime(time.time() + 90_000))
    listed = f"echo '11/21/26 10:00:00  {until}  krbtgt/CERN.CH@CERN.CH'"
    make_program(programs, "klist", f'[ "$1" = -s ] && exit 0; {listed}')
    (found,) = examine_credentials(["root://host//f.root"])
    assert (found.what, found.state) == ("kerberos", "ok")
    make_program(programs, "klist", f'[ "$1" = -s ] && exit 1; {listed}')
    (found,) = examine_credentials(["root://host//f.root"])
    assert found.describe() == "fail kerberos: has expired; kinit"


def test_a_bucket_wants_keys(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert programs.is_dir()
    assert [f.state for f in examine_credentials(["s3://bucket/f.root"])] == ["warn"]
    monkeypatch.setenv("FSSPEC_S3_ANON", "true")
    assert list(examine_credentials(["s3://bucket/f.root"])) == []


def test_schedulers(programs: Path) -> None:
    def answer() -> list[Finding]:
        return [Finding("Slurm", False, "no answer"), Finding("Slurm accounting", False, "no sacct", False)]

    (none,) = examine_schedulers(ask_slurm=answer)
    assert (none.what, none.state) == ("scheduler", "ok")
    assert [f.detail for f in examine_schedulers("slurm", ask_slurm=answer)] == [
        "no sbatch, squeue, scancel on the PATH"
    ]
    for name in ("sbatch", "squeue", "scancel"):
        make_program(programs, name, "exit 0")
    for executor, states in (("slurm", ["fail", "warn"]), ("", ["warn", "warn"])):
        assert [f.state for f in examine_schedulers(executor, ask_slurm=answer)][-2:] == states
    assert list(examine_schedulers("cluster-generic", ask_slurm=answer)) == []


def test_a_condor_queue_that_refuses(programs: Path) -> None:
    for name in ("condor_submit", "condor_rm"):
        make_program(programs, name, "exit 0")
    make_program(programs, "condor_q", "echo 'Failed to connect to schedd' >&2; exit 1")
    found = {f.what: f for f in examine_schedulers("htcondor", ask_slurm=list)}
    assert found["htcondor"].describe().startswith("fail htcondor: condor_q: Failed to connect to schedd")
