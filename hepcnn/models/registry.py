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
        "volumes",
    )
)

# What stands before the names of networks that are not listed: the module that finds their builder, and their axes.
PREFIXES = {"timm/": ("hepcnn.models.timm_models", 2), "layers/": ("hepcnn.models.layers_as_channels", 3)}

_builders: dict[str, Callable[..., "JetTagger"]] = {}
_axes: dict[str, int] = {}
Builder = TypeVar("Builder", bound=Callable[..., "JetTagger"])


def register_model(name: str, *, axes: int = 2) -> Callable[[Builder], Builder]:
    """Register the decorated builder under a name.

    The builder takes an `ImageShape` as ``shape``, and its options by keyword; every option has a default. A dense
    network needs less: `hepcnn.models.dense.register_trunk`. ``axes`` says how many the grid has.

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
        _builders[name], _axes[name] = builder, axes
        return builder

    return register


def list_models(axes: int | None = None) -> list[str]:
    """The names of all models, or of those for grids of so many axes, sorted.

    Besides, ``timm/<name>`` builds any network of timm, for two axes, and ``layers/<name>`` any network for two axes on
    grids of three, whose layers it takes as channels.
    """
    return sorted(name for name in _load() if axes in (None, _axes[name]))


def count_axes(name: str) -> int:
    """How many axes the grids have that a model takes.

    Raises
    ------
    ConfigError
        When no model has this name.
    """
    find_builder(name)
    prefix = _prefix_of(name)
    return _axes[name] if prefix is None else PREFIXES[prefix][1]


def model_options(name: str) -> dict[str, Any]:
    """The options of a model and their defaults.

    Raises
    ------
    ConfigError
        When no model has this name.
    """
    parameters = inspect.signature(find_builder(name)).parameters
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
        One of `list_models`, ``timm/<name>``, or ``layers/`` before one of these.
    in_channels
        C of the images.
    n_classes
        Number of logits.
    grid
        Pixels along each axis: (n_eta, n_phi), or (layers, n_alpha, n_r) of a shower.
    n_jet_features
        F, the number of standardised inputs per jet that join before the head.
    periodic
        Which axes of the grid close into a circle; None means none. Convolutions and pools then go on at the other end.
    options
        What `model_options` lists.

    Raises
    ------
    ConfigError
        When the model or an option is unknown, the model cannot be built with these values, the grid has another number
        of axes than the network or is too small for it, or the model cannot close axes.
    """
    builder, known = find_builder(name), model_options(name)
    for option in options:
        if option not in known:
            raise ConfigError(f"the model '{name}' has no option '{option}'{did_you_mean(option, known)}")
    pixels = _check_axes(name, grid)
    if min(pixels) < 1 or in_channels < 1 or n_classes < 2 or n_jet_features < 0:
        raise ConfigError(
            f"the model '{name}' needs a grid of positive sizes, at least 1 channel and 2 classes; got "
            f"grid={grid}, in_channels={in_channels}, n_classes={n_classes}, n_jet_features={n_jet_features}"
        )
    flags = _check_periodic(name, periodic, len(pixels))
    shape = ImageShape(in_channels, n_classes, pixels, n_jet_features, flags)
    try:
        model = builder(shape, **options)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        chosen = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "default options"
        raise ConfigError(f"the model '{name}' cannot be built on the grid {pixels} with {chosen}: {error}") from error
    if any(shape.periodic):
        importlib.import_module("hepcnn.models.closing").check_closed(model, name, shape)
    return model


def _check_axes(name: str, grid: Sequence[int]) -> tuple[int, ...]:
    shape, wanted = tuple(int(size) for size in grid), count_axes(name)
    if len(shape) == wanted:
        return shape
    names = {2: "two axes", 3: "three axes"}
    has = "one axis" if len(shape) == 1 else names.get(len(shape), f"{len(shape)} axes")
    fitting = list_models(len(shape)) + ([f"layers/{name}"] if (len(shape), wanted) == (3, 2) else [])
    if fitting:
        hint = f"networks for it are {', '.join(fitting)}"
        hint += (
            "; layers/ before a network for two axes takes the layers of the grid as channels" if wanted == 2 else ""
        )
    else:
        hint = "no network takes it; for layers of calorimeters there is the grid 'layers' (28x1x1)"
    raise ConfigError(f"the model '{name}' takes images of {names[wanted]}, this grid has {has}: {shape}; {hint}")


def _check_periodic(name: str, periodic: Sequence[bool] | None, n_axes: int) -> tuple[bool, ...]:
    flags = (False,) * n_axes if periodic is None else tuple(bool(flag) for flag in periodic)
    if len(flags) != n_axes:
        raise ConfigError(f"the model '{name}': periodic has one flag per axis of the grid, {n_axes}, got {periodic}")
    return flags


def _prefix_of(name: str) -> str | None:
    return next((prefix for prefix in PREFIXES if name.startswith(prefix)), None)


def find_builder(name: str) -> Callable[..., "JetTagger"]:
    """The function that builds a model from an `ImageShape` and its options.

    Raises
    ------
    ConfigError
        When no model has this name.
    """
    builders, prefix = _load(), _prefix_of(name)
    if prefix is not None:
        builder: Callable[..., JetTagger] = importlib.import_module(PREFIXES[prefix][0]).find_network(name)
        return builder
    if name not in builders:
        raise ConfigError(f"unknown model '{name}'{did_you_mean(name, builders)}")
    return builders[name]


def _load() -> dict[str, Callable[..., "JetTagger"]]:
    for family in FAMILIES:
        importlib.import_module(family)
    return _builders
