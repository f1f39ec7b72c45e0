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


Negative = Literal["refuse", "drop", "keep"]
"""What becomes of negative energies, which calorimeter noise makes: the jet is bad, they are left out, or they stay."""


class CellsLink(StrictModel):
    """An entry is a ready-made image: ``values`` holds its pixels or voxels, ``count`` of them where that is known.

    A calorimeter whose layers are columns of their own has ``layers`` by name instead, in the order of its cells. Where
    ``binned`` the file does not say where its cells are: a config's grid does.
    """

    kind: Literal["cells"]
    values: OptionalColumn = None
    layers: NamedColumns = {}
    count: int | None = None
    binned: bool = False
    negative: Negative = "refuse"

    @pydantic.model_validator(mode="after")
    def _has_cells(self) -> "CellsLink":
        if (self.values is None) == (not self.layers):
            raise ValueError("name either 'values' or 'layers'")
        return self

    @property
    def columns(self) -> list[Any]:
        """The columns that hold cells, in their order."""
        return [self.values] if self.values is not None else list(self.layers.values())


Link = Annotated[
    EntryLink | IndexLink | ReferenceLink | RangeLink | DistanceLink | SelfLink | ClusterLink | CellsLink,
    pydantic.Field(discriminator="kind"),
]


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
