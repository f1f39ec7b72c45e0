"""What the tests of the tracking share."""

from pathlib import Path

import pytest

from hepcnn.tracking.store import Store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store with MLflow's tables, to be copied: making them takes seconds."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Store(f"sqlite:///{path}", "empty").client.search_experiments()
    return path
