"""Models by name: a model is a registered function that builds a `JetTagger`."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.models.shape import ImageShape

if TYPE_CHECKING:
    from hepcnn.models.base import JetTagger

# One module per family; importing it registers its models.
FAMILIES = tuple(
    f"hepcnn.models.{family}"
    for family in (
        "cnn",
        "resnet",
        "jet_images",
        "classics",
        "inception",
        "modern",
        "sparse",
        "sparse_resnet",
    )
)

_builders: dict[str, Callable[..., "JetTagger"]] = {}
Builder = TypeVar("Builder", bound=Callable[..., "JetTagger"])


def register_model(name: str) -> Callable[[Builder], Builder]:
    """Register the decorated builder under a name.

    The builder takes an `ImageShape` as ``shape``, and its options by keyword; every option has a default. A dense
    network needs less: `hepcnn.models.dense.register_trunk`.

    Raises
    ------
    ConfigError
        When the name is taken, the builder takes no shape, or an option has no default.
    """

    def register(builder: Builder) -> Builder:
        taken = _builders.get(name)
        if taken is not None and taken.__module__ != builder.__module__:
            raise ConfigError(f"two models are called '{name}': in {taken.__module__} and in {builder.__module__}")
        parameters = inspect.signature(builder).parameters
        if next(iter(parameters), None) != "shape":
            raise ConfigError(
                f"the builder of the model '{name}' lacks the argument 'shape', which has to be its first"
            )
        for option, parameter in list(parameters.items())[1:]:
            if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty:
                raise ConfigError(f"the option '{option}' of the model '{name}' needs a default, and to go by keyword")
        _builders[name] = builder
        return builder

    return register


def list_models() -> list[str]:
    """The names of all models, sorted; ``timm/<name>`` builds any network of timm besides."""
    return sorted(_load())


def model_options(name: str) -> dict[str, Any]:
    """The options of a model and their defaults.

    Raises
    ------
    ConfigError
        When no model has this name.
    """
    parameters = inspect.signature(_find(name)).parameters
    return {key: value.default for key, value in parameters.items() if key != "shape"}


def create_model(
    name: str,
    *,
    in_channels: int,
    n_classes: int,
    grid: Sequence[int],
    n_jet_features: int = 0,
    periodic: Sequence[bool] | None = None,
    **options: Any,
) -> "JetTagger":
    """Build a model with fresh weights, drawn from torch's global generator.

    Parameters
    ----------
    name
        One of `list_models`, or ``timm/<name>``.
    in_channels
        C of the images.
    n_classes
        Number of logits.
    grid
        (n_eta, n_phi).
    n_jet_features
        F, the number of standardised inputs per jet that join before the head.
    periodic
        Which axes of the grid close into a circle; None means none. Convolutions and pools then go on at the other end.
    options
        What `model_options` lists.

    Raises
    ------
    ConfigError
        When the model or an option is unknown, the model cannot be built with these values, the grid has not two axes
        or is too small for the network, or the model cannot close axes.
    """
    builder, known = _find(name), model_options(name)
    for option in options:
        if option not in known:
            raise ConfigError(f"the model '{name}' has no option '{option}'{did_you_mean(option, known)}")
    pixels = _check_axes(name, grid)
    if min(pixels) < 1 or in_channels < 1 or n_classes < 2 or n_jet_features < 0:
        raise ConfigError(
            f"the model '{name}' needs a grid of positive sizes, at least 1 channel and 2 classes; got "
            f"grid={grid}, in_channels={in_channels}, n_classes={n_classes}, n_jet_features={n_jet_features}"
        )
    shape = ImageShape(in_channels, n_classes, pixels, n_jet_features, _check_periodic(name, periodic))
    try:
        model = builder(shape, **options)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        chosen = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "default options"
        raise ConfigError(f"the model '{name}' cannot be built on the grid {pixels} with {chosen}: {error}") from error
    if any(shape.periodic):
        importlib.import_module("hepcnn.models.closing").check_closed(model, name, shape)
    return model


def _check_axes(name: str, grid: Sequence[int]) -> tuple[int, int]:
    shape = tuple(int(size) for size in grid)
    if len(shape) != 2:
        raise ConfigError(
            f"the model '{name}' takes images of two axes, this grid has {len(shape)}: {shape}. Networks over two axes "
            f"are {', '.join(list_models())}, for grids such as 'window' (40x40) and 'detector'; over other numbers of "
            "axes there are the layers of hepcnn.sparse (SubmanifoldConv1d, SubmanifoldConv3d), but no network yet"
        )
    return shape


def _check_periodic(name: str, periodic: Sequence[bool] | None) -> tuple[bool, bool]:
    flags = (False, False) if periodic is None else tuple(bool(flag) for flag in periodic)
    if len(flags) != 2:
        raise ConfigError(f"the model '{name}': periodic has one flag per axis of the grid, two, got {periodic}")
    return flags


def _find(name: str) -> Callable[..., "JetTagger"]:
    builders = _load()
    if name.startswith("timm/"):
        builder: Callable[..., JetTagger] = importlib.import_module("hepcnn.models.timm_models").find_network(name)
        return builder
    if name not in builders:
        raise ConfigError(f"unknown model '{name}'{did_you_mean(name, builders)}")
    return builders[name]


def _load() -> dict[str, Callable[..., "JetTagger"]]:
    for family in FAMILIES:
        importlib.import_module(family)
    return _builders
