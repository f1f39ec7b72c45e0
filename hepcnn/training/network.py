"""What is trained and shipped: a model with the normalisation of its inputs in front."""

import torch
from torch import Tensor, nn

from hepcnn.data.normalisation import Normalisation
from hepcnn.models.base import JetTagger
from hepcnn.sparse import SparseTensor


class TaggerNetwork(nn.Module):
    """Normalises pixels and jet-level numbers, then applies the model.

    The normalisation is part of the network, and so of its weights and of the exported graph: a tagger takes images in
    the units of ``images.h5``.
    """

    channel_scale: Tensor
    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, model: JetTagger, normalisation: Normalisation) -> None:
        super().__init__()
        self.model = model
        self.power = normalisation.power
        self.n_jet_features = len(normalisation.feature_names)
        self.register_buffer("channel_scale", torch.tensor(normalisation.channel_scale))
        self.register_buffer("feature_mean", torch.tensor(normalisation.feature_mean))
        self.register_buffer("feature_std", torch.tensor(normalisation.feature_std))

    @property
    def takes_sparse(self) -> bool:
        """Whether the model computes sparse images fastest."""
        return self.model.input_format == "sparse"

    def forward(self, images: Tensor | SparseTensor, jet_features: Tensor) -> Tensor:
        """Map images (N, C, axes of the grid), dense or sparse, and jet-level numbers (N, F) to logits (N, K)."""
        logits: Tensor = self.model(*self.prepare(images, jet_features))
        return logits

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
    """A trained network that gives probabilities: what is exported."""

    def __init__(self, network: TaggerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, jet_features: Tensor) -> Tensor:
        """Map images and jet-level numbers to probabilities (N, K)."""
        return torch.softmax(self.network(images, jet_features), dim=1)
