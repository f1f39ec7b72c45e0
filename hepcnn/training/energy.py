"""The energy of a shower: its loss, and what a network's outputs say of it.

Shapes: B showers of a batch. The outputs of the task are ``ln(E / GeV)`` and the logarithm of its standard deviation.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hepcnn.config import EnergyLossConfig
from hepcnn.data.batches import Batch
from hepcnn.errors import TrainingError
from hepcnn.sparse import SparseTensor
from hepcnn.training.losses import Loss

N_OUTPUTS = 2
LEAST_SIGMA, MOST_SIGMA = -7.0, 2.0
"""Ends of ``ln sigma``: from 0.1 % of the energy to seven times it."""


def sum_energy(images: Tensor | SparseTensor, channel: int) -> Tensor:
    """Sum of a channel over each image, (B,), in single precision."""
    if isinstance(images, SparseTensor):
        total = images.features.new_zeros(images.batch_size, dtype=torch.float32)
        return total.index_add_(0, images.coords[:, 0].long(), images.features[:, channel].float())
    return images[:, channel].float().flatten(1).sum(dim=1)


def energy_losses(log_energy: Tensor, log_sigma: Tensor, truth: Tensor, *, huber: float = 5.0) -> Tensor:
    """Loss of each shower, (B,): that of a Gaussian in ``ln E`` whose mean and width the network says.

    Parameters
    ----------
    log_energy, log_sigma
        (B,) the logarithm of the predicted energy in GeV, and of the predicted relative error.
    truth
        (B,) true energies in GeV.
    huber
        From how many standard deviations a pull counts linearly instead of by its square.

    Notes
    -----
    ``rho(z) + ln sigma`` with ``z = (ln E_true - ln E) / sigma``: the negative logarithm of the likelihood (Nix and
    Weigend, ICNN 1994, doi:10.1109/ICNN.1994.374138) where ``rho = z² / 2``. Beyond ``huber`` it is
    ``huber (|z| - huber / 2)`` (Huber 1964, doi:10.1214/aoms/1177703732): the tails of hadronic showers then do not
    decide the width. For a Gaussian and 5 that moves the best width by less than 1e-5 of it.
    """
    pull = (truth.log() - log_energy) * torch.exp(-log_sigma)
    size = pull.abs()
    rho = torch.where(size <= huber, 0.5 * pull.square(), huber * (size - 0.5 * huber))
    return rho + log_sigma


def make_task_loss(identity: Loss | None, config: EnergyLossConfig) -> Loss:
    """The loss of a network whose last two outputs are an energy's.

    Parameters
    ----------
    identity
        The loss of the outputs before them; None where there are none.
    config
        Of the energy.

    Returns
    -------
    callable
        The identity's loss plus ``weight`` times the weighted mean of `energy_losses`; 0 where no shower has a weight.

    Raises
    ------
    TrainingError
        When called with a batch that does not know its energies.
    """

    def loss(outputs: Tensor, batch: Batch) -> Tensor:
        if batch.energy is None:
            raise TrainingError("the task 'energy' needs the true energies, which these batches do not hold")
        wide = outputs if outputs.dtype == torch.float64 else outputs.float()
        losses = energy_losses(wide[:, -2], wide[:, -1], batch.energy.to(wide.dtype), huber=config.huber)
        total = batch.weight.sum()
        mean = (losses * batch.weight).sum() / torch.where(total == 0, 1.0, total)
        weighted = config.weight * mean
        return weighted if identity is None else identity(outputs[:, :-N_OUTPUTS], batch) + weighted

    return loss


def describe_outputs(outputs: Tensor, tasks: Sequence[str]) -> Tensor:
    """Outputs of a network as numbers to read: probabilities (B, K), then energy and its error in GeV, where asked."""
    if "energy" not in tasks:
        return torch.softmax(outputs, dim=1)
    parts = [torch.softmax(outputs[:, :-N_OUTPUTS], dim=1)] if "identity" in tasks else []
    energy = torch.exp(outputs[:, -2:-1].float())
    return torch.cat([*parts, energy, energy * torch.exp(outputs[:, -1:].float())], dim=1)
