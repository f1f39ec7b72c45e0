"""Arrays of any source → named columns of numbers, laid flat: awkward, NumPy, padded, masked, nested in events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.constituents import offsets_of
from hepcnn.errors import InputError, did_you_mean

Float = NDArray[np.float64]
Fields = Mapping[str, str] | Sequence[str] | None
VECTOR_RECORDS = ("vector", "momentum")


@dataclass(frozen=True)
class FlatColumns:
    """Numbers of constituents laid end to end, (n,) float64 by name; jet j's are ``offsets[j]:offsets[j+1]``.

    ``per_event`` says how many jets each event has where they came nested in events, else None.
    """

    offsets: NDArray[np.int64]
    values: Mapping[str, Float]
    per_event: NDArray[np.int64] | None

    @property
    def counts(self) -> NDArray[np.int64]:
        """Constituents of each jet, (N,)."""
        return np.diff(self.offsets)


class Source:
    """What holds the constituents of jets, as columns by name.

    Parameters
    ----------
    data
        An awkward array of records, (jets, constituents) or (events, jets, constituents), or of one record a jet whose
        fields are lists; a mapping from names to arrays, NumPy's padded (jets, P) included; a structured array of such
        a shape; an array (jets, P, F) with the names of its last axis in ``fields``; nested lists of records.
    fields
        Names as hepcnn has them, and what each is called here; or the names of the last axis.
    mask
        (jets, P), true where there is a constituent.

    Raises
    ------
    InputError
        For anything else, or a name in ``fields`` that is not there.
    """

    def __init__(self, data: Any, *, fields: Fields = None, mask: Any = None) -> None:
        self._data = _name_last_axis(data, fields) if _is_plain(data) else data
        if isinstance(self._data, list | tuple):
            self._data = _from_lists(self._data)
        if isinstance(self._data, np.ndarray):
            self._data = {name: self._data[name] for name in self._data.dtype.names or ()}
        if not isinstance(self._data, ak.Array | Mapping):
            raise InputError(f"constituents: found {_describe_kind(data)}")
        self._mask = None if mask is None else ak.from_regular(ak.Array(mask), axis=None)
        self._names = self._choose_names(fields)

    def _choose_names(self, fields: Fields) -> dict[str, str]:
        there = [str(name) for name in self._data] if isinstance(self._data, Mapping) else ak.fields(self._data)
        names = {name: name for name in there}
        if isinstance(fields, Mapping):
            for ours, theirs in fields.items():
                if theirs not in there:
                    raise InputError(f"constituents: no field '{theirs}' for '{ours}'{did_you_mean(theirs, there)}")
            # A field that is named for something is not itself any more.
            names = {name: name for name in there if name not in fields.values()} | dict(fields)
        return names

    @property
    def names(self) -> tuple[str, ...]:
        """The names that there are."""
        return tuple(self._names)

    @property
    def is_vector(self) -> bool:
        """Whether the records say that they are momenta, so that ``x`` is a component and not a place."""
        if not isinstance(self._data, ak.Array):
            return False
        name = str(ak.parameters(self._data).get("__record__") or self._inner_record())
        return any(part in name.lower() for part in VECTOR_RECORDS)

    def _inner_record(self) -> str:
        layout: Any = ak.to_layout(self._data)
        while not layout.is_record and hasattr(layout, "content"):
            layout = layout.content
        return str(layout.purelist_parameter("__record__") or "")

    def flatten(self, names: Sequence[str]) -> FlatColumns:
        """Some columns, laid flat.

        Raises
        ------
        InputError
            When they differ in length, hold no numbers, are not nested as jets of constituents are, or lack single
            values; a constituent of which every value is missing is left out.
        """
        flat: dict[str, Any] = {}
        shapes: dict[str, tuple[Any, Any]] = {}
        for name in names:
            flat[name], *shape = self._flatten_one(name)
            shapes[name] = shape[0], shape[1]
        counts, per_event = _same_shape(shapes)
        missing = {name: np.ma.getmaskarray(values) for name, values in flat.items()}
        absent = np.logical_and.reduce(list(missing.values()))
        for name, mask in missing.items():
            if (mask & ~absent).any():
                raise InputError(f"constituents: some values of '{name}' are missing (None): fill or drop them first")
        values = {name: np.asarray(np.ma.getdata(column), dtype=np.float64) for name, column in flat.items()}
        if absent.any():
            counts = np.bincount(np.repeat(np.arange(len(counts)), counts)[~absent], minlength=len(counts))
            values = {name: column[~absent] for name, column in values.items()}
        return FlatColumns(offsets_of(counts), values, per_event)

    def _flatten_one(self, name: str) -> tuple[Any, NDArray[np.int64], NDArray[np.int64] | None]:
        column = self._data[self._names[name]]
        try:
            column = (
                column if isinstance(column, ak.Array) else ak.from_iter(column) if _is_list(column) else _wrap(column)
            )
            if self._mask is not None:
                column = ak.from_regular(column, axis=None)[self._mask]
            depth = column.ndim
            if depth not in (2, 3):
                raise InputError(
                    f"constituents: '{name}' has {depth} {'axes' if depth != 1 else 'axis'}; expected jets of "
                    "constituents, or events of jets of constituents (one jet is a list of one)"
                )
            per_event = None
            if depth == 3:
                per_event = _count(column)
                column = ak.flatten(column, axis=1)
            counts, values = _count(column), ak.to_numpy(ak.flatten(column, axis=1))
        except (TypeError, ValueError) as error:
            raise InputError(f"constituents: '{name}' holds no numbers: {str(error).splitlines()[0]}") from error
        if values.dtype.kind not in "biuf":
            raise InputError(f"constituents: '{name}' holds {values.dtype}, expected numbers")
        return values, counts, per_event


def _count(column: ak.Array) -> NDArray[np.int64]:
    """Lengths of lists, 0 for one that is None."""
    return np.asarray(ak.to_numpy(ak.fill_none(ak.num(column, axis=1), 0)), dtype=np.int64)


def _same_shape(
    shapes: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64] | None]],
) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
    (first, (counts, per_event)), *others = shapes.items()
    for name, (other, other_events) in others:
        pairs = [(counts, other, "jet")]
        if per_event is not None or other_events is not None:
            pairs.insert(0, (_or_none(per_event), _or_none(other_events), "event"))
        for one, two, what in pairs:
            if len(one) != len(two):
                raise InputError(f"constituents: '{first}' has {len(one)} {what}s and '{name}' {len(two)}")
            if not np.array_equal(one, two):
                at = int(np.flatnonzero(one != two)[0])
                raise InputError(
                    f"constituents: '{first}' and '{name}' differ in length in {what} {at}: {one[at]} and {two[at]}"
                )
    return counts, per_event


def _or_none(counts: NDArray[np.int64] | None) -> NDArray[np.int64]:
    return np.zeros(0, np.int64) if counts is None else counts


def _is_plain(data: Any) -> bool:
    return isinstance(data, np.ndarray) and data.dtype.names is None


def _name_last_axis(data: NDArray[Any], fields: Fields) -> dict[str, Any]:
    if data.ndim != 3 or fields is None or isinstance(fields, Mapping | str) or len(fields) != data.shape[2]:
        raise InputError(
            f"constituents: found an array of shape {data.shape}: give (jets, P, F) and fields=[…], the names of its "
            "last axis"
        )
    return {name: data[:, :, number] for number, name in enumerate(fields)}


def _is_list(column: Any) -> bool:
    return isinstance(column, list | tuple)


def _wrap(column: Any) -> ak.Array:
    if isinstance(column, np.ma.MaskedArray) and column.ndim > 1:
        # awkward masks rows alone; a mask of each number is an option inside lists.
        flat = ak.from_numpy(column.reshape(-1))
        return ak.unflatten(flat, np.full(column.shape[0], column.shape[1]))
    return ak.Array(column)


def _from_lists(data: Any) -> ak.Array:
    try:
        return ak.Array(list(data))
    except (TypeError, ValueError) as error:
        raise InputError(f"constituents: these lists are no jets of records: {str(error).splitlines()[0]}") from error


def _describe_kind(data: Any) -> str:
    kind = f"{type(data).__module__.partition('.')[0]}.{type(data).__name__}"
    if kind.startswith("dask"):
        return f"{kind}, which is computed later: use dask_awkward.map_partitions(tagger.tag, constituents)"
    return f"{kind}, expected awkward or NumPy arrays of constituents"
