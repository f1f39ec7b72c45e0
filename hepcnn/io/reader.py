"""Files → ragged constituents: every family comes out alike, in GeV and radians, in the file's order."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.constituents import Constituents, offsets_of
from hepcnn.errors import InputError
from hepcnn.io.links import EventBlock, link_constituents
from hepcnn.io.root import iterate_branches, plan_ranges
from hepcnn.io.schema import ConstituentSource, JetCollection, Schema, parse_schema_name, read_schema
from hepcnn.kinematics import mass, pt_eta_phi, px_py_pz

UNITS = {"GeV": 1.0, "MeV": 1e-3}
OPTIONAL_FIELDS = ("charge", "ecal", "hcal")
Float = NDArray[np.float64]


@dataclass(frozen=True)
class JetBatch:
    """Jets of a block of entries.

    ``flat`` holds the constituents, ``pt, eta, phi, energy`` and, where the file has them, ``charge``, ``ecal``,
    ``hcal``, ``layer``, ``cell`` and named features; ``pt, eta, phi, mass, weight`` are (n_jets,). ``entry`` and
    ``jet`` say where each jet comes from. ``event_id`` (n_jets,) uint64 is equal for the jets of one event and depends
    on nothing else. ``labels`` holds what the file says of each jet, (n_jets,) by the label's name.
    """

    where: str
    first_entry: int
    n_entries: int
    flat: Constituents
    pt: Float
    eta: Float
    phi: Float
    mass: Float
    entry: NDArray[np.int64]
    jet: NDArray[np.int64]
    event_id: NDArray[np.uint64]
    weight: Float
    labels: Mapping[str, NDArray[np.int64]]

    def __len__(self) -> int:
        return len(self.pt)

    @cached_property
    def constituents(self) -> ak.Array:
        """The constituents as records, (n_jets, var)."""
        return self.flat.to_awkward()

    @cached_property
    def problems(self) -> dict[str, NDArray[np.bool_]]:
        """Which jets cannot be used, by reason: each a mask (n_jets,)."""
        not_finite = ~(np.isfinite(self.pt) & np.isfinite(self.eta) & np.isfinite(self.phi) & np.isfinite(self.mass))
        negative = np.zeros(len(self), dtype=np.bool_)
        for name, values in self.flat.fields.items():
            not_finite |= self.flat.any(~np.isfinite(values))
            if name in ("pt", "energy", "ecal", "hcal"):
                negative |= self.flat.any(values < 0)
        return {
            "no constituents": self.flat.counts == 0,
            "NaN or infinite values": not_finite,
            "negative energy or pT": negative,
        }

    @property
    def usable(self) -> NDArray[np.bool_]:
        """The jets without a problem: a mask (n_jets,)."""
        return np.asarray(~np.logical_or.reduce(list(self.problems.values())), dtype=np.bool_)

    def require_usable(self) -> None:
        """Raise for the first jet that cannot be used.

        Raises
        ------
        InputError
            Naming file, entry, jet and the reason, and how many more there are in this block.
        """
        for reason, mask in self.problems.items():
            if mask.any():
                at = int(np.flatnonzero(mask)[0])
                raise InputError(
                    f"{self.where}, entry {self.entry[at]}, jet {self.jet[at]}: {reason} "
                    f"({mask.sum()} of {len(self)} jets in this block); --skip-bad leaves such jets out and counts them"
                )


def sha256_of(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot open this file: {error.strerror}") from error


@dataclass(frozen=True)
class Reading:
    """How a file is read: ``schema`` is ``family`` or ``family:collection``, see ``hepcnn schemas``."""

    schema: str


def plan_jets(path: str | os.PathLike[str], reading: Reading | str, *, target: int = 100_000) -> list[tuple[int, int]]:
    """Cut a file into ranges of entries that can be read one by one, or side by side.

    Parameters
    ----------
    path, reading
        As for `iterate_jets`.
    target
        Constituents-bearing objects a range, roughly: entries where an entry is one jet, else a fortieth as many.

    Returns
    -------
    list of tuple of int
        First entry, and the entry after the last. Depends on the file and the schema alone.

    Raises
    ------
    InputError, SchemaError
        When the file cannot be read or does not fit the schema.
    """
    description, collection, branches = _resolve(reading)
    entries = target if collection.link.kind == "entry" else max(target // 40, 1)
    return plan_ranges(path, description.tree, branches, target=entries)


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
        The file.
    reading
        How; a text is the schema's name.
    step
        Entries a block; by default 20 000 where an entry is one jet, else 500, since an event takes a third of a MB.
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
    description, collection, branches = _resolve(reading)
    step = step or (20_000 if collection.link.kind == "entry" else 500)
    salt = 0 if description.event_keys else int(sha256_of(path)[:16], 16)
    blocks = iterate_branches(
        path, description.tree, branches, step=step, entry_start=entry_start, entry_stop=entry_stop
    )
    for first, events in blocks:
        yield _make_batch(f"{path}: tree '{description.tree}'", first, events, description, collection, salt)


def _resolve(reading: Reading | str) -> tuple[Schema, JetCollection, list[str]]:
    family, name = parse_schema_name(reading if isinstance(reading, str) else reading.schema)
    description = read_schema(family)
    collection = description.collection(name)
    return description, collection, [*collection.branches, *description.event_keys]


def _make_batch(
    where: str, first: int, events: ak.Array, schema: Schema, collection: JetCollection, salt: int
) -> JetBatch:
    unit = UNITS[schema.energy_unit]
    is_entry = collection.link.kind == "entry"
    n_jets = np.ones(len(events), dtype=np.int64) if is_entry else _counts(events[collection.jets.pt])
    jets = {field: _flat(events[getattr(collection.jets, field)]) for field in ("pt", "eta", "phi")}
    flat, n_constituents, unique_ids = _read_constituents(where, events, collection, unit)
    block = EventBlock(where, first, n_jets, n_constituents, jets["eta"], jets["phi"], flat, unique_ids, events)
    jet_of, constituent_of = link_constituents(collection.link, block, radius=collection.radius)
    keep = flat["pt"][constituent_of] != 0
    jet_of, constituent_of = jet_of[keep], constituent_of[keep]
    counts = np.bincount(jet_of, minlength=int(n_jets.sum()))
    linked = Constituents(offsets_of(counts), {name: values[constituent_of] for name, values in flat.items()})
    event = np.repeat(np.arange(len(events)), n_jets)
    return JetBatch(
        where=where,
        first_entry=first,
        n_entries=len(events),
        flat=linked,
        pt=jets["pt"] * unit,
        eta=jets["eta"],
        phi=jets["phi"],
        mass=_jet_mass(events, collection, jets, unit, linked),
        entry=first + event,
        jet=np.arange(len(event)) - np.repeat(np.cumsum(n_jets) - n_jets, n_jets),
        event_id=_event_ids(events, schema.event_keys, first, salt)[event],
        weight=np.ones(len(event)),
        labels={},
    )


def _flat(values: ak.Array) -> Float:
    return np.asarray(ak.to_numpy(ak.flatten(values, axis=None)), dtype=np.float64)


def _counts(values: ak.Array) -> NDArray[np.int64]:
    return np.asarray(ak.to_numpy(ak.num(values, axis=1)), dtype=np.int64)


def _jet_mass(
    events: ak.Array, collection: JetCollection, jets: dict[str, Float], unit: float, constituents: Constituents
) -> Float:
    """The jets' mass as the file has it, else from their energy, else that of the constituents' sum."""
    if collection.jets.mass is not None:
        return _flat(events[collection.jets.mass]) * unit
    if collection.jets.energy is not None:
        energy = _flat(events[collection.jets.energy])
        return np.asarray(mass(energy, *px_py_pz(jets["pt"], jets["eta"], jets["phi"]))) * unit
    fields = constituents.fields
    momenta = px_py_pz(fields["pt"], fields["eta"], fields["phi"])
    sums = [constituents.sum(component) for component in (fields["energy"], *momenta)]
    return np.asarray(mass(*sums), dtype=np.float64)


def _read_constituents(
    where: str, events: ak.Array, collection: JetCollection, unit: float
) -> tuple[dict[str, Float], NDArray[np.int64], NDArray[np.int64] | None]:
    """All constituents of all sources, event by event: flat fields, counts per event, ROOT unique ids."""
    sources = collection.constituents
    counts = []
    for source in sources:
        lengths = [_counts(events[name]) for name in source.branches]
        for name, length in zip(source.branches, lengths, strict=True):
            if not np.array_equal(length, lengths[0]):
                at = int(np.flatnonzero(length != lengths[0])[0])
                raise InputError(
                    f"{where}: '{source.branches[0]}' and '{name}' differ in length (first in entry {at} of the block: "
                    f"{lengths[0][at]} and {length[at]})"
                )
        counts.append(lengths[0])
    per_source = [_source_fields(events, source, unit) for source in sources]
    shared = [name for name in per_source[0] if all(name in fields for fields in per_source)]
    # Sources follow each other within an event: a stable sort by event number does that.
    event = np.concatenate([np.repeat(np.arange(len(n)), n) for n in counts])
    order = np.argsort(event, kind="stable")
    flat = {name: np.concatenate([fields[name] for fields in per_source])[order] for name in shared}
    ids = None
    if all(source.unique_id is not None for source in sources):
        ids = np.concatenate([_flat(events[source.unique_id]) for source in sources])[order].astype(np.int64)
    return flat, np.sum(counts, axis=0), ids


def _source_fields(events: ak.Array, source: ConstituentSource, unit: float) -> dict[str, Float]:
    def read(name: str | None) -> Float:
        return _flat(events[name])

    if source.pt is not None:
        pt, eta, phi = read(source.pt), read(source.eta), read(source.phi)
        px, py, pz = px_py_pz(pt, eta, phi)
    else:
        px, py, pz = read(source.px), read(source.py), read(source.pz)
        pt, eta, phi = pt_eta_phi(px, py, pz)
    momentum = np.sqrt(px**2 + py**2 + pz**2)
    if source.energy is not None:
        energy = read(source.energy)
    else:
        energy = np.sqrt(momentum**2 + read(source.mass) ** 2) if source.mass is not None else momentum
    scale = unit * (read(source.weight) if source.weight is not None else 1.0)
    fields = {"pt": pt * scale, "eta": eta, "phi": phi, "energy": energy * scale}
    fields |= {name: np.full(len(pt), value) for name, value in source.constant.items()}
    for name in OPTIONAL_FIELDS:
        if getattr(source, name) is not None:
            fields[name] = read(getattr(source, name)) * (1.0 if name == "charge" else scale)
    if source.split is not None:
        kind = np.abs(read(source.split.pdg_id)).astype(np.int64)
        fields["ecal"] = fields["energy"] * np.isin(kind, list(source.split.ecal))
        fields["hcal"] = fields["energy"] * np.isin(kind, list(source.split.hcal))
    return fields | {name: read(branch) for name, branch in source.features.items()}


def _event_ids(events: ak.Array, keys: list[str], first: int, salt: int) -> NDArray[np.uint64]:
    """Mix the event's keys, or the file's hash and the entry, by SplitMix64 (doi:10.1145/2714064.2660195)."""
    columns = [_flat_key(events[key]) for key in keys] or [np.arange(first, first + len(events)).astype(np.uint64)]
    mixed = np.full(len(events), salt, dtype=np.uint64)
    for column in columns:
        mixed = (mixed ^ column) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed


def _flat_key(values: ak.Array) -> NDArray[np.uint64]:
    if values.ndim > 1:
        values = ak.firsts(values, axis=1)
    return np.asarray(ak.to_numpy(ak.fill_none(values, 0)), dtype=np.int64).astype(np.uint64)
