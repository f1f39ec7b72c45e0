"""The training loop.

Everything that a step draws at random is a function of (seed, epoch, step), so that a training that was
stopped, even by SIGKILL, goes on from its last checkpoint to the very weights of one that was not. A step is a batch of
``batch_size`` jets, whatever the number of processes that share it and of the parts that it is taken in.

Shapes: N jets, B of a batch, K classes.
"""

import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from hepcnn.atomic import remove_leftovers
from hepcnn.config import TrainingConfig
from hepcnn.data.batches import WHOLE, Batch, JetSource, Share, batch_sizes, count_parts, split_evenly
from hepcnn.errors import TrainingError
from hepcnn.training.augment import Augment
from hepcnn.training.batch_size import choose_batch_size, explain_out_of_memory, find_largest
from hepcnn.training.blame import NameJets, describe_bad_jets
from hepcnn.training.checkpoint import previous_checkpoint, read_checkpoint, write_checkpoint
from hepcnn.training.fabric import make_fabric as make_fabric
from hepcnn.training.late import LateValue
from hepcnn.training.learner import Learner, Told
from hepcnn.training.losses import Loss
from hepcnn.training.network import TaggerNetwork
from hepcnn.training.optim import ParamGroups
from hepcnn.training.score import ScoringStopped, score_network
from hepcnn.training.score import weighted_loss as weighted_loss
from hepcnn.training.signals import StopFlag, StopRequest, listen_for_stop
from hepcnn.training.state import TrainingState, judge_epoch, take_weights
from hepcnn.training.team import Team

MOST_SCORED = 2048
"""Jets of a validation batch, which is larger than one of the training because it needs less memory."""
LAGS = {"cpu": 0, "cuda": 1}
"""Steps that the host is ahead of what it looks at: looking at each loss at once, it would let a GPU wait."""
Validate = Callable[[NDArray[np.float32], NDArray[np.int64]], dict[str, float]]
"""Scores (N, K), energies behind them, and labels (N,) of the validation split in, named numbers out."""


class Listener(Protocol):
    """Hears how a training goes."""

    def on_step(self, *, epoch: int, step: int, n_steps: int, loss: float, jets_per_second: float) -> None:
        """A batch is done."""

    def on_epoch(self, record: dict[str, float]) -> None:
        """An epoch is done and validated."""


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
    loss: Loss = weighted_loss,
    val_loss: Loss = weighted_loss,
    augment: Augment | None = None,
    param_groups: ParamGroups | None = None,
    name_jets: NameJets | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> TrainingState:
    """Train a network, going on from a checkpoint if there is one.

    Parameters
    ----------
    network
        With fresh weights; trained in place. Ends with those to ship: of the last or the best epoch, averaged or not,
        as the config says. Parameters that need no gradient stay as they are.
    train, val
        The two splits, whose batches come on the training device.
    config, fabric, seed
        How, where, and in which order of jets.
    checkpoint
        Where the state is kept: after each epoch, now and then within one, and when a stop is asked for.
    fingerprint
        Hash of all that the training depends on; a checkpoint with another is not used.
    validate
        Makes numbers of the validation scores.
    listener
        Hears of steps and epochs, in the first process.
    loss, augment, param_groups
        What is minimised, what is done to each training batch, and how parameters are grouped.
    val_loss
        What ``val_loss`` is of.
    name_jets
        Says where jets of the training split come from.
    say
        Hears in a sentence what one should know.

    Returns
    -------
    TrainingState
        With one record per epoch: ``epoch, train_loss, val_loss, jets_per_second, seconds`` and what ``validate`` gave.
        By default ``val_loss`` is the plain cross entropy, whatever ``loss`` is.

    Raises
    ------
    TrainingError
        When the loss is not a number (the message names epoch, batch and jets; the checkpoint stays at the last good
        state), or when the GPU has too little memory.
    StopRequest
        On SIGINT, SIGTERM or SIGUSR1 in any process, after the checkpoint is written.
    """
    what = {"loss": loss, "augment": augment, "param_groups": param_groups}
    run = _Run(train, val, config, fabric, seed, checkpoint, fingerprint, listener, name_jets, say, val_loss, what)
    run.start(network)
    with listen_for_stop() as run.stop:
        while not run.state.is_over:
            run.train_epoch()
            run.validate_epoch(validate)
    run.ship()
    return run.state


def take_step(
    learner: Learner, parts: Sequence[Batch], totals: Sequence[int], *, epoch: int, step: int, done: int, stop: int = 0
) -> Told:
    """Change the weights once.

    Parameters
    ----------
    learner
        What learns.
    parts, totals
        This process's batches, and how many jets each has in all processes.
    epoch, step, done
        Which step it is: in its epoch, and in the whole training. All from 0.
    stop
        How urgently this process is asked to stop, which the others shall know.
    """
    augmented, weight = learner.begin(parts, totals, epoch=epoch, step=step, done=done)
    losses, levels, known = [], [], []
    for number, (batch, n_jets) in enumerate(zip(augmented, totals, strict=True), 1):
        with learner.part(is_last=number == len(parts)):
            loss, level, about = learner.compute_loss(batch, n_jets=n_jets, weight=weight, stop=stop)
            # Processes exchange the mean of their gradients; their sum is wanted.
            learner.fabric.backward(loss * learner.team.world)
        losses.append(loss.detach().double())
        levels += [level] if isinstance(level, Tensor) else []
        known.append(about)
    learner.finish(done=done)
    return Told(step, sum(totals), stop, LateValue(torch.stack(losses + levels)), known)


@dataclass
class _Run:
    """A training that is under way; the arguments are those of `train_network`."""

    train: JetSource
    val: JetSource
    config: TrainingConfig
    fabric: Fabric
    seed: int
    checkpoint: str | os.PathLike[str]
    fingerprint: str
    listener: Listener
    name_jets: NameJets | None
    say: Callable[[str], None]
    val_loss: Loss
    what: dict[str, Any]
    stop: StopFlag = field(default_factory=StopFlag)
    state: TrainingState = field(default_factory=TrainingState)
    best: dict[str, Tensor] = field(default_factory=dict)

    def start(self, network: TaggerNetwork) -> None:
        """Read where an earlier call left off, and set up what learns."""
        self.sparse, self.is_first = network.takes_sparse, self.fabric.global_rank == 0
        if self.is_first:
            remove_leftovers(self.checkpoint)
        else:
            self.say = lambda _: None
        saved = read_checkpoint(self.checkpoint, fingerprint=self.fingerprint, say=self.say)
        if saved is not None:
            vars(self.state).update(saved["state"])
            self.best = saved["best"]
        elif self.config.batch_size == "auto":
            self.state.batch_size = choose_batch_size(
                partial(self._try_batch, network),
                device=self.fabric.device,
                n_jets=self.train.n_jets,
                world=self.fabric.world_size,
                say=self.say,
            )
        else:
            self.state.batch_size = self.config.batch_size
        self.sizes = batch_sizes(self.train.n_jets, self.state.batch_size).tolist()
        self.learner = self._make_learner(network, n_steps=len(self.sizes) * self.config.epochs)
        if saved is not None:
            self.learner.restore(saved["learner"])
            done = "the training is over" if self.state.is_over else f"going on from epoch {self.state.epoch + 1}"
            self.say(f"{done}, batch {self.state.step + 1}" if self.state.step else done)
        self._saved_at = time.monotonic(), self.state.step

    def train_epoch(self) -> None:
        """Take the steps of an epoch that are left."""
        lag = LAGS[self.fabric.device.type]
        told: deque[Told] = deque()
        self.learner.train()
        self._looked_at = time.perf_counter()
        for step, parts, totals in self._steps(self.state.epoch, self.state.step):
            told.append(self._take_step(step, parts, totals))
            if len(told) <= lag:
                continue
            level = self._look(told.popleft())
            if level or self._is_save_due():
                # What is saved has been looked at. A stop that is found here is for the next turn: processes stop at
                # the same step, and not all of them save.
                for ahead in told:
                    self._look(ahead)
                self._save()
                self._stop_if_asked(level)
        for ahead in told:
            self._look(ahead)

    def validate_epoch(self, validate: Validate) -> None:
        """Score the validation jets, note how good the network is, and save; a stop lets it be done again."""
        state, size = self.state, max(self.state.batch_size, min(4 * self.state.batch_size, MOST_SCORED))
        try:
            score, val_loss = score_network(
                self.learner.shipped,
                self.val,
                batch_size=size,
                sparse=self.sparse,
                fabric=self.fabric,
                stop=self.stop,
                loss=self.val_loss,
            )
        except ScoringStopped as stopped:
            self._save()
            self._stop_if_asked(stopped.level)
        record = {
            "epoch": float(state.epoch + 1),
            "train_loss": state.loss_sum / state.step,
            "val_loss": val_loss,
            "seconds": state.seconds,
            "jets_per_second": self.train.n_jets * (state.epoch + 1) / state.seconds,
            **validate(score, self.val.label),
        }
        state.history.append(record)
        state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
        if judge_epoch(state, record, self.config) and self.config.keep_best:
            self.best = take_weights(self.learner.shipped)
        if self.is_first:
            self.listener.on_epoch(record)
        self._save()
        self._stop_if_asked(self.learner.team.most(self.stop.level))

    def ship(self) -> None:
        """Leave the network with the weights that the config asks for."""
        network = self.learner.network
        network.load_state_dict(self.best or self.learner.shipped.state_dict())
        # Compiled code and the layout of weights are for training; an export needs the plain network.
        network._compiled_call_impl = None
        network.to(memory_format=torch.contiguous_format)
        if self.is_first:
            previous_checkpoint(self.checkpoint).unlink(missing_ok=True)

    def _steps(
        self, epoch: int, first: int, *, batch_size: int = 0, share: Share | None = None
    ) -> Iterator[tuple[int, list[Batch], list[int]]]:
        """Steps of an epoch: number, this process's batches, and how many jets they have in all processes."""
        batch_size, wished = batch_size or self.state.batch_size, self.config.accumulate
        batches = self.train.epoch(
            seed=self.seed,
            epoch=epoch,
            batch_size=batch_size,
            sparse=self.sparse,
            first_step=first,
            parts=wished,
            share=Team(self.fabric).share if share is None else share,
        )
        sizes = batch_sizes(self.train.n_jets, batch_size).tolist()
        for step, size in enumerate(sizes[first:], first):
            totals = split_evenly(size, count_parts(size, wished))
            yield step, list(islice(batches, len(totals))), totals

    def _make_learner(self, network: TaggerNetwork, *, n_steps: int) -> Learner:
        return Learner(network, config=self.config, fabric=self.fabric, seed=self.seed, n_steps=n_steps, **self.what)

    def _take_step(self, step: int, parts: list[Batch], totals: list[int]) -> Told:
        epoch, done = self.state.epoch, self.state.epoch * len(self.sizes) + step
        try:
            return take_step(self.learner, parts, totals, epoch=epoch, step=step, done=done, stop=self.stop.level)
        except torch.OutOfMemoryError:
            pass  # and forgotten, with all that the step held, before another is tried
        fits, world, size = partial(self._try_batch, self.learner.network), self.fabric.world_size, sum(totals)
        largest = find_largest(fits, most=size - 1) if world == 1 else 0
        raise TrainingError(
            explain_out_of_memory(size, world=world, accumulate=self.config.accumulate, largest=largest)
        )

    def _try_batch(self, network: TaggerNetwork, n_jets: int) -> None:
        """Take a step with a copy, to see whether there is memory for it."""
        learner = self._make_learner(deepcopy(network), n_steps=1)
        learner.train()
        step, parts, totals = next(self._steps(0, 0, batch_size=n_jets))
        take_step(learner, parts, totals, epoch=0, step=step, done=0)

    def _look(self, told: Told) -> int:
        """Take note of a step, once; says how urgently a stop was asked for."""
        losses, level = told.read()
        if told.step < self.state.step:
            return level
        if not math.isfinite(sum(losses)):
            raise TrainingError(self._explain_loss(told, losses))
        elapsed, self._looked_at = time.perf_counter() - self._looked_at, time.perf_counter()
        state = self.state
        state.seconds += elapsed
        state.loss_sum += sum(losses)
        state.step += 1
        if self.is_first:
            self.listener.on_step(
                epoch=state.epoch,
                step=state.step,
                n_steps=len(self.sizes),
                loss=state.loss_sum / state.step,
                jets_per_second=told.n_jets / elapsed,
            )
        # Alone, there is no need to wait for the next step to hear of it.
        return self.stop.level if self.fabric.world_size == 1 else level

    def _explain_loss(self, told: Told, losses: list[float]) -> str:
        number = next((k for k, loss in enumerate(losses) if not math.isfinite(loss)), 0)
        logits, batch = told.parts[number]
        _, parts, _ = next(self._steps(self.state.epoch, told.step, share=WHOLE))
        jets = describe_bad_jets(logits, batch, parts[number], self.name_jets)
        return (
            f"the loss is {sum(losses)} in epoch {self.state.epoch + 1}, batch {told.step + 1}: {jets}; the checkpoint "
            "holds the last good state. A smaller training.learning_rate or training.clip_norm may help"
        )

    def _is_save_due(self) -> bool:
        when, step = self._saved_at
        n_steps = self.config.checkpoint_steps or math.inf
        return time.monotonic() - when > 60 * self.config.checkpoint_minutes or self.state.step - step >= n_steps

    def _save(self) -> None:
        if self.is_first:
            state = {"fingerprint": self.fingerprint, "state": vars(self.state), "best": self.best}
            write_checkpoint(self.checkpoint, state | {"learner": self.learner.snapshot()})
        self._saved_at = time.monotonic(), self.state.step

    def _stop_if_asked(self, level: int) -> None:
        if level:
            where = f"in epoch {self.state.epoch + 1}" if self.state.step else f"after epoch {self.state.epoch}"
            raise StopRequest(f"stopped {where}; the same command goes on from there", run_again=level > 1)
