"""What processes that train together tell each other.

Each process computes the logits of its share of a batch. Then all of them get all logits, and compute one and the same
loss of the whole batch; each sends gradients back through its own logits alone, and the sum of what arrives at the
weights is the gradient of that loss. So a loss may be any function of a batch, not a sum over jets only.

Shapes: B jets of a batch, b of a process's share, K classes, R processes.
"""

from dataclasses import replace

import torch
import torch.distributed
from lightning_fabric import Fabric
from torch import Tensor

from hepcnn.data.batches import Batch, Rows, Share, split_evenly


class Team:
    """The processes of a training; alone, everything stays as it is."""

    def __init__(self, fabric: Fabric) -> None:
        self.rank, self.world, self._device = fabric.global_rank, fabric.world_size, fabric.device

    @property
    def share(self) -> Share:
        """Which part of each batch is this process's."""
        return self.rank, self.world

    def rows(self, n_jets: int) -> Rows:
        """Which rows of a batch (or a part of one) of ``n_jets`` are this process's."""
        counts = split_evenly(n_jets, self.world)
        return Rows(sum(counts[: self.rank]), counts[self.rank], n_jets)

    def join(self, logits: Tensor, batch: Batch, *, n_jets: int, stop: int) -> tuple[Tensor, Batch, Tensor | int]:
        """Gather what the processes have of a batch.

        Parameters
        ----------
        logits
            (b, K) of this process; gradients flow through these rows of the result.
        batch
            Its share; images and jet features stay as they are.
        n_jets
            B.
        stop
            Whether this process was asked to stop, the larger the more urgently.

        Returns
        -------
        tuple
            Logits (B, K); the batch with label, weight, mass, number and energy of all jets; the largest ``stop``.
        """
        if self.world == 1:
            return logits, batch, stop
        counts = split_evenly(n_jets, self.world)
        n_classes, names = logits.shape[1], ("label", "weight", "mass", "number", "energy")
        sent = logits.new_zeros(counts[0] + 1, n_classes + len(names), dtype=torch.float64)
        sent[: len(logits), :n_classes] = logits.detach()
        for column, name in enumerate(names, n_classes):
            if (values := getattr(batch, name)) is not None:
                sent[: len(logits), column] = values
        sent[-1, 0] = stop
        got = [torch.empty_like(sent) for _ in range(self.world)]
        torch.distributed.all_gather(got, sent)
        rows = torch.cat([table[:count] for table, count in zip(got, counts, strict=True)])
        pieces = [table[:count, :n_classes].to(logits.dtype) for table, count in zip(got, counts, strict=True)]
        pieces[self.rank] = logits
        joined = {
            name: rows[:, column].to(getattr(batch, name).dtype)
            for column, name in enumerate(names, n_classes)
            if getattr(batch, name) is not None
        }
        return torch.cat(pieces), replace(batch, **joined), torch.stack([table[-1, 0] for table in got]).max()

    def sum(self, value: Tensor) -> Tensor:
        """The sum over processes; no gradient flows."""
        if self.world > 1:
            value = value.detach().clone()
            torch.distributed.all_reduce(value)
        return value

    def most(self, value: int) -> int:
        """The most that a process has."""
        if self.world == 1:
            return value
        told = torch.tensor(value, device=self._device)
        torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
        return int(told)
