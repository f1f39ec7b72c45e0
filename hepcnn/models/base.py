"""What all taggers share: the forward pass, the join with jet-level inputs, and the head.

Shapes: N jets, C channels, G the axes of the grid, (n_eta, n_phi) or three of a shower, F jet-level inputs, D channels
and S the size of the last map, which has one number per axis.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from hepcnn.errors import ConfigError, InputError
from hepcnn.models.shape import ImageShape
from hepcnn.sparse.tensor import SparseTensor

Widths = int | Sequence[int]
LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
"""The memory order with channels last, by the number of axes of the grid."""


class TaggingHead(nn.Module):
    """From the last feature map, and jet-level inputs if there are any, to logits.

    The map is laid out flat, so that the head knows where in the image a feature is: jets are centred and rotated,
    which gives position a meaning. ``pool="average"`` gives that up for fewer parameters.

    Parameters
    ----------
    channels, size
        D and S of the last feature map.
    n_classes, n_jet_features
        Number of logits, and F.
    hidden
        Width of the hidden layer; one of half that width follows once jet-level inputs have joined. A sequence gives
        the widths of all hidden layers, and jet-level inputs join after the first; an empty one leaves a single linear
        layer.
    dropout
        Probability before each linear layer.
    pool
        "flatten" or "average".
    """

    JET_WIDTH = 32

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        n_classes: int,
        n_jet_features: int,
        *,
        hidden: Widths = 64,
        dropout: float = 0.1,
        pool: str = "flatten",
    ) -> None:
        super().__init__()
        if pool not in ("flatten", "average"):
            raise ConfigError(f"pool must be 'flatten' or 'average', got {pool!r}")
        # What another head on the same map is made with.
        self._place = {"channels": channels, "size": tuple(size), "n_jet_features": n_jet_features}
        self._options = {"hidden": hidden, "dropout": dropout, "pool": pool}
        self.average = pool == "average"
        self.n_jet_features = n_jet_features
        width = channels if self.average else channels * math.prod(size)
        joined = self.JET_WIDTH if n_jet_features else 0
        if isinstance(hidden, int):
            layers: tuple[int, ...] = (hidden, max((hidden + joined) // 2, n_classes))
        else:
            layers = check_widths(hidden, "hidden") if hidden else ()
        self.embed = nn.Sequential(nn.Dropout(dropout))
        for after in layers[:1]:
            self.embed.extend([nn.Linear(width, after), nn.ReLU()])
            width = after
        self.jet: nn.Module | None = None
        if n_jet_features:
            self.jet = nn.Sequential(nn.Linear(n_jet_features, joined), nn.ReLU(), nn.Linear(joined, joined), nn.ReLU())
        width += joined
        self.classify = nn.Sequential()
        for after in layers[1:]:
            self.classify.extend([nn.Linear(width, after), nn.ReLU(), nn.Dropout(dropout)])
            width = after
        self.classify.append(nn.Linear(width, n_classes))

    def make_sibling(self, n_outputs: int) -> "TaggingHead":
        """Another head on the same map, with layers and weights of its own."""
        made: Any = self._place | self._options
        return TaggingHead(n_classes=n_outputs, **made)

    def forward(self, features: Tensor, jet_features: Tensor | None) -> Tensor:
        """Map (N, D, S) and (N, F) to logits (N, n_classes)."""
        pooled = features.mean(dim=tuple(range(2, features.ndim))) if self.average else features.flatten(1)
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
    shape
        What the model is built for.

    Attributes
    ----------
    input_format
        "dense" or "sparse": the kind of images that the model computes fastest. It accepts both.
    """

    input_format: ClassVar[Literal["dense", "sparse"]] = "dense"
    head: TaggingHead

    def __init__(self, shape: ImageShape) -> None:
        super().__init__()
        self.shape = shape
        self.in_channels, self.n_classes = shape.in_channels, shape.n_classes
        self.grid, self.n_jet_features, self.periodic = shape.grid, shape.n_jet_features, shape.periodic

    def add_head(self, *, hidden: Widths, dropout: float, pool: str) -> None:
        """Append the head that fits the feature map, whose size one empty image tells.

        Raises
        ------
        ConfigError
            When nothing is left of the image: the grid is too small.
        """
        training = self.training
        self.eval()
        with torch.no_grad():
            last = self.features(torch.zeros(1, self.in_channels, *self.grid))
        self.train(training)
        if not last.numel():
            raise ConfigError(f"a grid of {self.grid} is too small: the last feature map is {tuple(last.shape[2:])}")
        self.head = TaggingHead(
            last.shape[1],
            last.shape[2:],
            self.n_classes,
            self.n_jet_features,
            hidden=hidden,
            dropout=dropout,
            pool=pool,
        )

    def stages(self) -> list[tuple[str, nn.Module]]:
        """The trunk from the images to the last map: modules that hold all its parameters, each under its name.

        Names are those of the state dict. The head is not among them; modules without parameters are left out.
        """
        found = []
        for name, child in self.named_children():
            if name == "head":
                continue
            parts = [(f"{name}.{key}", part) for key, part in child.named_children()]
            found += parts if isinstance(child, nn.Sequential) else [(name, child)]
        return [(name, part) for name, part in found if any(True for _ in part.parameters())]

    def features(self, images: Tensor | SparseTensor) -> Tensor:
        """Map images to the last feature map (N, D, S), on a grid of any size."""
        raise NotImplementedError

    def forward(self, images: Tensor | SparseTensor, jet_features: Tensor | None = None) -> Tensor:
        """Compute logits.

        Parameters
        ----------
        images
            (N, C, G), or a `SparseTensor` on that grid; N = 0 and images without a pixel are allowed.
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
    """(N, C, G) in channels-last memory order, which is the faster one on CPU."""
    if isinstance(images, SparseTensor):
        images = images.to_dense()
    return images.contiguous(memory_format=LAST[images.ndim - 2])


def put_channels_last(network: nn.Module) -> None:
    """Lay the weights of convolutions out with channels last, as the images are, in place."""
    for parameter in network.parameters():
        if parameter.ndim - 2 in LAST:
            parameter.data = parameter.data.contiguous(memory_format=LAST[parameter.ndim - 2])


def check_widths(widths: Sequence[int], name: str = "widths") -> tuple[int, ...]:
    """Turn a list of channel counts, from a config for instance, into a tuple of positive integers."""
    checked = (widths,) if isinstance(widths, int) else tuple(widths)
    if not checked or any(not isinstance(width, int) or width < 1 for width in checked):
        raise ConfigError(f"{name} must be positive integers, got {widths!r}")
    return checked
