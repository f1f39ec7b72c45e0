"""Layers for grids of three axes, whose windows and steps may differ from axis to axis.

A calorimeter's grid is long in depth and short across: 45 layers of 16 angles and 9 rings, say, or 28 layers of a
single cell. So windows are one number per axis, an axis of a single cell has no neighbours to look at, and axes are
halved as long as there is something to halve.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from hepcnn.errors import ConfigError
from hepcnn.models.shape import ImageShape
from hepcnn.sparse.conv import Size, per_axis

Three = tuple[int, ...]
LEAST_CELLS = 4
"""Axes with fewer cells are not halved."""


def fit_kernel(kernel: Size, grid: Sequence[int], name: str = "kernel_size") -> Three:
    """A window of three odd numbers: 1 along an axis of a single cell.

    Raises
    ------
    ConfigError
        When it is not odd and positive along each axis.
    """
    sizes = per_axis(kernel, 3, name, 1)
    if any(size % 2 == 0 for size in sizes):
        raise ConfigError(f"{name} must be odd along each axis, got {kernel!r}")
    return tuple(1 if cells == 1 else size for size, cells in zip(sizes, grid, strict=True))


def plan_strides(shape: ImageShape, levels: int, strides: Sequence[Size] | None = None) -> list[Three]:
    """How far each level steps along each axis.

    Parameters
    ----------
    shape
        What the model is built for.
    levels
        How many steps there are.
    strides
        One entry for each level, an integer or one per axis. By default 2 along each axis that has at least
        `LEAST_CELLS` cells at that level and, if it closes into a circle, an even number of them; else 1.

    Raises
    ------
    ConfigError
        When there are not as many strides as levels, or one is no positive integer.
    """
    if strides is not None:
        if len(strides) != levels:
            raise ConfigError(f"strides must be {levels}, one for each level, got {list(strides)!r}")
        return [per_axis(stride, 3, "strides", 1) for stride in strides]
    found, grid = [], shape.grid
    for _ in range(levels):
        steps = tuple(
            2 if size >= LEAST_CELLS and not (wraps and size % 2) else 1
            for size, wraps in zip(grid, shape.periodic, strict=True)
        )
        grid = tuple(-(-size // step) for size, step in zip(grid, steps, strict=True))
        found.append(steps)
    return found


def convolve(
    inputs: int, outputs: int, kernel: Three, stride: Three = (1, 1, 1), *, factorised: bool = False
) -> list[nn.Module]:
    """The convolution of a block, which keeps the size up to the stride.

    ``factorised`` makes it two: one within each layer, and one along the depth (arXiv:1711.11248).
    """
    if not factorised or kernel[0] == 1 or max(kernel[1:]) == 1:
        padding = tuple(size // 2 for size in kernel)
        return [nn.Conv3d(inputs, outputs, kernel, stride, padding, bias=False)]  # type: ignore[arg-type]
    across = convolve(inputs, outputs, (1, *kernel[1:]), (1, *stride[1:]))
    return across + convolve(outputs, outputs, (kernel[0], 1, 1), (stride[0], 1, 1))


def conv_block(
    inputs: int, outputs: int, kernel: Three, stride: Three = (1, 1, 1), *, factorised: bool = False
) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    layers = convolve(inputs, outputs, kernel, stride, factorised=factorised)
    return nn.Sequential(*layers, nn.BatchNorm3d(outputs), nn.ReLU(inplace=True))


class ResidualBlock3d(nn.Module):
    """Two convolutions around which the input is carried; a 1×1×1 shortcut where the shape changes.

    Parameters
    ----------
    inputs, outputs
        Channels.
    kernel
        Of both convolutions, one number per axis.
    stride
        Of the first, and of the shortcut.
    factorised
        See `convolve`.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: Three, stride: Three = (1, 1, 1), *, factorised: bool = False
    ) -> None:
        super().__init__()
        self.first = conv_block(inputs, outputs, kernel, stride, factorised=factorised)
        norm = nn.BatchNorm3d(outputs)
        # Starting as the identity trains faster (zero-initialised gamma, arXiv:1706.02677).
        nn.init.zeros_(norm.weight)
        self.second = nn.Sequential(*convolve(outputs, outputs, kernel, factorised=factorised), norm)
        self.shortcut: nn.Module = nn.Identity()
        if max(stride) != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv3d(inputs, outputs, 1, stride=stride, bias=False),  # type: ignore[arg-type]
                nn.BatchNorm3d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, D, and three axes) to (N, D', and the axes over the stride)."""
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))
