"""Files → ragged constituents: every family comes out alike, in GeV and radians, in the file's order."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hepcnn.config import ClusteringConfig
from hepcnn.errors import InputError, SchemaError, did_you_mean
from hepcnn.io.assemble import make_batch
from hepcnn.io.batch import JetBatch
from hepcnn.io.columns import Block
from hepcnn.io.heads import sha256_of
from hepcnn.io.label_rules import LabelSource, MatchLabel, names_of
from hepcnn.io.rules import CellsLink, ClusterLink, ColumnRange, Name, choose_column, choose_columns, columns_of
from hepcnn.io.schema import JetCollection, Schema, parse_schema_name, read_schema
from hepcnn.io.tables import Table, Tables, count_numbers, format_of, image_shape, open_tables

__all__ = ["JetBatch", "Reading", "iterate_jets", "plan_jets", "sha256_of"]
UNITS = {"GeV": 1.0, "MeV": 1e-3}
ENTRIES_A_BLOCK, EVENTS_A_BLOCK, CELLS_A_BLOCK = 20_000, 500, 8_000_000
LONGEST_CLUSTER = 5
"""A cluster of baskets up to so many blocks long is read at once: a basket read in parts is decompressed for each."""


@dataclass(frozen=True)
class Reading:
    """How a file is read.

    ``schema`` is ``family`` or ``family:collection``, see ``hepcnn schemas``. With ``clustering`` FastJet makes the
    jets of the collection's constituents, whatever jets the file has. With ``event_weight`` jets get the weight of
    their event, else 1. Of the named features only those in ``features`` are read; None means all that the file has.
    """

    schema: str
    clustering: ClusteringConfig | None = None
    event_weight: bool = False
    features: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Plan:
    """A reading made concrete: which columns of which table, alternatives decided."""

    schema: Schema
    collection: JetCollection
    columns: list[Name]
    keys: list[str]
    weight: Name | None

    @property
    def unit(self) -> float:
        return UNITS[self.schema.energy_unit]

    @property
    def all_columns(self) -> list[Name]:
        names = [*self.columns, *self.keys, *([self.weight] if self.weight is not None else [])]
        names += [column for source in self.collection.constituents for column in columns_of(source)]
        names += [name for label in self.collection.labels.values() for name in columns_of(label)]
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


def _plan(path: str | os.PathLike[str], table: Table, reading: Reading) -> _Plan:
    available = table.columns
    schema, collection = resolve_collection(reading)
    chosen = choose_columns(collection, available)
    chosen = chosen.with_features(_choose_features(reading, chosen, available))
    labels = {
        name: label for name, label in chosen.labels.items() if all(column in available for column in columns_of(label))
    }
    chosen = chosen.model_copy(update={"labels": labels})
    weight_column = None
    if reading.event_weight:
        if schema.event_weight is None:
            raise SchemaError(f"{path}: family '{schema.name}' knows no weight of events")
        weight_column = choose_column(schema.event_weight, available)
    plan = _Plan(schema, chosen, chosen.columns, schema.keys(available), weight_column)
    table.check(plan.all_columns)
    if isinstance(chosen.link, CellsLink) and chosen.link.count is None:
        image_shape(available[str(chosen.link.values)], where=f"{path}: '{chosen.link.values}'")
    return plan


def find_table(file: Tables, schema: Schema) -> Table:
    """The table of a family in an open file; raises ``SchemaError`` where there is none."""
    names = file.names()
    return file.table(next((tree for tree in schema.trees if tree in names), schema.trees[0]))


@contextmanager
def _opened(path: str | os.PathLike[str], reading: Reading | str) -> Iterator[tuple[Table, _Plan]]:
    reading = Reading(reading) if isinstance(reading, str) else reading
    schema, _ = resolve_collection(reading)
    found = format_of(path)
    if found not in schema.formats:
        raise InputError(f"{path}: schema '{schema.name}' is for {' or '.join(schema.formats)} files, this is {found}")
    with open_tables(path) as file:
        table = find_table(file, schema)
        yield table, _plan(path, table, reading)


def plan_jets(path: str | os.PathLike[str], reading: Reading | str, *, target: int = 100_000) -> list[tuple[int, int]]:
    """Cut a file into ranges of entries that can be read one by one, or side by side.

    Parameters
    ----------
    path, reading
        As for `iterate_jets`.
    target
        Entries a range, roughly, where an entry is one jet; fewer in proportion where entries are larger.

    Returns
    -------
    list of tuple of int
        First entry, and the entry after the last; none for a file without entries. They depend on the file and the
        schema alone, and end, where they can, where baskets end.

    Raises
    ------
    InputError, SchemaError
        When the file cannot be read or does not fit the schema.
    """
    with _opened(path, reading) as (table, plan):
        wanted = max(target * min(_block_size(table, plan), ENTRIES_A_BLOCK) // ENTRIES_A_BLOCK, 1)
        borders = table.borders(plan.all_columns)
        return _cut(borders, borders[-1], wanted, most=2 * wanted)


def _cut(borders: list[int], stop: int, target: int, *, most: int) -> list[tuple[int, int]]:
    """Ranges of at least ``target`` entries (but the last) that end at borders, unless that makes them too long."""
    ranges, start = [], borders[0]
    for border in [*borders[1:], stop]:
        while border - start > most:
            ranges.append((start, start + target))
            start += target
        if border - start >= target or (border == stop and start < border):
            ranges.append((start, border))
            start = border
    return ranges


def _block_size(table: Table, plan: _Plan) -> int:
    collection, link = plan.collection, plan.collection.link
    if collection.block is not None:
        return collection.block
    if isinstance(link, CellsLink):
        return max(1, min(ENTRIES_A_BLOCK, CELLS_A_BLOCK // max(count_numbers(table.columns[str(link.values)]), 1)))
    return ENTRIES_A_BLOCK if collection.is_entry else EVENTS_A_BLOCK


def iterate_jets(
    path: str | os.PathLike[str],
    reading: Reading | str,
    *,
    step: int | None = None,
    entry_start: int = 0,
    entry_stop: int | None = None,
) -> Iterator[JetBatch]:
    """Read the jets of a file block by block.

    Parameters
    ----------
    path
        The file, or its address.
    reading
        How; a text is the schema's name.
    step
        Entries a block; by default 20 000 where an entry is one jet (fewer where it is an image of more than 400
        pixels), else 500, since an event takes a third of a MB.
    entry_start, entry_stop
        The range of entries, the stop excluded; by default all.

    Yields
    ------
    JetBatch
        Every block, those without a jet included. Constituents with zero pT (a PUPPI weight of zero, for instance)
        carry nothing and are left out. Jets with NaN come out as they are: ask ``usable`` or ``require_usable``.

    Raises
    ------
    InputError, SchemaError
        When the file cannot be read or does not fit the schema.
    """
    with _opened(path, reading) as (table, plan):
        borders = table.borders(plan.all_columns)
        stop = borders[-1] if entry_stop is None else min(entry_stop, borders[-1])
        step = step or _block_size(table, plan)
        where = f"{path}: tree '{table.name}'"
        borders = [n for n in borders if entry_start < n < stop]
        for first, last in _cut([entry_start, *borders], stop, step, most=LONGEST_CLUSTER * step):
            columns = table.read(plan.all_columns, first, last)
            for start in range(first, last, step):
                end = min(start + step, last)
                part = {name: column[start - first : end - first] for name, column in columns.items()}
                yield make_batch(Block(where, start, end - start, part), plan)


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


def native_grid(path: str | os.PathLike[str], reading: Reading | str) -> dict[str, Any] | None:
    """The grid of ready-made images, as a record; None for families whose images are to be made.

    Raises
    ------
    InputError, SchemaError
        When the file cannot be read or does not fit the schema.
    """
    _, collection = resolve_collection(reading)
    if not isinstance(collection.link, CellsLink):
        return None
    if collection.grid is not None:
        return collection.grid
    with _opened(path, reading) as (table, plan):
        column: Any = getattr(plan.collection.link, "values", None)
        return {"kind": "given", "shape": list(image_shape(table.columns[column], where=f"{path}: '{column}'"))}
