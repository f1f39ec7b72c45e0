"""What a schema may say of further numbers of each jet, which images may keep as its truth."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from hepcnn.config import StrictModel
from hepcnn.io.rules import Column, OptionalColumn

ENERGY_UNITS: Mapping[str, float] = {"GeV": 1.0, "MeV": 1e-3}
LENGTH_UNITS: Mapping[str, float] = {"mm": 1.0, "cm": 10.0, "m": 1000.0}


class ExtraColumn(StrictModel):
    """A number of each jet, or of each entry, that comes along with it.

    An energy is converted to GeV, from the family's unit of energy or from its own ``unit``; of other numbers ``unit``
    says what they are in, for titles.
    """

    column: Column
    is_energy: bool = False
    unit: str = ""

    def scale(self, unit: float) -> float:
        """What to multiply the number by; ``unit`` is GeV in the family's unit of energy."""
        return ENERGY_UNITS.get(self.unit, unit if self.is_energy else 1.0)

    @property
    def given_in(self) -> str:
        """What the number is in when it was read."""
        return "GeV" if self.is_energy or self.unit in ENERGY_UNITS else self.unit


class ExtraObject(StrictModel):
    """A number of a generated object: of the ``first`` in each entry, or of the ``nearest`` to the jet's axis.

    The momentum is given as (pt, eta, phi) or as (px, py, pz), with a ``mass`` or none. The nearest must be within
    ``radius`` in (eta, phi). The number is NaN where there is no such object. theta and phi are the momentum's angles.
    """

    pick: Literal["first", "nearest"]
    take: Literal["energy", "pt", "mass", "theta", "phi"]
    pt: OptionalColumn = None
    eta: OptionalColumn = None
    phi: OptionalColumn = None
    px: OptionalColumn = None
    py: OptionalColumn = None
    pz: OptionalColumn = None
    mass: OptionalColumn = None
    radius: float = pydantic.Field(default=0.3, gt=0)

    @pydantic.model_validator(mode="after")
    def _has_momentum(self) -> "ExtraObject":
        polar, cartesian = (self.pt, self.eta, self.phi), (self.px, self.py, self.pz)
        if all(polar) == all(cartesian) or (any(polar) and any(cartesian)):
            raise ValueError("name either pt, eta and phi, or px, py and pz, of the objects")
        return self

    @property
    def given_in(self) -> str:
        """What the number is in when it was read."""
        return "rad" if self.take in ("theta", "phi") else "GeV"


def _kind(value: Any) -> str:
    keys = set(value) if isinstance(value, dict) else set(getattr(type(value), "model_fields", ()))
    return "object" if "pick" in keys else "column"


ExtraRule = Annotated[
    Annotated[ExtraColumn, pydantic.Tag("column")] | Annotated[ExtraObject, pydantic.Tag("object")],
    pydantic.Discriminator(_kind),
]
