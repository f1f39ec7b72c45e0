"""The classics of jet images, layer by layer as their papers have them.

In the papers' shorthand, 128C4 is a convolution with 128 feature maps and 4×4 kernels, MP2 a 2×2 max-pool, 64N a dense
layer. ``docs/models.md`` says what the papers leave open, and what was chosen.
"""

from collections.abc import Sequence

from torch import nn

from hepcnn.models.base import check_widths
from hepcnn.models.dense import register_trunk
from hepcnn.models.fit import SameConv2d
from hepcnn.models.resnet import DEPTHS, residual_trunk

KERNEL = 4


@register_trunk("deeptop_minimal", hidden=(64, 64, 64), dropout=0.0, pool="flatten", norm=None, complete=False)
def deeptop_minimal(in_channels: int, *, widths: Sequence[int] = (8, 8, 8, 8)) -> nn.Sequential:
    """Build the first DeepTop (arXiv:1701.08784): 8C4-8C4-MP2-8C4-8C4-64N-64N-64N, zero-padded."""
    first, second, third, fourth = _four(widths)
    return nn.Sequential(
        _layer(in_channels, first),
        _layer(first, second),
        nn.MaxPool2d(2),
        _layer(second, third),
        _layer(third, fourth),
    )


@register_trunk("deeptop", hidden=(64, 256, 256), dropout=0.0, pool="flatten", norm=None, complete=False)
def deeptop(in_channels: int, *, widths: Sequence[int] = (128, 64, 64, 64)) -> nn.Sequential:
    """Build the DeepTop of arXiv:1803.00107: 128C4-64C4-MP2-64C4-64C4-MP2-64N-256N-256N, zero-padded."""
    return _two_blocks(in_channels, widths, padded=True)


@register_trunk("landscape_cnn", hidden=(64, 256, 256), dropout=0.0, pool="flatten", norm=None, complete=False)
def landscape_cnn(in_channels: int, *, widths: Sequence[int] = (128, 64, 64, 64)) -> nn.Sequential:
    """Build the CNN of the top-tagging landscape (arXiv:1902.09914), which has 610k parameters on 40×40 pixels.

    It is `deeptop` with a first block that is not padded.
    """
    return _two_blocks(in_channels, widths, padded=False)


@register_trunk("landscape_resnext", hidden=(), dropout=0.0)
def landscape_resnext(
    in_channels: int,
    *,
    widths: Sequence[int] = (16, 32, 64, 128),
    stem_width: int = 64,
    stem_kernel: int = 7,
    stem_stride: int = 2,
    stem_pool: bool = False,
) -> nn.Sequential:
    """Build the ResNeXt-50 of the top-tagging landscape (arXiv:1902.09914), of 1.46M parameters.

    All channels but the stem's are a quarter of those of ResNeXt-50 (arXiv:1611.05431), whose first block has a 1×1
    shortcut, too. The paper's images have 64×64 pixels; without the max-pool of the stem a 40×40 image keeps a last map
    of 3×3.
    """
    stem = (stem_kernel, stem_stride, stem_pool)
    return residual_trunk(
        in_channels, *DEPTHS[50], widths, stem=stem, stem_width=stem_width, groups=32, group_width=4, project=True
    )


def _two_blocks(in_channels: int, widths: Sequence[int], *, padded: bool) -> nn.Sequential:
    first, second, third, fourth = _four(widths)
    return nn.Sequential(
        _layer(in_channels, first, padded=padded),
        _layer(first, second, padded=padded),
        nn.MaxPool2d(2),
        _layer(second, third),
        _layer(third, fourth),
        nn.MaxPool2d(2),
    )


def _four(widths: Sequence[int]) -> tuple[int, ...]:
    channels = check_widths(widths)
    if len(channels) != 4:
        raise ValueError(f"widths must be four numbers, one per convolution, got {widths!r}")
    return channels


def _layer(inputs: int, outputs: int, *, padded: bool = True) -> nn.Sequential:
    conv = SameConv2d(inputs, outputs, KERNEL) if padded else nn.Conv2d(inputs, outputs, KERNEL)
    return nn.Sequential(conv, nn.ReLU(inplace=True))
