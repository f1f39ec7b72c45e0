"""What is trained and shipped: a model with the normalisation of its inputs in front."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hepcnn.data.energy_scale import EnergyScale
from hepcnn.data.normalisation import Normalisation
from hepcnn.models.base import JetTagger, TaggingHead
from hepcnn.sparse import SparseTensor
from hepcnn.training.energy import LEAST_SIGMA, MOST_SIGMA, N_OUTPUTS, describe_outputs, sum_energy


class TaggerNetwork(nn.Module):
    """Normalises pixels and jet-level numbers, then applies the model.

    The normalisation is part of the network, and so of its weights and of the exported graph: a tagger takes images in
    the units of ``images.h5``.

    Parameters
    ----------
    model
        With as many outputs as there are classes; with the energy as the only task, with two.
    normalisation
        Of its inputs.
    energy
        Of the energy, where that is one of the tasks. With the identity as the other, the network gets a second head
        like the model's on the same last feature map.
    identity
        Whether the identity is a task.
    """

    channel_scale: Tensor
    feature_mean: Tensor
    feature_std: Tensor
    energy_scale: Tensor

    def __init__(
        self,
        model: JetTagger,
        normalisation: Normalisation,
        *,
        energy: EnergyScale | None = None,
        identity: bool = True,
    ) -> None:
        super().__init__()
        self.model = model
        self.power = normalisation.power
        self.n_jet_features = len(normalisation.feature_names)
        self.register_buffer("channel_scale", torch.tensor(normalisation.channel_scale))
        self.register_buffer("feature_mean", torch.tensor(normalisation.feature_mean))
        self.register_buffer("feature_std", torch.tensor(normalisation.feature_std))
        self.energy_head: TaggingHead | None = None
        self.energy_channel: int | None = None
        self.tasks: tuple[str, ...] = ("identity",)
        if energy is not None:
            self.tasks = ("identity", "energy") if identity else ("energy",)
            self.energy_channel = energy.channel
            self.register_buffer("energy_scale", torch.tensor([energy.floor, energy.offset, energy.spread]))
            if identity:
                self.energy_head = model.head.make_sibling(N_OUTPUTS)
            # It begins as the calibrated sum of the cells, with the spread that this has.
            for parameter in (self.energy_head or model.head).classify[-1].parameters():
                nn.init.zeros_(parameter)

    @property
    def takes_sparse(self) -> bool:
        """Whether the model computes sparse images fastest."""
        return self.model.input_format == "sparse"

    def forward(self, images: Tensor | SparseTensor, jet_features: Tensor) -> Tensor:
        """Map images (N, C, axes of the grid), dense or sparse, and jet-level numbers (N, F) to logits (N, K).

        With the task of the energy two more columns follow: ``ln(E / GeV)``, and the logarithm of its error.
        """
        pixels, numbers = self.prepare(images, jet_features)
        if self.energy_channel is None:
            logits: Tensor = self.model(pixels, numbers)
            return logits
        return self.apply_heads(self.model.features(pixels), numbers, images)

    def apply_heads(self, features: Tensor, numbers: Tensor | None, images: Tensor | SparseTensor) -> Tensor:
        """The outputs of all tasks side by side, from the last feature map; ``images`` as they came in."""
        found: Tensor = self.model.head(features, numbers)
        if self.energy_channel is None:
            return found
        raw = found if self.energy_head is None else self.energy_head(features, numbers)
        floor, offset, spread = self.energy_scale
        base = torch.maximum(sum_energy(images, self.energy_channel), floor).log() + offset
        raw = raw.float()
        log_sigma = (raw[:, 1] + spread.log()).clamp(LEAST_SIGMA, MOST_SIGMA)
        energy = torch.stack([base + spread * raw[:, 0], log_sigma], dim=1)
        return energy if self.energy_head is None else torch.cat([found.float(), energy], dim=1)

    def prepare(
        self, images: Tensor | SparseTensor, jet_features: Tensor
    ) -> tuple[Tensor | SparseTensor, Tensor | None]:
        """What the model takes: images normalised, jet-level numbers standardised (None where it takes none)."""
        normalised: Tensor | SparseTensor
        if isinstance(images, SparseTensor):
            normalised = images.replace(self._normalise(images.features, (1, -1)))
        else:
            normalised = self._normalise(images, (1, -1, *(1,) * (images.ndim - 2)))
        standardised = None
        if self.n_jet_features:
            standardised = (torch.log1p(jet_features) - self.feature_mean) / self.feature_std
        return normalised, standardised

    def _normalise(self, pixels: Tensor, shape: tuple[int, ...]) -> Tensor:
        scaled = pixels / self.channel_scale.view(shape)
        return torch.pow(scaled.clamp_min(0.0), self.power)


class ScoringNetwork(nn.Module):
    """A trained network that gives probabilities, and energies with errors where it has that task: what is exported."""

    def __init__(self, network: TaggerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, jet_features: Tensor) -> Tensor:
        """Map images and jet-level numbers to probabilities (N, K), and energy and error in GeV as columns more."""
        return describe_outputs(self.network(images, jet_features), self.network.tasks)


def mean_of_members(values: Tensor, tasks: Sequence[str]) -> Tensor:
    """What an ensemble says, (N, K + 2 with an energy), of what its members say, (M, N, K + 2).

    Notes
    -----
    The mean of probabilities and of energies; the variance of an energy is that of the mixture of the members'
    Gaussians (arXiv:1612.01474): the mean of their variances and the variance of their means.
    """
    mean = values.mean(dim=0)
    if "energy" not in tasks:
        return mean
    energy, error = values[:, :, -2], values[:, :, -1]
    variance = (error.square() + (energy - mean[:, -2]).square()).mean(dim=0)
    return torch.cat([mean[:, :-1], variance.sqrt()[:, None]], dim=1)
