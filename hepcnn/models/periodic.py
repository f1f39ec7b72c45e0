"""Networks on grids whose axes close into a circle, like phi: what lies past one end is the other end.

A layer that steps by s along a periodic axis is equivariant under rolls by multiples of s if s divides the axis. Along
such an axis every window layer has one output per step, ceil(size / s), whatever its padding was: a convolution
without padding takes what it lacks from the other end, too.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepcnn.errors import ConfigError
from hepcnn.sparse.conv import SparseConvNd

Layers = TypeVar("Layers", bound=nn.Module)
WindowLayer = nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d | nn.Conv3d | nn.MaxPool3d
SAME = "same"
CONV = {2: functional.conv2d, 3: functional.conv3d}
MAX_POOL = {2: functional.max_pool2d, 3: functional.max_pool3d}


class _Wrapping(nn.Module):
    """What the layers below share: where their windows start, and the cells that they take from the other end."""

    def _set_windows(self, layer: WindowLayer, periodic: tuple[bool, ...]) -> None:
        self.periodic = periodic
        sizes = self._spread(layer.kernel_size)
        gaps = self._spread(getattr(layer, "dilation", 1))
        self.spans = tuple(d * (k - 1) + 1 for k, d in zip(sizes, gaps, strict=True))
        self.steps = self._spread(layer.stride)
        # timm's layers of this name pad as TensorFlow does: as much at both ends, the odd cell at the end.
        same = layer.padding == SAME or type(layer).__name__ in SAME_LAYERS
        self.ahead: tuple[int, ...] | None = None if same else self._spread(layer.padding)  # type: ignore[arg-type]
        for wrap, span, ahead in zip(periodic, self.spans, self.ahead or (0,) * len(periodic), strict=True):
            if wrap and ahead >= span:
                raise ConfigError(f"{layer} has more padding than its window is wide: no periodic axis can close so")

    def _spread(self, value: int | Sequence[int]) -> tuple[int, ...]:
        """One number per axis."""
        return (value,) * len(self.periodic) if isinstance(value, int) else tuple(value)

    def _wrap(self, values: Tensor) -> Tensor:
        """Continue (N, C, and the axes) values past both ends of each axis that is periodic."""
        for axis, wrap in enumerate(self.periodic):
            if wrap:
                size, step, span = values.shape[axis + 2], self.steps[axis], self.spans[axis]
                total = max(((size + step - 1) // step - 1) * step + span - size, 0)
                before = total // 2 if self.ahead is None else self.ahead[axis]
                values = wrap_axis(values, axis + 2, before, max(total - before, 0))
        return values

    def _open(self, values: Tensor) -> list[int]:
        """Cells of padding before and after each axis, the last one first, as ``pad`` takes them; 0 where it closes."""
        cells: list[int] = []
        for axis, wrap in reversed(list(enumerate(self.periodic))):
            if wrap:
                cells += [0, 0]
            elif self.ahead is not None:
                cells += [self.ahead[axis], self.ahead[axis]]
            else:
                size, step, span = values.shape[axis + 2], self.steps[axis], self.spans[axis]
                total = max(((size + step - 1) // step - 1) * step + span - size, 0)
                cells += [total // 2, total - total // 2]
        return cells

    def _own_padding(self) -> tuple[int, ...]:
        """The padding of a pool along axes that do not close."""
        return tuple(
            0 if wrap else ahead
            for wrap, ahead in zip(self.periodic, self.ahead or (0,) * len(self.periodic), strict=True)
        )


class _PeriodicConv(_Wrapping):
    """Torch's convolution with circular padding along periodic axes, and its own padding along the others.

    Made by `close_axes`; its weights exchange with those of the convolution it takes the place of.
    """

    def __init__(self, conv: nn.Conv2d | nn.Conv3d, periodic: tuple[bool, ...]) -> None:
        # On the meta device no weights are drawn: those of the other are taken over.
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
            bias=conv.bias is not None,
            padding_mode=conv.padding_mode,
            device="meta",
        )
        self.weight, self.bias = conv.weight, conv.bias
        self._set_windows(conv, periodic)

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, and the axes of the grid)."""
        layer: Any = self
        cells = self._open(input)
        if max(cells):
            mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
            input = functional.pad(input, cells, mode=mode)
        convolve: Callable[..., Tensor] = CONV[len(self.periodic)]
        return convolve(self._wrap(input), layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        inherited: str = super().extra_repr()
        return f"{inherited}, periodic={self.periodic}"


class PeriodicConv2d(_PeriodicConv, nn.Conv2d):
    """A convolution over two axes, see `close_axes`."""


class PeriodicConv3d(_PeriodicConv, nn.Conv3d):
    """A convolution over three axes, see `close_axes`."""


class _PeriodicMaxPool(_Wrapping):
    """Max-pooling whose windows go on at the other end of a periodic axis."""

    def __init__(self, pool: nn.MaxPool2d | nn.MaxPool3d, periodic: tuple[bool, ...]) -> None:
        super().__init__(pool.kernel_size, pool.stride, pool.padding, pool.dilation, ceil_mode=pool.ceil_mode)
        self._set_windows(pool, periodic)

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, and the axes of the grid)."""
        if self.ahead is None:
            input = functional.pad(input, self._open(input), value=float("-inf"))
        max_pool: Callable[..., Tensor] = MAX_POOL[len(self.periodic)]
        return max_pool(
            self._wrap(input), self.kernel_size, self.stride, self._own_padding(), self.dilation, self.ceil_mode
        )


class PeriodicMaxPool2d(_PeriodicMaxPool, nn.MaxPool2d):
    """A maximum over two axes, see `close_axes`."""


class PeriodicMaxPool3d(_PeriodicMaxPool, nn.MaxPool3d):
    """A maximum over three axes, see `close_axes`."""


class PeriodicAvgPool2d(_Wrapping, nn.AvgPool2d):
    """Average-pooling whose windows go on at the other end of a periodic axis."""

    def __init__(self, pool: nn.AvgPool2d, periodic: tuple[bool, ...]) -> None:
        counted = pool.count_include_pad
        super().__init__(pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode, counted, pool.divisor_override)
        self._set_windows(pool, periodic)

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, h, w)."""
        return functional.avg_pool2d(
            self._wrap(input),
            self.kernel_size,
            self.stride,
            self._own_padding(),
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
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


CLOSED: dict[str, Callable[..., nn.Module]] = {
    **dict.fromkeys(("Conv2d", "Conv2dSame", "CompleteConv2d", "SameConv2d"), PeriodicConv2d),
    **dict.fromkeys(("MaxPool2d", "MaxPool2dSame"), PeriodicMaxPool2d),
    "AvgPool2d": PeriodicAvgPool2d,
    "Conv3d": PeriodicConv3d,
    "MaxPool3d": PeriodicMaxPool3d,
}


def _close(layer: nn.Module, periodic: tuple[bool, ...]) -> nn.Module | None:
    kernel_size = getattr(layer, "kernel_size", 1)
    largest = kernel_size if isinstance(kernel_size, int) else max(kernel_size)
    if isinstance(layer, _Wrapping | SparseConvNd) or largest == 1:
        return None
    kind = type(layer).__name__
    if kind not in CLOSED:
        raise ConfigError(f"a layer of the kind {kind} cannot go on at the other end of a periodic axis: {layer}")
    return CLOSED[kind](layer, periodic)


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
