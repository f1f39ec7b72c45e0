"""Worker processes that make chunks side by side."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hepcnn
from hepcnn import errors
from hepcnn.errors import HepcnnError

PATIENCE_S = 3.0
"""Seconds that a worker has to end before it is killed."""
THREAD_SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerPool:
    """A fixed number of processes of `hepcnn.generate.worker`; leaving the ``with`` block ends them all.

    Parameters
    ----------
    n_workers
        How many.
    """

    def __init__(self, n_workers: int) -> None:
        self._n_workers = n_workers
        self._idle: list[subprocess.Popen[str]] = []
        self._busy: dict[subprocess.Popen[str], int] = {}
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        environment = os.environ | dict.fromkeys(THREAD_SETTINGS, "1")
        root = str(Path(hepcnn.__file__).parent.parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        for _ in range(self._n_workers):
            # A session of its own: Ctrl-C in the terminal reaches the caller alone, who ends the workers.
            worker = subprocess.Popen(
                [sys.executable, "-P", "-m", "hepcnn.generate.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,
            )
            self._idle.append(worker)
            self._selector.register(_pipe(worker.stdout), selectors.EVENT_READ, worker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        workers = [*self._idle, *self._busy]
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
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
    def n_idle(self) -> int:
        """Workers without a chunk."""
        return len(self._idle)

    @property
    def running(self) -> list[int]:
        """Chunks being made."""
        return sorted(self._busy.values())

    def submit(self, job: dict[str, Any]) -> None:
        """Give an idle worker a job, a chunk with its number under ``chunk``."""
        worker = self._idle.pop()
        self._busy[worker] = job["chunk"]
        try:
            print(json.dumps(job), file=worker.stdin, flush=True)
        except BrokenPipeError as error:
            raise self._died(worker) from error

    def wait(self) -> list[int]:
        """Wait until at least one chunk is finished.

        Returns
        -------
        list of int
            The chunks that are.

        Raises
        ------
        HepcnnError
            When a worker failed or died; of the subclass that the worker met with.
        """
        finished = []
        for key, _ in self._selector.select():
            worker: subprocess.Popen[str] = key.data
            line = _pipe(worker.stdout).readline()
            if not line:
                raise self._died(worker)
            answer = json.loads(line)
            if "kind" in answer:
                kind = getattr(errors, answer["kind"], HepcnnError)
                raise kind(f"chunk {answer['chunk']} of the generation failed: {answer['error']}")
            if "error" in answer:
                error = HepcnnError(f"chunk {answer['chunk']} of the generation failed: {answer['error']}")
                error.add_note(answer["trace"])
                raise error
            finished.append(self._busy.pop(worker))
            self._idle.append(worker)
        return finished

    def _died(self, worker: "subprocess.Popen[str]") -> HepcnnError:
        code = worker.wait()
        how = f"by signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"with exit code {code}"
        hint = "; is there too little memory?" if code == -signal.SIGKILL else ""
        return HepcnnError(f"a worker process ended {how} while it made chunk {self._busy.get(worker)}{hint}")


def _pipe(pipe: Any) -> Any:
    if pipe is None:
        raise HepcnnError("a worker process has no pipe to talk through")
    return pipe


def _close(pipe: Any) -> None:
    with contextlib.suppress(OSError):  # what was still to be written has no reader any more
        pipe.close()
