"""The schema of every configuration file: an unknown key or a bad value is a ``ConfigError`` that names the place.

A study is one YAML file. Nothing else in hepcnn reads YAML keys. No torch is imported here: Snakemake imports this
module when it parses the workflow.
"""

import hashlib
import json
import math
import os
import re
from pathlib import Path
from typing import Any, Literal, TypeVar

import pydantic
import yaml

from hepcnn.atomic import atomic_path
from hepcnn.errors import ConfigError, did_you_mean


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
    place = ".".join(str(part) for part in problem["loc"]) or "(top level)"
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, problem["loc"][:-1])
        return f"{place}: unknown key{did_you_mean(str(problem['loc'][-1]), known)}"
    if problem["type"] == "missing":
        return f"{place}: this key is required"
    message = problem["msg"].removeprefix("Value error, ")
    value = problem.get("input")
    shown = f" (got {value!r})" if isinstance(value, str | int | float | bool | None) else ""
    return f"{place}: {message}{shown}"


def _known_keys(model: type[pydantic.BaseModel], place: tuple[Any, ...]) -> list[str]:
    """The keys allowed at a place inside a model, walked through the annotations."""
    current: Any = model
    for part in place:
        field = getattr(current, "model_fields", {}).get(part)
        candidates = _models_in(field.annotation) if field is not None else _models_in(current)
        if not candidates:
            return []
        current = candidates[0]
    return [info.alias or name for name, info in getattr(current, "model_fields", {}).items()]


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]


class ClusteringConfig(StrictModel):
    """Jets that FastJet makes of a file's constituents: radius, smallest pT in GeV, how many of the hardest to keep."""

    algorithm: Literal["antikt", "cambridge", "kt"] = "antikt"
    radius: float = pydantic.Field(default=1.0, gt=0)
    pt_min: float = pydantic.Field(default=20.0, ge=0)
    eta_max: float | None = pydantic.Field(default=None, gt=0)
    leading: int | None = pydantic.Field(default=None, ge=1)


class SampleConfig(StrictModel):
    """The jets of one class: either made by a generator ``process``, or read from ``files`` by a ``schema``."""

    process: str | None = None
    n_jets: int | None = pydantic.Field(default=None, ge=1)
    files: list[str] = []
    schema_name: str | None = pydantic.Field(default=None, alias="schema")
    clustering: ClusteringConfig | None = None
    event_weight: bool = False

    @pydantic.model_validator(mode="after")
    def _has_one_source(self) -> "SampleConfig":
        if (self.process is None) == (not self.files):
            raise ValueError("name either a generator 'process' or 'files' with their 'schema'")
        if self.files and self.schema_name is None:
            raise ValueError("'files' need a 'schema' (see: hepcnn schemas)")
        if self.files and self.n_jets is not None:
            raise ValueError("'n_jets' is for generated samples; files are read whole")
        return self


class GenerateConfig(StrictModel):
    """What `hepcnn generate jets` is told: a named preset, what differs from it, jets per class, seed."""

    preset: str = "toptag-reference"
    settings: dict[str, Any] = {}
    n_jets: int = pydantic.Field(default=25_000, ge=1)
    seed: int = pydantic.Field(default=1, ge=0)


class GridConfig(StrictModel):
    """A square window around the jet; `hepcnn.images.grids.WindowGrid` gives it meaning."""

    n_eta: int = pydantic.Field(default=40, ge=1, le=4096)
    n_phi: int = pydantic.Field(default=40, ge=1, le=4096)
    half_width: float = pydantic.Field(default=0.8, gt=0, le=math.pi)


class ImagesConfig(StrictModel):
    """How constituents become images."""

    grid: GridConfig = GridConfig()
    channels: list[str] = pydantic.Field(default=["pt", "ecal", "hcal", "track_pt", "multiplicity"], min_length=1)
    preprocess: list[str] = ["centre", "rotate", "flip", "normalise"]
    jet_features: list[str] = ["pt", "mass", "n_constituents"]
    skip_bad: bool = False


class SplitConfig(StrictModel):
    """Fractions of the events; the hash of an event decides, so more files move no jet between splits."""

    train: float = pydantic.Field(default=0.6, gt=0, lt=1)
    val: float = pydantic.Field(default=0.15, gt=0, lt=1)
    test: float = pydantic.Field(default=0.25, gt=0, lt=1)
    seed: int = 0

    @pydantic.model_validator(mode="after")
    def _sums_to_one(self) -> "SplitConfig":
        total = self.train + self.val + self.test
        if abs(total - 1) > 1e-9:
            raise ValueError(f"train, val and test must add up to 1, not {total:g}")
        return self


class TrainingConfig(StrictModel):
    """How a network is trained."""

    epochs: int = pydantic.Field(default=4, ge=1)
    batch_size: int = pydantic.Field(default=256, ge=1)
    learning_rate: float = pydantic.Field(default=3e-3, gt=0)
    weight_decay: float = pydantic.Field(default=0.01, ge=0)
    warmup: float = pydantic.Field(default=0.2, ge=0, lt=1)
    clip_norm: float = pydantic.Field(default=1.0, gt=0)
    power: float = pydantic.Field(default=0.5, gt=0, le=1)
    jet_features: list[str] = ["pt", "mass", "n_constituents"]
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "auto"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"


class ModelConfig(StrictModel):
    """One tagger of a study: which network, its options, and where its training differs from the study's."""

    network: str | None = None
    options: dict[str, Any] = {}
    training: dict[str, Any] = {}


class EvaluationConfig(StrictModel):
    """Which class is the background; by default ``qcd`` where there is one, else the first."""

    background: str | None = None


class TrackingConfig(StrictModel):
    """Where the runs are recorded."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str | None = None


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class StudyConfig(StrictModel):
    """A whole study, from files to the report."""

    study: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    results: str = "results"
    samples: dict[str, SampleConfig] = pydantic.Field(min_length=2)
    generate: GenerateConfig = GenerateConfig()
    images: ImagesConfig = ImagesConfig()
    split: SplitConfig = SplitConfig()
    models: dict[str, ModelConfig] = pydantic.Field(min_length=1)
    baselines: list[Literal["pixel_logistic", "substructure_tree"]] = ["pixel_logistic", "substructure_tree"]
    seeds: list[int] = pydantic.Field(default=[1], min_length=1)
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the samples; a class's number is its place here."""
        return tuple(self.samples)

    @pydantic.model_validator(mode="after")
    def _is_consistent(self) -> "StudyConfig":
        for kind, names in (("samples", self.samples), ("models", self.models)):
            for name in names:
                if not NAME.fullmatch(name):
                    raise ValueError(f"{kind}.{name}: a name is letters, digits, '_', '-' and '.'")
        background = self.evaluation.background
        if background is not None and background not in self.samples:
            raise ValueError(f"evaluation.background: no class '{background}'{did_you_mean(background, self.samples)}")
        if clash := set(self.models) & set(self.baselines):
            raise ValueError(f"models: the name '{clash.pop()}' is a baseline's")
        for name in self.models:
            training = self.training_of(name)
            for feature in training.jet_features:
                if feature not in self.images.jet_features:
                    raise ValueError(
                        f"training of model '{name}': jet feature '{feature}' is not among images.jet_features"
                    )
        return self

    def model_of(self, name: str) -> ModelConfig:
        """The tagger of this name.

        Raises
        ------
        ConfigError
            When the study has none; the message names the nearest.
        """
        if name not in self.models:
            raise ConfigError(f"study '{self.study}' has no model '{name}'{did_you_mean(name, self.models)}")
        return self.models[name]

    def training_of(self, name: str) -> TrainingConfig:
        """The training of one tagger: the study's, with what the model itself says on top.

        Raises
        ------
        ConfigError
            When the model's own part has an unknown key or a bad value.
        """
        merged = self.training.model_dump() | self.model_of(name).training
        return parse_model(TrainingConfig, merged, where=f"models.{name}.training")


def read_study(path: str | os.PathLike[str]) -> StudyConfig:
    """Read and check the config of a study; see `read_model`."""
    return read_model(StudyConfig, path)


def hash_config(*parts: Any) -> str:
    """SHA-256 of configuration values: equal for equal values, whatever the order of keys."""
    values = [
        part.model_dump(mode="json", by_alias=True) if isinstance(part, pydantic.BaseModel) else part for part in parts
    ]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_study(study: StudyConfig, path: Path) -> Path:
    """Write a study's config with all defaults, unless the file holds just that already."""
    text = yaml.safe_dump(study.model_dump(mode="json", by_alias=True, exclude_none=True), sort_keys=False)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8")
    return path
