"""How jets become images."""

import math
from typing import Literal

import pydantic

from hepcnn.grids import GridConfig, WindowGrid
from hepcnn.records import StrictModel


class GroomConfig(StrictModel):
    """Soft drop (arXiv:1402.2657): the softer branch must carry ``z_cut (DeltaR / R)^beta`` of the two."""

    z_cut: float = pydantic.Field(default=0.1, gt=0, lt=0.5)
    beta: float = 0.0


SelectionVariable = Literal["pt", "eta", "abs_eta", "mass", "n_constituents"]
Bounds = tuple[float | None, float | None]


class ImagesConfig(StrictModel):
    """How constituents become images, and of which jets.

    ``truth`` names numbers that a generator knew of each jet, like ``energy``, to be kept beside the images: some of
    what the family's schema calls ``extra``. ``select`` keeps jets whose variable is in ``[min, max)``, where a bound
    may be null. ``unclaimed`` says what becomes of jets whose label no class claims.
    """

    grid: GridConfig = WindowGrid()
    channels: list[str] = pydantic.Field(default=["pt", "ecal", "hcal", "track_pt", "multiplicity"], min_length=1)
    preprocess: list[str] = ["centre", "rotate", "flip", "normalise"]
    groom: GroomConfig = GroomConfig()
    jet_features: list[str] = ["pt", "mass", "n_constituents"]
    truth: list[str] = []
    skip_bad: bool = False
    select: dict[SelectionVariable, Bounds] = {}
    unclaimed: Literal["stop", "drop"] = "stop"

    @pydantic.field_validator("truth")
    @classmethod
    def _names_each_once(cls, truth: list[str]) -> list[str]:
        if len(set(truth)) < len(truth):
            raise ValueError(f"a name stands twice in {', '.join(truth)}")
        return truth

    @pydantic.field_validator("select")
    @classmethod
    def _selects_something(cls, select: dict[SelectionVariable, Bounds]) -> dict[SelectionVariable, Bounds]:
        for name, (low, high) in select.items():
            if any(bound is not None and not math.isfinite(bound) for bound in (low, high)):
                raise ValueError(f"{name}: bounds must be finite; null means none")
            if low is not None and high is not None and low >= high:
                raise ValueError(f"{name}: the lower bound {low:g} must be below the upper one {high:g}")
        return select
