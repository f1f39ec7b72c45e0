"""Several trained networks as one: the mean of their probabilities."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hepcnn.training.network import ScoringNetwork, TaggerNetwork, mean_of_members


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
        self.tasks = members[0].tasks

    def forward(self, images: Tensor, jet_features: Tensor) -> Tensor:
        """Map images and jet-level numbers to what a `ScoringNetwork` gives."""
        return mean_of_members(torch.stack([member(images, jet_features) for member in self.members]), self.tasks)
