"""A hybrid: sparse convolution where the image is sparse, dense convolution where it no longer is.

At full resolution a jet image has a few per cent of active pixels, and submanifold layers pay only for those. After one
strided layer the occupancy is tens of per cent, and dense convolution is the faster one.
"""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from hepcnn.models.base import JetTagger, Widths, check_widths
from hepcnn.models.cnn import conv_block
from hepcnn.models.periodic import close_axes
from hepcnn.models.registry import register_model
from hepcnn.models.shape import ImageShape
from hepcnn.sparse.conv import SparseConv2d, SubmanifoldConv2d
from hepcnn.sparse.norm import SparseActivation, SparseBatchNorm
from hepcnn.sparse.pooling import ToDense
from hepcnn.sparse.tensor import MaskedDense, SparseTensor


def _sparse_block(conv: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(conv, SparseBatchNorm(channels), SparseActivation(nn.ReLU()))


class JetSparseCNN(JetTagger):
    """Submanifold layers, one strided sparse layer, then a small dense trunk.

    A dense image runs through the same layers in masked dense form: same weights, same logits.
    """

    input_format = "sparse"

    def __init__(
        self,
        shape: ImageShape,
        *,
        sparse_widths: Sequence[int],
        kernel_size: int,
        widths: Sequence[int],
        depth: int,
        hidden: Widths,
        dropout: float,
        pool: str,
    ) -> None:
        super().__init__(shape)
        width, periodic = shape.in_channels, shape.periodic
        layers: list[nn.Module] = []
        for after in check_widths(sparse_widths, "sparse_widths"):
            conv = SubmanifoldConv2d(width, after, kernel_size, bias=False, periodic=periodic)
            layers.append(_sparse_block(conv, after))
            width = after
        channels = check_widths(widths)
        down = SparseConv2d(width, channels[0], 3, stride=2, padding=1, bias=False, periodic=periodic)
        layers += [_sparse_block(down, channels[0]), ToDense()]
        self.sparse = nn.Sequential(*layers)
        stages: list[nn.Module] = [conv_block(channels[0], channels[0], 3) for _ in range(depth - 1)]
        for before, after in itertools.pairwise(channels):
            stages += [nn.MaxPool2d(2, ceil_mode=True), conv_block(before, after, 3)]
            stages += [conv_block(after, after, 3) for _ in range(depth - 1)]
        self.trunk = close_axes(nn.Sequential(*stages), periodic)
        self.add_head(hidden=hidden, dropout=dropout, pool=pool)

    def features(self, images: Tensor | SparseTensor) -> Tensor:
        """See `JetTagger.features`."""
        entry = images if isinstance(images, SparseTensor) else MaskedDense.from_dense(images)
        maps: Tensor = self.trunk(self.sparse(entry))
        return maps


@register_model("sparse")
def sparse(
    shape: ImageShape,
    *,
    sparse_widths: Sequence[int] = (32, 32),
    kernel_size: int = 5,
    widths: Sequence[int] = (48, 64, 96),
    depth: int = 1,
    hidden: Widths = 64,
    dropout: float = 0.1,
    pool: str = "flatten",
) -> JetTagger:
    """Build the hybrid: ``sparse_widths`` are its submanifold layers, ``widths`` the strided one and the trunk."""
    return JetSparseCNN(
        shape,
        sparse_widths=sparse_widths,
        kernel_size=kernel_size,
        widths=widths,
        depth=depth,
        hidden=hidden,
        dropout=dropout,
        pool=pool,
    )
