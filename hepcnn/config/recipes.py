"""What a training may be given beside its plain recipe: another loss, augmentation, a start, a search."""

from typing import Literal

import pydantic

from hepcnn.records import StrictModel


class LossConfig(StrictModel):
    """What is minimised: `hepcnn.training.losses.make_loss` gives it meaning.

    ``gamma`` is that of the focal loss; ``class_weights`` are factors by class, 1 where none is named; ``disco`` is the
    strength of the penalty that keeps the scores of background jets from following their mass.
    """

    kind: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: float = pydantic.Field(default=2.0, ge=0)
    label_smoothing: float = pydantic.Field(default=0.0, ge=0, lt=1)
    class_weights: dict[str, pydantic.NonNegativeFloat] = {}
    disco: float = pydantic.Field(default=0.0, ge=0)

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "LossConfig":
        if self.kind != "focal" and "gamma" in self.model_fields_set and self.gamma != 2.0:
            raise ValueError("'gamma' belongs to the focal loss: say kind: focal")
        return self
