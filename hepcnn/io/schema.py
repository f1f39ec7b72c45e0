"""File families as data: one YAML file in ``schemas/`` says where a family keeps its jets and their constituents."""

import os
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pydantic

from hepcnn.config import StrictModel, read_model
from hepcnn.errors import ConfigError, SchemaError, did_you_mean
from hepcnn.io.extra_rules import ExtraRule
from hepcnn.io.label_rules import LabelSource
from hepcnn.io.rules import (
    CellsLink,
    ClusterLink,
    EntryLink,
    Link,
    Name,
    OptionalColumn,
    SelfLink,
    choose_column,
    choose_columns,
    columns_of,
)
from hepcnn.io.source_rules import ConstituentSource

SCHEMA_FOLDER = Path(__file__).parent / "schemas"
GENERATED_SCHEMA = "hepcnn"
SHOWER_SCHEMA = "showers"
"""The families of what `hepcnn generate` writes: jets and showers."""


class JetBranches(StrictModel):
    """The branches that say where the jets are: (pt, eta, phi), or (px, py, pz)."""

    pt: OptionalColumn = None
    eta: OptionalColumn = None
    phi: OptionalColumn = None
    px: OptionalColumn = None
    py: OptionalColumn = None
    pz: OptionalColumn = None
    mass: OptionalColumn = None
    energy: OptionalColumn = None

    @pydantic.model_validator(mode="after")
    def _has_momentum(self) -> "JetBranches":
        polar, cartesian = (self.pt, self.eta, self.phi), (self.px, self.py, self.pz)
        if all(polar) == all(cartesian) or (any(polar) and any(cartesian)):
            raise ValueError("name either pt, eta and phi, or px, py and pz")
        return self


class JetCollection(StrictModel):
    """One kind of jets in a family, and how they own their constituents.

    Without ``jets``, a jet is the sum of its constituents. ``extra`` are numbers that come along with each jet and that
    images may keep as its truth: ``energy`` is that of the particle that made a shower; a file may lack them. ``grid``
    is that of ready-made images; ``geometry`` is the text in a ROOT file that describes the calorimeter whose cells the
    hits are in. ``empty`` says what becomes of jets without constituents: they are bad, left out and counted, or kept.
    ``block`` is how many entries are read at once.
    """

    title: str
    radius: float = pydantic.Field(default=1.0, gt=0)
    jets: JetBranches | None = None
    link: Link
    constituents: list[ConstituentSource] = []
    labels: dict[str, LabelSource] = {}
    extra: dict[str, ExtraRule] = {}
    grid: dict[str, Any] | None = None
    geometry: str | None = None
    empty: Literal["refuse", "drop", "keep"] = "refuse"
    block: int | None = pydantic.Field(default=None, ge=1)

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "JetCollection":
        is_cells = isinstance(self.link, CellsLink)
        if is_cells == bool(self.constituents):
            raise ValueError("constituents: at least one collection is needed, but none with the link 'cells'")
        free = isinstance(self.link, EntryLink | CellsLink | ClusterLink)
        if self.jets is None and not free:
            raise ValueError(f"jets: the link '{self.link.kind}' needs to know where the jets are")
        if self.jets is not None and isinstance(self.link, CellsLink | ClusterLink):
            raise ValueError(f"jets: with the link '{self.link.kind}' the file holds none")
        if isinstance(self.link, SelfLink) and not all(source.sampling for source in self.constituents):
            raise ValueError("link 'self' is for constituents with 'sampling'")
        hits = [source.is_shower for source in self.constituents]
        if any(hits) and not (all(hits) and isinstance(self.link, EntryLink) and self.jets is None):
            raise ValueError("hits of showers need the link 'entry', no jets, and no other kind of constituents")
        if self.geometry is not None and not (hits and all(source.cell for source in self.constituents)):
            raise ValueError("geometry: this is for hits with a cell")
        return self

    @property
    def is_shower(self) -> bool:
        """Whether an entry is a shower in cells, which has an energy but no direction."""
        return isinstance(self.link, CellsLink) or all(source.is_shower for source in self.constituents)

    @property
    def keeps_negative(self) -> bool:
        """Whether negative energies stay."""
        rules = [self.link] if isinstance(self.link, CellsLink) else self.constituents
        return any(rule.negative == "keep" for rule in rules)

    @property
    def is_entry(self) -> bool:
        """Whether an entry is one jet."""
        return isinstance(self.link, EntryLink | CellsLink)

    @property
    def columns(self) -> list[Name]:
        """The columns that reading these jets needs, each once; alternatives by their first.

        Labels, named features and extra numbers are not counted: a file may lack them.
        """
        sources = [source.model_copy(update={"features": {}}) for source in self.constituents]
        chosen = choose_columns(self.model_copy(update={"labels": {}, "extra": {}, "constituents": sources}), ())
        return list(dict.fromkeys(columns_of(chosen)))

    @property
    def features(self) -> tuple[str, ...]:
        """The named features that all collections of constituents offer."""
        offered = [source.features for source in self.constituents]
        return tuple(name for name in offered[0] if all(name in more for more in offered)) if offered else ()

    def with_features(self, names: Collection[str]) -> "JetCollection":
        """The same, but with these named features alone."""
        sources = [
            source.model_copy(update={"features": {name: source.features[name] for name in names}})
            for source in self.constituents
        ]
        return self.model_copy(update={"constituents": sources})


class Schema(StrictModel):
    """One file family.

    ``tree`` is the table of a ROOT file (TTree or RNTuple), of an HDF5 file (the group of a pandas table, or ``/``) or
    of an npz file (``/``); a list names alternatives. An ``energy_unit`` of none is that of images whose pixels hold no
    energies; ``length_unit`` is that of hits' places. ``event_weight`` is used where a reading asks for it.
    ``event_keys`` identify an event; so do ``optional_event_keys`` where the file has them. Without any the event is
    identified by its jets.
    """

    name: str
    title: str
    format: Literal["ROOT", "HDF5", "npz"] | tuple[Literal["ROOT", "HDF5", "npz"], ...] = "ROOT"
    tree: str | tuple[str, ...]
    energy_unit: Literal["GeV", "MeV", "none"] = "GeV"
    length_unit: Literal["mm", "cm", "m"] = "mm"
    event_keys: tuple[str | tuple[str, ...], ...] = ()
    optional_event_keys: tuple[str | tuple[str, ...], ...] = ()
    event_weight: OptionalColumn = None
    default: str
    collections: dict[str, JetCollection]

    @pydantic.model_validator(mode="after")
    def _default_exists(self) -> "Schema":
        if self.default not in self.collections:
            raise ValueError(f"default: no collection '{self.default}'{did_you_mean(self.default, self.collections)}")
        return self

    @property
    def trees(self) -> tuple[str, ...]:
        """The names that the table may have."""
        return (self.tree,) if isinstance(self.tree, str) else self.tree

    @property
    def formats(self) -> tuple[str, ...]:
        """The kinds of file that the family comes in."""
        return (self.format,) if isinstance(self.format, str) else self.format

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

    def keys(self, available: Collection[str]) -> list[str]:
        """The columns that identify an event, alternatives decided; of the optional ones those that are there."""
        optional = [str(choose_column(key, available)) for key in self.optional_event_keys]
        return [
            *(str(choose_column(key, available)) for key in self.event_keys),
            *(name for name in optional if name in available),
        ]


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
