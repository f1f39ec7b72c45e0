"""How networks are trained: splits, the loader, weights of jets, the loop."""

import itertools
import math
from typing import Annotated, Any, Literal

import pydantic

from hepcnn.config.recipes import AugmentConfig, LossConfig, SearchSpace, StartConfig
from hepcnn.config.tasks import Tasks
from hepcnn.records import StrictModel


class FilesOfSplits(StrictModel):
    """Which files train, validate and test: names, paths, or patterns with ``*``."""

    train: list[str] = pydantic.Field(min_length=1)
    val: list[str] = pydantic.Field(min_length=1)
    test: list[str] = pydantic.Field(min_length=1)


class SplitConfig(StrictModel):
    """Fractions of the events; the hash of an event decides, so more files move no jet between splits.

    With ``by_file`` the files decide instead, for samples that come with an official split. ``max_jets`` keeps at most
    so many jets of each class in each split, for a trial.
    """

    train: float = pydantic.Field(default=0.6, gt=0, lt=1)
    val: float = pydantic.Field(default=0.15, gt=0, lt=1)
    test: float = pydantic.Field(default=0.25, gt=0, lt=1)
    seed: int = 0
    by_file: FilesOfSplits | None = None
    max_jets: int | None = pydantic.Field(default=None, ge=1)

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


class EarlyStoppingConfig(StrictModel):
    """End a training when a number measured on the validation jets has not improved for ``patience`` epochs."""

    metric: Literal["val_auc", "val_rejection", "val_resolution", "val_loss", "train_loss"] = "val_auc"
    patience: int = pydantic.Field(default=5, ge=1)
    min_delta: float = pydantic.Field(default=0.0, ge=0)
    mode: Literal["auto", "max", "min"] = "auto"

    @property
    def sign(self) -> int:
        """1 where larger is better, else -1; by default losses and resolutions shall be small and all else large."""
        smaller = self.metric.endswith(("loss", "resolution")) if self.mode == "auto" else self.mode == "min"
        return -1 if smaller else 1


Precision = Literal["auto", "fp32", "bf16", "fp16", "32-true", "bf16-mixed", "16-mixed"]
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
"""What Lightning Fabric calls them; its own names may be given too."""


def _check_batch_size(value: Any) -> Any:
    if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError("expected a number of jets, at least 1, or 'auto'")
    return value


class TrainingConfig(StrictModel):
    """How a network is trained; docs/training.md explains it.

    ``batch_size`` jets make one step of the optimiser, over all processes and in as many parts as ``accumulate`` says.
    0 switches ``clip_norm`` and ``ema`` off. ``processes`` train together, on so many ``nodes``.
    """

    epochs: int = pydantic.Field(default=4, ge=1)
    batch_size: Annotated[int | Literal["auto"], pydantic.BeforeValidator(_check_batch_size)] = 256
    accumulate: int = pydantic.Field(default=1, ge=1)
    optimizer: Literal["adamw", "sgd", "lion"] = "adamw"
    learning_rate: float = pydantic.Field(default=3e-3, gt=0)
    weight_decay: float = pydantic.Field(default=0.01, ge=0)
    momentum: float = pydantic.Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup: float = pydantic.Field(default=0.2, ge=0, lt=1)
    clip_norm: float = pydantic.Field(default=1.0, ge=0)
    ema: float = pydantic.Field(default=0.0, ge=0, lt=1)
    early_stopping: EarlyStoppingConfig | None = None
    keep_best: bool = False
    power: float = pydantic.Field(default=0.5, gt=0, le=1)
    jet_features: list[str] = ["pt", "mass", "n_constituents"]
    precision: Precision = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    channels_last: bool = True
    compile: bool = False
    processes: int = pydantic.Field(default=1, ge=1)
    nodes: int = pydantic.Field(default=1, ge=1)
    checkpoint_minutes: float = pydantic.Field(default=10.0, gt=0)
    checkpoint_steps: int | None = pydantic.Field(default=None, ge=1)
    loader: LoaderConfig = LoaderConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "TrainingConfig":
        if self.optimizer == "sgd" and self.nesterov and self.momentum == 0:
            raise ValueError("'nesterov' needs a 'momentum' above 0")
        if self.processes % self.nodes:
            raise ValueError(f"{self.processes} 'processes' cannot be shared evenly by {self.nodes} 'nodes'")
        return self

    def describe_result(self) -> dict[str, Any]:
        """The values that decide which weights a training ends with."""
        found = self.model_dump(exclude={"loader", "checkpoint_minutes", "checkpoint_steps", "processes", "nodes"})
        # As it was before there was this task, so that trainings of then are still known.
        if self.loss.energy == LossConfig().energy:
            del found["loss"]["energy"]
        return found


class ModelConfig(StrictModel):
    """One tagger of a study: which network, its options, its tasks where they are not the study's, where its training
    differs, and what it starts from.

    ``search`` says which values `hepcnn tune` tries; a training does not look at it.
    """

    network: str | None = None
    options: dict[str, Any] = {}
    tasks: Tasks | None = None
    training: dict[str, Any] = {}
    start_from: StartConfig | None = None
    search: SearchSpace = {}
