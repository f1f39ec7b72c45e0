"""Records whose unknown keys are errors, and YAML files read into them with messages that name the place."""

import os
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from hepcnn.errors import ConfigError, did_you_mean, hide_password


class StrictModel(pydantic.BaseModel):
    """A frozen record whose unknown keys are errors."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


Model = TypeVar("Model", bound=pydantic.BaseModel)


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read one YAML file whose top level is a mapping.

    Raises
    ------
    ConfigError
        When the file is missing, is not YAML, or is not a mapping; the message names file, line and column.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot read this config: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, found {type(content).__name__}")
    return content


def parse_model(model: type[Model], content: dict[str, Any], *, where: str) -> Model:
    """Validate a mapping against a model.

    Parameters
    ----------
    model
        The pydantic model.
    content
        The keys and values.
    where
        What the message calls the source: a file name, for instance.

    Raises
    ------
    ConfigError
        With one line for each wrong key or value: where it stands, what it is, what was expected.
    """
    try:
        return model.model_validate(content)
    except pydantic.ValidationError as error:
        lines = [_describe(model, problem) for problem in error.errors()]
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from error


def read_model(model: type[Model], path: str | os.PathLike[str]) -> Model:
    """Read a YAML file and validate it; see `read_yaml` and `parse_model`."""
    return parse_model(model, read_yaml(path), where=str(path))


def _describe(model: type[pydantic.BaseModel], problem: Any) -> str:
    parts, models = _follow(model, problem["loc"])
    place = ".".join(parts) or "(top level)"
    if problem["type"] == "extra_forbidden":
        known = [info.alias or name for candidate in models[:1] for name, info in candidate.model_fields.items()]
        return f"{place}: unknown key{did_you_mean(parts[-1], known)}"
    if problem["type"] == "missing":
        return f"{place}: this key is required"
    message = problem["msg"].removeprefix("Value error, ")
    value = problem.get("input")
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool | None) else ""
    return hide_password(f"{place}: {message}{shown}")


def _follow(model: type[pydantic.BaseModel], place: tuple[Any, ...]) -> tuple[list[str], list[Any]]:
    """The keys that lead to a place, and the models that it may belong to.

    Where a key holds one of several kinds of record, pydantic's place names the kind too, which is no key.
    """
    parts: list[str] = []
    models: list[Any] = [model]
    for part in place:
        of_kind = [one for one in models if "kind" in one.model_fields and one.model_fields["kind"].default == part]
        if of_kind and len(models) > 1:
            models = of_kind
            continue
        parts.append(str(part))
        fields = [one.model_fields[part] for one in models if part in one.model_fields]
        if fields:
            models = _models_in(fields[0].annotation)
    return parts, models


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
