"""Residual blocks of sparse layers, over two or three axes, and levels of falling resolution made of them."""

from collections.abc import Sequence

from torch import nn

from hepcnn.errors import ConfigError
from hepcnn.models.base import check_widths
from hepcnn.sparse.conv import Size, SparseConv2d, SparseConv3d, SubmanifoldConv2d, SubmanifoldConv3d, per_axis
from hepcnn.sparse.norm import SparseActivation, SparseBatchNorm
from hepcnn.sparse.pooling import SparseAvgPool
from hepcnn.sparse.tensor import Activation, MaskedDense, SparseTensor

SUBMANIFOLD = {2: SubmanifoldConv2d, 3: SubmanifoldConv3d}
STRIDED = {2: SparseConv2d, 3: SparseConv3d}
OPEN = (False, False)


class SparseResidualBlock(nn.Module):
    """Two sparse convolutions around which the input is carried.

    Parameters
    ----------
    inputs, outputs
        Channels.
    stride
        Of the first convolution. The shortcut of a stride averages the active sites of the same windows, so that both
        ways end on the same sites.
    dilation
        Of the second convolution, which is submanifold.
    periodic
        One flag per axis of the grid: whether it closes into a circle. As many as there are axes, two or three.
    kernel_size
        Odd; of both convolutions and of the averages.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: Size = 1,
        dilation: Size = 1,
        *,
        periodic: Sequence[bool] = OPEN,
        kernel_size: Size = 3,
    ) -> None:
        super().__init__()
        axes = len(periodic)
        submanifold, steps = SUBMANIFOLD[axes], per_axis(stride, axes, "stride", 1)
        kernel = per_axis(kernel_size, axes, "kernel_size", 1)
        padding = tuple(size // 2 for size in kernel)
        first: nn.Module = submanifold(inputs, outputs, kernel, bias=False, periodic=periodic)
        if max(steps) != 1:
            first = STRIDED[axes](inputs, outputs, kernel, steps, padding, bias=False, periodic=periodic)
        self.first = nn.Sequential(first, SparseBatchNorm(outputs), SparseActivation(nn.ReLU()))
        self.second = nn.Sequential(
            submanifold(outputs, outputs, kernel, dilation, bias=False, periodic=periodic), SparseBatchNorm(outputs)
        )
        # Starting as the identity trains faster (zero-initialised gamma, arXiv:1706.02677).
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]
        shortcut: list[nn.Module] = []
        if max(steps) != 1:
            shortcut.append(SparseAvgPool(kernel, steps, padding, periodic=periodic))
        if max(steps) != 1 or inputs != outputs:
            shortcut += [submanifold(inputs, outputs, 1, bias=False), SparseBatchNorm(outputs)]
        self.shortcut = nn.Sequential(*shortcut)
        self.activation = SparseActivation(nn.ReLU())

    def forward(self, x: Activation) -> Activation:
        """Map sites with ``inputs`` channels to sites, of the next resolution for a stride, with ``outputs``."""
        out: Activation = self.activation(add(self.second(self.first(x)), self.shortcut(x)))
        return out


def add(one: Activation, other: Activation) -> Activation:
    """Add features on the same sites."""
    if isinstance(one, SparseTensor) and isinstance(other, SparseTensor):
        return one.replace(one.features + other.features)
    if isinstance(one, MaskedDense) and isinstance(other, MaskedDense):
        return MaskedDense(one.values + other.values, one.mask)
    raise TypeError(f"cannot add {type(one).__name__} and {type(other).__name__}")


class SparseEncoder(nn.Module):
    """Levels of falling resolution, all sparse: the way down of a U-Net.

    `hepcnn.sparse.SparseInverseConv2d` with kernel 3, stride 2 and padding 1 leads from each level back to the sites of
    the one before.

    Parameters
    ----------
    in_channels
        C of the images.
    widths
        Channels of the levels.
    depth
        Residual blocks per level.
    kernel_size
        Odd; of the submanifold stem.
    dilation
        Of the second convolution of each block.
    periodic
        One flag per axis of the grid: whether it closes into a circle. As many as there are axes, two or three.
    block_kernel
        Odd; of the residual blocks.
    strides
        Of each level but the first. By default each halves the resolution along all axes.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        *,
        depth: int = 1,
        kernel_size: Size = 5,
        dilation: Size = 2,
        periodic: Sequence[bool] = OPEN,
        block_kernel: Size = 3,
        strides: Sequence[Size] | None = None,
    ) -> None:
        super().__init__()
        channels = check_widths(widths)
        if depth < 1:
            raise ConfigError(f"depth must be at least 1, got {depth}")
        submanifold = SUBMANIFOLD[len(periodic)]
        stem = submanifold(in_channels, channels[0], kernel_size, bias=False, periodic=periodic)
        self.stem = nn.Sequential(stem, SparseBatchNorm(channels[0]), SparseActivation(nn.ReLU()))
        levels, width = [], channels[0]
        steps = [1, *(strides or [2] * (len(channels) - 1))]
        for after, step in zip(channels, steps, strict=True):
            blocks = []
            for block in range(depth):
                stride = 1 if block else step
                blocks.append(
                    SparseResidualBlock(width, after, stride, dilation, periodic=periodic, kernel_size=block_kernel)
                )
                width = after
            levels.append(nn.Sequential(*blocks))
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Activation) -> list[Activation]:
        """Map images to one activation per level, full resolution first."""
        maps, at = [], self.stem(x)
        for level in self.levels:
            at = level(at)
            maps.append(at)
        return maps
