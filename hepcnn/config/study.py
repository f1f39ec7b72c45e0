"""A whole study: one YAML file."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from hepcnn.atomic import atomic_path
from hepcnn.config.evaluation import EvaluationConfig
from hepcnn.config.images import ImagesConfig
from hepcnn.config.samples import GenerateConfig, SampleConfig
from hepcnn.config.shipping import BundleConfig
from hepcnn.config.tasks import Task, Tasks
from hepcnn.config.tracking import TrackingConfig
from hepcnn.config.training import ModelConfig, SplitConfig, TrainingConfig, WeightsConfig
from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.records import StrictModel, parse_model, read_model

BaselineName = Literal["pixel_logistic", "substructure_tree", "energy_sum", "layer_sum", "shower_tree"]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


ENERGY_BASELINES = ("energy_sum", "layer_sum")
"""Baselines that only measure energies."""


class StudyConfig(StrictModel):
    """A whole study, from files to the report."""

    study: str = pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    results: str = "results"
    samples: dict[str, SampleConfig] = pydantic.Field(min_length=1)
    tasks: Tasks = ["identity"]
    generate: GenerateConfig = GenerateConfig()
    images: ImagesConfig = ImagesConfig()
    split: SplitConfig = SplitConfig()
    models: dict[str, ModelConfig] = pydantic.Field(min_length=1)
    baselines: list[BaselineName] = ["pixel_logistic", "substructure_tree"]
    seeds: list[int] = pydantic.Field(default=[1], min_length=1)
    ensembles: bool = False
    training: TrainingConfig = TrainingConfig()
    weights: WeightsConfig | None = None
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()
    bundle: BundleConfig = BundleConfig()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the samples; a class's number is its place here."""
        return tuple(self.samples)

    @pydantic.model_validator(mode="after")
    def _is_consistent(self) -> "StudyConfig":
        named = (("samples", self.samples), ("models", self.models), ("evaluation.others", self.evaluation.others))
        for kind, names in named:
            for name in names:
                if not NAME.fullmatch(name):
                    raise ValueError(f"{kind}.{name}: a name is letters, digits, '_', '-' and '.'")
        self._check_tasks()
        background = self.evaluation.background
        if background is not None and background not in self.samples:
            raise ValueError(f"evaluation.background: no class '{background}'{did_you_mean(background, self.samples)}")
        if self.evaluation.others and not self.evaluation.robustness:
            raise ValueError("evaluation.others: these are for evaluation.robustness, which is false")
        for name, other in self.evaluation.others.items():
            for label in other.files:
                if label not in self.samples:
                    raise ValueError(
                        f"evaluation.others.{name}.files: no class '{label}'{did_you_mean(label, self.samples)}"
                    )
            for label, sample in self.samples.items():
                if not sample.is_generated and label not in other.files:
                    raise ValueError(f"evaluation.others.{name}: no files of '{label}', which is not generated")
        if clash := set(self.models) & set(self.baselines):
            raise ValueError(f"models: the name '{clash.pop()}' is a baseline's")
        if self.ensembles and len(set(self.seeds)) < 2:
            raise ValueError(f"ensembles: the mean over seeds needs two at least, 'seeds' has {self.seeds}")
        for name in self.models:
            if self.ensembles and f"{name}_ensemble" in self.models:
                raise ValueError(f"models: the name '{name}_ensemble' is that of the ensemble of '{name}'")
        reference = self.weights.reference if self.weights else None
        if reference is not None and reference not in self.samples:
            raise ValueError(f"weights.reference: no class '{reference}'{did_you_mean(reference, self.samples)}")
        for name, model in self.models.items():
            training = self.training_of(name)
            if model.start_from is not None and model.start_from.head_epochs >= training.epochs:
                raise ValueError(
                    f"models.{name}.start_from.head_epochs: {model.start_from.head_epochs} of {training.epochs} epochs "
                    "leave none in which all learns"
                )
            for feature in training.jet_features:
                if feature not in self.images.jet_features:
                    raise ValueError(
                        f"training of model '{name}': jet feature '{feature}' is not among images.jet_features"
                    )
        return self

    def _check_tasks(self) -> None:
        if self.has_task("identity") and len(self.samples) < 2:
            raise ValueError("samples: two classes at least are needed to tell them apart (see tasks: [energy])")
        for name in self.models:
            self._check_tasks_of(name)
        if not self.has_task("energy"):
            if needless := [name for name in self.baselines if name in ENERGY_BASELINES]:
                raise ValueError(f"baselines: '{needless[0]}' measures energies: add 'energy' to tasks")
            return
        if "energy" not in self.images.truth:
            raise ValueError("images.truth: the task 'energy' learns from the true energy: add 'energy'")
        if "normalise" in self.images.preprocess:
            raise ValueError("images.preprocess: 'normalise' takes the energy away, which the task 'energy' needs")
        if not {"energy", "pt"} & set(self.images.channels):
            raise ValueError("images.channels: the task 'energy' needs 'energy' or 'pt'")

    def _check_tasks_of(self, name: str) -> None:
        tasks, stopping = self.tasks_of(name), self.training_of(name).early_stopping
        measured = {"identity": ("val_auc", "val_rejection"), "energy": ("val_resolution",)}
        for task, metrics in measured.items():
            if task not in tasks and stopping is not None and stopping.metric in metrics:
                raise ValueError(
                    f"training of model '{name}': early_stopping.metric '{stopping.metric}' needs the task '{task}'"
                )
        for key in ("control", "robustness"):
            if "identity" not in tasks and getattr(self.evaluation, key):
                raise ValueError(f"evaluation.{key}: model '{name}' tells no classes apart (see tasks)")

    def has_task(self, task: Task) -> bool:
        """Whether any of the study's models has a task."""
        return any(task in self.tasks_of(name) for name in self.models)

    def tasks_of(self, name: str) -> tuple[Task, ...]:
        """What one tagger learns: its own tasks, else the study's."""
        own = self.model_of(name).tasks
        return tuple(self.tasks if own is None else own)

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

    def with_training(self, name: str, **changed: Any) -> "StudyConfig":
        """The study with other values in the training of one tagger, checked."""
        model = self.model_of(name)
        models = self.models | {name: model.model_copy(update={"training": model.training | changed})}
        study = self.model_copy(update={"models": models})
        study.training_of(name)
        return study


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
