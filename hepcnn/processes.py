"""Worker processes that do jobs side by side.

Each is a program of its own, started as ``python -m MODULE``: it runs no line of the caller's main module, keeps what
libraries print away from the caller, and can be ended at any moment. It ends itself when its stdin closes, even in the
middle of a job, so none survives its caller.
"""

import collections
import contextlib
import gc
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hepcnn
from hepcnn import errors
from hepcnn.errors import HepcnnError

PATIENCE_S = 3.0
"""Seconds that a worker has to end before it is killed."""
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
Job = Mapping[str, Any]


class WorkerDiedError(HepcnnError):
    """A worker process ended in the middle of a job."""


@dataclass(frozen=True)
class Answer:
    """What became of a job: done, or the error that it met with, of the kind that the worker raised."""

    job: Job
    error: HepcnnError | None


class WorkerPool:
    """A fixed number of worker processes; leaving the ``with`` block ends them all.

    Parameters
    ----------
    n_workers
        How many.
    module
        The program that each runs; it calls `answer_jobs`.
    name_job
        What messages call a job, as in "a worker process ended … while it made NAME".
    ahead
        Jobs that a worker may hold: with 2 it goes on while the caller is busy.
    """

    def __init__(self, n_workers: int, module: str, *, name_job: Callable[[Job], str], ahead: int = 1) -> None:
        self._n_workers, self._module, self._name_job, self._ahead = n_workers, module, name_job, ahead
        self._jobs: dict[subprocess.Popen[str], collections.deque[Job]] = {}
        self._unread: dict[subprocess.Popen[str], bytes] = {}
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        environment = os.environ | dict.fromkeys(THREAD_SETTINGS, "1")
        root = str(Path(hepcnn.__file__).parent.parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        for _ in range(self._n_workers):
            # A session of its own: Ctrl-C in the terminal reaches the caller alone, who ends the workers.
            worker = subprocess.Popen(
                [sys.executable, "-P", "-m", self._module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,
            )
            self._jobs[worker], self._unread[worker] = collections.deque(), b""
            self._selector.register(_pipe(worker.stdout), selectors.EVENT_READ, worker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._jobs:
            worker.send_signal(signal.SIGTERM)
        for worker in self._jobs:
            try:
                worker.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    _close(pipe)
        self._selector.close()

    @property
    def n_free(self) -> int:
        """Jobs that can be given now."""
        return sum(self._ahead - len(jobs) for jobs in self._jobs.values())

    @property
    def running(self) -> list[Job]:
        """Jobs given and not answered."""
        return [job for jobs in self._jobs.values() for job in jobs]

    def submit(self, job: Job) -> None:
        """Give the worker with the fewest jobs another, which JSON can hold."""
        worker = min(self._jobs, key=lambda worker: len(self._jobs[worker]))
        self._jobs[worker].append(job)
        try:
            print(json.dumps(job), file=worker.stdin, flush=True)
        except BrokenPipeError as error:
            raise self._died(worker) from error

    def wait(self, timeout: float | None = None) -> list[Answer]:
        """Wait until at least one job is answered, or for so many seconds.

        Raises
        ------
        WorkerDiedError
            When a worker died; the message names the job it was at.
        """
        answers: list[Answer] = []
        while not answers:
            found = self._selector.select(timeout)
            for key, _ in found:
                lines = self._read_lines(key.data)
                answers += [Answer(self._jobs[key.data].popleft(), _read_error(json.loads(line))) for line in lines]
            if timeout is not None:
                break
        return answers

    def _read_lines(self, worker: "subprocess.Popen[str]") -> list[bytes]:
        """The whole lines that a worker has written, all of them: it is not asked again while there is nothing new."""
        read = os.read(_pipe(worker.stdout).fileno(), 1 << 16)
        if not read:
            raise self._died(worker)
        *lines, self._unread[worker] = (self._unread[worker] + read).split(b"\n")
        return lines

    def _died(self, worker: "subprocess.Popen[str]") -> WorkerDiedError:
        code = worker.wait()
        how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with exit code {code}"
        hint = "; is there too little memory?" if code == -signal.SIGKILL else ""
        jobs = self._jobs[worker]
        what = f"while it made {self._name_job(jobs[0])}" if jobs else "without a job"
        return WorkerDiedError(f"a worker process ended {how} {what}{hint}")


def _read_error(answer: Mapping[str, str]) -> HepcnnError | None:
    if "error" not in answer:
        return None
    error: HepcnnError = getattr(errors, answer["kind"], HepcnnError)(answer["error"])
    if "trace" in answer:
        error.add_note(answer["trace"])
    return error


def _pipe(pipe: Any) -> Any:
    if pipe is None:
        raise HepcnnError("a worker process has no pipe to talk through")
    return pipe


def _close(pipe: Any) -> None:
    with contextlib.suppress(OSError):  # what was still to be written has no reader any more
        pipe.close()


def answer_jobs(run: Callable[[dict[str, Any]], None]) -> None:
    """Do the jobs that come through stdin, one JSON object a line, and answer each on stdout, until stdin ends.

    The main function of a worker's program. What ``run`` raises is answered, not the end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # what was imported stays; looking through it for garbage takes its time
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    while True:
        print(json.dumps(_answer(run, jobs.get())), file=answers, flush=True)


def _listen(jobs: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)


def run_job(run: Callable[[dict[str, Any]], None], job: Job) -> Answer:
    """Do a job in this process, and answer as a worker would."""
    return Answer(job, _read_error(_answer(run, dict(job))))


def _answer(run: Callable[[dict[str, Any]], None], job: dict[str, Any]) -> dict[str, str]:
    try:
        run(job)
    except HepcnnError as error:  # a message for the user: the caller raises it again
        return {"error": str(error), "kind": type(error).__name__}
    except Exception as error:  # the caller must hear of every failure, whatever it is
        told = f"{type(error).__name__}: {error}"
        return {"error": told, "kind": HepcnnError.__name__, "trace": traceback.format_exc()}
    return {}
