"""Optimiser and learning-rate schedule."""

from typing import Any

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from hepcnn.config import TrainingConfig


def make_optimizer(network: nn.Module, config: TrainingConfig, *, n_steps: int) -> tuple[Any, Any]:
    """AdamW (arXiv:1711.05101) under a one-cycle schedule (arXiv:1708.07120) of ``n_steps`` steps.

    Biases and normalisation parameters are not decayed.
    """
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr=config.learning_rate)
    schedule = OneCycleLR(
        optimizer,
        max_lr=config.learning_rate,
        total_steps=n_steps + 1,
        pct_start=config.warmup,
        cycle_momentum=False,
    )
    return optimizer, schedule
