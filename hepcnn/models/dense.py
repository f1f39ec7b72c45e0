"""Dense networks: a trunk of torch layers with the head of `JetTagger`, and what they all take as options."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from hepcnn.models.base import JetTagger, Widths, dense_images
from hepcnn.models.fit import complete_windows, set_norm, set_padding
from hepcnn.models.periodic import close_axes
from hepcnn.models.registry import register_model
from hepcnn.models.shape import ImageShape
from hepcnn.sparse.tensor import SparseTensor

Trunk = TypeVar("Trunk", bound=Callable[..., nn.Sequential])


class DenseTagger(JetTagger):
    """A trunk with a head.

    Parameters
    ----------
    shape
        What the model is built for.
    trunk
        From images (N, C, and the axes of the grid) to the last map, in stages.
    hidden, dropout, pool
        Of the head, see `TaggingHead`.
    padding
        "zeros", "reflect" or "replicate", at ends that are open.
    norm
        See `hepcnn.models.fit.set_norm`.
    complete
        Whether pools and patches count what an odd grid leaves over at its end.
    """

    def __init__(
        self,
        shape: ImageShape,
        trunk: nn.Sequential,
        *,
        hidden: Widths,
        dropout: float,
        pool: str,
        padding: str = "zeros",
        norm: str = "batch",
        complete: bool = True,
    ) -> None:
        super().__init__(shape)
        fitted = set_padding(set_norm(trunk, norm), padding)
        if complete:
            fitted = complete_windows(fitted)
        self.trunk = close_axes(fitted, shape.periodic)
        self.add_head(hidden=hidden, dropout=dropout, pool=pool)

    def features(self, images: Tensor | SparseTensor) -> Tensor:
        """See `JetTagger.features`."""
        maps: Tensor = self.trunk(dense_images(images))
        return maps


def register_trunk(
    name: str,
    *,
    hidden: Widths = 128,
    dropout: float = 0.1,
    pool: str = "average",
    norm: str | None = "batch",
    complete: bool = True,
    axes: int = 2,
    fixed: Mapping[str, Any] | None = None,
) -> Callable[[Trunk], Trunk]:
    """Register a dense network, of which the decorated function builds the trunk.

    The function takes the number of channels of the images, and its own options by keyword; the whole `ImageShape` as
    ``shape``, if it has such an argument. The options of every dense network come by themselves, with the defaults
    given here.

    Parameters
    ----------
    name
        Of the model.
    hidden, dropout, pool
        Defaults of the head, see `TaggingHead`.
    norm
        The default of the option; None for networks without batch normalisation, which then have no such option.
    complete
        See `DenseTagger`.
    axes
        How many the grids have that it takes.
    fixed
        Arguments of the function that this name stands for, and which are therefore no options.
    """
    given = dict(fixed or {})
    common = {"hidden": hidden, "dropout": dropout, "pool": pool, "padding": "zeros"}
    if norm is not None:
        common["norm"] = norm

    def register(make_trunk: Trunk) -> Trunk:
        asked = inspect.signature(make_trunk).parameters
        parameters = [p for p in list(asked.values())[1:] if p.name not in {*given, "shape"}]
        own = {parameter.name for parameter in parameters}

        def build(shape: ImageShape, **options: Any) -> JetTagger:
            known = given | ({"shape": shape} if "shape" in asked else {})
            trunk = make_trunk(shape.in_channels, **known, **{k: v for k, v in options.items() if k in own})
            rest = common | {key: value for key, value in options.items() if key not in own}
            return DenseTagger(shape, trunk, complete=complete, **rest)

        keyword = inspect.Parameter.KEYWORD_ONLY
        shared = [inspect.Parameter(key, keyword, default=value) for key, value in common.items()]
        first = inspect.Parameter("shape", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        build.__signature__ = inspect.Signature([first, *parameters, *shared])  # type: ignore[attr-defined]
        build.__module__, build.__doc__ = make_trunk.__module__, make_trunk.__doc__
        register_model(name, axes=axes)(build)
        return make_trunk

    return register
