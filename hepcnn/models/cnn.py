"""A compact convolutional network for jet images, in the line of jet-image taggers (arXiv:1511.05190, 1803.00107)."""

from collections.abc import Sequence

from torch import Tensor, nn

from hepcnn.models.base import JetTagger, check_widths, dense_images
from hepcnn.models.periodic import close_axes
from hepcnn.models.registry import register_model
from hepcnn.sparse.tensor import SparseTensor


def conv_block(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU; the size is kept up to the stride."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class JetCNN(JetTagger):
    """A 5×5 stem, then stages of 3×3 convolutions, each ending in a 2×2 max-pool."""

    def __init__(
        self,
        *,
        in_channels: int,
        n_classes: int,
        grid: tuple[int, int],
        n_jet_features: int,
        periodic: tuple[bool, ...],
        stem: int,
        widths: Sequence[int],
        depth: int,
        hidden: int,
        dropout: float,
        pool: str,
    ) -> None:
        super().__init__(
            in_channels=in_channels, n_classes=n_classes, grid=grid, n_jet_features=n_jet_features, periodic=periodic
        )
        stages: list[nn.Module] = [conv_block(in_channels, stem, 5), nn.MaxPool2d(2, ceil_mode=True)]
        width = stem
        for index, after in enumerate(check_widths(widths)):
            for _ in range(depth):
                stages.append(conv_block(width, after, 3))
                width = after
            if index < len(widths) - 1:
                stages.append(nn.MaxPool2d(2, ceil_mode=True))
        self.trunk = close_axes(nn.Sequential(*stages), periodic)
        self.add_head(hidden=hidden, dropout=dropout, pool=pool)

    def features(self, images: Tensor | SparseTensor) -> Tensor:
        """See `JetTagger.features`."""
        maps: Tensor = self.trunk(dense_images(images))
        return maps


@register_model("cnn")
def cnn(
    *,
    in_channels: int,
    n_classes: int,
    grid: tuple[int, int],
    n_jet_features: int = 0,
    periodic: tuple[bool, ...] = (False, False),
    stem: int = 16,
    widths: Sequence[int] = (32, 64, 96),
    depth: int = 2,
    hidden: int = 64,
    dropout: float = 0.1,
    pool: str = "flatten",
) -> JetTagger:
    """Build a compact CNN; ``widths`` are the channels of its stages, ``depth`` their convolutions."""
    return JetCNN(
        in_channels=in_channels,
        n_classes=n_classes,
        grid=grid,
        n_jet_features=n_jet_features,
        periodic=periodic,
        stem=stem,
        widths=widths,
        depth=depth,
        hidden=hidden,
        dropout=dropout,
        pool=pool,
    )
