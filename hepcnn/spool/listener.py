"""A training's steps and epochs, into its spool."""

from collections.abc import Mapping
from typing import Protocol

from hepcnn.spool.writer import SpoolWriter

MOST_POINTS = 1000
"""Points of one curve over steps, at most."""


class Listener(Protocol):
    """Hears how a training goes."""

    def on_step(self, *, epoch: int, step: int, n_steps: int, loss: float, jets_per_second: float) -> None:
        """A batch is done."""

    def on_epoch(self, record: dict[str, float]) -> None:
        """An epoch is done and validated."""


def choose_stride(n_steps: int) -> int:
    """Which steps are kept of a training of so many: every 1st, 2nd, 4th, 8th …, so that at most `MOST_POINTS` are.

    Notes
    -----
    It depends on the length of the whole training alone. So a training that was stopped keeps the same steps as one
    that was not.
    """
    stride = 1
    while n_steps > stride * MOST_POINTS:
        stride *= 2
    return stride


def list_epoch(record: Mapping[str, float]) -> dict[str, float]:
    """What is kept of an epoch. MLflow's charts put metrics of one prefix together."""
    return {f"epoch/{name}": value for name, value in record.items() if name != "epoch"}


class SpoolListener:
    """Writes what it hears to a spool and passes it on.

    Parameters
    ----------
    inner
        Who else listens.
    writer
        The run's spool.
    n_epochs
        Length of the whole training.

    Notes
    -----
    Per step ``step/loss`` (mean since the epoch's start) and ``step/jets_per_second``, thinned by `choose_stride`; per
    epoch everything, as ``epoch/val_auc``. A training that begins at its first step though its spool has steps already
    was not gone on with, and is a new run.
    """

    def __init__(self, inner: Listener, writer: SpoolWriter, *, n_epochs: int) -> None:
        self.inner, self.writer, self.n_epochs = inner, writer, n_epochs
        self._has_begun = False
        self._stride = 0

    def on_step(self, *, epoch: int, step: int, n_steps: int, loss: float, jets_per_second: float) -> None:
        """A batch is done."""
        self.inner.on_step(epoch=epoch, step=step, n_steps=n_steps, loss=loss, jets_per_second=jets_per_second)
        number = epoch * n_steps + step
        if not self._has_begun:
            self._begin(number, n_steps)
        if number % self._stride == 0:
            self.writer.add_metrics({"step/loss": loss, "step/jets_per_second": jets_per_second}, step=number)

    def on_epoch(self, record: dict[str, float]) -> None:
        """An epoch is done and validated."""
        self.inner.on_epoch(record)
        self.writer.add_metrics(list_epoch(record), step=int(record["epoch"]), fsync=True)

    def _begin(self, first: int, n_steps: int) -> None:
        self._has_begun, self._stride = True, choose_stride(n_steps * self.n_epochs)
        before = self.writer.before
        if before is None:
            return
        last = max((point.step for point in before.points if point.key == "step/loss"), default=0)
        if first == 1 and before.points:
            self.writer.restart()
        elif last >= first:
            self.writer.rewind(first - 1)
