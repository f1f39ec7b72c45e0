"""Columns of some entries → jets with their constituents."""

import math
from dataclasses import replace
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.constituents import Constituents, offsets_of
from hepcnn.errors import InputError
from hepcnn.io.batch import JetBatch
from hepcnn.io.clustering import cluster_events
from hepcnn.io.columns import Block, Counts, Float
from hepcnn.io.event_ids import ids_from_content, ids_from_keys
from hepcnn.io.extras import read_extra
from hepcnn.io.labels import read_label
from hepcnn.io.links import EventBlock, link_constituents
from hepcnn.io.plan import Plan
from hepcnn.io.rules import CellsLink, ClusterLink, EntryLink, columns_of
from hepcnn.io.schema import JetBranches, JetCollection
from hepcnn.io.sources import read_sources, split_by_sampling
from hepcnn.kinematics import mass, pt_eta_phi, px_py_pz

JetColumns = dict[str, Float]


def make_batch(block: Block, plan: Plan) -> JetBatch:
    """Make jets of a block of entries.

    Raises
    ------
    InputError
        When columns do not fit together; the message names them and the entry.
    """
    collection = plan.collection
    if isinstance(collection.link, CellsLink):
        n_jets, constituents = np.ones(block.n, dtype=np.int64), _read_cells(block, collection.link, plan.unit)
        jets = _sum_shower(constituents)
    elif isinstance(collection.link, ClusterLink):
        n_jets, constituents, jets = _cluster(block, plan, collection.link)
    else:
        n_jets, constituents, jets = _link(block, plan)
    event = np.repeat(np.arange(block.n), n_jets)
    labels = {
        name: read_label(block, label, n_jets=n_jets, eta=jets["eta"], phi=jets["phi"], radius=collection.radius)
        for name, label in collection.labels.items()
    }
    weight = np.ones(block.n) if plan.weight is None else block.per_entry(plan.weight).astype(np.float64)
    ids = (
        ids_from_keys(block, plan.keys)
        if plan.keys
        else ids_from_content(n_jets, _identity(constituents, jets, shower=collection.is_shower))
    )
    return JetBatch(
        where=block.where,
        first_entry=block.first,
        n_entries=block.n,
        flat=constituents,
        entry=block.first + event,
        jet=np.arange(len(event)) - np.repeat(np.cumsum(n_jets) - n_jets, n_jets),
        event_id=ids[event],
        weight=weight[event],
        labels=labels,
        keys={key: block.per_entry(key) for key in plan.keys},
        extra={
            name: read_extra(block, rule, n_jets=n_jets, eta=jets["eta"], phi=jets["phi"], unit=plan.unit)
            for name, rule in collection.extra.items()
        },
        n_cells=_count_cells(block, collection.link) if isinstance(collection.link, CellsLink) else None,
        is_shower=plan.is_shower,
        keeps_negative=collection.keeps_negative,
        empty=collection.empty,
        **jets,
    )


def _identity(constituents: Constituents, jets: JetColumns, *, shower: bool) -> list[Float]:
    if not shower:
        return [jets["pt"], jets["eta"], jets["phi"]]
    fields = constituents.fields
    place = fields["cell"] if "cell" in fields else fields["x"] + np.pi * (fields["y"] + np.pi * fields["z"])
    return [jets["pt"], constituents.sum(fields["pt"] * (1.0 + place)), constituents.counts.astype(np.float64)]


def _read_cells(block: Block, link: CellsLink, unit: float) -> Constituents:
    """Pixels or voxels that are not zero; NaN counts as not zero, and is a problem of its jet later."""
    parts = [np.asarray(ak.to_numpy(block.columns[column])).reshape(block.n, -1) for column in link.columns]
    values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    if link.count is not None and values.shape[1] != link.count:
        names = " and ".join(f"'{column}'" for column in link.columns)
        have = "has" if len(parts) == 1 else "have"
        raise InputError(f"{block.where}: {names} {have} {values.shape[1]} cells an entry, expected {link.count}")
    filled = values != 0 if link.negative != "drop" else ~(values <= 0)
    jet, cell = np.nonzero(filled)
    value = values[jet, cell].astype(np.float64) * unit
    zero = np.zeros(len(value))
    fields = {"pt": value, "eta": zero, "phi": zero, "energy": value, "cell": cell.astype(np.float64)}
    return Constituents(offsets_of(np.bincount(jet, minlength=block.n)), fields)


def _count_cells(block: Block, link: CellsLink) -> int:
    layouts: list[Any] = [ak.to_layout(block.columns[column]) for column in link.columns]
    return sum(math.prod(layout.data.shape[1:]) for layout in layouts)


def _sum_shower(constituents: Constituents) -> JetColumns:
    """A shower as a jet: the sum of its energies for pT, and no direction."""
    zero = np.zeros(len(constituents))
    return {"pt": constituents.sum(constituents.fields["pt"]), "eta": zero, "phi": zero, "mass": zero}


def _cluster(block: Block, plan: Plan, link: ClusterLink) -> tuple[Counts, Constituents, JetColumns]:
    collection, unit = plan.collection, plan.unit
    rows = read_sources(block, collection.constituents, unit=unit, length=plan.length, drop_padding=True)
    if any(source.negative == "drop" for source in collection.constituents):
        # Noise takes no part: what has no momentum is left out of the clustering.
        noise = rows.fields["energy"] < 0
        calm = {name: np.where(noise, 0.0, rows.fields[name]) for name in ("pt", "energy")}
        rows = replace(rows, fields=rows.fields | calm)
    n_jets, jet, constituent, jets = cluster_events(rows, link, radius=collection.radius)
    fields = {name: values[constituent] for name, values in rows.fields.items()}
    return n_jets, _gather(block, collection, fields, jet, constituent, int(n_jets.sum()), unit), jets


def _link(block: Block, plan: Plan) -> tuple[Counts, Constituents, JetColumns]:
    collection, unit = plan.collection, plan.unit
    is_entry = isinstance(collection.link, EntryLink)
    rows = read_sources(block, collection.constituents, unit=unit, length=plan.length, drop_padding=is_entry)
    if is_entry:
        # What belongs together stands together already.
        n_jets = np.ones(block.n, dtype=np.int64)
        linked = _without_nothing(Constituents(offsets_of(rows.counts), rows.fields))
        if any(source.sampling or source.negative == "drop" for source in collection.constituents):
            linked = _gather(block, collection, rows.fields, linked.jet, np.arange(linked.n), block.n, unit)
        if collection.is_shower:
            return n_jets, linked, _sum_shower(linked)
        return n_jets, linked, _read_jets(block, collection.jets, linked, unit)
    axes = _read_axes(block, collection.jets, unit)
    n_jets = _count_jets(block, collection.jets)
    events = EventBlock(block, n_jets, rows.counts, axes["eta"], axes["phi"], rows.fields, rows.unique_ids)
    jet, constituent = link_constituents(collection.link, events, radius=collection.radius)
    fields = {name: values[constituent] for name, values in rows.fields.items()}
    linked = _gather(block, collection, fields, jet, constituent, int(n_jets.sum()), unit)
    return n_jets, linked, axes | {"mass": _jet_mass(block, collection.jets, axes, linked, unit)}


def _gather(
    block: Block,
    collection: JetCollection,
    fields: dict[str, Float],
    jet: NDArray[np.int64],
    constituent: NDArray[np.int64],
    n_jets: int,
    unit: float,
) -> Constituents:
    """Linked constituents, split by sampling where the schema says so, without those that carry nothing."""
    source = collection.constituents[0]
    if source.sampling is not None:
        fields, jet = split_by_sampling(block, source.sampling, fields, jet, constituent, unit=unit)
    if source.negative == "drop":
        keep = ~(fields["energy"] < 0)
        fields, jet = {name: values[keep] for name, values in fields.items()}, jet[keep]
    return _without_nothing(Constituents(offsets_of(np.bincount(jet, minlength=n_jets)), fields))


def _without_nothing(constituents: Constituents) -> Constituents:
    return constituents.keep(constituents.fields["pt"] != 0)


def _count_jets(block: Block, jets: JetBranches | None) -> Counts:
    return block.same_counts([] if jets is None else list(columns_of(jets)))


def _read_axes(block: Block, jets: JetBranches | None, unit: float) -> JetColumns:
    if jets is None:
        return {}
    if jets.px is not None:
        pt, eta, phi = pt_eta_phi(block.flat(jets.px), block.flat(jets.py), block.flat(jets.pz))
    else:
        pt, eta, phi = block.flat(jets.pt), block.flat(jets.eta), block.flat(jets.phi)
    return {"pt": pt * unit, "eta": eta, "phi": phi}


def _read_jets(block: Block, jets: JetBranches | None, constituents: Constituents, unit: float) -> JetColumns:
    if jets is not None:
        _check_one_jet(block, jets)
        axes = _read_axes(block, jets, unit)
        return axes | {"mass": _jet_mass(block, jets, axes, constituents, unit)}
    energy, px, py, pz = _sum_momenta(constituents)
    pt, eta, phi = pt_eta_phi(px, py, pz)
    empty = constituents.counts == 0
    return {"pt": pt, "eta": np.where(empty, 0.0, eta), "phi": phi, "mass": np.asarray(mass(energy, px, py, pz))}


def _check_one_jet(block: Block, jets: JetBranches) -> None:
    for column in columns_of(jets):
        if block.depth(column) > 1 and not (block.counts(column) == 1).all():
            counts = block.counts(column)
            at = int(np.flatnonzero(counts != 1)[0])
            raise InputError(
                f"{block.where}, entry {block.first + at}: '{column}' has {counts[at]} values where an entry is one jet"
            )


def _sum_momenta(constituents: Constituents) -> list[Float]:
    fields = constituents.fields
    momenta = px_py_pz(fields["pt"], fields["eta"], fields["phi"])
    return [constituents.sum(component) for component in (fields["energy"], *momenta)]


def _jet_mass(
    block: Block, jets: JetBranches | None, axes: JetColumns, constituents: Constituents, unit: float
) -> Float:
    """The jets' mass as the file has it, else from their energy, else that of the constituents' sum."""
    if jets is not None and jets.mass is not None:
        return block.flat(jets.mass) * unit
    if jets is not None and jets.energy is not None:
        energy = block.flat(jets.energy) * unit
        return np.asarray(mass(energy, *px_py_pz(axes["pt"], axes["eta"], axes["phi"])), dtype=np.float64)
    return np.asarray(mass(*_sum_momenta(constituents)), dtype=np.float64)
