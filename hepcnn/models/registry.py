"""Models by name: a model is a registered function that builds a `JetTagger`."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from hepcnn.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from hepcnn.models.base import JetTagger

# One module per family; importing it registers its models.
FAMILIES = ("hepcnn.models.cnn", "hepcnn.models.resnet", "hepcnn.models.sparse")
SHAPE_ARGUMENTS = ("in_channels", "n_classes", "grid", "n_jet_features")

_builders: dict[str, Callable[..., "JetTagger"]] = {}
Builder = TypeVar("Builder", bound=Callable[..., "JetTagger"])


def register_model(name: str) -> Callable[[Builder], Builder]:
    """Register the decorated builder under a name.

    The builder takes `SHAPE_ARGUMENTS` and its options by keyword, and every option has a default.

    Raises
    ------
    ConfigError
        When the name is taken, or the builder lacks an argument.
    """

    def register(builder: Builder) -> Builder:
        taken = _builders.get(name)
        if taken is not None and taken.__module__ != builder.__module__:
            raise ConfigError(f"two models are called '{name}': in {taken.__module__} and in {builder.__module__}")
        missing = [argument for argument in SHAPE_ARGUMENTS if argument not in inspect.signature(builder).parameters]
        if missing:
            raise ConfigError(f"the builder of the model '{name}' lacks the arguments {', '.join(missing)}")
        _builders[name] = builder
        return builder

    return register


def list_models() -> list[str]:
    """The names of all models, sorted."""
    return sorted(_load())


def model_options(name: str) -> dict[str, Any]:
    """The options of a model and their defaults.

    Raises
    ------
    ConfigError
        When no model has this name.
    """
    parameters = inspect.signature(_find(name)).parameters
    return {key: value.default for key, value in parameters.items() if key not in SHAPE_ARGUMENTS}


def create_model(
    name: str, *, in_channels: int, n_classes: int, grid: Sequence[int], n_jet_features: int = 0, **options: Any
) -> "JetTagger":
    """Build a model with fresh weights, drawn from torch's global generator.

    Parameters
    ----------
    name
        One of `list_models`.
    in_channels
        C of the images.
    n_classes
        Number of logits.
    grid
        (n_eta, n_phi).
    n_jet_features
        F, the number of standardised inputs per jet that join before the head.
    options
        What `model_options` lists.

    Raises
    ------
    ConfigError
        When the model or an option is unknown, or the model cannot be built with these values.
    """
    builder, known = _find(name), model_options(name)
    for option in options:
        if option not in known:
            raise ConfigError(f"the model '{name}' has no option '{option}'{did_you_mean(option, known)}")
    shape = tuple(int(size) for size in grid)
    if len(shape) != 2 or min(shape) < 1 or in_channels < 1 or n_classes < 2 or n_jet_features < 0:
        raise ConfigError(
            f"the model '{name}' needs a grid of two positive sizes, at least 1 channel and 2 classes; got "
            f"grid={grid}, in_channels={in_channels}, n_classes={n_classes}, n_jet_features={n_jet_features}"
        )
    try:
        return builder(
            in_channels=in_channels, n_classes=n_classes, grid=shape, n_jet_features=n_jet_features, **options
        )
    except (TypeError, ValueError, RuntimeError) as error:
        chosen = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "default options"
        raise ConfigError(f"the model '{name}' cannot be built on the grid {shape} with {chosen}: {error}") from error


def _find(name: str) -> Callable[..., "JetTagger"]:
    builders = _load()
    if name not in builders:
        raise ConfigError(f"unknown model '{name}'{did_you_mean(name, builders)}")
    return builders[name]


def _load() -> dict[str, Callable[..., "JetTagger"]]:
    for family in FAMILIES:
        importlib.import_module(family)
    return _builders
