"""What is read of a file: a reading names family and collection, a plan says which columns of which table."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from hepcnn.config import ClusteringConfig
from hepcnn.errors import SchemaError, did_you_mean
from hepcnn.io.extra_rules import ENERGY_UNITS, LENGTH_UNITS, ExtraRule
from hepcnn.io.label_rules import LabelSource, MatchLabel, names_of
from hepcnn.io.rules import CellsLink, ClusterLink, ColumnRange, Name, choose_column, choose_columns, columns_of
from hepcnn.io.schema import JetCollection, Schema, parse_schema_name, read_schema
from hepcnn.io.tables import Table, Tables, image_shape


@dataclass(frozen=True)
class Reading:
    """How a file is read.

    ``schema`` is ``family`` or ``family:collection``, see ``hepcnn schemas``. With ``clustering`` FastJet makes the
    jets of the collection's constituents, whatever jets the file has. With ``event_weight`` jets get the weight of
    their event, else 1. Of the named features only those in ``features`` are read, and of the numbers that come
    along with jets only those in ``extra``; None means all that the file has.
    """

    schema: str
    clustering: ClusteringConfig | None = None
    event_weight: bool = False
    features: tuple[str, ...] | None = None
    extra: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Plan:
    """A reading made concrete: which columns of which table, alternatives decided."""

    schema: Schema
    collection: JetCollection
    columns: list[Name]
    keys: list[str]
    weight: Name | None

    @property
    def unit(self) -> float:
        """GeV in the file's unit of energy."""
        return ENERGY_UNITS.get(self.schema.energy_unit, 1.0)

    @property
    def length(self) -> float:
        """mm in the file's unit of length."""
        return LENGTH_UNITS[self.schema.length_unit]

    @property
    def is_shower(self) -> bool:
        """Whether an entry is a shower whose cells hold energies."""
        return self.collection.is_shower and self.schema.energy_unit != "none"

    @property
    def all_columns(self) -> list[Name]:
        """Every column to be read, each once."""
        names = [*self.columns, *self.keys, *([self.weight] if self.weight is not None else [])]
        names += [column for source in self.collection.constituents for column in columns_of(source)]
        for told in (self.collection.labels, self.collection.extra):
            names += [name for part in told.values() for name in columns_of(part)]
        return list(dict.fromkeys(names))


def resolve_collection(reading: Reading | str) -> tuple[Schema, JetCollection]:
    """The schema and the collection that a reading names, with its clustering in place of the file's jets.

    Raises
    ------
    SchemaError
        When there is no such family or collection, or ready-made images should be clustered.
    """
    reading = Reading(reading) if isinstance(reading, str) else reading
    family, name = parse_schema_name(reading.schema)
    schema = read_schema(family)
    collection = schema.collection(name)
    if reading.clustering is None:
        return schema, collection
    if isinstance(collection.link, CellsLink):
        raise SchemaError(f"schema '{reading.schema}' holds ready-made images: there is nothing to cluster")
    link = ClusterLink.from_config(reading.clustering)
    # Labels of the file's jets say nothing of other jets; those of the event, or of particles near the axis, do.
    labels = {name: label for name, label in collection.labels.items() if not _is_of_jets(label, collection)}
    changes = {"link": link, "jets": None, "radius": reading.clustering.radius, "labels": labels}
    return schema, collection.model_copy(update=changes)


def _is_of_jets(label: LabelSource, collection: JetCollection) -> bool:
    return collection.jets is not None and not isinstance(label, MatchLabel)


def _is_there(column: Any, available: Collection[str]) -> bool:
    return isinstance(column, ColumnRange) or column in available


def _choose_features(reading: Reading, collection: JetCollection, available: Collection[str]) -> list[str]:
    if reading.features is None:
        return [
            name
            for name in collection.features
            if all(_is_there(source.features[name], available) for source in collection.constituents)
        ]
    for name in reading.features:
        if name not in collection.features:
            hint = did_you_mean(name, collection.features)
            raise SchemaError(f"schema '{reading.schema}' offers no feature '{name}' of its constituents{hint}")
    return list(reading.features)


def _choose_extra(reading: Reading, collection: JetCollection, available: Collection[str]) -> dict[str, ExtraRule]:
    if reading.extra is None:
        return {
            name: rule
            for name, rule in collection.extra.items()
            if all(_is_there(column, available) for column in columns_of(rule))
        }
    for name in reading.extra:
        if name not in collection.extra:
            hint = did_you_mean(name, collection.extra) or "; it offers none"
            raise SchemaError(f"schema '{reading.schema}' offers no truth '{name}' of its jets{hint}")
    return {name: collection.extra[name] for name in reading.extra}


def make_plan(path: str | os.PathLike[str], table: Table, reading: Reading) -> Plan:
    """Decide which columns of a table a reading needs.

    Raises
    ------
    SchemaError
        When a column is not there that is needed or asked for; the message names the nearest.
    """
    available = table.columns
    schema, collection = resolve_collection(reading)
    chosen = choose_columns(collection, available)
    chosen = chosen.with_features(_choose_features(reading, chosen, available))
    labels = {
        name: label for name, label in chosen.labels.items() if all(column in available for column in columns_of(label))
    }
    extra = _choose_extra(reading, chosen, available)
    chosen = chosen.model_copy(update={"labels": labels, "extra": extra})
    weight_column = None
    if reading.event_weight:
        if schema.event_weight is None:
            raise SchemaError(f"{path}: family '{schema.name}' knows no weight of events")
        weight_column = choose_column(schema.event_weight, available)
    plan = Plan(schema, chosen, chosen.columns, schema.keys(available), weight_column)
    table.check(plan.all_columns)
    if isinstance(chosen.link, CellsLink) and chosen.link.count is None and not chosen.link.binned:
        for column in chosen.link.columns:
            image_shape(available[str(column)], where=f"{path}: '{column}'")
    return plan


def find_table(file: Tables, schema: Schema) -> Table:
    """The table of a family in an open file; raises ``SchemaError`` where there is none."""
    names = file.names()
    return file.table(next((tree for tree in schema.trees if tree in names), schema.trees[0]))


def list_labels(reading: Reading | str) -> tuple[str, ...]:
    """The labels that a family offers; a file may lack some of them."""
    _, collection = resolve_collection(reading)
    return tuple(collection.labels)


def list_features(reading: Reading | str) -> tuple[str, ...]:
    """The named features of constituents that a family offers; a file may lack some of them."""
    return resolve_collection(reading)[1].features


def name_label_values(reading: Reading | str, label: str) -> dict[int, str]:
    """The names that values of a label have.

    Raises
    ------
    SchemaError
        When the family offers no such label.
    """
    _, collection = resolve_collection(reading)
    if label not in collection.labels:
        raise SchemaError(f"schema '{reading}' offers no label '{label}'{did_you_mean(label, collection.labels)}")
    return names_of(collection.labels[label])


def jet_radius(reading: Reading | str) -> float:
    """The radius of a collection's jets."""
    return resolve_collection(reading)[1].radius


def list_truth(reading: Reading | str) -> tuple[str, ...]:
    """The names of what a family's generator knew of each jet; a file may lack some of it."""
    return tuple(resolve_collection(reading)[1].extra)
