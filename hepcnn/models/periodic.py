"""Networks on grids whose axes close into a circle, like phi: what lies past one end is the other end.

A layer that steps by s along a periodic axis is equivariant under rolls by multiples of s if s divides the axis.
"""

from typing import TypeVar

import torch
from torch import Tensor, nn

from hepcnn.sparse.backends.dense import convolve_dense
from hepcnn.sparse.window import Window

Layers = TypeVar("Layers", bound=nn.Module)


class PeriodicConv2d(nn.Conv2d):
    """Torch's convolution with circular padding along periodic axes, and zeros along the others.

    Made by `close_axes`; its weights exchange with those of the convolution it takes the place of.
    """

    def __init__(self, conv: nn.Conv2d, periodic: tuple[bool, ...]) -> None:
        kernel, stride, padding, dilation = map(_pair, (conv.kernel_size, conv.stride, conv.padding, conv.dilation))
        # On the meta device no weights are drawn: those of the other are taken over.
        channels, has_bias = (conv.in_channels, conv.out_channels), conv.bias is not None
        super().__init__(*channels, kernel, stride, padding, dilation, bias=has_bias, device="meta")
        self.weight, self.bias = conv.weight, conv.bias
        self.window = Window(kernel, stride, padding, dilation, periodic)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, h, w)."""
        return convolve_dense(input, self.weight, self.bias, self.window)

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        inherited: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{inherited}, periodic={self.window.periodic}"


class PeriodicMaxPool2d(nn.MaxPool2d):
    """Max-pooling without padding whose last, incomplete window goes on at the other end of a periodic axis."""

    def __init__(self, pool: nn.MaxPool2d, periodic: tuple[bool, ...]) -> None:
        super().__init__(pool.kernel_size, pool.stride, pool.padding, pool.dilation, ceil_mode=pool.ceil_mode)
        self.periodic = periodic

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, h, w)."""
        for axis, (wrap, kernel, stride) in enumerate(
            zip(self.periodic, _pair(self.kernel_size), _pair(self.stride), strict=True), start=2
        ):
            missing = (kernel - input.shape[axis]) % stride
            if wrap and missing:
                input = torch.cat([input, input.narrow(axis, 0, missing)], dim=axis)
        pooled: Tensor = super().forward(input)
        return pooled


def close_axes(layers: Layers, periodic: tuple[bool, ...]) -> Layers:
    """Let every convolution and max-pool of a dense network wrap along periodic axes, in place.

    Parameters
    ----------
    layers
        The network. Its convolutions have stride or zero padding as `torch.nn.Conv2d` has; max-pools have no padding.
    periodic
        One flag per axis of the grid. Without a periodic axis nothing changes.

    Returns
    -------
    The same network: the same parameters under the same names.
    """
    if not any(periodic):
        return layers
    for module in layers.modules():
        for name, child in module.named_children():
            if type(child) is nn.Conv2d and max(child.kernel_size) > 1:
                setattr(module, name, PeriodicConv2d(child, periodic))
            elif type(child) is nn.MaxPool2d:
                setattr(module, name, PeriodicMaxPool2d(child, periodic))
    return layers


def _pair(value: int | str | tuple[int, ...]) -> tuple[int, int]:
    if isinstance(value, str):
        raise TypeError(f"padding {value!r} has no meaning on a periodic axis: give numbers")
    return (value, value) if isinstance(value, int) else (value[0], value[1])
