"""Where a training stands, beside its weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hepcnn.config import EarlyStoppingConfig, TrainingConfig
from hepcnn.errors import TrainingError, did_you_mean


@dataclass
class TrainingState:
    """What a training has seen: the epoch and batch that come next, losses so far, and the best epoch.

    ``waited`` counts the epochs since the last improvement.
    """

    epoch: int = 0
    step: int = 0
    batch_size: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = math.nan
    mark: float = math.nan
    waited: int = 0
    is_over: bool = False


def judge_epoch(state: TrainingState, record: Mapping[str, float], config: TrainingConfig) -> bool:
    """Say whether the epoch of this record is the best so far, and note whether the training shall end.

    A value that is not a number is no improvement. ``min_delta`` counts for the patience alone: the best epoch is that
    with the best value.

    Raises
    ------
    TrainingError
        When nothing of the metric's name is measured.
    """
    stopping = config.early_stopping or EarlyStoppingConfig()
    if config.early_stopping is None and stopping.metric not in record and "val_resolution" in record:
        stopping = EarlyStoppingConfig(metric="val_resolution")
    if stopping.metric not in record:
        near = did_you_mean(stopping.metric, record)
        raise TrainingError(f"training.early_stopping.metric: no '{stopping.metric}' is measured{near}")
    value = stopping.sign * record[stopping.metric]
    if math.isnan(state.mark) or value > state.mark + stopping.min_delta:
        state.mark, state.waited = value, 0
    else:
        state.waited += 1
    is_best = math.isnan(state.best_value) or value > stopping.sign * state.best_value
    if is_best:
        state.best_epoch, state.best_value = int(record["epoch"]), record[stopping.metric]
    stalled = config.early_stopping is not None and state.waited >= stopping.patience
    state.is_over = stalled or state.epoch >= config.epochs
    return is_best


def step_seed(*numbers: int) -> int:
    """A seed for torch that these numbers decide (of the training, the epoch, the step)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def take_weights(network: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and buffers in host memory."""
    return {name: value.detach().to("cpu", copy=True) for name, value in network.state_dict().items()}


def load_optimizer(optimizer: Any, saved: Mapping[str, Any]) -> None:
    """Give an optimiser its state back, each tensor laid out in memory as its parameter is."""
    optimizer.load_state_dict(saved)
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
