"""EfficientNet (arXiv:1905.11946) and ConvNeXt (arXiv:2201.03545) of timm, fitted to small images."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from hepcnn.errors import require
from hepcnn.models.base import check_widths
from hepcnn.models.dense import register_trunk
from hepcnn.models.fit import fit_first


@register_trunk("efficientnet_b0", norm=None)
def efficientnet_b0(in_channels: int, *, stem_stride: int = 1, drop_path: float = 0.0) -> nn.Sequential:
    """Build EfficientNet-B0 with a stem of stride 1; its squeeze-and-excitation lets every cell see the whole image."""
    timm = require("timm", extra="train")
    network = timm.create_model("efficientnet_b0", num_classes=0, drop_path_rate=drop_path)
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=nn.Sequential(network.conv_stem, network.bn1))
    parts.update((f"blocks{number}", block) for number, block in enumerate(network.blocks))
    parts["last"] = nn.Sequential(network.conv_head, network.bn2)
    return fit_first(nn.Sequential(parts), in_channels, stride=stem_stride)


@register_trunk("convnext_atto", norm=None, fixed={"size": "atto"})
@register_trunk("convnext_nano", norm=None, fixed={"size": "nano"})
@register_trunk("convnext_tiny", norm=None, fixed={"size": "tiny"})
def convnext(
    in_channels: int, *, size: str, widths: Sequence[int] | None = None, patch: int = 2, drop_path: float = 0.0
) -> nn.Sequential:
    """Build ConvNeXt on patches of 2×2 pixels, in place of 4×4; ``widths`` are the channels of its stages."""
    timm = require("timm", extra="train")
    network = timm.create_model(
        f"convnext_{size}",
        num_classes=0,
        in_chans=in_channels,
        patch_size=patch,
        drop_path_rate=drop_path,
        **({} if widths is None else {"dims": check_widths(widths)}),
    )
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=network.stem)
    parts.update((f"stage{number}", stage) for number, stage in enumerate(network.stages))
    return nn.Sequential(parts)
