"""A network with all that changes it: the loss, the optimiser and its schedule, the running average of weights.

Shapes: B jets of a batch, K classes.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from hepcnn.config import TrainingConfig
from hepcnn.data.batches import Batch
from hepcnn.models.base import put_channels_last
from hepcnn.training.augment import Augment
from hepcnn.training.fabric import compile_network
from hepcnn.training.late import LateValue
from hepcnn.training.losses import Loss
from hepcnn.training.network import TaggerNetwork
from hepcnn.training.optim import ParamGroups, make_optimizer
from hepcnn.training.state import load_optimizer, step_seed
from hepcnn.training.synchronise import one_batch
from hepcnn.training.team import Team


@dataclass(frozen=True)
class Told:
    """What a step tells the host, which may read it later.

    ``losses`` are those of its parts, and how urgently each other process is asked to stop; ``parts`` hold logits and
    what is known of their jets, to find those whose loss is not finite.
    """

    step: int
    n_jets: int
    stop: int
    losses: LateValue
    parts: Sequence[tuple[Tensor, Batch]]

    def read(self) -> tuple[list[float], int]:
        """The losses, and how urgently any process was asked to stop; waits for the device if need be."""
        numbers, n_parts = self.losses.read(), len(self.parts)
        return numbers[:n_parts], int(max(numbers[n_parts:], default=self.stop))


class Learner:
    """Takes steps. The network is trained in place.

    Parameters
    ----------
    network, config, fabric, seed
        As of `hepcnn.training.loop.train_network`.
    n_steps
        Of the whole training.
    loss, augment, param_groups
        What is minimised, what is done to each batch before, and how parameters are grouped.
    """

    def __init__(
        self,
        network: TaggerNetwork,
        *,
        config: TrainingConfig,
        fabric: Fabric,
        seed: int,
        n_steps: int,
        loss: Loss,
        augment: Augment | None = None,
        param_groups: ParamGroups | None = None,
    ) -> None:
        if config.channels_last and not network.takes_sparse:
            put_channels_last(network)
        self.network, self.config, self.fabric, self.seed = network, config, fabric, seed
        self.team, self._loss, self._augment = Team(fabric), loss, augment
        self.optimizer, self.schedule = make_optimizer(network, config, n_steps=n_steps, param_groups=param_groups)
        self.model, self.stepper = fabric.setup(network, self.optimizer)
        # After the set-up, so that the copy is on the training device.
        self.average = _make_average(network, config.ema) if config.ema else None
        if config.compile:
            compile_network(network, sparse=network.takes_sparse)

    @property
    def shipped(self) -> TaggerNetwork:
        """The network that is validated and shipped: the running average if there is one."""
        return self.network if self.average is None else self.average.module

    def train(self) -> None:
        """Get ready for steps. A batch norm whose parameters are all frozen keeps its statistics too."""
        self.model.train()
        for module in self.network.modules():
            parameters = list(module.parameters(recurse=False)) if isinstance(module, _BatchNorm) else []
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()

    def begin(
        self, parts: Sequence[Batch], totals: Sequence[int], *, epoch: int, step: int, done: int
    ) -> tuple[list[Batch], Tensor | None]:
        """Set rates and random numbers for a step; gives its batches, augmented, and their weight if it is needed.

        All processes draw the same numbers, of which each uses those of its jets; ``totals`` are the parts' jets in all
        of them.
        """
        self.schedule.set(done)
        torch.manual_seed(step_seed(self.seed, epoch, step, 0))
        augmented = list(parts)
        if self._augment is not None:
            random = torch.Generator(parts[0].label.device)
            random.manual_seed(step_seed(self.seed, epoch, step, 0, 1))
            augmented = [
                self._augment(batch, random, self.team.rows(total)) for batch, total in zip(parts, totals, strict=True)
            ]
        weight = None
        if len(parts) > 1:
            weight = self.team.sum(torch.stack([batch.weight.sum() for batch in augmented]).sum())
        return augmented, weight

    @contextlib.contextmanager
    def part(self, *, is_last: bool) -> Iterator[None]:
        """A part of a step; processes exchange gradients after the last one."""
        with self.fabric.no_backward_sync(self.model, enabled=not is_last):
            yield

    def compute_loss(
        self, batch: Batch, *, n_jets: int, weight: Tensor | None, stop: int
    ) -> tuple[Tensor, Tensor | int, tuple[Tensor, Batch]]:
        """The loss of a part of a step: its share of the whole batch's loss.

        Parameters
        ----------
        batch, n_jets
            This process's jets, and how many there are in all processes.
        weight
            Sum of the weights of all parts, if there are several.
        stop
            Whether this process is asked to stop.

        Returns
        -------
        tuple
            The loss; the most urgent ``stop`` of any process; logits and what is known of the jets.
        """
        fold = self.fabric.device.type == "cpu" and not self.config.compile
        with one_batch(self.network, rows=self.team.rows(n_jets), world=self.team.world, fold=fold):
            logits = self.model(batch.images, batch.jet_features)
        logits, whole, level = self.team.join(logits, batch, n_jets=n_jets, stop=stop)
        loss = self._loss(logits, whole)
        if weight is not None:
            loss = loss * (whole.weight.sum() / torch.where(weight == 0, 1.0, weight))
        return loss, level, (logits.detach(), replace(whole, images=logits.new_empty(0)))

    def finish(self, *, done: int) -> None:
        """Change the weights by the gradients that have come together."""
        if self.config.clip_norm:
            self.fabric.clip_gradients(
                self.model, self.stepper, max_norm=self.config.clip_norm, error_if_nonfinite=False
            )
        self.stepper.step()
        self.stepper.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.network, step=done + 1)

    def snapshot(self) -> dict[str, Any]:
        """Weights and the optimiser's state, for a checkpoint."""
        return {
            "network": self.network.state_dict(),
            "average": None if self.average is None else self.average.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go back to a snapshot."""
        self.network.load_state_dict(saved["network"])
        if self.average is not None:
            self.average.module.load_state_dict(saved["average"])
        load_optimizer(self.optimizer, saved["optimizer"])
        self.fabric.strategy.precision.load_state_dict(saved["precision"])


def _make_average(network: TaggerNetwork, decay: float) -> Any:
    """A running average of all weights and statistics, over few steps at first."""
    # Here, because timm takes seconds to import.
    from timm.utils.model_ema import ModelEmaV3

    return ModelEmaV3(network, decay=decay, use_warmup=True)
