"""Files → ragged constituents: every family comes out alike, in GeV and radians, in the file's order."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from hepcnn.errors import InputError
from hepcnn.io.assemble import make_batch
from hepcnn.io.batch import JetBatch
from hepcnn.io.columns import Block
from hepcnn.io.heads import sha256_of
from hepcnn.io.plan import Plan, Reading, find_table, make_plan, resolve_collection
from hepcnn.io.rules import CellsLink
from hepcnn.io.tables import Table, count_numbers, format_of, open_tables

__all__ = ["JetBatch", "Reading", "iterate_jets", "plan_jets", "sha256_of"]
ENTRIES_A_BLOCK, EVENTS_A_BLOCK, CELLS_A_BLOCK = 20_000, 500, 8_000_000
LONGEST_CLUSTER = 5
"""A cluster of baskets up to so many blocks long is read at once: a basket read in parts is decompressed for each."""


@contextmanager
def open_table(path: str | os.PathLike[str], reading: Reading | str) -> Iterator[tuple[Table, Plan]]:
    """Open the table that a reading is about, and plan what is read of it.

    Raises
    ------
    InputError, SchemaError
        When the file cannot be read or does not fit the schema.
    """
    reading = Reading(reading) if isinstance(reading, str) else reading
    schema, _ = resolve_collection(reading)
    found = format_of(path)
    if found not in schema.formats:
        raise InputError(f"{path}: schema '{schema.name}' is for {' or '.join(schema.formats)} files, this is {found}")
    with open_tables(path) as file:
        table = find_table(file, schema)
        yield table, make_plan(path, table, reading)


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
    with open_table(path, reading) as (table, plan):
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


def _block_size(table: Table, plan: Plan) -> int:
    collection, link = plan.collection, plan.collection.link
    if collection.block is not None:
        return collection.block
    if isinstance(link, CellsLink):
        n_cells = sum(count_numbers(table.columns[str(column)]) for column in link.columns)
        return max(1, min(ENTRIES_A_BLOCK, CELLS_A_BLOCK // max(n_cells, 1)))
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
    with open_table(path, reading) as (table, plan):
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
