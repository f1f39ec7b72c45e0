"""Numbers inside the records that a column holds: ``pf/first.fP.fX`` is field fX of fP of first of column pf."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import awkward as ak


def split_name(name: str) -> tuple[str, tuple[str, ...]]:
    """The column of a name, and the fields to go down to; no fields for a plain column."""
    column, _, fields = name.partition("/")
    return column, tuple(fields.split(".")) if fields else ()


class NestedColumns(Mapping[str, str]):
    """Types of columns by name, in which the numbers inside records are found though they are not listed.

    Parameters
    ----------
    names
        The columns that are listed.
    type_of, form_of
        Give the type of one of them in words, and its awkward form; asked only when wanted, since of a thousand columns
        a reading takes ten.
    """

    def __init__(self, names: Collection[str], type_of: Callable[[str], str], form_of: Callable[[str], Any]) -> None:
        self._names, self._type_of, self._form_of = names, type_of, form_of

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        if name in self._names or not isinstance(name, str):
            return name in self._names
        column, fields = split_name(name)
        return bool(fields) and column in self._names and _holds(self._form_of(column), fields)

    def __getitem__(self, name: str) -> str:
        if name not in self:
            raise KeyError(name)
        return self._type_of(split_name(name)[0])


def pick(array: ak.Array, fields: tuple[str, ...]) -> ak.Array:
    """Go down to a field of a field …; the array itself for no fields."""
    for field in fields:
        array = array[field]
    return array


def _holds(form: Any, fields: tuple[str, ...]) -> bool:
    while form is not None and getattr(form, "is_list", False):
        form = form.content
    if not fields:
        return form is not None and not getattr(form, "is_record", False)
    if form is None or not getattr(form, "is_record", False) or fields[0] not in form.fields:
        return False
    return _holds(form.content(fields[0]), fields[1:])
