"""What calorimeters are made of: PDG's numbers by material, and what follows from them in millimetres."""

import math
from functools import cache
from pathlib import Path
from typing import Annotated

import pydantic

from hepcnn.records import StrictModel, parse_model, read_yaml

Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
SCALE_ENERGY_MEV = math.sqrt(4 * math.pi / (1 / 137.035999)) * 0.51099895
"""Multiple scattering's energy, 21.2 MeV: sqrt(4 pi / alpha) m_e c² (PDG, passage of particles through matter)."""


class Material(StrictModel):
    """A material as PDG tabulates it.

    ``density`` in g/cm3; ``radiation_length`` and the nuclear ``interaction_length`` in g/cm2; ``critical_energy`` of
    electrons and ``min_ionisation`` in MeV and MeV cm2/g. ``z`` and ``a`` of a compound are means by mass.
    """

    density: Positive
    z: Positive
    a: Positive
    radiation_length: Positive
    interaction_length: Positive
    critical_energy: Positive
    min_ionisation: Positive

    @property
    def x0(self) -> float:
        """Radiation length in mm."""
        return 10 * self.radiation_length / self.density

    @property
    def lambda_int(self) -> float:
        """Nuclear interaction length in mm."""
        return 10 * self.interaction_length / self.density

    @property
    def moliere_radius(self) -> float:
        """Moliere radius in mm, X0 E_s / E_c."""
        return self.x0 * SCALE_ENERGY_MEV / self.critical_energy

    @property
    def energy_loss(self) -> float:
        """What a minimum ionising particle leaves, in MeV/mm."""
        return self.min_ionisation * self.density / 10


@cache
def read_materials() -> dict[str, Material]:
    """The materials that come with hepcnn, by name."""
    path = Path(__file__).parent / "materials.yaml"
    return {name: parse_model(Material, entry, where=f"{path}: {name}") for name, entry in read_yaml(path).items()}
