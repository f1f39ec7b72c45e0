"""What was pushed of a spool: spares asking the store, and is never believed over it."""

import contextlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from hepcnn.atomic import atomic_path
from hepcnn.spool.writer import pushed_path


@dataclass
class Memory:
    """The state of one spool in one store: its run, how many points and parameters are there, and which files."""

    run_id: str = ""
    points: int = 0
    params: int = 0
    n_datasets: int = 0
    size: int = -1
    status: str | None = ""
    tags: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def read_memory(spool: Path, store: str) -> Memory:
    """What is known; nothing where it cannot be read, which costs time but no truth."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return Memory(**json.loads(pushed_path(spool).read_text(encoding="utf-8"))[store])
    return Memory()


def write_memory(spool: Path, store: str, memory: Memory) -> None:
    """Keep it; a folder that cannot be written to only makes the next push slower."""
    path = pushed_path(spool)
    known = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text(encoding="utf-8"))
    with contextlib.suppress(OSError), atomic_path(path) as partial:
        partial.write_text(json.dumps(known | {store: asdict(memory)}, indent=1) + "\n", encoding="utf-8")
