"""The columns of an input's own tree, to be written again with scores beside them."""

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import awkward as ak

from hepcnn.errors import InputError, SchemaError
from hepcnn.io.plan import find_table, resolve_collection
from hepcnn.io.root import open_root
from hepcnn.io.root_writing import TableFormat
from hepcnn.io.tables import format_of

MOST_NAMED = 8


class InputCopy:
    """Reads all columns of the tree that holds a file's jets.

    Parameters
    ----------
    path
        The ROOT file.
    schema
        ``family`` or ``family:collection``.
    form
        What it will be written as: a TTree holds numbers and lists of numbers.

    Raises
    ------
    InputError
        When the file is no ROOT file, or holds branches that cannot be written; the message names them.
    """

    def __init__(self, path: str | os.PathLike[str], schema: str, form: TableFormat) -> None:
        self._path = path
        if format_of(path) != "ROOT":
            raise InputError(f"{path}: only ROOT files can be copied with scores added, this is {format_of(path)}")
        family, _ = resolve_collection(schema)
        with open_root(path) as file:
            table: Any = find_table(file, family)
            self.tree = str(table.name)
            self._columns, owners, refused = table.list_writable(any_type=form == "rntuple")
        if refused:
            more = f" and {len(refused) - MOST_NAMED} more" if len(refused) > MOST_NAMED else ""
            raise InputError(
                f"{path}: a copy cannot hold the branches {', '.join(refused[:MOST_NAMED])}{more}, which are no "
                "numbers or lists of numbers: write a friend tree instead"
            )
        counters = set(owners.values())
        self.counters: Mapping[str, str] = owners
        # What counts a list is written with the list.
        self._columns = [name for name in self._columns if form == "rntuple" or name not in counters]

    def iterate(self, ranges: Iterable[tuple[int, int]]) -> Iterator[dict[str, Any]]:
        """The columns of one range of entries after the other."""
        with open_root(self._path) as file:
            table = file.table(self.tree)
            for start, stop in ranges:
                columns = table.read(self._columns, start, stop)
                yield {name: ak.to_packed(column) for name, column in columns.items()}

    def check_names(self, added: Iterable[str]) -> None:
        """Raise ``SchemaError`` when the input has a column of an added name."""
        if taken := [name for name in added if name in self._columns]:
            raise SchemaError(
                f"{self._path}: tree '{self.tree}' has a branch '{taken[0]}' already: it was tagged before"
            )
