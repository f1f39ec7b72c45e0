"""The geometry of a convolution or pooling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from hepcnn.errors import ConfigError


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution or pooling; everything is a tuple with one entry per axis.

    Attributes
    ----------
    kernel_size, stride, padding, dilation
        As in ``torch.nn.ConvNd``.
    periodic
        Axes that close into a circle, like phi: padding there repeats the other end.
    submanifold
        Whether output sites are the input sites (stride 1, "same" padding).
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    periodic: tuple[bool, ...]
    submanifold: bool = False

    def numbers(self) -> list[int]:
        """All of it as one list of integers, which an operation of torch can take."""
        axes = zip(self.kernel_size, self.stride, self.padding, self.dilation, self.periodic, strict=True)
        return [int(self.submanifold), *(int(number) for axis in axes for number in axis)]

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        """Undo `numbers`."""
        kernel, stride, padding, dilation, periodic = (tuple(numbers[1 + first :: 5]) for first in range(5))
        return cls(kernel, stride, padding, dilation, tuple(bool(wrap) for wrap in periodic), bool(numbers[0]))

    @property
    def volume(self) -> int:
        """K, the number of offsets."""
        return math.prod(self.kernel_size)

    @property
    def spans(self) -> tuple[int, ...]:
        """Cells from the first to the last that the window covers, per axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Cells per axis after the window slid over ``shape``.

        Raises
        ------
        ConfigError
            When the window does not fit, or when a periodic axis is shorter than its padding, is no multiple of the
            stride, or would not close: the windows have to go round once, so that ``size // stride`` of them fit,
            which they do for ``span - stride <= 2 * padding < span``.
        """
        spans = self.spans
        out = tuple(
            (size + 2 * p - span) // s + 1
            for size, p, span, s in zip(shape, self.padding, spans, self.stride, strict=True)
        )
        if min(out) < 1:
            raise ConfigError(f"a window of {spans} cells with padding {self.padding} does not fit the grid {shape}")
        for axis, size in enumerate(shape):
            if self.periodic[axis]:
                self._check_circle(axis, size, out[axis])
        return out

    def _check_circle(self, axis: int, size: int, out: int) -> None:
        stride, padding, span = self.stride[axis], self.padding[axis], self.spans[axis]
        if padding > size:
            raise ConfigError(f"padding {padding} is longer than a periodic axis of {size} cells (axis {axis})")
        if size % stride:
            raise ConfigError(f"a periodic axis of {size} cells is no multiple of the stride {stride} (axis {axis})")
        if out * stride != size:
            raise ConfigError(
                f"windows of {span} cells with stride {stride} and padding {padding} do not go round a periodic axis "
                f"of {size} cells once (axis {axis}): 2 x padding must lie from {span - stride} to {span - 1}"
            )
