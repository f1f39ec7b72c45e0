"""Values that a search tries, and a study that has them."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from optuna.trial import Trial

from hepcnn.config import RangeConfig, StudyConfig, parse_model

Scalar = str | int | float | bool


def suggest_parameters(trial: Trial, space: Mapping[str, RangeConfig]) -> dict[str, Any]:
    """Let a trial draw a value for every key."""
    return {key: _suggest(trial, key, values) for key, values in space.items()}


def _suggest(trial: Trial, key: str, values: RangeConfig) -> Any:
    if values.choices is not None:
        return read_choice(trial.suggest_categorical(key, [_write_choice(choice) for choice in values.choices]))
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(key, values.low, values.high, log=values.log)
    return trial.suggest_float(key, float(values.low or 0), float(values.high or 0), log=values.log)


def _write_choice(choice: Any) -> Scalar | None:
    # Optuna's journal holds plain values; a list of widths goes as text.
    return choice if choice is None or isinstance(choice, Scalar) else f"json:{json.dumps(choice)}"


def read_choice(value: Any) -> Any:
    """A choice as the config has it, from what a trial remembers."""
    return json.loads(value.removeprefix("json:")) if isinstance(value, str) and value.startswith("json:") else value


def set_parameters(study: StudyConfig, name: str, values: Mapping[str, Any]) -> StudyConfig:
    """A study whose tagger has these values, and no search.

    Parameters
    ----------
    study, name
        The study, and which of its models.
    values
        By key, ``training.…`` or ``options.…``. A key of a section of the training (``training.loss.disco``) leaves the
        rest of that section as it is.

    Raises
    ------
    ConfigError
        When the training has no such key, or cannot have the value.
    """
    content = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    model = study.models[name].model_dump(mode="json", exclude={"search"}, exclude_none=True)
    model |= {part: copy.deepcopy(getattr(study.models[name], part)) for part in ("training", "options")}
    whole = study.training_of(name).model_dump(mode="json")
    for key, value in values.items():
        part, *place = key.split(".")
        target = model[part]
        if part == "training" and len(place) > 1:
            target[place[0]] = copy.deepcopy(target.get(place[0]) or whole.get(place[0]) or {})
        for step in place[:-1]:
            target = target.setdefault(step, {})
        target[place[-1]] = read_choice(value)
    content["models"][name] = model
    return parse_model(StudyConfig, content, where=f"models.{name}.search")
