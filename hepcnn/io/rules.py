"""The rules a schema chooses from: how columns are named, and how jets own constituents. No expression language.

A column is a name; a list of names, of which the first that the file has is taken (formats rename their branches from
one year to the next); or a range of the columns of an HDF5 table.
"""

from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal, TypeVar

import pydantic

from hepcnn.config import ClusteringConfig, StrictModel


class ColumnRange(StrictModel):
    """Columns ``first, first + step, …``, ``count`` of them, of a table of numbers, side by side."""

    first: int = pydantic.Field(default=0, ge=0)
    step: int = pydantic.Field(default=1, ge=1)
    count: int = pydantic.Field(default=1, ge=1)

    def __str__(self) -> str:
        return f"columns {self.first}, {self.first + self.step}, … ({self.count})"


Name = str | ColumnRange
"""One column of a file, once alternatives are decided."""
_IS_COLUMN = "column"
Column = Annotated[str | tuple[str, ...] | ColumnRange, _IS_COLUMN]
OptionalColumn = Annotated[str | tuple[str, ...] | ColumnRange | None, _IS_COLUMN]
NamedColumns = Annotated[dict[str, str | tuple[str, ...] | ColumnRange], _IS_COLUMN]


class EntryLink(StrictModel):
    """An entry of the tree is one jet (or one whole event, or one shower), with all its constituents."""

    kind: Literal["entry"]


class IndexLink(StrictModel):
    """A table of pairs (jet, constituent), each a position within the event."""

    kind: Literal["index"]
    jet: Column
    constituent: Column


class ReferenceLink(StrictModel):
    """ROOT references: each jet lists the unique ids of its constituents."""

    kind: Literal["reference"]
    references: Column


class RangeLink(StrictModel):
    """Each jet holds the positions ``index[begin:end]`` of its event; podio's one-to-many relations.

    ``collection``, which numbers the collection that each position is about, must not vary.
    """

    kind: Literal["range"]
    begin: Column
    end: Column
    index: Column
    collection: OptionalColumn = None


class DistanceLink(StrictModel):
    """All constituents within ``radius`` of the jet axis, in (eta, phi)."""

    kind: Literal["distance"]


class SelfLink(StrictModel):
    """A jet is its own constituent, to be split by calorimeter sampling."""

    kind: Literal["self"]


class ClusterLink(StrictModel):
    """Events without jets: FastJet makes them; ``algorithm``, ``pt_min`` (GeV) and more as in a config."""

    kind: Literal["cluster"]
    algorithm: Literal["antikt", "cambridge", "kt"] = "antikt"
    pt_min: float = pydantic.Field(default=20.0, ge=0)
    eta_max: float | None = pydantic.Field(default=None, gt=0)
    leading: int | None = pydantic.Field(default=None, ge=1)

    @classmethod
    def from_config(cls, config: ClusteringConfig) -> "ClusterLink":
        """The same settings as a config has, but for the radius."""
        return cls(kind="cluster", **config.model_dump(exclude={"radius"}))


class CellsLink(StrictModel):
    """An entry is a ready-made image: ``values`` holds its pixels or voxels, ``count`` of them where that is known."""

    kind: Literal["cells"]
    values: Column
    count: int | None = None


Link = Annotated[
    EntryLink | IndexLink | ReferenceLink | RangeLink | DistanceLink | SelfLink | ClusterLink | CellsLink,
    pydantic.Field(discriminator="kind"),
]


class ParticleIdSplit(StrictModel):
    """Calorimeter energies estimated from the kind of particle, for files that hold no deposit per constituent.

    A constituent whose |PDG id| is in ``ecal`` counts with its whole energy as ECAL, one in ``hcal`` as HCAL, any other
    (muons) as neither. One in ``charged`` has a charge of 1: the sign of its id, the opposite for leptons.
    """

    pdg_id: Column
    ecal: frozenset[int]
    hcal: frozenset[int]
    charged: frozenset[int] = frozenset()


class SamplingSplit(StrictModel):
    """Energy per calorimeter sampling: a list in each constituent, which becomes one constituent a sampling.

    The sampling's number is the place in the list or, where the list holds only some samplings, that of the bit in
    ``pattern``, from the lowest. The energy of samplings in ``ecal`` is ECAL energy, of those in ``hcal`` HCAL energy.
    """

    energy: Column
    pattern: OptionalColumn = None
    ecal: frozenset[int] = frozenset()
    hcal: frozenset[int] = frozenset()


class ConstituentSource(StrictModel):
    """Branches of one collection of constituents, in the file's unit.

    The momentum is given as (pt, eta, phi); as (px, py, pz); as (energy, eta, phi); or, for hits, as a position
    (x, y, z) and an energy. Where neither ``energy`` nor ``mass`` is named the constituents are massless. ``weight``
    scales momentum and energy (PUPPI). ``constant`` gives fields that the collection has not, like the charge of
    photons. ``negative: drop`` leaves out constituents of negative energy, which calorimeter noise makes. ``features``
    are further numbers by name; a file may lack them.
    """

    pt: OptionalColumn = None
    eta: OptionalColumn = None
    phi: OptionalColumn = None
    px: OptionalColumn = None
    py: OptionalColumn = None
    pz: OptionalColumn = None
    x: OptionalColumn = None
    y: OptionalColumn = None
    z: OptionalColumn = None
    energy: OptionalColumn = None
    mass: OptionalColumn = None
    charge: OptionalColumn = None
    ecal: OptionalColumn = None
    hcal: OptionalColumn = None
    layer: OptionalColumn = None
    weight: OptionalColumn = None
    unique_id: OptionalColumn = None
    split: ParticleIdSplit | None = None
    sampling: SamplingSplit | None = None
    constant: dict[Literal["charge", "ecal", "hcal"], float] = {}
    features: NamedColumns = {}
    negative: Literal["refuse", "drop"] = "refuse"

    @pydantic.model_validator(mode="after")
    def _has_momentum(self) -> "ConstituentSource":
        polar, cartesian, position = (self.eta, self.phi), (self.px, self.py, self.pz), (self.x, self.y, self.z)
        given = [all(form) for form in (polar, cartesian, position)]
        touched = [any(form) for form in (polar, cartesian, position)]
        has_size = self.pt is not None or self.energy is not None
        if sum(given) != 1 or given != touched or (not given[1] and not has_size) or (given[1] and self.pt is not None):
            raise ValueError("name eta and phi with pt or energy; or px, py and pz; or x, y and z with energy")
        if given[2] and self.energy is None:
            raise ValueError("hits at x, y and z need their energy")
        return self


class ExtraColumn(StrictModel):
    """A number of each jet, or of each entry, that comes along with it.

    An energy is converted to GeV; of others ``unit`` says what they are in, for titles.
    """

    column: Column
    is_energy: bool = False
    unit: str = ""


Model = TypeVar("Model", bound=StrictModel)


def columns_of(model: StrictModel) -> Iterator[Any]:
    """All columns that a part of a schema names, alternatives undecided."""
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if _IS_COLUMN in info.metadata:
            yield from value.values() if isinstance(value, dict) else [] if value is None else [value]
        else:
            for part in _parts(value):
                yield from columns_of(part)


def choose_columns(model: Model, available: Collection[str]) -> Model:
    """Decide alternatives: the first name that is available, or the first at all."""
    changed: dict[str, Any] = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if _IS_COLUMN in info.metadata:
            if isinstance(value, dict):
                changed[name] = {key: choose_column(column, available) for key, column in value.items()}
            elif value is not None:
                changed[name] = choose_column(value, available)
        elif isinstance(value, StrictModel):
            changed[name] = choose_columns(value, available)
        elif isinstance(value, list):
            changed[name] = [choose_columns(v, available) if isinstance(v, StrictModel) else v for v in value]
        elif isinstance(value, dict):
            changed[name] = {
                k: choose_columns(v, available) if isinstance(v, StrictModel) else v for k, v in value.items()
            }
    return model.model_copy(update=changed)


def choose_column(column: Any, available: Collection[str]) -> Name:
    """The first of some alternatives that is available, or the first at all."""
    if isinstance(column, str | ColumnRange):
        return column
    names: tuple[str, ...] = column
    return next((name for name in names if name in available), names[0])


def _parts(value: Any) -> Iterator[StrictModel]:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    yield from (part for part in values if isinstance(part, StrictModel))
