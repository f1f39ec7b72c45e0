"""Any network of timm as the trunk of a tagger: ``timm/<name>``."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hepcnn.errors import ConfigError, did_you_mean, require
from hepcnn.models.base import JetTagger, Widths
from hepcnn.models.dense import DenseTagger
from hepcnn.models.shape import ImageShape

PREFIX = "timm/"


class TimmTagger(DenseTagger):
    """A network of timm with the head of the house."""

    def stages(self) -> list[tuple[str, nn.Module]]:
        """See `JetTagger.stages`; a network with parameters that stand in no layer, like a ViT's, is one stage."""
        network: nn.Module = self.trunk[0].network  # type: ignore[assignment]
        if any(True for _ in network.parameters(recurse=False)):
            return [("trunk.0.network", network)]
        found = []
        for name, child in network.named_children():
            parts = child.named_children() if isinstance(child, nn.Sequential | nn.ModuleList) else ()
            found += [(f"{name}.{key}", part) for key, part in parts] or [(name, child)]
        return [(f"trunk.0.network.{name}", part) for name, part in found if any(True for _ in part.parameters())]


class TimmTrunk(nn.Module):
    """A network of timm without its head; gives its last map, or its tokens as a map of one column."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, C, n_eta, n_phi) to (N, D, h, w)."""
        network: Any = self.network
        maps: Tensor = network.forward_features(images)
        if maps.ndim == 3:
            return maps.transpose(1, 2).unsqueeze(-1)
        if maps.ndim != 4:
            raise ConfigError(f"{type(network).__name__} of timm gives {tuple(maps.shape)}, which is no feature map")
        last = str(getattr(network, "output_fmt", "NCHW")).endswith("NHWC")
        return maps.permute(0, 3, 1, 2) if last else maps


def find_network(name: str) -> Callable[..., JetTagger]:
    """The builder of ``timm/<name>``, as `hepcnn.models.registry.register_model` wants it.

    Raises
    ------
    ConfigError
        When timm has no network of that name.
    """
    timm = require("timm", extra="train")
    known = timm.list_models()
    network_name = name.removeprefix(PREFIX)
    if network_name not in known:
        raise ConfigError(f"timm has no network '{network_name}'{did_you_mean(network_name, known)}")

    def build(
        shape: ImageShape,
        *,
        stem_stride: int | None = 1,
        complete: bool = True,
        arguments: Mapping[str, Any] | None = None,
        hidden: Widths = 128,
        dropout: float = 0.1,
        pool: str = "average",
        padding: str = "zeros",
        norm: str = "batch",
    ) -> JetTagger:
        """Build a network of timm; ``arguments`` go to timm, and a ``stem_stride`` of null leaves the stem as it is.

        ``complete=False`` leaves its pools as they are, which may leave out a row of an odd map.
        """
        given = dict(arguments or {})
        fixed = getattr(timm.get_pretrained_cfg(network_name), "fixed_input_size", False)
        if fixed:
            given.setdefault("img_size", shape.grid)
        network = timm.create_model(network_name, pretrained=False, in_chans=shape.in_channels, num_classes=0, **given)
        trunk = TimmTrunk(network)
        if fixed:
            _check_patches(network, shape)
        else:
            _shorten_stem(network, stem_stride)
        try:
            _drop_unused(trunk, shape)
            return TimmTagger(
                shape,
                nn.Sequential(trunk),
                hidden=hidden,
                dropout=dropout,
                pool=pool,
                padding=padding,
                norm=norm,
                complete=complete and not fixed,
            )
        except RuntimeError as error:
            raise ConfigError(
                f"{name} does not fit a grid of {shape.grid}: {error}. Where its ways side by side come to differ, "
                "stem_stride: null, complete: false or a grid of another size may help"
            ) from error

    return build


def _check_patches(network: nn.Module, shape: ImageShape) -> None:
    """Refuse a grid that is no multiple of the patches: the network would not see the rest of its pixels."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if first is not None and any(size % step for size, step in zip(shape.grid, first.stride, strict=True)):
        raise ConfigError(
            f"patches of {first.stride} pixels do not fill a grid of {shape.grid}; take another size of patches, as in "
            "arguments: {patch_size: 8}, if the network has them"
        )


def _shorten_stem(network: nn.Module, stride: int | None) -> None:
    """Let the first convolution step less; patches, which do not overlap, stay as they are."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if first is not None and stride is not None and first.kernel_size > first.stride > (stride, stride):
        first.stride = (stride, stride)


def _drop_unused(trunk: TimmTrunk, shape: ImageShape) -> None:
    """Take out what only timm's own head would use, whose parameters nothing would train."""
    used: set[nn.Module] = set()
    handles = [m.register_forward_hook(lambda m, *_: used.add(m)) for m in trunk.network.modules()]
    trunk.eval()
    with torch.no_grad():
        trunk(torch.zeros(1, shape.in_channels, *shape.grid))
    trunk.train()
    for handle in handles:
        handle.remove()
    for name, child in trunk.network.named_children():
        if not used & set(child.modules()):
            setattr(trunk.network, name, nn.Identity())
