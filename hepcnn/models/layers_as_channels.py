"""Networks for two axes on grids of three, ``layers/<name>``: the layers of a calorimeter become channels.

A channel of layer l is then one of C L: what a pixel holds is laid out channel by channel, in each layer by layer. The
network sees the whole depth at once, but has weights of its own for every layer.
"""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from hepcnn.errors import ConfigError
from hepcnn.models.base import JetTagger
from hepcnn.models.registry import count_axes, find_builder
from hepcnn.models.shape import ImageShape
from hepcnn.sparse.tensor import SparseTensor

PREFIX = "layers/"


class LayersAsChannels(JetTagger):
    """A network for two axes that takes the first axis of the grid as channels.

    Parameters
    ----------
    shape
        What the model is built for, with three axes.
    planes
        The network over the other two, for as many channels as there are layers times channels. Its head becomes that
        of this model.
    """

    def __init__(self, shape: ImageShape, planes: JetTagger) -> None:
        super().__init__(shape)
        self.head = planes.head
        del planes.head
        self.planes = planes

    def features(self, images: Tensor | SparseTensor) -> Tensor:
        """See `JetTagger.features`."""
        dense = images.to_dense() if isinstance(images, SparseTensor) else images
        return self.planes.features(dense.flatten(1, 2))

    def stages(self) -> list[tuple[str, nn.Module]]:
        """See `JetTagger.stages`."""
        return [(f"planes.{name}", part) for name, part in self.planes.stages()]


def find_network(name: str) -> Callable[..., JetTagger]:
    """The builder of ``layers/<name>``, as `hepcnn.models.registry.register_model` wants it.

    Raises
    ------
    ConfigError
        When there is no such network, or it is not one for two axes.
    """
    inner = name.removeprefix(PREFIX)
    if count_axes(inner) != 2:
        raise ConfigError(f"'{name}': {PREFIX} takes a network for two axes, '{inner}' is one for {count_axes(inner)}")
    builder = find_builder(inner)

    def build(shape: ImageShape, **options: Any) -> JetTagger:
        if shape.periodic[0]:
            raise ConfigError(f"'{name}' takes the first axis as channels, which cannot close into a circle")
        channels = shape.in_channels * shape.grid[0]
        flat = ImageShape(channels, shape.n_classes, shape.grid[1:], shape.n_jet_features, shape.periodic[1:])
        return LayersAsChannels(shape, builder(flat, **options))

    build.__signature__ = inspect.signature(builder)  # type: ignore[attr-defined]
    return build
