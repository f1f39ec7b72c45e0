"""The training loop.

Shapes: N jets, B of a batch, K classes.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from hepcnn.config import TrainingConfig
from hepcnn.data.batches import Batch, JetSource, batch_starts
from hepcnn.errors import TrainingError
from hepcnn.training.checkpoint import read_checkpoint, write_checkpoint
from hepcnn.training.network import TaggerNetwork
from hepcnn.training.optim import make_optimizer
from hepcnn.training.signals import StopRequest, listen_for_stop

Validate = Callable[[NDArray[np.float32], NDArray[np.int64]], dict[str, float]]
"""Scores (N, K) and labels (N,) of the validation split in, named numbers out."""


class Listener(Protocol):
    """Hears how a training goes."""

    def on_step(self, *, epoch: int, step: int, n_steps: int, loss: float, jets_per_second: float) -> None:
        """A batch is done."""

    def on_epoch(self, record: dict[str, float]) -> None:
        """An epoch is done and validated."""


@dataclass
class TrainingState:
    """What a checkpoint holds beside the weights: where the training stands and what it has seen."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


def make_fabric(config: TrainingConfig) -> Fabric:
    """Choose device and precision: the GPU if there is one, in bf16; else the CPU, in fp32."""
    cuda = torch.cuda.is_available() if config.device == "auto" else config.device == "cuda"
    if cuda and not torch.cuda.is_available():
        raise TrainingError("training.device is 'cuda', but torch sees no CUDA device here ('hepcnn doctor' says why)")
    precision = config.precision if config.precision != "auto" else ("bf16-mixed" if cuda else "32-true")
    return Fabric(accelerator="cuda" if cuda else "cpu", devices=1, precision=precision)


def train_network(
    network: TaggerNetwork,
    train: JetSource,
    val: JetSource,
    *,
    config: TrainingConfig,
    fabric: Fabric,
    seed: int,
    checkpoint: str | os.PathLike[str],
    fingerprint: str,
    validate: Validate,
    listener: Listener,
) -> TrainingState:
    """Train a network, going on from a checkpoint if there is one.

    Parameters
    ----------
    network
        With fresh weights; trained in place.
    train, val
        The two splits, whose batches come on the training device.
    config, fabric, seed
        How, where, and in which order of jets.
    checkpoint
        Where the state is kept, after each epoch and when a stop is asked for.
    fingerprint
        Hash of all that the training depends on; a checkpoint with another is not used.
    validate
        Makes numbers of the validation scores.
    listener
        Hears of steps and epochs.

    Returns
    -------
    TrainingState
        With one record per epoch: ``epoch, train_loss, val_loss, jets_per_second, seconds`` and what ``validate`` gave.

    Raises
    ------
    TrainingError
        When the loss is not a number; the message names epoch and batch, the checkpoint stays at the last good state.
    StopRequest
        On SIGINT or SIGTERM, after the checkpoint is written.
    """
    n_steps = len(batch_starts(train.n_jets, config.batch_size))
    optimizer, schedule = make_optimizer(network, config, n_steps=n_steps * config.epochs)
    state = TrainingState()
    model, stepper = fabric.setup(network, optimizer)
    # After the set-up, so that the optimiser's state lands on the device where the weights now are.
    saved = read_checkpoint(checkpoint, fingerprint=fingerprint)
    if saved is not None:
        _restore(saved, network, optimizer, schedule, state)

    def save() -> None:
        write_checkpoint(checkpoint, _snapshot(network, optimizer, schedule, state) | {"fingerprint": fingerprint})

    with listen_for_stop() as stop:
        while state.epoch < config.epochs:
            batches = train.epoch(
                seed=seed,
                epoch=state.epoch,
                batch_size=config.batch_size,
                sparse=network.takes_sparse,
                first_step=state.step,
            )
            model.train()
            started = time.perf_counter()
            for batch in batches:
                loss = _train_step(fabric, model, stepper, schedule, batch, config, state)
                elapsed, started = time.perf_counter() - started, time.perf_counter()
                state.seconds += elapsed
                state.loss_sum += loss
                state.step += 1
                listener.on_step(
                    epoch=state.epoch,
                    step=state.step,
                    n_steps=n_steps,
                    loss=state.loss_sum / state.step,
                    jets_per_second=len(batch.label) / elapsed,
                )
                if stop.requested:
                    save()
                    raise StopRequest(f"stopped in epoch {state.epoch + 1}; the same command goes on from there")
            _finish_epoch(
                model, val, config, state, validate, listener, sparse=network.takes_sparse, n_jets=train.n_jets
            )
            save()
            if stop.requested and state.epoch < config.epochs:
                raise StopRequest(f"stopped after epoch {state.epoch}; the same command goes on from there")
    return state


def _train_step(
    fabric: Fabric,
    model: Any,
    optimizer: Any,
    schedule: Any,
    batch: Batch,
    config: TrainingConfig,
    state: TrainingState,
) -> float:
    loss = weighted_loss(model(batch.images, batch.jet_features), batch)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise TrainingError(
            f"the loss is {value} in epoch {state.epoch + 1}, batch {state.step + 1}; the checkpoint holds the last "
            "good state. A smaller training.learning_rate or training.clip_norm may help"
        )
    optimizer.zero_grad(set_to_none=True)
    fabric.backward(loss)
    fabric.clip_gradients(model, optimizer, max_norm=config.clip_norm, error_if_nonfinite=False)
    optimizer.step()
    schedule.step()
    return value


def weighted_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross entropy, averaged with the jets' weights; 0 where no jet of the batch has one."""
    losses = nn.functional.cross_entropy(logits, batch.label, reduction="none")
    total = batch.weight.sum()
    return (losses * batch.weight).sum() / torch.where(total == 0, 1.0, total)


def _finish_epoch(
    model: Any,
    val: JetSource,
    config: TrainingConfig,
    state: TrainingState,
    validate: Validate,
    listener: Listener,
    *,
    sparse: bool,
    n_jets: int,
) -> None:
    score, val_loss = score_network(model, val, batch_size=4 * config.batch_size, sparse=sparse)
    record = {
        "epoch": float(state.epoch + 1),
        "train_loss": state.loss_sum / state.step,
        "val_loss": val_loss,
        "seconds": state.seconds,
        "jets_per_second": n_jets * (state.epoch + 1) / state.seconds,
        **validate(score, val.label),
    }
    state.history.append(record)
    state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
    listener.on_epoch(record)


def score_network(model: Any, data: JetSource, *, batch_size: int, sparse: bool) -> tuple[NDArray[np.float32], float]:
    """Probabilities (N, K) of all jets in order, and their mean loss."""
    model.eval()
    scores, loss, weight = [], 0.0, 0.0
    with torch.no_grad():
        for batch in data.in_order(batch_size, sparse=sparse):
            logits = model(batch.images, batch.jet_features).float()
            total = float(batch.weight.sum())
            loss += float(weighted_loss(logits, batch)) * total
            weight += total
            scores.append(torch.softmax(logits, dim=1).cpu().numpy())
    return np.concatenate(scores), loss / weight


def _snapshot(network: nn.Module, optimizer: Any, schedule: Any, state: TrainingState) -> dict[str, Any]:
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    return {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "random": random,
        "state": vars(state).copy(),
    }


def _restore(saved: dict[str, Any], network: nn.Module, optimizer: Any, schedule: Any, state: TrainingState) -> None:
    network.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    vars(state).update(saved["state"])
    torch.set_rng_state(saved["random"]["cpu"])
    if "cuda" in saved["random"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved["random"]["cuda"])
