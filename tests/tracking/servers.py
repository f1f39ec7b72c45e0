"""Real servers, started and stopped by the tests: MLflow's and PostgreSQL's."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

PLAIN = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}


def find_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask_until_up(port: int, path: str, *, host: str = "127.0.0.1", seconds: float = 1800) -> bytes:
    """What a server answers, once it does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"http://{host}:{port}{path}") as answer:
                return bytes(answer.read())
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class MlflowServer:
    """``mlflow server`` on this machine, which can be killed and started again on the same store and port."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder, self.store, self.port = folder, store, find_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "MlflowServer":
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", self.store, "--artifacts-destination", str(self.folder / "files")]
        command += ["--workers", "1"]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, env=os.environ | PLAIN, start_new_session=True
            )
        try:
            ask_until_up(self.port, "/health")
        except OSError:
            self.stop()
            raise
        return self

    def stop(self, kind: int = signal.SIGKILL) -> None:
        """End it and its workers."""
        if self.process is not None:
            os.killpg(self.process.pid, kind)
            self.process.wait(timeout=30)
        self.process = None


class Postgres:
    """A PostgreSQL of the machine's own binaries in a folder, or a reason to skip the test."""

    def __init__(self) -> None:
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        found = shutil.which("initdb")
        if not binaries and found is None:
            pytest.skip("no PostgreSQL here: initdb is neither on the PATH nor in /usr/lib/postgresql")
        if importlib.util.find_spec("psycopg2") is None:
            pytest.skip("no driver for PostgreSQL here: psycopg2 is not installed")
        if os.getuid() == 0 and not _is_user("postgres"):
            pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres' here")
        self.binaries = binaries[-1] if binaries else Path(str(found)).resolve().parent
        # Not the test's own folder: its path may be too long for a socket, and be closed to PostgreSQL's user.
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="hepcnn-postgres-")), find_port()
        self.uri = f"postgresql://mlflow@127.0.0.1:{self.port}/mlflow"
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres")

    def make(self) -> "Postgres":
        """Make a database and serve it."""
        self._run(f"initdb -D {self.folder}/data -A trust -U mlflow --no-sync")
        self.start()
        self._run(f"createdb -h 127.0.0.1 -p {self.port} -U mlflow mlflow")
        return self

    def start(self) -> None:
        """Serve it on the loopback."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        deadline = time.monotonic() + 60
        while True:
            try:
                return self._run(f"pg_ctl -D {self.folder}/data -w -l {self.folder}/log -o '{options}' start")
            except subprocess.CalledProcessError:
                # The workers of a server that was killed hold its memory a little longer.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def stop(self, kind: int = signal.SIGKILL) -> None:
        """End it between any two bytes."""
        first, *_ = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        os.kill(int(first), kind)

    def remove(self) -> None:
        """End it, and what it stored."""
        self._run(f"pg_ctl -D {self.folder}/data -m immediate stop")
        shutil.rmtree(self.folder)

    def _run(self, command: str) -> None:
        line = f"{self.binaries}/{command}"
        who = ["su", "postgres", "-s", "/bin/sh", "-c", line] if os.getuid() == 0 else ["sh", "-c", line]
        subprocess.run(who, check=True, capture_output=True, cwd="/", timeout=60)


def _is_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False
