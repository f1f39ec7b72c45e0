"""Networks for grids of three axes: a CNN and a ResNet for showers in calorimeters.

The default windows see 45 layers of 16 × 9 voxels whole: the stem is longer in depth than across, and axes are halved
as long as they have cells (`hepcnn.models.volume_layers.plan_strides`).
"""

from collections.abc import Sequence

from torch import nn

from hepcnn.errors import ConfigError
from hepcnn.models.base import check_widths
from hepcnn.models.dense import register_trunk
from hepcnn.models.shape import ImageShape
from hepcnn.models.volume_layers import ResidualBlock3d, conv_block, fit_kernel, plan_strides
from hepcnn.sparse.conv import Size


@register_trunk("cnn3d", hidden=64, pool="flatten", axes=3)
def cnn3d(
    in_channels: int,
    *,
    shape: ImageShape,
    stem: int = 16,
    stem_kernel: Size = (5, 3, 3),
    widths: Sequence[int] = (32, 48, 64),
    depth: int = 2,
    kernel_size: Size = 3,
    factorised: bool = False,
    down: str = "pool",
    strides: Sequence[Size] | None = None,
) -> nn.Sequential:
    """Build a compact CNN over three axes: a stem, then stages of convolutions; ``widths`` are their channels.

    ``depth`` counts the convolutions of a stage, and ``down`` says what lies before each: a max-pool ("pool") or a step
    of its first convolution ("stride"), of ``strides``. Windows are a number or one per axis.
    """
    if down not in ("pool", "stride"):
        raise ConfigError(f"down must be 'pool' or 'stride', got '{down}'")
    channels, kernel = check_widths(widths), fit_kernel(kernel_size, shape.grid)
    first = fit_kernel(stem_kernel, shape.grid, "stem_kernel")
    stages: list[nn.Module] = [conv_block(in_channels, stem, first, factorised=factorised)]
    width = stem
    for after, step in zip(channels, plan_strides(shape, len(channels), strides), strict=True):
        if down == "pool" and max(step) > 1:
            stages.append(nn.MaxPool3d(step, ceil_mode=True))
        for layer in range(depth):
            stride = step if down == "stride" and layer == 0 else (1, 1, 1)
            stages.append(conv_block(width, after, kernel, stride, factorised=factorised))
            width = after
    return nn.Sequential(*stages)


@register_trunk("resnet3d", hidden=64, pool="flatten", axes=3)
def resnet3d(
    in_channels: int,
    *,
    shape: ImageShape,
    stem_kernel: Size = (5, 3, 3),
    widths: Sequence[int] = (32, 64, 96),
    depth: int = 1,
    kernel_size: Size = 3,
    factorised: bool = False,
    strides: Sequence[Size] | None = None,
) -> nn.Sequential:
    """Build a small ResNet over three axes; ``widths`` are the channels of its stages, ``depth`` their blocks.

    The stem takes the first of the ``strides``, and the first block of each stage after the first one the next. Windows
    are a number or one per axis.
    """
    channels, kernel = check_widths(widths), fit_kernel(kernel_size, shape.grid)
    first = fit_kernel(stem_kernel, shape.grid, "stem_kernel")
    steps = plan_strides(shape, len(channels), strides)
    stages: list[nn.Module] = [conv_block(in_channels, channels[0], first, steps[0], factorised=factorised)]
    width = channels[0]
    for index, after in enumerate(channels):
        for block in range(depth):
            stride = steps[index] if index and not block else (1, 1, 1)
            stages.append(ResidualBlock3d(width, after, kernel, stride, factorised=factorised))
            width = after
    return nn.Sequential(*stages)
