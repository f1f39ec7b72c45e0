"""What the dense families share: padding, normalisation, and windows that leave no row of an odd grid out."""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepcnn.errors import ConfigError, did_you_mean

PADDINGS = ("zeros", "reflect", "replicate")
NORMS = ("batch", "layer", "group", "none")
MOST_GROUPS = 8
Layers = TypeVar("Layers", bound=nn.Module)


class CompleteConv2d(nn.Conv2d):
    """A convolution without padding whose last, incomplete window is completed with zeros."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, h, w)."""
        lacking = []
        for size, kernel, stride in zip(input.shape[2:], self.kernel_size, self.stride, strict=True):
            lacking.append(max((size - kernel + stride - 1) // stride * stride + kernel - size, 0))
        if any(lacking):
            input = functional.pad(input, (0, lacking[1], 0, lacking[0]))
        return super().forward(input)


class SameConv2d(nn.Conv2d):
    """A convolution of stride 1 that keeps the size: padded at both ends, by one more at the end for an even kernel.

    That is torch's ``padding="same"``, which warns of even kernels.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int) -> None:
        super().__init__(inputs, outputs, kernel_size, padding="same")

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, h, w)."""
        before = [(kernel - 1) // 2 for kernel in self.kernel_size]
        after = [kernel // 2 for kernel in self.kernel_size]
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        padded = functional.pad(input, (before[1], after[1], before[0], after[0]), mode=mode)
        return functional.conv2d(padded, self.weight, self.bias)


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel (arXiv:1607.06450); pixels stay apart."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, and the axes of the grid)."""
        last = input.permute(0, *range(2, input.ndim), 1)
        normalised = functional.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps)
        return normalised.permute(0, input.ndim - 1, *range(1, input.ndim - 1))


def fit_first(layers: Layers, in_channels: int, *, stride: int | None = None, kernel_size: int | None = None) -> Layers:
    """Let the first convolution of a network take ``in_channels``, with a smaller window or stride if given.

    Its weights are drawn anew. A kernel that is given is padded by half its size.
    """
    for module in layers.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d):
                kernel = child.kernel_size if kernel_size is None else (kernel_size, kernel_size)
                padding = child.padding if kernel_size is None else kernel_size // 2
                conv = nn.Conv2d(
                    in_channels,
                    child.out_channels,
                    kernel,  # type: ignore[arg-type]
                    child.stride if stride is None else stride,  # type: ignore[arg-type]
                    padding,  # type: ignore[arg-type]
                    bias=child.bias is not None,
                )
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                setattr(module, name, conv)
                return layers
    raise ConfigError("this network has no convolution")


def complete_windows(layers: Layers) -> Layers:
    """Let pools and patches count what an odd grid leaves over at its end, in place."""
    for module in layers.modules():
        for name, child in module.named_children():
            if type(child) is nn.MaxPool2d and _pair(child.padding) == (0, 0):
                child.ceil_mode = True
            elif type(child) is nn.Conv2d and max(child.stride) > 1 and child.kernel_size == child.stride:
                complete = CompleteConv2d(
                    child.in_channels,
                    child.out_channels,
                    child.kernel_size,  # type: ignore[arg-type]
                    child.stride,  # type: ignore[arg-type]
                    0,
                    child.dilation,  # type: ignore[arg-type]
                    child.groups,
                    bias=child.bias is not None,
                    device="meta",
                )
                complete.weight, complete.bias = child.weight, child.bias
                setattr(module, name, complete)
    return layers


def set_padding(layers: Layers, padding: str) -> Layers:
    """Fill the border of every padded convolution with zeros, the mirrored image, or its last pixel, in place.

    Raises
    ------
    ConfigError
        For another word.
    """
    if padding not in PADDINGS:
        raise ConfigError(
            f"padding '{padding}' is unknown{did_you_mean(padding, PADDINGS)}; an axis that closes into a circle goes "
            "round by itself"
        )
    for module in layers.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d) and module.padding not in ((0, 0), (0, 0, 0), "valid"):
            module.padding_mode = padding  # type: ignore[assignment]
    return layers


def set_norm(layers: Layers, norm: str) -> Layers:
    """Put another normalisation in the place of every batch normalisation, in place.

    Parameters
    ----------
    layers
        The network.
    norm
        "batch"; "layer", over the channels of each pixel; "group" (arXiv:1803.08494), over at most `MOST_GROUPS` groups
        of channels and the whole image; "none", which leaves a bias per channel.

    Raises
    ------
    ConfigError
        For another word, or a network whose normalisation is fused with something else.
    """
    if norm not in NORMS:
        raise ConfigError(f"norm '{norm}' is unknown{did_you_mean(norm, NORMS)}")
    if norm == "batch":
        return layers
    for module in layers.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d or type(child) is nn.BatchNorm3d:
                setattr(module, name, _replace(child, norm))
            elif isinstance(child, nn.BatchNorm2d):
                raise ConfigError(f"norm '{norm}': this network's layers are of the kind {type(child).__name__}")
    return layers


class ChannelBias(nn.Module):
    """What stands for no normalisation: a bias per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Add the bias to (N, C, and the axes of the grid)."""
        return x + self.bias.view(1, -1, *(1,) * (x.ndim - 2))


def _replace(batch: nn.BatchNorm2d | nn.BatchNorm3d, norm: str) -> nn.Module:
    channels = batch.num_features
    if norm == "none":
        return ChannelBias(channels)
    if norm == "layer":
        other: nn.LayerNorm | nn.GroupNorm = ChannelNorm(channels, eps=1e-6)
    else:
        groups = max(n for n in range(1, MOST_GROUPS + 1) if channels % n == 0)
        other = nn.GroupNorm(groups, channels)
    with torch.no_grad():
        # A gamma of zero lets a residual block start as the identity.
        other.weight.copy_(batch.weight)
    return other


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
