"""What the tests of the tracking share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hepcnn.tracking.store import Store
from tests.tracking.servers import MlflowServer


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with MLflow's tables, to be copied: making them takes seconds."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(f"sqlite:///{path}", "empty").client.search_experiments()
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[MlflowServer]:
    """A server with a SQLite store; whoever kills it starts it again."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "store.db")
    server = MlflowServer(folder, f"sqlite:///{folder}/store.db").start()
    yield server
    server.stop()
