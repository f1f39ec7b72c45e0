"""A residual network of mixed regimes, and the sparse encoder that it starts with.

Submanifold blocks at full resolution pay for active pixels only, but hardly let them communicate; their second layer is
dilated, and strided blocks follow early. Each stride multiplies the occupancy; where it passes some 30 to 40 %, dense
convolution is the faster one (``docs/sparse.md``): ordinary residual blocks (arXiv:1512.03385) follow there.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from hepcnn.errors import ConfigError
from hepcnn.models.base import JetTagger, Widths, check_widths
from hepcnn.models.periodic import close_axes
from hepcnn.models.registry import register_model
from hepcnn.models.resnet import ResidualBlock
from hepcnn.models.shape import ImageShape
from hepcnn.sparse.conv import SparseConv2d, SubmanifoldConv2d
from hepcnn.sparse.norm import SparseActivation, SparseBatchNorm
from hepcnn.sparse.pooling import SparseAvgPool, ToDense
from hepcnn.sparse.tensor import Activation, MaskedDense, SparseTensor

OPEN = (False, False)


class SparseResidualBlock(nn.Module):
    """Two 3×3 sparse convolutions around which the input is carried.

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
        One flag per axis of the grid: whether it closes into a circle.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int = 1, dilation: int = 1, *, periodic: Sequence[bool] = OPEN
    ) -> None:
        super().__init__()
        first: nn.Module = SubmanifoldConv2d(inputs, outputs, 3, bias=False, periodic=periodic)
        if stride != 1:
            first = SparseConv2d(inputs, outputs, 3, stride, 1, bias=False, periodic=periodic)
        self.first = nn.Sequential(first, SparseBatchNorm(outputs), SparseActivation(nn.ReLU()))
        self.second = nn.Sequential(
            SubmanifoldConv2d(outputs, outputs, 3, dilation, bias=False, periodic=periodic), SparseBatchNorm(outputs)
        )
        # Starting as the identity trains faster (zero-initialised gamma, arXiv:1706.02677).
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]
        shortcut: list[nn.Module] = [SparseAvgPool(3, stride, 1, periodic=periodic)] if stride != 1 else []
        if stride != 1 or inputs != outputs:
            shortcut += [SubmanifoldConv2d(inputs, outputs, 1, bias=False), SparseBatchNorm(outputs)]
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
        Channels of the levels; each level but the first halves the resolution.
    depth
        Residual blocks per level.
    kernel_size
        Odd; of the submanifold stem.
    dilation
        Of the second convolution of each block.
    periodic
        One flag per axis of the grid: whether it closes into a circle.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Sequence[int],
        *,
        depth: int = 1,
        kernel_size: int = 5,
        dilation: int = 2,
        periodic: Sequence[bool] = OPEN,
    ) -> None:
        super().__init__()
        channels = check_widths(widths)
        if depth < 1:
            raise ConfigError(f"depth must be at least 1, got {depth}")
        stem = SubmanifoldConv2d(in_channels, channels[0], kernel_size, bias=False, periodic=periodic)
        self.stem = nn.Sequential(stem, SparseBatchNorm(channels[0]), SparseActivation(nn.ReLU()))
        levels, width = [], channels[0]
        for level, after in enumerate(channels):
            blocks = []
            for block in range(depth):
                stride = 2 if level and not block else 1
                blocks.append(SparseResidualBlock(width, after, stride, dilation, periodic=periodic))
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


class JetSparseResNet(JetTagger):
    """A sparse encoder, then dense residual blocks.

    A dense image runs through the same layers in masked dense form: same weights, same logits.
    """

    input_format = "sparse"

    def __init__(
        self,
        shape: ImageShape,
        *,
        widths: Sequence[int],
        sparse_levels: int,
        depth: int,
        kernel_size: int,
        dilation: int,
        hidden: Widths,
        dropout: float,
        pool: str,
    ) -> None:
        super().__init__(shape)
        channels = check_widths(widths)
        if not 1 <= sparse_levels <= len(channels):
            raise ConfigError(f"sparse_levels must lie from 1 to the {len(channels)} levels, got {sparse_levels}")
        self.encoder = SparseEncoder(
            shape.in_channels,
            channels[:sparse_levels],
            depth=depth,
            kernel_size=kernel_size,
            dilation=dilation,
            periodic=shape.periodic,
        )
        self.to_dense = ToDense()
        width = channels[sparse_levels - 1]
        stages: list[nn.Module] = []
        for after in channels[sparse_levels:]:
            for block in range(depth):
                stages.append(ResidualBlock(width, after, 1 if block else 2))
                width = after
        self.trunk = close_axes(nn.Sequential(*stages), shape.periodic)
        self.add_head(hidden=hidden, dropout=dropout, pool=pool)

    def features(self, images: Tensor | SparseTensor) -> Tensor:
        """See `JetTagger.features`."""
        entry = images if isinstance(images, SparseTensor) else MaskedDense.from_dense(images)
        maps: Tensor = self.trunk(self.to_dense(self.encoder(entry)[-1]))
        return maps

    def stages(self) -> list[tuple[str, nn.Module]]:
        """See `JetTagger.stages`."""
        levels = [(f"encoder.levels.{index}", level) for index, level in enumerate(self.encoder.levels)]
        blocks = [(f"trunk.{name}", block) for name, block in self.trunk.named_children()]
        return [("encoder.stem", self.encoder.stem), *levels, *blocks]


def _register(name: str, channels: tuple[int, ...], blocks: int) -> None:
    @register_model(name)
    def build(
        shape: ImageShape,
        *,
        widths: Sequence[int] = channels,
        sparse_levels: int = 2,
        depth: int = blocks,
        kernel_size: int = 5,
        dilation: int = 2,
        hidden: Widths = 64,
        dropout: float = 0.1,
        pool: str = "flatten",
    ) -> JetTagger:
        """Build the mixed ResNet: ``widths`` are its levels, of which the first ``sparse_levels`` are sparse."""
        return JetSparseResNet(
            shape,
            widths=widths,
            sparse_levels=sparse_levels,
            depth=depth,
            kernel_size=kernel_size,
            dilation=dilation,
            hidden=hidden,
            dropout=dropout,
            pool=pool,
        )


_register("sparse_resnet", (32, 48, 64, 96), 1)
_register("sparse_resnet_small", (16, 24, 32, 48), 1)
_register("sparse_resnet_large", (32, 64, 128, 256), 2)
