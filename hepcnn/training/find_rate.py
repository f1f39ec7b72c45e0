"""Which learning rate to train with: the range test of Leslie Smith (arXiv:1506.01186)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from hepcnn.config import TrainingConfig
from hepcnn.data.batches import Batch, JetSource
from hepcnn.errors import TrainingError
from hepcnn.training.batch_size import DEFAULT
from hepcnn.training.learner import Learner
from hepcnn.training.loop import take_step
from hepcnn.training.network import TaggerNetwork
from hepcnn.training.score import weighted_loss

LOWEST, HIGHEST, N_STEPS = 1e-6, 10.0, 120
MEMORY = 0.95
"""Of the running average of losses, per step."""
EXPLODED = 4.0
"""The test ends when the average is so many times its least value."""
N_LEFT_OUT, BELOW_LEAST, N_ROWS = 20, 10, 15


@dataclass(frozen=True)
class RateTest:
    """Learning rates (T,), the losses with them, their running average, and the rate to train with."""

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    averages: NDArray[np.float64]
    suggestion: float

    def select_rows(self) -> Iterator[tuple[float, float]]:
        """Some rates with their average losses, for a table."""
        for k in np.unique(np.linspace(0, len(self.rates) - 1, N_ROWS).astype(int)):
            yield float(self.rates[k]), float(self.averages[k])

    def describe(self) -> str:
        """The suggestion in a sentence."""
        return (
            f"suggested training.learning_rate: {self.suggestion:.1e}, a tenth of that with the least loss; rates from "
            f"{self.suggestion * BELOW_LEAST:.1e} on are too high"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a file."""
        columns = {"learning_rate": self.rates, "loss": self.losses, "average": self.averages}
        return {name: values.tolist() for name, values in columns.items()} | {"suggestion": self.suggestion}


def try_rates(
    network: TaggerNetwork,
    train: JetSource,
    *,
    config: TrainingConfig,
    fabric: Fabric,
    seed: int,
    progress: Callable[..., None] = lambda *_: None,
    **what: Any,
) -> RateTest:
    """Train with learning rates that rise from step to step, until the loss explodes.

    Parameters
    ----------
    network
        With fresh weights; it is spoiled.
    train, config, fabric, seed
        As of `hepcnn.training.loop.train_network`.
    progress
        Called with the number of steps, and how many there are at most.
    what
        ``loss``, ``augment`` and ``param_groups``, as of `train_network`.

    Raises
    ------
    TrainingError
        When the loss is not a number at the lowest rates.
    """
    learner = Learner(
        network, config=config, fabric=fabric, seed=seed, n_steps=N_STEPS, **({"loss": weighted_loss} | what)
    )
    growth = (HIGHEST / LOWEST) ** (1 / (N_STEPS - 1))
    # Groups with a rate of their own keep its proportion to the config's.
    learner.schedule.fraction = lambda step: LOWEST * growth**step / config.learning_rate
    learner.train()
    size = DEFAULT if config.batch_size == "auto" else config.batch_size
    losses: list[float] = []
    averages: list[float] = []
    for step, batch in zip(range(N_STEPS), _endless(train, size, seed, network.takes_sparse), strict=False):
        told = take_step(learner, [batch], [len(batch.label)], epoch=0, step=step, done=step)
        loss = sum(told.read()[0])
        if not math.isfinite(loss):
            break
        losses.append(loss)
        # A running average without the bias of its start.
        weights = MEMORY ** np.arange(len(losses))[::-1]
        averages.append(float(np.average(losses, weights=weights)))
        progress(step + 1, N_STEPS)
        if averages[-1] > EXPLODED * min(averages):
            break
    if len(losses) < 3:
        raise TrainingError(f"the loss is not finite at a learning rate of {LOWEST * growth ** len(losses):.1e}")
    rates = LOWEST * growth ** np.arange(len(losses))
    return RateTest(rates, np.array(losses), np.array(averages), suggest_rate(rates, np.array(averages)))


def suggest_rate(rates: NDArray[np.float64], averages: NDArray[np.float64]) -> float:
    """A tenth of the rate with the least average loss: there it falls fast, far from where it explodes.

    The averages of the first rates hold few batches, and are left out.
    """
    first = min(N_LEFT_OUT, len(rates) - 1)
    return float(rates[first + int(np.argmin(averages[first:]))]) / BELOW_LEAST


def _endless(train: JetSource, batch_size: int, seed: int, sparse: bool) -> Iterator[Batch]:
    epoch = 0
    while True:
        yield from train.epoch(seed=seed, epoch=epoch, batch_size=batch_size, sparse=sparse)
        epoch += 1
