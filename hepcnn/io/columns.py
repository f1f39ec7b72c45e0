"""Columns of a block of entries, laid flat: numbers with the counts that say whose they are."""

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError

Float = NDArray[np.float64]
Counts = NDArray[np.int64]


class Block:
    """Some entries of a table.

    ``where`` says which file and tree for messages, ``first`` is the number of the first entry, ``n`` how many there
    are, ``columns`` the columns by name, one element an entry.
    """

    def __init__(self, where: str, first: int, n: int, columns: Mapping[Any, ak.Array]) -> None:
        self.where, self.first, self.n = where, first, n
        self.columns = columns

    def depth(self, name: Any) -> int:
        """1 for one number an entry, 2 for a list of numbers, 3 for lists of lists."""
        return int(self.columns[name].ndim)

    def flat(self, name: Any, *, flags: bool = False) -> Float:
        """All numbers of a column end to end; with ``flags`` also those that are true or false.

        Raises
        ------
        InputError
            When the column holds no numbers.
        """
        column = self.columns[name]
        try:
            values = ak.to_numpy(ak.flatten(column, axis=None))
        except (TypeError, ValueError) as error:
            raise self._no_numbers(name) from error
        if values.dtype.kind not in ("biuf" if flags else "iuf"):
            raise self._no_numbers(name)
        return np.asarray(values, dtype=np.float64)

    def _no_numbers(self, name: Any) -> InputError:
        held = self.columns[name].type.content
        return InputError(
            f"{self.where}, entries {self.first} to {self.first + self.n}: '{name}' holds no numbers, but {held}"
        )

    def counts(self, name: Any) -> Counts:
        """How many elements the list of each entry has, (n,).

        Raises
        ------
        InputError
            When the column is no list.
        """
        column = self.columns[name]
        if column.ndim < 2:
            raise InputError(f"{self.where}: column '{name}' should be a list in each entry, it is {column.type}")
        return np.asarray(ak.to_numpy(ak.num(column, axis=1)), dtype=np.int64)

    def inner_counts(self, name: Any) -> Counts:
        """How many numbers each element of the lists has, end to end.

        Raises
        ------
        InputError
            When the column is no list of lists.
        """
        column = self.columns[name]
        if column.ndim < 3:
            raise InputError(f"{self.where}: column '{name}' should hold lists of lists, it is {column.type}")
        return np.asarray(ak.to_numpy(ak.flatten(ak.num(column, axis=2))), dtype=np.int64)

    def per_entry(self, name: Any) -> NDArray[Any]:
        """One number an entry, (n,); of a list its first, 0 where it is empty."""
        column = self.columns[name]
        if column.ndim > 1:
            column = ak.fill_none(ak.firsts(column, axis=1), 0)
        return np.asarray(ak.to_numpy(column))

    def same_counts(self, names: list[Any]) -> Counts:
        """The counts that several columns share.

        Raises
        ------
        InputError
            When two differ; the message names both and the first entry where they do.
        """
        counts = self.counts(names[0])
        for name in names[1:]:
            other = self.counts(name)
            if not np.array_equal(other, counts):
                at = int(np.flatnonzero(other != counts)[0])
                raise InputError(
                    f"{self.where}, entry {self.first + at}: '{names[0]}' and '{name}' differ in length "
                    f"({counts[at]} and {other[at]})"
                )
        return counts
