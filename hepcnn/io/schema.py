"""File families as data: one YAML file in ``schemas/`` says where a family keeps its jets and their constituents.

There is no expression language: a schema names branches, and a rule is chosen from a fixed list.
"""

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from hepcnn.config import StrictModel, read_model
from hepcnn.errors import ConfigError, SchemaError, did_you_mean

SCHEMA_FOLDER = Path(__file__).parent / "schemas"


class EntryLink(StrictModel):
    """An entry of the tree is one jet; its constituents are the jagged branches."""

    kind: Literal["entry"]


class IndexLink(StrictModel):
    """A table of pairs (jet, constituent), each a position within the event."""

    kind: Literal["index"]
    jet: str
    constituent: str


class ReferenceLink(StrictModel):
    """ROOT references: each jet lists the unique ids of its constituents."""

    kind: Literal["reference"]
    references: str


class DistanceLink(StrictModel):
    """All constituents within ``radius`` of the jet axis, in (eta, phi)."""

    kind: Literal["distance"]


Link = Annotated[EntryLink | IndexLink | ReferenceLink | DistanceLink, pydantic.Field(discriminator="kind")]


class ParticleIdSplit(StrictModel):
    """Calorimeter energies estimated from the kind of particle, for files that hold no deposit per constituent.

    A constituent whose |PDG id| is in ``ecal`` counts with its whole energy as ECAL, one in ``hcal`` as HCAL, any other
    (muons) as neither.
    """

    pdg_id: str
    ecal: frozenset[int]
    hcal: frozenset[int]


class ConstituentSource(StrictModel):
    """Branches of one collection of constituents: momentum as (pt, eta, phi) or (px, py, pz), in the file's unit.

    Where neither ``energy`` nor ``mass`` is named the constituents are massless. ``weight`` scales momentum and energy
    (PUPPI). ``constant`` gives fields that the collection has not, like the charge of photons.
    """

    pt: str | None = None
    eta: str | None = None
    phi: str | None = None
    px: str | None = None
    py: str | None = None
    pz: str | None = None
    energy: str | None = None
    mass: str | None = None
    charge: str | None = None
    ecal: str | None = None
    hcal: str | None = None
    weight: str | None = None
    unique_id: str | None = None
    split: ParticleIdSplit | None = None
    constant: dict[Literal["charge", "ecal", "hcal"], float] = {}
    features: dict[str, str] = {}

    @pydantic.model_validator(mode="after")
    def _has_momentum(self) -> "ConstituentSource":
        polar, cartesian = (self.pt, self.eta, self.phi), (self.px, self.py, self.pz)
        if all(polar) == all(cartesian) or (any(polar) and any(cartesian)):
            raise ValueError("name either pt, eta and phi, or px, py and pz")
        return self

    @property
    def branches(self) -> list[str]:
        """The branches that are read."""
        names = (*(getattr(self, field) for field in _BRANCH_FIELDS), *self.features.values())
        return [name for name in names if name is not None] + ([self.split.pdg_id] if self.split else [])


_BRANCH_FIELDS = (
    "pt",
    "eta",
    "phi",
    "px",
    "py",
    "pz",
    "energy",
    "mass",
    "charge",
    "ecal",
    "hcal",
    "weight",
    "unique_id",
)


class JetBranches(StrictModel):
    """The four branches that say where the jets are."""

    pt: str
    eta: str
    phi: str
    mass: str | None = None
    energy: str | None = None

    @property
    def branches(self) -> list[str]:
        """The branches that are read."""
        return [name for name in (self.pt, self.eta, self.phi, self.mass, self.energy) if name is not None]


class JetCollection(StrictModel):
    """One kind of jets in a family, and how they own their constituents."""

    title: str
    radius: float = pydantic.Field(gt=0)
    jets: JetBranches
    link: Link
    constituents: list[ConstituentSource] = pydantic.Field(min_length=1)

    @property
    def branches(self) -> list[str]:
        """All branches that reading these jets needs, each once."""
        link = self.link
        linked = {"index": ["jet", "constituent"], "reference": ["references"]}.get(link.kind, [])
        names = [*self.jets.branches, *(getattr(link, field) for field in linked)]
        names += [name for source in self.constituents for name in source.branches]
        return list(dict.fromkeys(names))


class Schema(StrictModel):
    """One file family."""

    name: str
    title: str
    tree: str
    energy_unit: Literal["GeV", "MeV"] = "GeV"
    event_keys: list[str] = []
    default: str
    collections: dict[str, JetCollection]

    @pydantic.model_validator(mode="after")
    def _default_exists(self) -> "Schema":
        if self.default not in self.collections:
            raise ValueError(f"default: no collection '{self.default}'{did_you_mean(self.default, self.collections)}")
        return self

    def collection(self, name: str | None = None) -> JetCollection:
        """One collection of jets, by default the family's first choice.

        Raises
        ------
        SchemaError
            When there is none of this name.
        """
        name = name or self.default
        if name not in self.collections:
            raise SchemaError(f"schema '{self.name}' has no collection '{name}'{did_you_mean(name, self.collections)}")
        return self.collections[name]


def list_schemas() -> list[str]:
    """Names of the families that come with hepcnn, in alphabetical order."""
    return sorted(path.stem for path in SCHEMA_FOLDER.glob("*.yaml"))


@cache
def read_schema(name: str | os.PathLike[str]) -> Schema:
    """Read a schema by the name of a family or the path of a YAML file.

    Raises
    ------
    SchemaError
        When no family has this name, or the YAML does not fit; the message names the key.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else SCHEMA_FOLDER / f"{name}.yaml"
    if not path.exists():
        raise SchemaError(f"no schema '{name}'{did_you_mean(str(name), list_schemas())}")
    try:
        return read_model(Schema, path)
    except ConfigError as error:
        raise SchemaError(str(error)) from error


def parse_schema_name(text: str) -> tuple[str, str | None]:
    """Split ``family:collection`` into its two parts; the second is None where it is not named."""
    family, _, collection = text.partition(":")
    return family, collection or None
