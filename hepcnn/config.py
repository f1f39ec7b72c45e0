"""The schema of every configuration file: an unknown key or a bad value is a ``ConfigError`` that names the place.

A study is one YAML file. Nothing else in hepcnn reads YAML keys. No torch is imported here: Snakemake imports this
module when it parses the workflow.
"""

import hashlib
import itertools
import json
import math
import os
import re
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from hepcnn.atomic import atomic_path
from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.grids import GridConfig, WindowGrid
from hepcnn.records import StrictModel as StrictModel
from hepcnn.records import parse_model as parse_model
from hepcnn.records import read_model as read_model
from hepcnn.records import read_yaml as read_yaml


class ClusteringConfig(StrictModel):
    """Jets that FastJet makes of a file's constituents: radius, smallest pT in GeV, how many of the hardest to keep."""

    algorithm: Literal["antikt", "cambridge", "kt"] = "antikt"
    radius: float = pydantic.Field(default=1.0, gt=0)
    pt_min: float = pydantic.Field(default=20.0, ge=0)
    eta_max: float | None = pydantic.Field(default=None, gt=0)
    leading: int | None = pydantic.Field(default=None, ge=1)


class LabelConfig(StrictModel):
    """Which jets of mixed files belong to a class: those whose label ``name`` has one of these ``values``."""

    name: str
    values: list[int] = pydantic.Field(min_length=1)


class SampleConfig(StrictModel):
    """The jets of one class: either made by a generator ``process``, or read from ``files`` by a ``schema``.

    With a ``label`` only the jets that it names belong to the class.
    """

    process: str | None = None
    n_jets: int | None = pydantic.Field(default=None, ge=1)
    files: list[str] = []
    schema_name: str | None = pydantic.Field(default=None, alias="schema")
    clustering: ClusteringConfig | None = None
    event_weight: bool = False
    label: LabelConfig | None = None

    @pydantic.model_validator(mode="after")
    def _has_one_source(self) -> "SampleConfig":
        if (self.process is None) == (not self.files):
            raise ValueError("name either a generator 'process' or 'files' with their 'schema'")
        if self.files and self.schema_name is None:
            raise ValueError("'files' need a 'schema' (see: hepcnn schemas)")
        if self.files and self.n_jets is not None:
            raise ValueError("'n_jets' is for generated samples; files are read whole")
        if self.label is not None and not self.files:
            raise ValueError("'label' is for 'files'; generated jets are all of one class")
        return self


class GenerateConfig(StrictModel):
    """What `hepcnn generate jets` is told: a named preset, what differs from it, jets per class, seed."""

    preset: str = "toptag-reference"
    settings: dict[str, Any] = {}
    n_jets: int = pydantic.Field(default=25_000, ge=1)
    seed: int = pydantic.Field(default=1, ge=0)


class GroomConfig(StrictModel):
    """Soft drop (arXiv:1402.2657): the softer branch must carry ``z_cut (DeltaR / R)^beta`` of the two."""

    z_cut: float = pydantic.Field(default=0.1, gt=0, lt=0.5)
    beta: float = 0.0


SelectionVariable = Literal["pt", "eta", "abs_eta", "mass", "n_constituents"]
Bounds = tuple[float | None, float | None]


class ImagesConfig(StrictModel):
    """How constituents become images, and of which jets.

    ``select`` keeps jets whose variable is in ``[min, max)``, where a bound may be null. ``unclaimed`` says what
    becomes of jets whose label no class claims.
    """

    grid: GridConfig = WindowGrid()
    channels: list[str] = pydantic.Field(default=["pt", "ecal", "hcal", "track_pt", "multiplicity"], min_length=1)
    preprocess: list[str] = ["centre", "rotate", "flip", "normalise"]
    groom: GroomConfig = GroomConfig()
    jet_features: list[str] = ["pt", "mass", "n_constituents"]
    skip_bad: bool = False
    select: dict[SelectionVariable, Bounds] = {}
    unclaimed: Literal["stop", "drop"] = "stop"

    @pydantic.field_validator("select")
    @classmethod
    def _selects_something(cls, select: dict[SelectionVariable, Bounds]) -> dict[SelectionVariable, Bounds]:
        for name, (low, high) in select.items():
            if any(bound is not None and not math.isfinite(bound) for bound in (low, high)):
                raise ValueError(f"{name}: bounds must be finite; null means none")
            if low is not None and high is not None and low >= high:
                raise ValueError(f"{name}: the lower bound {low:g} must be below the upper one {high:g}")
        return select


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


class LoaderConfig(StrictModel):
    """Where pixels are during a training; ``auto`` decides from their size and the memory that there is."""

    mode: Literal["auto", "device", "host", "stream"] = "auto"
    memory_gb: float | None = pydantic.Field(default=None, gt=0)
    block: int = pydantic.Field(default=16_384, ge=1)
    pool: int = pydantic.Field(default=8, ge=1)


WeightVariable = Literal["pt", "eta", "mass"]


class WeightsConfig(StrictModel):
    """Weights of jets in the loss; `hepcnn.data.weights.fit_weights` gives them meaning.

    ``bins`` is a number, edges (of a single variable), or either by variable.
    """

    kind: Literal["none", "flat", "match"] = "none"
    variables: list[WeightVariable] = pydantic.Field(default=["pt"], min_length=1, max_length=2)
    bins: int | list[float] | dict[WeightVariable, int | list[float]] = 20
    reference: str | None = None
    balance: bool = True
    max_weight: float = pydantic.Field(default=10.0, gt=1)

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "WeightsConfig":
        if len(set(self.variables)) < len(self.variables):
            raise ValueError("'variables' names one twice")
        if (self.kind == "match") != (self.reference is not None):
            raise ValueError("'reference' names the class to match, with kind 'match' and with no other")
        if isinstance(self.bins, list) and len(self.variables) > 1:
            raise ValueError("edges of two variables are given by name: bins: {pt: [...], mass: 10}")
        if isinstance(self.bins, dict) and set(self.bins) != set(self.variables):
            raise ValueError("'bins' must name just the 'variables'")
        for name in self.variables:
            bins = self.bins_of(name)
            if isinstance(bins, int) and bins < 1:
                raise ValueError(f"bins of {name}: at least 1 is needed, not {bins}")
            if not isinstance(bins, int) and (len(bins) < 2 or not all(a < b for a, b in itertools.pairwise(bins))):
                raise ValueError(f"bins of {name}: edges must rise, and be two at least")
            if not isinstance(bins, int) and not all(math.isfinite(edge) for edge in bins):
                raise ValueError(f"bins of {name}: edges must be finite")
        return self

    def bins_of(self, variable: WeightVariable) -> int | list[float]:
        """How many bins a variable has, or their edges."""
        return self.bins[variable] if isinstance(self.bins, dict) else self.bins


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
    loader: LoaderConfig = LoaderConfig()


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
    weights: WeightsConfig | None = None
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
        reference = self.weights.reference if self.weights else None
        if reference is not None and reference not in self.samples:
            raise ValueError(f"weights.reference: no class '{reference}'{did_you_mean(reference, self.samples)}")
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
