"""Which range of which file is made when, by whom, and in which order the parts come out: always that of the files."""

import collections
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hepcnn.config import ImagesConfig, hash_config
from hepcnn.convert.cutflow import Stage
from hepcnn.convert.hashing import Hasher
from hepcnn.convert.inputs import Source
from hepcnn.convert.parts import Part, PartStore
from hepcnn.convert.ranges import RangeJob, make_parts
from hepcnn.errors import HepcnnError, InputError, SchemaError
from hepcnn.io.heads import is_remote, size_of
from hepcnn.io.plan import resolve_collection
from hepcnn.io.reader import plan_jets
from hepcnn.processes import Answer, Job, WorkerDiedError, WorkerPool, run_job

AHEAD = 2
"""Ranges that a worker may hold, so that it goes on while its parent joins parts."""
WORKER = "hepcnn.convert.worker"
Progress = Callable[[int, int], None]


@dataclass
class Task:
    """A range of a file. ``key`` is the digest of all that its part depends on, ``n_entries`` its length."""

    file: "SourceFile"
    key: str
    job: RangeJob
    is_done: bool = False
    is_remade: bool = False

    @property
    def n_entries(self) -> int:
        """Entries of the range."""
        return self.job.stop - self.job.start


@dataclass
class SourceFile:
    """A file on its way through the conversion: what it was when it was opened, its ranges, and why it is set aside."""

    source: Source
    size: int = 0
    modified: int = 0
    tasks: list[Task] = field(default_factory=list)
    error: str = ""

    @property
    def n_entries(self) -> int:
        """Entries of the file."""
        return sum(task.n_entries for task in self.tasks)

    def look(self) -> tuple[int, int]:
        """Bytes, and when it was changed last (ns; 0 for a remote file)."""
        path = self.source.path
        return size_of(path), 0 if is_remote(path) else Path(path).stat().st_mtime_ns


class Pool(Protocol):
    """What makes parts: worker processes, or this one."""

    @property
    def n_free(self) -> int:
        """Jobs that can be given now."""

    def submit(self, job: Job) -> None:
        """Give a job."""

    def wait(self, timeout: float | None = None) -> list[Answer]:
        """Answers, of one job at least if there is no timeout."""


class _ThisProcess:
    """A pool without processes: a job is done when its answer is waited for."""

    def __init__(self, store: PartStore) -> None:
        self._store, self._jobs = store, list[Job]()

    @property
    def n_free(self) -> int:
        return 1 - len(self._jobs)

    def submit(self, job: Job) -> None:
        self._jobs.append(job)

    def wait(self, timeout: float | None = None) -> list[Answer]:
        return [] if timeout is not None else [run_job(self._run, self._jobs.pop())]

    def _run(self, job: dict[str, Any]) -> None:
        self._store.write(job["key"], make_parts(RangeJob.model_validate(job["range"])))


class Schedule:
    """Makes the parts of all files.

    Parameters
    ----------
    sources
        The files, in the order in which their jets come out.
    images, radius
        What images to make.
    store
        Where finished parts are.
    hasher
        Is told of each file when it is opened.
    progress
        Called with entries done and, as soon as it is known, entries in all (else 0).
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        images: ImagesConfig,
        radius: float,
        store: PartStore,
        hasher: Hasher,
        progress: Progress | None = None,
    ) -> None:
        self.files = [SourceFile(source) for source in sources]
        self._unplanned = collections.deque(self.files)
        self._waiting: collections.deque[Task] = collections.deque()
        self._given: dict[str, Task] = {}
        self._images, self._radius, self._store = images, radius, store
        self._hasher = hasher
        self._progress = progress or (lambda _done, _all: None)

    def run(self, workers: int) -> Generator[tuple[SourceFile, Part | None]]:
        """Make what is missing with so many processes.

        Yields
        ------
        tuple
            A file and its next part; after the last one the file and None, also for one that is set aside.

        Raises
        ------
        InputError, SchemaError
            For a file that cannot be converted (unless ``skip_bad``).
        HepcnnError
            When a worker dies.
        """
        while self._unplanned and len(self._waiting) < workers:
            self._plan_next()
        workers = min(workers, len(self._waiting))
        if workers <= 1:
            yield from self._run(_ThisProcess(self._store))
            return
        try:
            with WorkerPool(workers, WORKER, name_job=_name_job, ahead=AHEAD) as pool:
                yield from self._run(pool)
        except WorkerDiedError as error:
            raise HepcnnError(f"{error}; finished parts are kept, the same command goes on from there") from error

    def _run(self, pool: Pool) -> Generator[tuple[SourceFile, Part | None]]:
        for file in self.files:
            while file in self._unplanned:
                self._plan_next()
            for task in file.tasks:
                parts = self._complete(task, pool)
                if parts is None:
                    break
                while parts:  # and let go of each: it is large
                    yield file, parts.pop(0)
            yield file, None
        self._store.wait()

    def _complete(self, task: Task, pool: Pool) -> list[Part] | None:
        """The parts of a task, once it is its turn; None if its file is set aside."""
        self._hear(pool.wait(0))
        while not task.file.error:
            # A file that may yet be set aside comes out when it is known to be whole.
            if all(other.is_done for other in (task.file.tasks if self._images.skip_bad else [task])):
                if (parts := self._take(task)) is not None:
                    self._feed(pool)
                    return parts
                self._waiting.appendleft(task)
            self._feed(pool)
            self._hear(pool.wait())
        return None

    def _take(self, task: Task) -> list[Part] | None:
        """Finished parts; None if they must be made again."""
        parts = self._store.read(task.key)
        if parts is not None and (
            self._images.skip_bad or not any(p.cutflow.count_stage(Stage.PROBLEM) for p in parts)
        ):
            return parts
        if task.is_remade:
            raise HepcnnError(f"{self._store.path(task.key)}: this was just written and cannot be read")
        task.is_done, task.is_remade = False, True
        return None

    def _feed(self, pool: Pool) -> None:
        while pool.n_free and (task := self._next_task()) is not None:
            self._given[task.key] = task
            path = str(self._store.path(task.key).absolute())
            pool.submit({"key": task.key, "part": path, "range": task.job.model_dump(mode="json")})

    def _next_task(self) -> Task | None:
        while self._waiting or self._unplanned:
            if not self._waiting:
                self._plan_next()
            elif not (task := self._waiting.popleft()).file.error:
                return task
        return None

    def _plan_next(self) -> None:
        """Open the next file and cut it into ranges."""
        file = self._unplanned.popleft()
        source = file.source
        try:
            file.size, file.modified = file.look()
            ranges = plan_jets(source.path, source.reading)
            known = hash_config(
                source,
                [file.size, file.modified],
                [part.model_dump(mode="json") for part in resolve_collection(source.reading)],
            )
        except (InputError, SchemaError) as error:
            self._set_aside(file, error)
            return
        self._hasher.start(source.path)
        for start, stop in ranges:
            job = RangeJob(source=source, start=start, stop=stop, images=self._images, radius=self._radius)
            task = Task(file, hash_config(known, start, stop), job)
            task.is_done = self._store.path(task.key).exists()
            file.tasks.append(task)
            if not task.is_done:
                self._waiting.append(task)
        self._tell()

    def _hear(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            task = self._given.pop(answer.job["key"])
            if answer.error is None:
                task.is_done = True
                self._tell()
            elif isinstance(answer.error, InputError | SchemaError):
                self._set_aside(task.file, answer.error)
            elif type(answer.error) is HepcnnError:
                raise HepcnnError(f"{task.job.where}: {answer.error}") from answer.error
            else:
                raise answer.error

    def _set_aside(self, file: SourceFile, error: HepcnnError) -> None:
        if not self._images.skip_bad:
            raise error
        file.error = file.error or str(error)

    def _tell(self) -> None:
        tasks = [task for file in self.files for task in file.tasks]
        total = 0 if self._unplanned else sum(task.n_entries for task in tasks)
        self._progress(sum(task.n_entries for task in tasks if task.is_done), total)


def _name_job(job: Job) -> str:
    return RangeJob.model_validate(job["range"]).where
