"""Optimisers and learning-rate schedules."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from hepcnn.config import TrainingConfig
from hepcnn.errors import TrainingError

FIRST_FRACTION, LAST_FRACTION = 1 / 25, 1e-4
ParamGroups = Callable[[nn.Module], list[dict[str, Any]]]
"""Groups of parameters with what differs from the config: ``lr``, ``weight_decay``."""


class Schedule:
    """Sets the learning rates at each step: a fraction of the highest rate of each group, which the step alone decides.

    It has no state that a checkpoint would hold.
    """

    def __init__(self, optimizer: Optimizer, fraction: Callable[[int], float]) -> None:
        self.fraction, self._optimizer = fraction, optimizer
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]

    def set(self, step: int) -> None:
        """Set the rates for a step, counted from 0 over the whole training."""
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.fraction(step)


def make_optimizer(
    network: nn.Module, config: TrainingConfig, *, n_steps: int, param_groups: ParamGroups | None = None
) -> tuple[Any, Schedule]:
    """The optimiser and the schedule that a config asks for.

    Parameters
    ----------
    network
        Parameters that need no gradient are left out.
    config
        AdamW (arXiv:1711.05101), SGD with (Nesterov) momentum, or Lion (arXiv:2302.06675).
    n_steps
        Steps of the whole training.
    param_groups
        Groups of parameters, instead of those of `decay_groups`; for learning rates by depth.

    Raises
    ------
    TrainingError
        When no parameter needs a gradient.
    """
    groups = []
    for group in (param_groups or partial(decay_groups, weight_decay=config.weight_decay))(network):
        trained = [parameter for parameter in group["params"] if parameter.requires_grad]
        if trained:
            groups.append(group | {"params": trained})
    if not groups:
        raise TrainingError("no parameter of the network needs a gradient: all are frozen")
    options: dict[str, Any] = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    if config.optimizer == "sgd":
        optimizer: Optimizer = SGD(groups, momentum=config.momentum, nesterov=config.nesterov, **options)
    elif config.optimizer == "lion":
        # Here, because timm takes seconds to import.
        from timm.optim.lion import Lion

        optimizer = Lion(groups, **options)
    else:
        optimizer = AdamW(groups, **options)
    fraction = partial(SCHEDULES[config.schedule], n_steps=n_steps, warmup=config.warmup)
    return optimizer, Schedule(optimizer, fraction)


def decay_groups(network: nn.Module, *, weight_decay: float) -> list[dict[str, Any]]:
    """All parameters, of which biases and those of normalisations are not decayed."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def one_cycle(step: int, *, n_steps: int, warmup: float) -> float:
    """Fraction of the highest rate at a step: up from 1/25 and down to 1e-4 by half cosines (arXiv:1708.07120).

    Parameters
    ----------
    step
        From 0; beyond the last step the rate stays at its lowest.
    n_steps
        Steps of the whole training, at least 1.
    warmup
        Fraction of the steps that the rate rises.
    """
    rising = warmup * n_steps
    if step < rising:
        return FIRST_FRACTION + (1 - FIRST_FRACTION) * (1 - math.cos(math.pi * step / rising)) / 2
    return _fall(step, rising, n_steps)


def cosine(step: int, *, n_steps: int, warmup: float) -> float:
    """Up in a straight line, down to 1e-4 by a half cosine (arXiv:1608.03983, without restarts); see `one_cycle`."""
    rising = warmup * n_steps
    return (step + 1) / (rising + 1) if step < rising else _fall(step, rising, n_steps)


def constant(step: int, *, n_steps: int, warmup: float) -> float:
    """Up in a straight line, then constant; see `one_cycle`."""
    rising = warmup * n_steps
    return (step + 1) / (rising + 1) if step < rising else 1.0


SCHEDULES = {"one_cycle": one_cycle, "cosine": cosine, "constant": constant}


def _fall(step: int, rising: float, n_steps: int) -> float:
    done = min((step - rising) / max(n_steps - rising, 1e-9), 1.0)
    return LAST_FRACTION + (1 - LAST_FRACTION) * (1 + math.cos(math.pi * done)) / 2
