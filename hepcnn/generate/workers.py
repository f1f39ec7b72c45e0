"""Worker processes that make chunks side by side."""

from typing import Any

from hepcnn import processes


class WorkerPool:
    """A fixed number of processes that make chunks; leaving the ``with`` block ends them all.

    Parameters
    ----------
    n_workers
        How many.
    program
        The module that they run.
    """

    def __init__(self, n_workers: int, program: str = "hepcnn.generate.worker") -> None:
        self._pool = processes.WorkerPool(n_workers, program, name_job=lambda j: f"chunk {j['chunk']}")

    def __enter__(self) -> "WorkerPool":
        self._pool.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._pool.__exit__(*exception)

    @property
    def n_idle(self) -> int:
        """Workers without a chunk."""
        return self._pool.n_free

    @property
    def running(self) -> list[int]:
        """Chunks being made."""
        return sorted(job["chunk"] for job in self._pool.running)

    def submit(self, job: dict[str, Any]) -> None:
        """Give an idle worker a job, a chunk with its number under ``chunk``."""
        self._pool.submit(job)

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
        answers = self._pool.wait()
        for answer in answers:
            if answer.error is not None:
                message = f"chunk {answer.job['chunk']} of the generation failed: {answer.error}"
                raise type(answer.error)(message) from answer.error
        return [answer.job["chunk"] for answer in answers]
