"""Optimiser and learning-rate schedule."""

import math
from typing import Any

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from hepcnn.config import TrainingConfig

FIRST_FRACTION, LAST_FRACTION = 1 / 25, 1e-4


def make_optimizer(network: nn.Module, config: TrainingConfig, *, n_steps: int) -> tuple[Any, Any]:
    """AdamW (arXiv:1711.05101) under a one-cycle schedule (arXiv:1708.07120) of ``n_steps`` steps.

    Biases and normalisation parameters are not decayed.
    """
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=config.learning_rate)
    schedule = LambdaLR(optimizer, lambda step: one_cycle(step, n_steps=n_steps, warmup=config.warmup))
    return optimizer, schedule


def one_cycle(step: int, *, n_steps: int, warmup: float) -> float:
    """Fraction of the highest learning rate at a step: up from 1/25 by a half cosine, down to 1e-4 by another.

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
    done = min((step - rising) / max(n_steps - rising, 1e-9), 1.0)
    return LAST_FRACTION + (1 - LAST_FRACTION) * (1 + math.cos(math.pi * done)) / 2
