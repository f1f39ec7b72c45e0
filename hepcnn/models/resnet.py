"""Residual networks (arXiv:1512.03385): one sized for a CPU; ResNet-18 to 152 and ResNeXt-50 for small images."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from hepcnn.errors import ConfigError, require
from hepcnn.models.base import check_widths
from hepcnn.models.cnn import conv_block, convolve
from hepcnn.models.dense import register_trunk

DEPTHS = {
    18: ("BasicBlock", (2, 2, 2, 2)),
    34: ("BasicBlock", (3, 4, 6, 3)),
    50: ("Bottleneck", (3, 4, 6, 3)),
    101: ("Bottleneck", (3, 4, 23, 3)),
    152: ("Bottleneck", (3, 8, 36, 3)),
}


class ResidualBlock(nn.Module):
    """Two convolutions around which the input is carried; a 1×1 shortcut where the shape changes.

    Parameters
    ----------
    inputs, outputs
        Channels.
    stride
        Of the first convolution, and of the shortcut.
    kernel_size, dilation, factorised
        Of both convolutions, see `hepcnn.models.cnn.conv_block`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        *,
        kernel_size: int = 3,
        dilation: int = 1,
        factorised: bool = False,
    ) -> None:
        super().__init__()
        self.first = conv_block(inputs, outputs, kernel_size, stride, dilation=dilation, factorised=factorised)
        second = convolve(outputs, outputs, kernel_size, dilation=dilation, factorised=factorised)
        self.second = nn.Sequential(*second, nn.BatchNorm2d(outputs))
        # Starting as the identity trains faster (zero-initialised gamma, arXiv:1706.02677).
        nn.init.zeros_(self.second[-1].weight)  # type: ignore[arg-type]
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, D, h, w) to (N, D', h / stride, w / stride)."""
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))


@register_trunk("resnet", hidden=64, pool="flatten")
def resnet(
    in_channels: int,
    *,
    widths: Sequence[int] = (32, 64, 96),
    depth: int = 1,
    kernel_size: int = 3,
    dilation: int = 1,
    factorised: bool = False,
) -> nn.Sequential:
    """Build a small ResNet; ``widths`` are the channels of its stages, ``depth`` their residual blocks."""
    channels = check_widths(widths)
    stages: list[nn.Module] = [conv_block(in_channels, channels[0], 5, stride=2)]
    width = channels[0]
    for index, after in enumerate(channels):
        for block in range(depth):
            stride = 2 if index and not block else 1
            stages.append(
                ResidualBlock(width, after, stride, kernel_size=kernel_size, dilation=dilation, factorised=factorised)
            )
            width = after
    return nn.Sequential(*stages)


@register_trunk("resnet18", fixed={"depth": 18})
@register_trunk("resnet34", fixed={"depth": 34})
@register_trunk("resnet50", fixed={"depth": 50})
@register_trunk("resnet101", fixed={"depth": 101})
@register_trunk("resnet152", fixed={"depth": 152})
def deep_resnet(
    in_channels: int,
    *,
    depth: int,
    widths: Sequence[int] = (64, 128, 256, 512),
    stem_kernel: int = 3,
    stem_stride: int = 1,
    stem_pool: bool = False,
    drop_path: float = 0.0,
) -> nn.Sequential:
    """Build a ResNet of timm with a 3×3 stem of stride 1 and no first max-pool, as is usual on small images.

    ``stem_kernel=7, stem_stride=2, stem_pool=True`` is the stem for large images; ``drop_path`` leaves blocks out at
    random in training (arXiv:1603.09382).
    """
    block, layers = DEPTHS[depth]
    return residual_trunk(
        in_channels, block, layers, widths, stem=(stem_kernel, stem_stride, stem_pool), drop_path=drop_path
    )


@register_trunk("resnext50")
def resnext50(
    in_channels: int,
    *,
    widths: Sequence[int] = (64, 128, 256, 512),
    groups: int = 32,
    group_width: int = 4,
    stem_kernel: int = 3,
    stem_stride: int = 1,
    stem_pool: bool = False,
    drop_path: float = 0.0,
) -> nn.Sequential:
    """Build ResNeXt-50 (arXiv:1611.05431) of timm: grouped 3×3 convolutions, with the stem of the small images."""
    return residual_trunk(
        in_channels,
        *DEPTHS[50],
        widths,
        stem=(stem_kernel, stem_stride, stem_pool),
        groups=groups,
        group_width=group_width,
        drop_path=drop_path,
    )


def residual_trunk(
    in_channels: int,
    block: str,
    layers: Sequence[int],
    widths: Sequence[int],
    *,
    stem: tuple[int, int, bool],
    stem_width: int | None = None,
    groups: int = 1,
    group_width: int = 64,
    drop_path: float = 0.0,
    project: bool = False,
) -> nn.Sequential:
    """Stem and the four stages of timm's ResNet.

    Parameters
    ----------
    in_channels
        C of the images.
    block
        "BasicBlock" or "Bottleneck".
    layers, widths
        Blocks and base channels of each stage.
    stem
        Kernel and stride of the first convolution, and whether a max-pool follows it.
    stem_width
        Channels of the stem; by default those of the first stage.
    groups, group_width
        Of the 3×3 convolutions of bottlenecks, at 64 base channels.
    drop_path
        Probability that a block is left out in training.
    project
        Whether the first block has a 1×1 shortcut even where its shape does not change.
    """
    channels = check_widths(widths)
    if len(channels) != len(layers):
        raise ConfigError(f"widths must be {len(layers)} numbers, one per stage, got {widths!r}")
    timm = require("timm.models.resnet", extra="train")
    network = timm.ResNet(
        getattr(timm, block),
        layers,
        in_chans=in_channels,
        num_classes=0,
        channels=channels,
        cardinality=groups,
        base_width=group_width,
        stem_width=stem_width or channels[0],
        drop_path_rate=drop_path,
    )
    opening = network.layer1[0]
    if project and opening.downsample is None:
        width = network.conv1.out_channels
        opening.downsample = nn.Sequential(nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width))
    kernel, stride, pool = stem
    first = conv_block(in_channels, network.conv1.out_channels, kernel, stride)
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=first)
    if pool:
        parts["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    parts.update((name, getattr(network, name)) for name in ("layer1", "layer2", "layer3", "layer4"))
    return nn.Sequential(parts)
