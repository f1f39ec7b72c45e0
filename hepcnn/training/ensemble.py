"""Several trained networks as one: the mean of their probabilities."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hepcnn.training.network import ScoringNetwork, TaggerNetwork


class EnsembleNetwork(nn.Module):
    """Gives the mean of its members' probabilities; each member normalises the images in its own way.

    Parameters
    ----------
    members
        Trained networks for the same classes and images.

    Notes
    -----
    The mean ensemble of arXiv:1902.09914.
    """

    def __init__(self, members: Sequence[TaggerNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList([ScoringNetwork(member) for member in members])

    def forward(self, images: Tensor, jet_features: Tensor) -> Tensor:
        """Map images and jet-level numbers to probabilities (N, K)."""
        return torch.stack([member(images, jet_features) for member in self.members]).mean(dim=0)
