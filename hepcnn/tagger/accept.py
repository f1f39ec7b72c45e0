"""Constituents of any source → what images are made of: GeV, radians, float64, nothing that carries nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.constituents import Constituents
from hepcnn.errors import InputError, SchemaError
from hepcnn.tagger.columns import Fields, FlatColumns, Source
from hepcnn.tagger.coordinates import find_coordinates, make_momenta

MOMENTUM = ("pt", "eta", "phi", "energy")
NOT_NEGATIVE = ("pt", "energy", "ecal", "hcal")


@dataclass(frozen=True)
class AcceptedJets:
    """Jets whose constituents were understood.

    ``constituents`` has no constituent of zero pT; ``per_event`` (n_events,) counts jets where they came in events;
    ``names`` are the fields that the source had.
    """

    constituents: Constituents
    per_event: NDArray[np.int64] | None
    names: tuple[str, ...]

    def nest(self, values: NDArray[Any]) -> Any:
        """Numbers of jets, (N, …), as the jets came: nested in their events (an awkward array) or not."""
        return values if self.per_event is None else ak.unflatten(ak.Array(values), self.per_event)


def accept_jets(
    data: Any, *, needs: Sequence[str], fields: Fields = None, schema: str = "", mask: Any = None
) -> AcceptedJets:
    """Understand constituents of jets.

    Parameters
    ----------
    data, fields, mask
        As of `hepcnn.tagger.columns.Source`. Momenta may be in any coordinates that ``vector`` knows.
    needs
        The fields that are needed beside pt, eta and phi; others are not looked at.
    schema
        ``family`` or ``family:collection`` of a file family whose rules make the fields: columns are then those of the
        family, with or without the name of their collection (``PFCands_pt`` or ``pt``).

    Raises
    ------
    InputError, SchemaError
        When fields are missing or do not fit each other; see `hepcnn.tagger.columns.Source.flatten`.
    """
    source = Source(data, fields=fields, mask=mask)
    columns, made = _by_rules(source, schema, needs) if schema else _by_names(source, needs)
    constituents = Constituents(columns.offsets, made)
    return AcceptedJets(constituents.keep(made["pt"] != 0), columns.per_event, source.names)


def _by_names(source: Source, needs: Sequence[str]) -> tuple[FlatColumns, dict[str, Any]]:
    coordinates = find_coordinates(source.names, is_vector=source.is_vector)
    others = [name for name in needs if name not in MOMENTUM and name in source.names]
    columns = source.flatten([*coordinates.values(), *others])
    momenta = make_momenta({name: columns.values[field] for name, field in coordinates.items()})
    return columns, momenta | {name: columns.values[name] for name in others}


def _by_rules(source: Source, schema: str, needs: Sequence[str]) -> tuple[FlatColumns, dict[str, Any]]:
    from hepcnn.io.columns import Block
    from hepcnn.io.extra_rules import ENERGY_UNITS
    from hepcnn.io.plan import resolve_collection
    from hepcnn.io.rules import columns_of
    from hepcnn.io.sources import read_sources

    family, collection = resolve_collection(schema)
    names: dict[str, str] = {}
    for rules in collection.constituents:
        chosen, wanted, missing = _fit_rules(rules, source.names, needs)
        if not missing:
            names = wanted
            break
    if not names:
        raise SchemaError(
            f"constituents: schema '{schema}' needs {', '.join(missing) or 'constituents'}, which is not there; there "
            f"are: {', '.join(source.names)}"
        )
    columns = source.flatten(list(dict.fromkeys(names.values())))
    lists = {name: ak.unflatten(columns.values[field], columns.counts) for name, field in names.items()}
    block = Block("constituents", 0, len(columns.counts), {name: lists[name] for name in columns_of(chosen)})
    return columns, read_sources(block, [chosen], unit=ENERGY_UNITS.get(family.energy_unit, 1.0)).fields


def _fit_rules(rules: Any, names: Sequence[str], needs: Sequence[str]) -> tuple[Any, dict[str, str], list[str]]:
    """Rules of a family without what is not needed; the field of each of its columns; the columns that lack."""
    from hepcnn.io.rules import choose_columns, columns_of

    if rules.sampling is not None:
        raise SchemaError("constituents: this family splits them by samplings of the file: tag the file itself")
    dropped: dict[str, Any] = {"unique_id": None}
    dropped |= {name: None for name in ("charge", "ecal", "hcal", "layer") if name not in needs}
    if not {"charge", "ecal", "hcal"} & set(needs):
        dropped["split"] = None
    features = {name: column for name, column in rules.features.items() if name in needs}
    rules = rules.model_copy(update={**dropped, "features": features})
    # Charges and deposits come from a column or from the kind of particle: the one that is asked for decides.
    known = {known for name in names for known in (name, *_full_names(rules, name))}
    chosen = choose_columns(rules, known)
    found: dict[str, str] = {}
    missing = []
    for column in columns_of(chosen):
        field = next((name for name in (column, *_short_names(column)) if name in names), None)
        if field is None:
            missing.append(str(column))
        else:
            found[column] = field
    return chosen, found, missing


def _short_names(column: Any) -> list[str]:
    """A column's name without that of its collection."""
    return [str(column).partition(mark)[2] for mark in ("_", ".") if mark in str(column)]


def _full_names(rules: Any, name: str) -> list[str]:
    from hepcnn.io.rules import columns_of

    full = [choice for column in columns_of(rules) for choice in (column if isinstance(column, tuple) else (column,))]
    return [str(column) for column in full if name in _short_names(column)]


def find_bad(constituents: Constituents) -> dict[str, NDArray[np.bool_]]:
    """Which constituents, (n,) by field, have a value that is NaN or infinite, or negative where none can be."""
    found = {}
    for name, values in constituents.fields.items():
        bad = ~np.isfinite(values)
        if name in NOT_NEGATIVE:
            with np.errstate(invalid="ignore"):
                bad |= values < 0
        if bad.any():
            found[name] = bad
    return found


def refuse_bad(constituents: Constituents) -> None:
    """Raise ``InputError`` for the first field with a value that cannot be used; it names the first jet."""
    for name, bad in find_bad(constituents).items():
        jet = int(constituents.jet[np.flatnonzero(bad)[0]])
        raise InputError(
            f"constituents: {int(bad.sum())} values of '{name}' are NaN, infinite or negative; the first is in jet "
            f"{jet}; skip_bad=True gives such jets NaN"
        )
