"""How jets own their constituents: each rule turns a block of events into pairs (jet, constituent).

Within a block, jets and constituents of all events are numbered through in the file's order.
"""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError
from hepcnn.io.columns import Block
from hepcnn.io.rules import DistanceLink, EntryLink, IndexLink, Link, RangeLink, ReferenceLink, SelfLink
from hepcnn.kinematics import delta_r

REFERENCE_MASK = 0xFFFFFF
"""A ROOT reference holds the lower 24 bits of an object's unique id (TRef, TRefArray)."""

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class EventBlock:
    """Some events of a file, ready to be linked.

    ``n_jets`` and ``n_constituents`` count per event (n,); ``jet_eta`` and ``jet_phi`` are flat over all jets,
    ``constituents`` flat over all constituents; ``columns`` holds what the rule reads.
    """

    columns: Block
    n_jets: NDArray[np.int64]
    n_constituents: NDArray[np.int64]
    jet_eta: NDArray[np.float64]
    jet_phi: NDArray[np.float64]
    constituents: dict[str, NDArray[np.float64]]
    unique_ids: NDArray[np.int64] | None

    @property
    def where(self) -> str:
        """File and tree, for messages."""
        return self.columns.where

    @property
    def first_entry(self) -> int:
        """The number of the first event."""
        return self.columns.first


def link_constituents(link: Link, block: EventBlock, *, radius: float) -> Pairs:
    """Find which constituents belong to which jet.

    Parameters
    ----------
    link
        The rule of the schema.
    block
        The events.
    radius
        The jets' radius; used by the distance rule.

    Returns
    -------
    tuple of two arrays (n_pairs,)
        Jet and constituent numbers, sorted by jet; within a jet in the file's order. A constituent may belong to
        several jets.

    Raises
    ------
    InputError
        When an index or a reference points to nothing; the message names the entry.
    """
    match link:
        case EntryLink():
            jets = np.repeat(np.arange(len(block.n_constituents)), block.n_constituents)
            return jets, np.arange(len(jets))
        case SelfLink():
            return np.arange(len(block.jet_eta)), np.arange(len(block.jet_eta))
        case IndexLink():
            pairs = _by_index(link, block)
        case ReferenceLink():
            pairs = _by_reference(link, block)
        case RangeLink():
            pairs = _by_range(link, block)
        case DistanceLink():
            pairs = _by_distance(block, radius)
        case _:
            raise InputError(f"{block.where}: jets are not linked by the rule '{link.kind}'")
    order = np.argsort(pairs[0], kind="stable")
    return pairs[0][order], pairs[1][order]


def starts_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each event begins when the counts are laid end to end: (n,) for (n,)."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)[:-1]]) if len(counts) else counts


def _by_index(link: IndexLink, block: EventBlock) -> Pairs:
    n_pairs = block.columns.same_counts([link.jet, link.constituent])
    event = np.repeat(np.arange(len(n_pairs)), n_pairs)
    local_jet = block.columns.flat(link.jet).astype(np.int64)
    local_constituent = block.columns.flat(link.constituent).astype(np.int64)
    _check_range(block, str(link.jet), event, local_jet, block.n_jets)
    _check_range(block, str(link.constituent), event, local_constituent, block.n_constituents)
    return starts_of(block.n_jets)[event] + local_jet, starts_of(block.n_constituents)[event] + local_constituent


def _by_range(link: RangeLink, block: EventBlock) -> Pairs:
    of_relations = [link.index, *([link.collection] if link.collection is not None else [])]
    n_relations = block.columns.same_counts(of_relations)
    _check_counts(block, [link.begin, link.end])
    begin, end = block.columns.flat(link.begin).astype(np.int64), block.columns.flat(link.end).astype(np.int64)
    event_of_jet = np.repeat(np.arange(len(block.n_jets)), block.n_jets)
    for branch, place in ((str(link.begin), begin), (str(link.end), end)):
        _check_range(block, branch, event_of_jet, place, n_relations + 1)
    counts = end - begin
    if (counts < 0).any():
        at = int(np.flatnonzero(counts < 0)[0])
        raise InputError(
            f"{block.where}, entry {block.first_entry + event_of_jet[at]}: '{link.begin}' holds {begin[at]}, which is "
            f"after '{link.end}', {end[at]}"
        )
    jet = np.repeat(np.arange(len(counts)), counts)
    event = event_of_jet[jet]
    place = np.arange(len(jet)) - starts_of(counts)[jet] + begin[jet] + starts_of(n_relations)[event]
    if link.collection is not None and len(place):
        collections = np.unique(block.columns.flat(link.collection)[place])
        if len(collections) > 1:
            listed = ", ".join(f"{number:.0f}" for number in collections)
            raise InputError(
                f"{block.where}: '{link.collection}' names several collections ({listed}): jets whose constituents lie "
                f"in more than one cannot be read"
            )
    index = block.columns.flat(link.index).astype(np.int64)[place]
    _check_range(block, str(link.index), event, index, block.n_constituents)
    return jet, starts_of(block.n_constituents)[event] + index


def _check_counts(block: EventBlock, columns: list[Any]) -> None:
    """Columns of one element a jet must have as many as there are jets."""
    for column in columns:
        counts = block.columns.counts(column)
        if not np.array_equal(counts, block.n_jets):
            at = int(np.flatnonzero(counts != block.n_jets)[0])
            raise InputError(
                f"{block.where}, entry {block.first_entry + at}: '{column}' has {counts[at]} values for "
                f"{block.n_jets[at]} jets"
            )


def _check_range(
    block: EventBlock, branch: str, event: NDArray[np.int64], index: NDArray[np.int64], counts: NDArray[np.int64]
) -> None:
    bad = np.flatnonzero((index < 0) | (index >= counts[event]))
    if len(bad):
        at = bad[0]
        raise InputError(
            f"{block.where}, entry {block.first_entry + event[at]}: '{branch}' holds {index[at]}, "
            f"but the event has {counts[event[at]]} of what it points to ({len(bad)} such links in this block)"
        )


def _by_reference(link: ReferenceLink, block: EventBlock) -> Pairs:
    _check_counts(block, [link.references])
    references = block.columns.columns[link.references]
    if "refs" in ak.fields(references):
        references = references["refs"]
    per_jet = ak.to_numpy(ak.flatten(ak.num(references, axis=2), axis=None)).astype(np.int64)
    jets = np.repeat(np.arange(len(per_jet)), per_jet)
    event_of_jet = np.repeat(np.arange(len(block.n_jets)), block.n_jets)
    wanted = ak.to_numpy(ak.flatten(references, axis=None)).astype(np.int64) & REFERENCE_MASK
    wanted += event_of_jet[jets] * (REFERENCE_MASK + 1)
    if block.unique_ids is None:
        raise InputError(f"{block.where}: references need a 'unique_id' in every constituent collection of the schema")
    event_of_constituent = np.repeat(np.arange(len(block.n_constituents)), block.n_constituents)
    known = (block.unique_ids & REFERENCE_MASK) + event_of_constituent * (REFERENCE_MASK + 1)
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known[order], wanted), max(len(known) - 1, 0))
    lost = np.flatnonzero(known[order][place] != wanted) if len(known) else np.arange(len(wanted))
    if len(lost):
        entry = block.first_entry + event_of_jet[jets[lost[0]]]
        raise InputError(
            f"{block.where}, entry {entry}: '{link.references}' refers to {len(lost)} objects (of {len(wanted)} in "
            f"this block) that none of the constituent collections holds"
        )
    return jets, order[place]


def _by_distance(block: EventBlock, radius: float) -> Pairs:
    n_pairs = block.n_jets * block.n_constituents
    event = np.repeat(np.arange(len(n_pairs)), n_pairs)
    within = np.arange(len(event)) - starts_of(n_pairs)[event]
    n_constituents = block.n_constituents[event]
    jet = starts_of(block.n_jets)[event] + within // n_constituents
    constituent = starts_of(block.n_constituents)[event] + within % n_constituents
    eta, phi = block.constituents["eta"], block.constituents["phi"]
    near = delta_r(eta[constituent], phi[constituent], block.jet_eta[jet], block.jet_phi[jet]) < radius
    return jet[near], constituent[near]
