"""Residual networks (arXiv:1512.03385): one sized for a CPU, and ResNet-18 fitted to small images."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from hepcnn.errors import require
from hepcnn.models.base import JetTagger, check_widths, dense_images
from hepcnn.models.cnn import conv_block
from hepcnn.models.periodic import close_axes
from hepcnn.models.registry import register_model
from hepcnn.sparse.tensor import SparseTensor


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions around which the input is carried; a 1×1 shortcut where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = conv_block(inputs, outputs, 3, stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))
        # Starting as the identity trains faster (zero-initialised gamma, arXiv:1706.02677).
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, D, h, w) to (N, D', h / stride, w / stride)."""
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))


class JetResNet(JetTagger):
    """A strided stem, then stages of residual blocks."""

    def __init__(
        self,
        *,
        in_channels: int,
        n_classes: int,
        grid: tuple[int, int],
        n_jet_features: int,
        periodic: tuple[bool, ...],
        widths: Sequence[int],
        depth: int,
        hidden: int,
        dropout: float,
        pool: str,
    ) -> None:
        super().__init__(
            in_channels=in_channels, n_classes=n_classes, grid=grid, n_jet_features=n_jet_features, periodic=periodic
        )
        channels = check_widths(widths)
        stages: list[nn.Module] = [conv_block(in_channels, channels[0], 5, stride=2)]
        width = channels[0]
        for index, after in enumerate(channels):
            for block in range(depth):
                stages.append(ResidualBlock(width, after, 2 if index and not block else 1))
                width = after
        self.trunk = close_axes(nn.Sequential(*stages), periodic)
        self.add_head(hidden=hidden, dropout=dropout, pool=pool)

    def features(self, images: Tensor | SparseTensor) -> Tensor:
        """See `JetTagger.features`."""
        maps: Tensor = self.trunk(dense_images(images))
        return maps


class JetResNet18(JetTagger):
    """Torchvision's ResNet-18 with a 3×3 stem of stride 1 and no first max-pool, as is usual on small images."""

    def __init__(
        self,
        *,
        in_channels: int,
        n_classes: int,
        grid: tuple[int, int],
        n_jet_features: int,
        periodic: tuple[bool, ...],
        hidden: int,
        dropout: float,
        pool: str,
    ) -> None:
        super().__init__(
            in_channels=in_channels, n_classes=n_classes, grid=grid, n_jet_features=n_jet_features, periodic=periodic
        )
        vision = require("torchvision.models", extra="train").resnet18(num_classes=n_classes, zero_init_residual=True)
        self.stem = close_axes(conv_block(in_channels, 64, 3), periodic)
        layers = nn.Sequential(vision.layer1, vision.layer2, vision.layer3, vision.layer4)
        self.trunk = close_axes(layers, periodic)
        self.add_head(hidden=hidden, dropout=dropout, pool=pool)

    def features(self, images: Tensor | SparseTensor) -> Tensor:
        """See `JetTagger.features`."""
        maps: Tensor = self.trunk(self.stem(dense_images(images)))
        return maps


@register_model("resnet")
def resnet(
    *,
    in_channels: int,
    n_classes: int,
    grid: tuple[int, int],
    n_jet_features: int = 0,
    periodic: tuple[bool, ...] = (False, False),
    widths: Sequence[int] = (32, 64, 96),
    depth: int = 1,
    hidden: int = 64,
    dropout: float = 0.1,
    pool: str = "flatten",
) -> JetTagger:
    """Build a small ResNet; ``widths`` are the channels of its stages, ``depth`` their residual blocks."""
    return JetResNet(
        in_channels=in_channels,
        n_classes=n_classes,
        grid=grid,
        n_jet_features=n_jet_features,
        periodic=periodic,
        widths=widths,
        depth=depth,
        hidden=hidden,
        dropout=dropout,
        pool=pool,
    )


@register_model("resnet18")
def resnet18(
    *,
    in_channels: int,
    n_classes: int,
    grid: tuple[int, int],
    n_jet_features: int = 0,
    periodic: tuple[bool, ...] = (False, False),
    hidden: int = 128,
    dropout: float = 0.1,
    pool: str = "average",
) -> JetTagger:
    """Build ResNet-18 for small multi-channel images: 11 million parameters, for a GPU."""
    return JetResNet18(
        in_channels=in_channels,
        n_classes=n_classes,
        grid=grid,
        n_jet_features=n_jet_features,
        periodic=periodic,
        hidden=hidden,
        dropout=dropout,
        pool=pool,
    )
