"""Networks on grids whose axes close into a circle, like phi: what lies past one end is the other end.

A layer that steps by s along a periodic axis is equivariant under rolls by multiples of s if s divides the axis. Along
such an axis every window layer has one output per step, ceil(size / s), whatever its padding was: a convolution
without padding takes what it lacks from the other end, too.
"""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepcnn.errors import ConfigError
from hepcnn.sparse.conv import SparseConvNd

Layers = TypeVar("Layers", bound=nn.Module)
WindowLayer = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d
SAME = "same"


class _Wrapping(nn.Module):
    """What the layers below share: where their windows start, and the cells that they take from the other end."""

    def _set_windows(self, layer: WindowLayer, periodic: tuple[bool, ...]) -> None:
        self.periodic = periodic
        self.spans = tuple(
            d * (k - 1) + 1 for k, d in zip(_two(layer.kernel_size), _two(getattr(layer, "dilation", 1)), strict=True)
        )
        self.steps = _two(layer.stride)
        # timm's layers of this name pad as TensorFlow does: as much at both ends, the odd cell at the end.
        same = layer.padding == SAME or type(layer).__name__ in SAME_LAYERS
        self.ahead: tuple[int, int] | None = None if same else _two(layer.padding)  # type: ignore[arg-type]
        for wrap, span, ahead in zip(periodic, self.spans, self.ahead or (0, 0), strict=True):
            if wrap and ahead >= span:
                raise ConfigError(f"{layer} has more padding than its window is wide: no periodic axis can close so")

    def _wrap(self, values: Tensor, axis: int) -> Tensor:
        """Continue (N, C, h, w) values past both ends of one of the last two axes, if it is periodic."""
        if not self.periodic[axis]:
            return values
        size, step, span = values.shape[axis + 2], self.steps[axis], self.spans[axis]
        total = max(((size + step - 1) // step - 1) * step + span - size, 0)
        before = total // 2 if self.ahead is None else self.ahead[axis]
        return wrap_axis(values, axis + 2, before, max(total - before, 0))

    def _open(self, values: Tensor, axis: int) -> tuple[int, int]:
        """Cells of padding before and after an axis that is not periodic."""
        if self.periodic[axis]:
            return 0, 0
        if self.ahead is not None:
            return self.ahead[axis], self.ahead[axis]
        size, step, span = values.shape[axis + 2], self.steps[axis], self.spans[axis]
        total = max(((size + step - 1) // step - 1) * step + span - size, 0)
        return total // 2, total - total // 2


class PeriodicConv2d(_Wrapping, nn.Conv2d):
    """Torch's convolution with circular padding along periodic axes, and its own padding along the others.

    Made by `close_axes`; its weights exchange with those of the convolution it takes the place of.
    """

    def __init__(self, conv: nn.Conv2d, periodic: tuple[bool, ...]) -> None:
        # On the meta device no weights are drawn: those of the other are taken over.
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            bias=conv.bias is not None,
            padding_mode=conv.padding_mode,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self._set_windows(conv, periodic)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, h, w)."""
        (top, bottom), (left, right) = self._open(input, 0), self._open(input, 1)
        if max(top, bottom, left, right):
            mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
            input = functional.pad(input, (left, right, top, bottom), mode=mode)
        input = self._wrap(self._wrap(input, 0), 1)
        return functional.conv2d(input, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        inherited: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return f"{inherited}, periodic={self.periodic}"


class PeriodicMaxPool2d(_Wrapping, nn.MaxPool2d):
    """Max-pooling whose windows go on at the other end of a periodic axis."""

    def __init__(self, pool: nn.MaxPool2d, periodic: tuple[bool, ...]) -> None:
        super().__init__(pool.kernel_size, pool.stride, pool.padding, pool.dilation, ceil_mode=pool.ceil_mode)
        self._set_windows(pool, periodic)

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, h, w)."""
        if self.ahead is None:
            (top, bottom), (left, right) = self._open(input, 0), self._open(input, 1)
            input = functional.pad(input, (left, right, top, bottom), value=float("-inf"))
        padding = tuple(0 if wrap else p for wrap, p in zip(self.periodic, self.ahead or (0, 0), strict=True))
        input = self._wrap(self._wrap(input, 0), 1)
        return functional.max_pool2d(input, self.kernel_size, self.stride, padding, self.dilation, self.ceil_mode)


class PeriodicAvgPool2d(_Wrapping, nn.AvgPool2d):
    """Average-pooling whose windows go on at the other end of a periodic axis."""

    def __init__(self, pool: nn.AvgPool2d, periodic: tuple[bool, ...]) -> None:
        counted = pool.count_include_pad
        super().__init__(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, counted, pool.divisor_override)
        self._set_windows(pool, periodic)

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, h, w)."""
        padding = tuple(0 if wrap else p for wrap, p in zip(self.periodic, self.ahead or (0, 0), strict=True))
        input = self._wrap(self._wrap(input, 0), 1)
        return functional.avg_pool2d(
            input, self.kernel_size, self.stride, padding, self.ceil_mode, self.count_include_pad, self.divisor_override
        )


# timm's layers whose padding depends on the size; their average would count the padding at open ends anew.
SAME_LAYERS = ("Conv2dSame", "MaxPool2dSame")


def close_axes(layers: Layers, periodic: tuple[bool, ...]) -> Layers:
    """Let every convolution and pool of a dense network wrap along periodic axes, in place.

    Parameters
    ----------
    layers
        The network, of the convolutions and pools of torch, and of timm's with "same" padding.
    periodic
        One flag per axis of the grid. Without a periodic axis nothing changes.

    Returns
    -------
    The same network: the same parameters under the same names.

    Raises
    ------
    ConfigError
        When it has another kind of convolution or pool. What is no layer at all, a function that the network calls,
        is found by `hepcnn.models.closing.check_closed`.
    """
    if not any(periodic):
        return layers
    for module in layers.modules():
        for name, child in module.named_children():
            closed = _close(child, periodic)
            if closed is not None:
                setattr(module, name, closed)
    return layers


def _close(layer: nn.Module, periodic: tuple[bool, ...]) -> nn.Module | None:
    kind = type(layer)
    kernel_size = getattr(layer, "kernel_size", 1)
    if isinstance(layer, _Wrapping | SparseConvNd) or max(_two(kernel_size)) == 1:
        return None
    if kind is nn.Conv2d or kind.__name__ in ("Conv2dSame", "CompleteConv2d", "SameConv2d"):
        return PeriodicConv2d(layer, periodic)  # type: ignore[arg-type]
    if kind is nn.MaxPool2d or kind.__name__ == "MaxPool2dSame":
        return PeriodicMaxPool2d(layer, periodic)  # type: ignore[arg-type]
    if kind is nn.AvgPool2d:
        return PeriodicAvgPool2d(layer, periodic)  # type: ignore[arg-type]
    raise ConfigError(f"a layer of the kind {kind.__name__} cannot go on at the other end of a periodic axis: {layer}")


def wrap_axis(values: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Continue values past both ends of an axis by what stands at the other end."""
    size = values.shape[axis]
    if max(before, after) > size:
        # More than once round the circle: the windows of a small map.
        around = torch.arange(-before, size + after, device=values.device) % size
        return values.index_select(axis, around)
    parts = [values.narrow(axis, size - before, before)] if before else []
    parts.append(values)
    parts += [values.narrow(axis, 0, after)] if after else []
    return torch.cat(parts, dim=axis) if len(parts) > 1 else values


def _two(value: int | tuple[int, ...] | list[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
