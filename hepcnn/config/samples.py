"""Where the jets come from: files, or the generator."""

from typing import Any, Literal

import pydantic

from hepcnn.records import StrictModel


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
    """The jets of one class: either made by a generator ``process``, or read from ``files`` by a ``schema``.

    With a ``label`` only the jets that it names belong to the class.
    """

    process: str | None = None
    n_jets: int | None = pydantic.Field(default=None, ge=1)
    files: list[str] = []
    schema_name: str | None = pydantic.Field(default=None, alias="schema")
    clustering: ClusteringConfig | None = None
    event_weight: bool = False
    label: LabelConfig | None = None

    @pydantic.model_validator(mode="after")
    def _has_one_source(self) -> "SampleConfig":
        if (self.process is None) == (not self.files):
            raise ValueError("name either a generator 'process' or 'files' with their 'schema'")
        if self.files and self.schema_name is None:
            raise ValueError("'files' need a 'schema' (see: hepcnn schemas)")
        if self.files and self.n_jets is not None:
            raise ValueError("'n_jets' is for generated samples; files are read whole")
        if self.label is not None and not self.files:
            raise ValueError("'label' is for 'files'; generated jets are all of one class")
        return self


class GenerateConfig(StrictModel):
    """What `hepcnn generate jets` is told: a named preset, what differs from it, jets per class, seed."""

    preset: str = "toptag-reference"
    settings: dict[str, Any] = {}
    n_jets: int = pydantic.Field(default=25_000, ge=1)
    seed: int = pydantic.Field(default=1, ge=0)
