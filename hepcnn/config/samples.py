"""Where the jets come from: files, or the generator."""

from typing import Any, Literal

import pydantic

from hepcnn.records import StrictModel

LEAST_ENERGY, MOST_ENERGY = 0.5, 10_000.0
"""Of the particles that make showers, in GeV: what the parametrisation is made for, and somewhat more."""


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
    """The jets or showers of one class: made by a generator, or read from ``files`` by a ``schema``.

    Jets are made by a ``process``, showers of a ``particle``. With a ``label`` only the jets that it names belong to
    the class.
    """

    process: str | None = None
    n_jets: int | None = pydantic.Field(default=None, ge=1)
    particle: str | None = None
    n_showers: int | None = pydantic.Field(default=None, ge=1)
    files: list[str] = []
    schema_name: str | None = pydantic.Field(default=None, alias="schema")
    clustering: ClusteringConfig | None = None
    event_weight: bool = False
    label: LabelConfig | None = None

    @pydantic.model_validator(mode="after")
    def _has_one_source(self) -> "SampleConfig":
        if sum(bool(source) for source in (self.process, self.particle, self.files)) != 1:
            raise ValueError(
                "name one of a generator 'process', a 'particle' of showers, or 'files' with their 'schema'"
            )
        if self.files and self.schema_name is None:
            raise ValueError("'files' need a 'schema' (see: hepcnn schemas)")
        if self.n_jets is not None and self.process is None:
            raise ValueError("'n_jets' is for jets of a 'process'; files are read whole")
        if self.n_showers is not None and self.particle is None:
            raise ValueError("'n_showers' is for showers of a 'particle'")
        if self.label is not None and not self.files:
            raise ValueError("'label' is for 'files'; generated jets are all of one class")
        return self

    @property
    def is_generated(self) -> bool:
        """Whether hepcnn makes it, rather than reads the user's files."""
        return not self.files


class ShowersConfig(StrictModel):
    """What `hepcnn generate showers` is told: a detector by name or file, and how particles arrive at its face.

    ``energy`` has the bounds in GeV between which total energies are uniform in their logarithm. ``max_angle`` bounds
    the angle to the face's normal in radians, uniform in solid angle; ``spread`` is the radius in mm of the disc on the
    face in which particles arrive. ``n_showers`` is for each class.
    """

    detector: str = "sampling45"
    energy: tuple[float, float] = (1.0, 1000.0)
    max_angle: float = pydantic.Field(default=0.1, ge=0, le=0.8)
    spread: float = pydantic.Field(default=10.0, ge=0, le=1e4)
    n_showers: int = pydantic.Field(default=10_000, ge=1)

    @pydantic.field_validator("energy")
    @classmethod
    def _are_a_range(cls, energy: tuple[float, float]) -> tuple[float, float]:
        low, high = energy
        if not LEAST_ENERGY <= low <= high <= MOST_ENERGY:
            raise ValueError(
                f"expected two rising energies from {LEAST_ENERGY:g} to {MOST_ENERGY:g} GeV, found {low:g} and {high:g}"
            )
        return energy


class GenerateConfig(StrictModel):
    """What `hepcnn generate` is told: for jets a preset, what differs from it and how many a class; a seed; showers."""

    preset: str = "toptag-reference"
    settings: dict[str, Any] = {}
    n_jets: int = pydantic.Field(default=25_000, ge=1)
    seed: int = pydantic.Field(default=1, ge=0)
    showers: ShowersConfig = ShowersConfig()
