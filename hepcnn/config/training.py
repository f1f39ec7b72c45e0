"""How networks are trained: splits, the loader, weights of jets, the loop."""

import itertools
import math
from typing import Any, Literal

import pydantic

from hepcnn.records import StrictModel


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
