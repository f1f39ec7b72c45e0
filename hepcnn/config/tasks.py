"""What networks learn: which particle a shower is, its energy, or both."""

from typing import Annotated, Literal

import pydantic

from hepcnn.records import StrictModel

Task = Literal["identity", "energy"]
IDENTITY: tuple[Task, ...] = ("identity",)


def order_tasks(tasks: list[Task]) -> list[Task]:
    """Tasks in the order of their outputs, each at most once."""
    if len(set(tasks)) < len(tasks):
        raise ValueError(f"a task stands twice in {', '.join(tasks)}")
    return sorted(tasks, reverse=True)


Tasks = Annotated[list[Task], pydantic.Field(min_length=1), pydantic.AfterValidator(order_tasks)]


class EnergyLossConfig(StrictModel):
    """The loss of the energy: `hepcnn.training.energy.energy_losses` gives it meaning.

    ``weight`` is its factor beside the loss of the identity; pulls beyond ``huber`` standard deviations count linearly.
    """

    weight: float = pydantic.Field(default=1.0, gt=0)
    huber: float = pydantic.Field(default=5.0, ge=1)
