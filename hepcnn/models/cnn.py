"""A compact convolutional network for jet images, in the line of jet-image taggers (arXiv:1511.05190, 1803.00107)."""

from collections.abc import Sequence

from torch import nn

from hepcnn.errors import ConfigError
from hepcnn.models.base import check_widths
from hepcnn.models.dense import register_trunk


def conv_block(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, dilation: int = 1, factorised: bool = False
) -> nn.Sequential:
    """Convolution, batch norm, ReLU; the size is kept up to the stride.

    Parameters
    ----------
    inputs, outputs
        Channels.
    kernel, stride, dilation
        Of the convolution.
    factorised
        A column of weights and then a row, instead of the square (arXiv:1512.00567).
    """
    return nn.Sequential(
        *convolve(inputs, outputs, kernel, stride, dilation=dilation, factorised=factorised),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def convolve(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, dilation: int = 1, factorised: bool = False
) -> list[nn.Module]:
    """The convolution of a block, which keeps the size up to the stride: one layer, or two if it is factorised."""
    if kernel < 1 or kernel % 2 == 0:
        raise ConfigError(f"kernel_size must be odd and positive, got {kernel}")
    if dilation < 1:
        raise ConfigError(f"dilation must be at least 1, got {dilation}")
    padding = dilation * (kernel // 2)
    if not factorised or kernel == 1:
        return [nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)]
    column = nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1), (padding, 0), (dilation, 1), bias=False)
    row = nn.Conv2d(outputs, outputs, (1, kernel), (1, stride), (0, padding), (1, dilation), bias=False)
    return [column, row]


@register_trunk("cnn", hidden=64, pool="flatten")
def cnn(
    in_channels: int,
    *,
    stem: int = 16,
    widths: Sequence[int] = (32, 64, 96),
    depth: int = 2,
    kernel_size: int = 3,
    dilation: int = 1,
    factorised: bool = False,
    down: str = "pool",
) -> nn.Sequential:
    """Build a compact CNN: a 5×5 stem, then stages of convolutions; ``widths`` are their channels.

    ``depth`` counts the convolutions of a stage, and ``down`` says what lies between stages: a 2×2 max-pool, or a
    "stride" of 2 in the convolution after it.
    """
    if down not in ("pool", "stride"):
        raise ConfigError(f"down must be 'pool' or 'stride', got '{down}'")
    stages: list[nn.Module] = [conv_block(in_channels, stem, 5)]
    width = stem
    for after in check_widths(widths):
        if down == "pool":
            stages.append(nn.MaxPool2d(2, ceil_mode=True))
        for layer in range(depth):
            stride = 2 if down == "stride" and layer == 0 else 1
            stages.append(conv_block(width, after, kernel_size, stride, dilation=dilation, factorised=factorised))
            width = after
    return nn.Sequential(*stages)
