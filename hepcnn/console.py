"""What the command line shows: progress bars on a terminal, plain lines elsewhere."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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


def print_table(rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Rows of one kind on stdout, as wide as they are; with the columns of all of them, but for empty ones."""
    columns = list(dict.fromkeys(name for row in rows for name in row if row[name] != ""))
    values = [[row.get(name, "") for name in columns] for row in rows]
    cells = [columns, *([f"{v:.5g}" if isinstance(v, float) else str(v) for v in line] for line in values)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    out.print(title)
    for line in cells:
        out.print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@contextlib.contextmanager
def count_progress(title: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show how far a count has come; yields a function that takes the count and, once it is known, the whole."""
    with _Reporter(title, total) as reporter:
        yield reporter.update


class _Reporter:
    """A bar on a terminal, a line now and then elsewhere; text after the bar may change."""

    def __init__(self, title: str, total: int | None, *, is_quiet: bool = False) -> None:
        self.title, self.total, self.is_quiet = title, total, is_quiet
        self._last = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            disable=is_quiet or not err.is_terminal,
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
        self._first = self._first or (now, done)
        if not self.is_quiet and not err.is_terminal and now - self._last > LINE_SECONDS:
            self._last = now
            of_all = f" of {self.total}" if self.total else ""
            err.print(f"{self.title}: {done}{of_all} {note}".rstrip() + self._say_time_left(now, done))

    def _say_time_left(self, now: float, done: int) -> str:
        if self._first is None or not self.total or done <= self._first[1]:
            return ""
        seconds = round((now - self._first[0]) * (self.total - done) / (done - self._first[1]))
        return f", {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02} left"


class TrainingDisplay:
    """Shows a training: a bar with loss, jets per second, time left and how the last epoch did; a line per epoch.

    Where several processes train, all but one are quiet.
    """

    def __init__(self, title: str, *, n_epochs: int, is_quiet: bool = False) -> None:
        self.title, self.n_epochs, self.is_quiet = title, n_epochs, is_quiet
        self._reporter = _Reporter(title, None, is_quiet=is_quiet)
        self._quality = ""

    def __enter__(self) -> "TrainingDisplay":
        self._reporter.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._reporter.__exit__()

    def on_step(self, *, epoch: int, step: int, n_steps: int, loss: float, jets_per_second: float) -> None:
        """A batch is done."""
        note = f"epoch {epoch + 1}/{self.n_epochs} loss {loss:.4f}{self._quality} {jets_per_second:.0f} jets/s"
        self._reporter.update(epoch * n_steps + step, self.n_epochs * n_steps, note)

    def on_epoch(self, record: dict[str, float]) -> None:
        """An epoch is done and validated."""
        quality = f"AUC {record['val_auc']:.4f}" if "val_auc" in record else ""
        if "val_rejection" in record:
            sign = "≥" if record.get("val_rejection_is_limit") else "="
            quality += f" 1/eps_b {sign} {record['val_rejection']:.0f}"
        if "val_resolution" in record:
            quality = f"{quality} resolution {record['val_resolution']:.4f}".strip()
        self._quality = f" val {quality}"
        self.say(
            f"{self.title}: epoch {record['epoch']:.0f}/{self.n_epochs} train loss {record['train_loss']:.4f} "
            f"val loss {record['val_loss']:.4f} {quality} {record['jets_per_second']:.0f} jets/s"
        )

    def say(self, text: str) -> None:
        """A line of its own."""
        if not self.is_quiet:
            err.print(text)
