"""Collections of constituents → flat fields, in GeV and radians."""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from awkward.contents import NumpyArray
from numpy.typing import NDArray

from hepcnn.errors import InputError
from hepcnn.io.columns import Block, Counts, Float
from hepcnn.io.rules import columns_of
from hepcnn.io.source_rules import ConstituentSource, SamplingSplit
from hepcnn.kinematics import pt_eta_phi

OPTIONAL_FIELDS = ("charge", "ecal", "hcal", "layer")
SCALED_FIELDS = ("ecal", "hcal")
LEPTONS = (11, 13, 15)


@dataclass(frozen=True)
class SourceRows:
    """All constituents of a block of events: flat fields, counts per event (n,), ROOT's unique ids."""

    fields: dict[str, Float]
    counts: Counts
    unique_ids: NDArray[np.int64] | None


def read_sources(
    block: Block, sources: list[ConstituentSource], *, unit: float, length: float = 1.0, drop_padding: bool = False
) -> SourceRows:
    """All constituents of all collections, event by event.

    Parameters
    ----------
    block
        The entries.
    sources
        The collections; fields that one of them has not are left out of all.
    unit
        GeV in the file's unit of energy.
    length
        mm in the file's unit of length; hits at places have ``x, y, z``.
    drop_padding
        Whether to leave out constituents of no momentum at once, where all entries are filled up with such to one
        length; for links that do not count positions.

    Returns
    -------
    SourceRows
        Within an event the collections follow each other.

    Raises
    ------
    InputError
        When columns of a collection differ in length.
    """
    blocks = [_without_padding(block, source) if drop_padding else block for source in sources]
    rows = [_read_source(part, source, unit, length) for part, source in zip(blocks, sources, strict=True)]
    if len(rows) == 1:
        return rows[0]
    shared = [name for name in rows[0].fields if all(name in row.fields for row in rows)]
    # A stable sort by event number brings the collections together.
    event = np.concatenate([np.repeat(np.arange(block.n), row.counts) for row in rows])
    order = np.argsort(event, kind="stable")
    fields = {name: np.concatenate([row.fields[name] for row in rows])[order] for name in shared}
    ids = [row.unique_ids for row in rows if row.unique_ids is not None]
    counts = np.sum([row.counts for row in rows], axis=0)
    return SourceRows(fields, counts, np.concatenate(ids)[order] if len(ids) == len(rows) else None)


def _without_padding(block: Block, source: ConstituentSource) -> Block:
    names = list(dict.fromkeys(columns_of(source)))
    layouts = [ak.to_layout(block.columns[name]) for name in names]
    shapes = {layout.data.shape if isinstance(layout, NumpyArray) else None for layout in layouts}
    if len(shapes) != 1 or None in shapes or block.depth(names[0]) != 2:
        return block
    values = {name: np.asarray(layout.data) for name, layout in zip(names, layouts, strict=True)}
    sizes: list[Any] = [source.px, source.py] if source.px is not None else [source.pt or source.energy]
    is_filled = np.logical_or.reduce([values[name] != 0 for name in sizes])
    counts = np.count_nonzero(is_filled, axis=1)
    columns = {name: ak.unflatten(array[is_filled], counts) for name, array in values.items()}
    return Block(block.where, block.first, block.n, columns)


def _read_source(block: Block, source: ConstituentSource, unit: float, length: float) -> SourceRows:
    inner = {source.sampling.energy} if source.sampling else set()
    names = [name for name in dict.fromkeys(columns_of(source)) if name not in inner]
    counts = block.same_counts([*names, *inner])
    fields = _momenta(block, source, unit)
    places: list[tuple[str, Any]] = [] if source.x is None else [("x", source.x), ("y", source.y), ("z", source.z)]
    fields |= {name: block.flat(column) * length for name, column in places}
    fields |= {name: np.full(len(fields["pt"]), value) for name, value in source.constant.items()}
    for name in OPTIONAL_FIELDS:
        column: Any = getattr(source, name)
        if column is not None:
            values = block.flat(column)
            fields[name] = _scaled(block, source, unit, values) if name in SCALED_FIELDS else values
    if source.split is not None:
        kind = np.abs(block.flat(source.split.pdg_id)).astype(np.int64)
        fields["ecal"] = np.where(np.isin(kind, list(source.split.ecal)), fields["energy"], 0.0)
        fields["hcal"] = np.where(np.isin(kind, list(source.split.hcal)), fields["energy"], 0.0)
        if source.split.charged:
            fields["charge"] = _charge_of(block.flat(source.split.pdg_id), source.split.charged)
    fields |= {name: block.flat(column) for name, column in source.features.items()}
    ids = None if source.unique_id is None else block.flat(source.unique_id).astype(np.int64)
    return SourceRows(fields, counts, ids)


def _charge_of(pdg_id: Float, charged: frozenset[int]) -> Float:
    """Of particles of charge 1, the sign: that of the PDG id, the opposite for leptons (e-, mu-, tau- are positive)."""
    kind = np.abs(pdg_id).astype(np.int64)
    return np.sign(pdg_id) * np.where(np.isin(kind, LEPTONS), -1.0, 1.0) * np.isin(kind, list(charged))


def _scaled(block: Block, source: ConstituentSource, unit: float, values: Float) -> Float:
    """Momenta and energies in GeV, times the constituents' weights."""
    if source.weight is not None:
        values = values * block.flat(source.weight)
    return values if unit == 1.0 else values * unit


def _hits(block: Block, source: ConstituentSource, unit: float) -> dict[str, Float]:
    """Hits of a shower: no direction, but a cell or a place."""
    energy = _scaled(block, source, unit, block.flat(source.energy))
    zero = np.zeros(len(energy))
    fields = {"pt": energy, "eta": zero, "phi": zero, "energy": energy}
    return fields | ({} if source.cell is None else {"cell": block.flat(source.cell)})


def _momenta(block: Block, source: ConstituentSource, unit: float) -> dict[str, Float]:
    if source.is_shower:
        return _hits(block, source, unit)

    def read(column: Any) -> Float | None:
        return None if column is None else block.flat(column)

    pt, energy, mass = read(source.pt), read(source.energy), read(source.mass)
    if source.px is not None:
        px, py, pz = block.flat(source.px), block.flat(source.py), block.flat(source.pz)
        pt, eta, phi = pt_eta_phi(px, py, pz)
        momentum = None if energy is not None else np.sqrt(px**2 + py**2 + pz**2)
    else:
        if source.x is not None:
            _, eta, phi = pt_eta_phi(block.flat(source.x), block.flat(source.y), block.flat(source.z))
        else:
            eta, phi = block.flat(source.eta), block.flat(source.phi)
        if pt is None and energy is not None:
            # Of a mass the momentum is less than the energy; noise may make the energy negative, the sign stays.
            size = energy if mass is None else np.sign(energy) * np.sqrt(np.maximum(energy**2 - mass**2, 0.0))
            # Nothing has no direction: a hit without energy may stand in the origin.
            pt = np.where(size == 0, 0.0, size / np.cosh(eta))
        momentum = None if energy is not None or pt is None else pt * np.cosh(eta)
    if energy is None and momentum is not None:
        energy = momentum if mass is None else np.sqrt(momentum**2 + mass**2)
    if pt is None or energy is None:
        raise InputError(f"{block.where}: the schema gives constituents neither a momentum nor an energy")
    pt, energy = (_scaled(block, source, unit, values) for values in (pt, energy))
    return {"pt": pt, "eta": eta, "phi": phi, "energy": energy}


def split_by_sampling(
    block: Block, sampling: SamplingSplit, fields: dict[str, Float], jet: Counts, constituent: Counts, *, unit: float
) -> tuple[dict[str, Float], Counts]:
    """Turn each constituent of a jet into one per calorimeter sampling: the sampling's energy, in its direction.

    Parameters
    ----------
    block, sampling
        The entries, and the columns that hold the energies.
    fields, jet, constituent
        Linked constituents: fields (n,), the jet of each, and its number among the block's constituents.
    unit
        GeV in the file's unit of energy.

    Returns
    -------
    tuple
        Fields with ``layer``, the sampling's number, and the jet of each.

    Raises
    ------
    InputError
        When the pattern of samplings and the list of energies differ in length.
    """
    counts = block.inner_counts(sampling.energy)
    energy = block.flat(sampling.energy) * unit
    owner = np.repeat(np.arange(len(counts)), counts)
    if sampling.pattern is None:
        layer = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    else:
        layer = _layers_of_pattern(block, sampling, counts)
    starts = np.cumsum(counts) - counts
    repeat = counts[constituent]
    pair = np.repeat(np.arange(len(constituent)), repeat)
    take = np.arange(len(pair)) - np.repeat(np.cumsum(repeat) - repeat, repeat) + starts[constituent][pair]
    split = {name: values[pair] for name, values in fields.items()}
    split["energy"] = energy[take]
    split["pt"] = split["energy"] / np.cosh(split["eta"])
    split["layer"] = layer[take].astype(np.float64)
    for name, samplings in (("ecal", sampling.ecal), ("hcal", sampling.hcal)):
        if samplings:
            split[name] = np.where(np.isin(layer[take], list(samplings)), split["energy"], 0.0)
    return split, jet[pair]


def _layers_of_pattern(block: Block, sampling: SamplingSplit, counts: Counts) -> NDArray[np.int64]:
    pattern = block.flat(sampling.pattern).astype(np.int64)
    bits = (pattern[:, None] >> np.arange(32)) & 1
    if not np.array_equal(bits.sum(axis=1), counts):
        at = int(np.flatnonzero(bits.sum(axis=1) != counts)[0])
        raise InputError(
            f"{block.where}: '{sampling.pattern}' names {bits[at].sum()} samplings of a constituent (number {at} of "
            f"the block from entry {block.first}), '{sampling.energy}' holds {counts[at]}"
        )
    return np.nonzero(bits)[1]
