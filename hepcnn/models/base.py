"""What all taggers share: the forward pass, the join with jet-level inputs, and the head.

Shapes: N jets, C channels, (n_eta, n_phi) the grid, F jet-level inputs, D channels and (h, w) the size of the last map.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from hepcnn.errors import ConfigError, InputError
from hepcnn.sparse.tensor import SparseTensor


class TaggingHead(nn.Module):
    """From the last feature map, and jet-level inputs if there are any, to logits.

    The map is laid out flat, so that the head knows where in the image a feature is: jets are centred and rotated,
    which gives position a meaning. ``pool="average"`` gives that up for fewer parameters.

    Parameters
    ----------
    channels, size
        D and (h, w) of the last feature map.
    n_classes, n_jet_features
        Number of logits, and F.
    hidden
        Width of the hidden layer.
    dropout
        Probability before each linear layer.
    pool
        "flatten" or "average".
    """

    JET_WIDTH = 32

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        n_classes: int,
        n_jet_features: int,
        *,
        hidden: int = 64,
        dropout: float = 0.1,
        pool: str = "flatten",
    ) -> None:
        super().__init__()
        if pool not in ("flatten", "average"):
            raise ConfigError(f"pool must be 'flatten' or 'average', got {pool!r}")
        self.average = pool == "average"
        self.n_jet_features = n_jet_features
        pooled = channels if self.average else channels * size[0] * size[1]
        self.jet: nn.Module | None = None
        self.embed = nn.Sequential(nn.Dropout(dropout), nn.Linear(pooled, hidden), nn.ReLU())
        if n_jet_features:
            width = self.JET_WIDTH
            self.jet = nn.Sequential(nn.Linear(n_jet_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            hidden += width
        joined = max(hidden // 2, n_classes)
        self.classify = nn.Sequential(
            nn.Linear(hidden, joined), nn.ReLU(), nn.Dropout(dropout), nn.Linear(joined, n_classes)
        )

    def forward(self, features: Tensor, jet_features: Tensor | None) -> Tensor:
        """Map (N, D, h, w) and (N, F) to logits (N, n_classes)."""
        pooled = features.mean(dim=(2, 3)) if self.average else features.flatten(1)
        hidden = self.embed(pooled)
        if self.jet is not None:
            if jet_features is None or jet_features.ndim != 2 or jet_features.shape[1] != self.n_jet_features:
                got = "none" if jet_features is None else str(tuple(jet_features.shape))
                raise InputError(f"this model needs jet features of (jets, {self.n_jet_features}), got {got}")
            hidden = torch.cat([hidden, self.jet(jet_features)], dim=1)
        elif jet_features is not None and jet_features.shape[1:].numel():
            raise InputError(f"this model takes no jet features, got {tuple(jet_features.shape)}")
        logits: Tensor = self.classify(hidden)
        return logits


class JetTagger(nn.Module):
    """A tagger of jet images. A model subclasses it, writes `features`, and ends its constructor with `add_head`.

    Parameters
    ----------
    in_channels, n_classes, grid, n_jet_features, periodic
        As in `hepcnn.models.create_model`.

    Attributes
    ----------
    input_format
        "dense" or "sparse": the kind of images that the model computes fastest. It accepts both.
    """

    input_format: ClassVar[Literal["dense", "sparse"]] = "dense"
    head: TaggingHead

    def __init__(
        self,
        *,
        in_channels: int,
        n_classes: int,
        grid: tuple[int, int],
        n_jet_features: int = 0,
        periodic: tuple[bool, ...] = (False, False),
    ) -> None:
        super().__init__()
        self.in_channels, self.n_classes = in_channels, n_classes
        self.grid, self.n_jet_features, self.periodic = grid, n_jet_features, periodic

    def add_head(self, *, hidden: int, dropout: float, pool: str) -> None:
        """Append the head that fits the feature map, whose size one empty image tells."""
        training = self.training
        self.eval()
        with torch.no_grad():
            last = self.features(torch.zeros(1, self.in_channels, *self.grid))
        self.train(training)
        self.head = TaggingHead(
            last.shape[1],
            (last.shape[2], last.shape[3]),
            self.n_classes,
            self.n_jet_features,
            hidden=hidden,
            dropout=dropout,
            pool=pool,
        )

    def features(self, images: Tensor | SparseTensor) -> Tensor:
        """Map images to the last feature map (N, D, h, w), on a grid of any size."""
        raise NotImplementedError

    def forward(self, images: Tensor | SparseTensor, jet_features: Tensor | None = None) -> Tensor:
        """Compute logits.

        Parameters
        ----------
        images
            (N, C, n_eta, n_phi), or a `SparseTensor` on that grid; N = 0 and images without a pixel are allowed.
        jet_features
            (N, F) standardised jet-level inputs; None if and only if F is 0.

        Returns
        -------
        Tensor
            (N, n_classes) logits.

        Raises
        ------
        InputError
            When the shape of the images or of the jet features does not fit.
        """
        if isinstance(images, SparseTensor):
            shape: Sequence[int] = (images.features.shape[1], *images.spatial_shape)
        else:
            shape = images.shape[1:]
        if tuple(shape) != (self.in_channels, *self.grid):
            raise InputError(f"this model takes images of {(self.in_channels, *self.grid)}, got {tuple(shape)}")
        logits: Tensor = self.head(self.features(images), jet_features)
        return logits


def dense_images(images: Tensor | SparseTensor) -> Tensor:
    """(N, C, n_eta, n_phi) in channels-last memory order, which is the faster one on CPU."""
    if isinstance(images, SparseTensor):
        images = images.to_dense()
    return images.contiguous(memory_format=torch.channels_last)


def check_widths(widths: Sequence[int], name: str = "widths") -> tuple[int, ...]:
    """Turn a list of channel counts, from a config for instance, into a tuple of positive integers."""
    checked = (widths,) if isinstance(widths, int) else tuple(widths)
    if not checked or any(not isinstance(width, int) or width < 1 for width in checked):
        raise ConfigError(f"{name} must be positive integers, got {widths!r}")
    return checked
