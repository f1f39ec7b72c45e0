"""What the command line shows: progress bars on a terminal, plain lines elsewhere."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_SECONDS = 10.0
"""How often a plain line is written where there is no terminal."""

# No markup: a file may have square brackets in its name.
out = Console(soft_wrap=True, highlight=False, markup=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def print_json(values: Any) -> None:
    """One JSON object on stdout."""
    out.out(json.dumps(values, indent=1, default=str), highlight=False)


@contextlib.contextmanager
def count_progress(title: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show how far a count has come; yields a function that takes the count and, once it is known, the whole."""
    with _Reporter(title, total) as reporter:
        yield reporter.update


class _Reporter:
    """A bar on a terminal, a line now and then elsewhere; text after the bar may change."""

    def __init__(self, title: str, total: int | None) -> None:
        self.title, self.total = title, total
        self._last = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            disable=not err.is_terminal,
        )
        self._task = self._progress.add_task(title, total=total, note="")

    def __enter__(self) -> "_Reporter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, done: int, total: int | None = None, note: str = "") -> None:
        if total is not None:
            self.total = total
        self._progress.update(self._task, completed=done, total=self.total, note=note)
        now = time.monotonic()
        if not err.is_terminal and now - self._last > LINE_SECONDS:
            self._last = now
            err.print(f"{self.title}: {done}" + (f" of {self.total}" if self.total else "") + f" {note}".rstrip())


class TrainingDisplay:
    """Shows a training: a bar per epoch with loss, jets per second and time left, a line per finished epoch."""

    def __init__(self, title: str, *, n_epochs: int) -> None:
        self.title, self.n_epochs = title, n_epochs
        self._reporter = _Reporter(title, None)
        self._auc = ""

    def __enter__(self) -> "TrainingDisplay":
        self._reporter.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._reporter.__exit__()

    def on_step(self, *, epoch: int, step: int, n_steps: int, loss: float, jets_per_second: float) -> None:
        """A batch is done."""
        note = f"epoch {epoch + 1}/{self.n_epochs} loss {loss:.4f}{self._auc} {jets_per_second:.0f} jets/s"
        self._reporter.update(epoch * n_steps + step, self.n_epochs * n_steps, note)

    def on_epoch(self, record: dict[str, float]) -> None:
        """An epoch is done and validated."""
        self._auc = f" AUC {record['val_auc']:.4f}"
        err.print(
            f"{self.title}: epoch {record['epoch']:.0f}/{self.n_epochs} train loss {record['train_loss']:.4f} "
            f"val loss {record['val_loss']:.4f} val AUC {record['val_auc']:.4f} {record['jets_per_second']:.0f} jets/s"
        )
