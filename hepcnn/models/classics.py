"""The history of CNNs: LeNet-5, AlexNet, VGG, SqueezeNet and MobileNet v2, fitted to small images.

Strides and pools that their large images needed are left out, so that a 40×40 image keeps a last map of 5×5 or so.
"""

from collections.abc import Sequence

from torch import nn

from hepcnn.errors import require
from hepcnn.models.base import check_widths
from hepcnn.models.dense import register_trunk
from hepcnn.models.fit import fit_first

VGG_LAYERS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@register_trunk("lenet5", hidden=(120, 84), dropout=0.0, pool="flatten", norm=None)
def lenet5(in_channels: int, *, widths: Sequence[int] = (6, 16)) -> nn.Sequential:
    """Build LeNet-5 (doi:10.1109/5.726791): two 5×5 convolutions without padding, each with a 2×2 pool.

    Its units are ReLU and its second convolution sees all maps of the first, unlike those of 1998.
    """
    first, second = check_widths(widths)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(in_channels, first, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(first, second, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
    )


@register_trunk("alexnet", hidden=(1024, 1024), dropout=0.5, pool="flatten", norm=None)
def alexnet(
    in_channels: int, *, widths: Sequence[int] = (64, 192, 384, 256, 256), stem_kernel: int = 5, stem_stride: int = 1
) -> nn.Sequential:
    """Build AlexNet in its one-tower form (arXiv:1404.5997), with a smaller stem and 1024 units for 4096."""
    one, two, three, four, five = check_widths(widths)
    return nn.Sequential(
        _relu(nn.Conv2d(in_channels, one, stem_kernel, stem_stride, stem_kernel // 2)),
        nn.MaxPool2d(3, stride=2),
        _relu(nn.Conv2d(one, two, 5, padding=2)),
        nn.MaxPool2d(3, stride=2),
        _relu(nn.Conv2d(two, three, 3, padding=1)),
        _relu(nn.Conv2d(three, four, 3, padding=1)),
        _relu(nn.Conv2d(four, five, 3, padding=1)),
        nn.MaxPool2d(3, stride=2),
    )


@register_trunk("vgg11", pool="flatten", fixed={"depth": 11})
@register_trunk("vgg13", pool="flatten", fixed={"depth": 13})
@register_trunk("vgg16", pool="flatten", fixed={"depth": 16})
@register_trunk("vgg19", pool="flatten", fixed={"depth": 19})
def vgg(
    in_channels: int, *, depth: int, widths: Sequence[int] = (64, 128, 256, 512, 512), pools: int = 3
) -> nn.Sequential:
    """Build VGG (arXiv:1409.1556) of torchvision, with batch normalisation; ``pools`` of its five max-pools remain."""
    make_layers = require("torchvision.models.vgg", extra="train").make_layers
    channels, counts = check_widths(widths), VGG_LAYERS[depth]
    if len(channels) != len(counts) or not 0 <= pools <= len(counts):
        raise ValueError(f"{len(counts)} widths and at most as many pools are needed, got {widths!r} and pools={pools}")
    plan: list[int | str] = []
    for stage, (width, count) in enumerate(zip(channels, counts, strict=True)):
        plan += [width] * count + (["M"] if stage < pools else [])
    layers: nn.Sequential = fit_first(make_layers(plan, batch_norm=True), in_channels)
    return layers


@register_trunk("squeezenet", norm=None)
def squeezenet(in_channels: int, *, stem_stride: int = 1) -> nn.Sequential:
    """Build SqueezeNet 1.1 (arXiv:1602.07360) of torchvision, with a padded stem of stride 1."""
    network = require("torchvision.models.squeezenet", extra="train").SqueezeNet("1_1")
    layers: nn.Sequential = fit_first(network.features, in_channels, kernel_size=3, stride=stem_stride)
    return layers


@register_trunk("mobilenet_v2")
def mobilenet_v2(in_channels: int, *, width: float = 1.0, stem_stride: int = 1, strides: int = 3) -> nn.Sequential:
    """Build MobileNet v2 (arXiv:1801.04381) of torchvision; ``width`` multiplies its channels.

    Beside the stem, ``strides`` of its four strided blocks keep their stride.
    """
    mobilenet = require("torchvision.models.mobilenetv2", extra="train")
    # Expansion, channels, blocks and stride of each stage, table 2 of the paper.
    table = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]
    kept = 0
    for stage in table:
        kept += stage[3] - 1
        stage[3] = 1 if kept > strides else stage[3]
    network = mobilenet.MobileNetV2(num_classes=1, width_mult=width, inverted_residual_setting=table)
    layers: nn.Sequential = fit_first(network.features, in_channels, stride=stem_stride)
    return layers


def _relu(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.ReLU(inplace=True))
