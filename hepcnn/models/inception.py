"""GoogLeNet (arXiv:1409.4842) and Inception v3 (arXiv:1512.00567), fitted to small images."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from hepcnn.errors import require
from hepcnn.models.dense import register_trunk
from hepcnn.models.fit import fit_first

GOOGLENET_STAGES = (
    *("conv1", "maxpool1", "conv2", "conv3", "maxpool2", "inception3a", "inception3b", "maxpool3", "inception4a"),
    *("inception4b", "inception4c", "inception4d", "inception4e", "maxpool4", "inception5a", "inception5b"),
)


@register_trunk("googlenet")
def googlenet(in_channels: int, *, stem_stride: int = 1, stem_pool: bool = False) -> nn.Sequential:
    """Build GoogLeNet of torchvision, without auxiliary heads; its stem keeps its 7×7 kernel."""
    network = require("torchvision.models.googlenet", extra="train").GoogLeNet(
        num_classes=1, aux_logits=False, init_weights=False
    )
    left_out = () if stem_pool else ("maxpool1",)
    parts = OrderedDict((name, getattr(network, name)) for name in GOOGLENET_STAGES if name not in left_out)
    return fit_first(nn.Sequential(parts), in_channels, stride=stem_stride)


class Branches(nn.Module):
    """Several ways through a block, joined along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, D, h, w) to the concatenated outputs of the branches."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def unit(inputs: int, outputs: int, kernel: int | tuple[int, int] = 1, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU, padded to keep the size up to the stride."""
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, (rows, columns), stride, (rows // 2, columns // 2), bias=False),
        nn.BatchNorm2d(outputs, eps=0.001),
        nn.ReLU(inplace=True),
    )


class _Blocks:
    """The blocks of Inception v3, with channels that a factor scales; each gives itself and its number of channels."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def scale(self, channels: int) -> int:
        """A multiple of 8, as all of the paper's are."""
        return max(8 * round(self.factor * channels / 8), 8)

    def chain(self, inputs: int, *steps: tuple[int, int | tuple[int, int]], stride: int = 1) -> nn.Sequential:
        """Units of (channels, kernel) one after the other; the last one has the stride."""
        units = []
        for place, (channels, kernel) in enumerate(steps, start=1):
            after = self.scale(channels)
            units.append(unit(inputs, after, kernel, stride if place == len(steps) else 1))
            inputs = after
        return nn.Sequential(*units)

    def pooled(self, inputs: int, channels: int) -> nn.Sequential:
        """An average over 3×3 cells before a 1×1 unit."""
        return nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), unit(inputs, self.scale(channels)))

    def total(self, *channels: int) -> int:
        """Channels of branches together."""
        return sum(self.scale(number) for number in channels)

    def square(self, inputs: int, pooled: int) -> tuple[nn.Module, int]:
        """5×5 as two 3×3, figure 5 of the paper."""
        block = Branches(
            self.chain(inputs, (64, 1)),
            self.chain(inputs, (48, 1), (64, 5)),
            self.chain(inputs, (64, 1), (96, 3), (96, 3)),
            self.pooled(inputs, pooled),
        )
        return block, self.total(64, 64, 96, pooled)

    def factorised(self, inputs: int, width: int) -> tuple[nn.Module, int]:
        """7×7 as 1×7 and 7×1, figure 6."""
        row, column = (1, 7), (7, 1)
        block = Branches(
            self.chain(inputs, (192, 1)),
            self.chain(inputs, (width, 1), (width, row), (192, column)),
            self.chain(inputs, (width, 1), (width, column), (width, row), (width, column), (192, row)),
            self.pooled(inputs, 192),
        )
        return block, self.total(192, 192, 192, 192)

    def expanded(self, inputs: int) -> tuple[nn.Module, int]:
        """1×3 and 3×1 side by side, figure 7."""
        wide = self.scale(384)

        def split() -> Branches:
            return Branches(unit(wide, wide, (1, 3)), unit(wide, wide, (3, 1)))

        block = Branches(
            self.chain(inputs, (320, 1)),
            nn.Sequential(self.chain(inputs, (384, 1)), split()),
            nn.Sequential(self.chain(inputs, (448, 1), (384, 3)), split()),
            self.pooled(inputs, 192),
        )
        return block, self.total(320, 384, 384, 384, 384, 192)

    def shrink_first(self, inputs: int) -> tuple[nn.Module, int]:
        """Half as many cells, after the first stage."""
        block = Branches(
            self.chain(inputs, (384, 3), stride=2),
            self.chain(inputs, (64, 1), (96, 3), (96, 3), stride=2),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        return block, self.total(384, 96) + inputs

    def shrink_second(self, inputs: int) -> tuple[nn.Module, int]:
        """Half as many cells, after the second stage."""
        block = Branches(
            self.chain(inputs, (192, 1), (320, 3), stride=2),
            self.chain(inputs, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3), stride=2),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        return block, self.total(320, 192) + inputs


@register_trunk("inception_v3")
def inception_v3(in_channels: int, *, width: float = 1.0, stem_stride: int = 1, stem_pools: int = 1) -> nn.Sequential:
    """Build Inception v3 with every convolution and pool padded, and ``stem_pools`` of the two pools of its stem.

    Its channels are those of torchvision's, without auxiliary head; ``width`` multiplies them.
    """
    if not 0 <= stem_pools <= 2:
        raise ValueError(f"stem_pools must lie from 0 to 2, got {stem_pools}")
    make = _Blocks(width)
    pools = [nn.MaxPool2d(3, stride=2, padding=1) if place < stem_pools else nn.Identity() for place in range(2)]
    one, two, three, four = make.scale(32), make.scale(64), make.scale(80), make.scale(192)
    parts: list[nn.Module] = [
        *(unit(in_channels, one, 3, stride=stem_stride), unit(one, one, 3), unit(one, two, 3), pools[0]),
        *(unit(two, three), unit(three, four, 3), pools[1]),
    ]
    builders: list[Callable[[int], tuple[nn.Module, int]]] = [
        *(partial(make.square, pooled=pooled) for pooled in (32, 64, 64)),
        make.shrink_first,
        *(partial(make.factorised, width=inner) for inner in (128, 160, 160, 192)),
        make.shrink_second,
        make.expanded,
        make.expanded,
    ]
    channels = four
    for build in builders:
        block, channels = build(channels)
        parts.append(block)
    return nn.Sequential(*parts)
