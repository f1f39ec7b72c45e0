"""Scores and losses of a whole split."""

from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from hepcnn.data.batches import WHOLE, Batch, JetSource, batch_sizes
from hepcnn.training.energy import describe_outputs
from hepcnn.training.losses import Loss
from hepcnn.training.signals import StopFlag
from hepcnn.training.team import Team


class ScoringStopped(Exception):  # noqa: N818 - it is a request, not an error
    """A stop was asked for; ``level`` as in `StopFlag`."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level


def weighted_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross entropy, averaged with the jets' weights; 0 where no jet of the batch has one."""
    losses = nn.functional.cross_entropy(logits, batch.label, reduction="none")
    total = batch.weight.sum()
    return (losses * batch.weight).sum() / torch.where(total == 0, 1.0, total)


def score_network(
    model: Any,
    data: JetSource,
    *,
    batch_size: int,
    sparse: bool,
    fabric: Fabric | None = None,
    stop: StopFlag | None = None,
    loss: Loss = weighted_loss,
) -> tuple[NDArray[np.float32], float]:
    """Score all jets of a split, shared out to the processes.

    Parameters
    ----------
    model
        Is set to evaluation.
    data, batch_size, sparse
        The jets, and how they come.
    fabric
        Its precision and its processes.
    stop
        Asked after every batch.
    loss
        What is averaged over all jets, itself a mean with the jets' weights.

    Returns
    -------
    tuple
        Probabilities (N, K) of all jets in order, energies and their errors as two columns more where the network has
        that task, and the mean loss; the same in every process.

    Raises
    ------
    ScoringStopped
        When a stop was asked for, in any process.
    """
    fabric, stop = fabric or Fabric(accelerator="cpu", devices=1), stop or StopFlag()
    team = Team(fabric)
    model.eval()
    scores, summed, weight = [], 0.0, 0.0
    tasks = getattr(model, "tasks", ("identity",))
    share = team.share if team.world > 1 else WHOLE
    batches = data.in_order(batch_size, sparse=sparse, share=share)
    with torch.no_grad():
        for batch, n_jets in zip(batches, batch_sizes(data.n_jets, batch_size).tolist(), strict=True):
            with fabric.autocast():
                logits = model(batch.images, batch.jet_features).float()
            logits, whole, level = team.join(logits, batch, n_jets=n_jets, stop=stop.level)
            if level:
                raise ScoringStopped(int(level))
            total = float(whole.weight.sum())
            summed += float(loss(logits, whole)) * total
            weight += total
            scores.append(describe_outputs(logits, tasks).cpu().numpy())
    return np.concatenate(scores), summed / weight
