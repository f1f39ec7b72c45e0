"""Several processes that open one fresh database: one makes the tables, the others wait."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hepcnn.errors import require
from hepcnn.spool.lock import FileLock

CREATING_SECONDS = 300.0
ADVISORY = 0x6865_7063
"""Number of the lock in a PostgreSQL; any that no other program takes."""


@contextlib.contextmanager
def created_once(uri: str) -> Iterator[None]:
    """Hold, while a store is opened, what keeps two processes from making its tables at once.

    Notes
    -----
    A SQLite file is made readable by its owner alone. In a PostgreSQL, whoever finds no tables takes an advisory lock
    that those who find some wait for. Other databases are left to MLflow.
    """
    if (path := sqlite_path(uri)) is not None:
        with _created_file(path):
            yield
    elif uri.startswith("postgresql"):
        with _created_tables(uri):
            yield
    else:
        yield


@contextlib.contextmanager
def _created_file(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock")
    # In this order: whoever makes the tables holds the lock until they are whole.
    is_whole = _has_tables(path) and not lock.exists()
    if is_whole or not os.access(path.parent, os.W_OK):
        yield
        return
    with FileLock(lock, wait=CREATING_SECONDS):
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        yield


def _has_tables(path: Path) -> bool:
    if not path.exists():
        return False
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path, timeout=30)) as database:
        return bool(database.execute("SELECT count(*) FROM alembic_version").fetchone()[0])
    return False


@contextlib.contextmanager
def _created_tables(uri: str) -> Iterator[None]:
    sqlalchemy: Any = require("sqlalchemy", extra="workflow")
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    with engine.connect() as connection:
        is_there = connection.execute(sqlalchemy.text("SELECT to_regclass('alembic_version')")).scalar()
        kind = "pg_advisory_lock_shared" if is_there else "pg_advisory_lock"
        # It goes with the connection, however that ends.
        connection.execute(sqlalchemy.text(f"SELECT {kind}({ADVISORY})"))
        connection.commit()
        yield


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite store; None for others, and for one in memory."""
    _, found, place = uri.partition(":///")
    if not uri.startswith("sqlite") or not found or place in ("", ":memory:"):
        return None
    return Path(place.partition("?")[0].removeprefix("file:"))
