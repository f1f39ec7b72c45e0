"""What a training may be given beside its plain recipe: another loss, augmentation, a start, a search."""

import math
from typing import Annotated, Any, Literal

import pydantic

from hepcnn.config.tasks import EnergyLossConfig
from hepcnn.records import StrictModel


class LossConfig(StrictModel):
    """What is minimised: `hepcnn.training.losses.make_loss` gives it meaning.

    ``gamma`` is that of the focal loss; ``class_weights`` are factors by class, 1 where none is named; ``disco`` is the
    strength of the penalty that keeps the scores of background jets from following their mass. ``energy`` is the
    loss of the task of that name.
    """

    kind: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: float = pydantic.Field(default=2.0, ge=0)
    label_smoothing: float = pydantic.Field(default=0.0, ge=0, lt=1)
    class_weights: dict[str, pydantic.NonNegativeFloat] = {}
    disco: float = pydantic.Field(default=0.0, ge=0)
    energy: EnergyLossConfig = EnergyLossConfig()

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "LossConfig":
        if self.kind != "focal" and "gamma" in self.model_fields_set and self.gamma != 2.0:
            raise ValueError("'gamma' belongs to the focal loss: say kind: focal")
        return self


class NoiseConfig(StrictModel):
    """Soft deposits that are no jet's: how likely one is in a pixel, and their mean transverse energy in GeV."""

    probability: float = pydantic.Field(gt=0, le=1)
    energy: float = pydantic.Field(gt=0)


class AugmentConfig(StrictModel):
    """How training images are changed at random, each time they are seen: `hepcnn.training.augment` gives it meaning.

    ``flip`` names axes; ``rotate`` is the largest angle in radians, ``shift`` the largest distance in pixels; ``smear``
    is the ``a`` of ``sigma(E) / E = a / sqrt(E / GeV)``; ``drop`` is the probability that a pixel is lost.
    """

    flip: list[str] = []
    rotate: float = pydantic.Field(default=0.0, ge=0, le=3.1416)
    shift: float = pydantic.Field(default=0.0, ge=0)
    smear: float = pydantic.Field(default=0.0, ge=0)
    drop: float = pydantic.Field(default=0.0, ge=0, lt=1)
    noise: NoiseConfig | None = None


class StartConfig(StrictModel):
    """Weights that a training starts from instead of random ones: those of a ``bundle``, or of a ``weights`` file.

    ``head`` is kept or replaced; ``freeze`` fixes so many stages from the input on, or the whole ``trunk``;
    ``head_epochs`` train the head alone before all; a stage learns ``layer_decay`` times as fast as the one after it.
    """

    bundle: str | None = None
    weights: str | None = None
    head: Literal["keep", "replace"] = "keep"
    freeze: pydantic.NonNegativeInt | Literal["trunk"] = 0
    head_epochs: int = pydantic.Field(default=0, ge=0)
    layer_decay: float = pydantic.Field(default=1.0, gt=0, le=1)

    @pydantic.model_validator(mode="after")
    def _has_one_source(self) -> "StartConfig":
        if (self.bundle is None) == (self.weights is None):
            raise ValueError("name either a 'bundle' (a folder) or a 'weights' file (safetensors)")
        if self.freeze == "trunk" and self.head_epochs:
            raise ValueError("with freeze: trunk the head learns alone in all epochs: leave 'head_epochs' out")
        return self


class RangeConfig(StrictModel):
    """Values that a search may try: from ``low`` to ``high``, whole numbers if both are whole, or some ``choices``."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choices: list[Any] | None = None

    @pydantic.model_validator(mode="after")
    def _is_one_kind(self) -> "RangeConfig":
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("give either 'low' and 'high', or 'choices'")
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("'choices' stand alone, without 'low', 'high' and 'log'")
            if len(self.choices) < 2:
                raise ValueError("'choices' must be two at least")
        elif self.low is not None and self.high is not None:
            if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
                raise ValueError(f"'low' must be below 'high', and both finite, got {self.low:g} and {self.high:g}")
            if self.log and self.low <= 0:
                raise ValueError(f"a logarithmic range begins above 0, got {self.low:g}")
        return self


def check_search(search: dict[str, RangeConfig]) -> dict[str, RangeConfig]:
    """Check that every key of a search says what of a tagger it is: ``training.…`` or ``options.…``."""
    for key in search:
        section, _, rest = key.partition(".")
        if section not in ("training", "options") or not rest or "" in rest.split("."):
            raise ValueError(f"{key}: expected training.KEY or options.NAME, as in training.learning_rate")
    return search


SearchSpace = Annotated[dict[str, RangeConfig], pydantic.AfterValidator(check_search)]
