"""GoogLeNet (arXiv:1409.4842) and Inception v3 (arXiv:1512.00567), fitted to small images."""

from collections import OrderedDict

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


def _pooled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1), unit(inputs, outputs))


def _square(inputs: int, pooled: int) -> Branches:
    """5×5 as two 3×3, figure 5 of the paper."""
    return Branches(
        unit(inputs, 64),
        nn.Sequential(unit(inputs, 48), unit(48, 64, 5)),
        nn.Sequential(unit(inputs, 64), unit(64, 96, 3), unit(96, 96, 3)),
        _pooled(inputs, pooled),
    )


def _factorised(inputs: int, width: int) -> Branches:
    """7×7 as 1×7 and 7×1, figure 6."""
    row, column = (1, 7), (7, 1)
    return Branches(
        unit(inputs, 192),
        nn.Sequential(unit(inputs, width), unit(width, width, row), unit(width, 192, column)),
        nn.Sequential(
            unit(inputs, width),
            unit(width, width, column),
            unit(width, width, row),
            unit(width, width, column),
            unit(width, 192, row),
        ),
        _pooled(inputs, 192),
    )


def _expanded(inputs: int) -> Branches:
    """1×3 and 3×1 side by side, figure 7."""
    return Branches(
        unit(inputs, 320),
        nn.Sequential(unit(inputs, 384), Branches(unit(384, 384, (1, 3)), unit(384, 384, (3, 1)))),
        nn.Sequential(unit(inputs, 448), unit(448, 384, 3), Branches(unit(384, 384, (1, 3)), unit(384, 384, (3, 1)))),
        _pooled(inputs, 192),
    )


def _reduce_first(inputs: int) -> Branches:
    return Branches(
        unit(inputs, 384, 3, stride=2),
        nn.Sequential(unit(inputs, 64), unit(64, 96, 3), unit(96, 96, 3, stride=2)),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


def _reduce_second(inputs: int) -> Branches:
    return Branches(
        nn.Sequential(unit(inputs, 192), unit(192, 320, 3, stride=2)),
        nn.Sequential(unit(inputs, 192), unit(192, 192, (1, 7)), unit(192, 192, (7, 1)), unit(192, 192, 3, stride=2)),
        nn.MaxPool2d(3, stride=2, padding=1),
    )


@register_trunk("inception_v3")
def inception_v3(in_channels: int, *, stem_stride: int = 1, stem_pools: int = 1) -> nn.Sequential:
    """Build Inception v3 with every convolution and pool padded, and ``stem_pools`` of the two pools of its stem.

    Its channels are those of torchvision's, without auxiliary head.
    """
    if not 0 <= stem_pools <= 2:
        raise ValueError(f"stem_pools must lie from 0 to 2, got {stem_pools}")
    pools = [nn.MaxPool2d(3, stride=2, padding=1) if place < stem_pools else nn.Identity() for place in range(2)]
    return nn.Sequential(
        unit(in_channels, 32, 3, stride=stem_stride),
        unit(32, 32, 3),
        unit(32, 64, 3),
        pools[0],
        unit(64, 80),
        unit(80, 192, 3),
        pools[1],
        _square(192, 32),
        _square(256, 64),
        _square(288, 64),
        _reduce_first(288),
        _factorised(768, 128),
        _factorised(768, 160),
        _factorised(768, 160),
        _factorised(768, 192),
        _reduce_second(768),
        _expanded(1280),
        _expanded(2048),
    )
