"""Residual networks of mixed regimes, over two axes and over three: a sparse encoder, then dense blocks.

Submanifold blocks at full resolution pay for active pixels only, but hardly let them communicate; over two axes their
second layer is dilated, and strided blocks follow early. Each stride multiplies the occupancy; where it passes some 30
to 40 %, dense convolution is the faster one (``docs/sparse.md``): ordinary residual blocks (arXiv:1512.03385) follow.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from hepcnn.errors import ConfigError
from hepcnn.models.base import JetTagger, Widths, check_widths
from hepcnn.models.periodic import close_axes
from hepcnn.models.registry import register_model
from hepcnn.models.resnet import ResidualBlock
from hepcnn.models.shape import ImageShape
from hepcnn.models.sparse_encoder import SparseEncoder
from hepcnn.models.volume_layers import ResidualBlock3d, Three, fit_kernel, plan_strides
from hepcnn.sparse.conv import Size
from hepcnn.sparse.pooling import ToDense
from hepcnn.sparse.tensor import MaskedDense, SparseTensor

Block = Callable[[int, int, Three], nn.Module]
"""From channels in, channels out and strides to a dense residual block."""


class JetSparseResNet(JetTagger):
    """A sparse encoder, then dense residual blocks.

    A dense image runs through the same layers in masked dense form: same weights, same logits. ``strides`` are those of
    each level but the first, and ``block`` makes a dense residual block.
    """

    input_format = "sparse"

    def __init__(
        self,
        shape: ImageShape,
        *,
        widths: Sequence[int],
        sparse_levels: int,
        depth: int,
        kernel_size: Size,
        block_kernel: Size,
        dilation: Size,
        strides: Sequence[Three],
        block: Block,
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
            block_kernel=block_kernel,
            strides=strides[: sparse_levels - 1],
        )
        self.to_dense = ToDense()
        width = channels[sparse_levels - 1]
        stages: list[nn.Module] = []
        for after, step in zip(channels[sparse_levels:], strides[sparse_levels - 1 :], strict=True):
            for number in range(depth):
                stages.append(block(width, after, (1,) * len(step) if number else step))
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
            block_kernel=3,
            dilation=dilation,
            strides=[(2, 2)] * (len(check_widths(widths)) - 1),
            block=lambda inputs, outputs, step: ResidualBlock(inputs, outputs, step[0]),
            hidden=hidden,
            dropout=dropout,
            pool=pool,
        )


_register("sparse_resnet", (32, 48, 64, 96), 1)
_register("sparse_resnet_small", (16, 24, 32, 48), 1)
_register("sparse_resnet_large", (32, 64, 128, 256), 2)


@register_model("sparse_resnet3d", axes=3)
def sparse_resnet3d(
    shape: ImageShape,
    *,
    widths: Sequence[int] = (16, 32, 64, 96),
    sparse_levels: int = 2,
    depth: int = 1,
    stem_kernel: Size = (5, 3, 3),
    kernel_size: Size = 3,
    dilation: Size = 1,
    strides: Sequence[Size] | None = None,
    hidden: Widths = 64,
    dropout: float = 0.1,
    pool: str = "flatten",
) -> JetTagger:
    """Build the mixed ResNet over three axes: ``widths`` are its levels, the first ``sparse_levels`` of them sparse.

    ``strides`` are those of the levels after the first. Windows, dilations and strides are a number or one per axis.
    """
    channels, kernel = check_widths(widths), fit_kernel(kernel_size, shape.grid)
    return JetSparseResNet(
        shape,
        widths=channels,
        sparse_levels=sparse_levels,
        depth=depth,
        kernel_size=fit_kernel(stem_kernel, shape.grid, "stem_kernel"),
        block_kernel=kernel,
        dilation=dilation,
        strides=plan_strides(shape, len(channels) - 1, strides),
        block=lambda inputs, outputs, step: ResidualBlock3d(inputs, outputs, kernel, step),
        hidden=hidden,
        dropout=dropout,
        pool=pool,
    )
