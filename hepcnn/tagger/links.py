"""Candidates of events and a table of links → the constituents of each jet."""

from typing import Any

import awkward as ak
import numpy as np

from hepcnn.constituents import offsets_of
from hepcnn.errors import InputError


def group_by_jet(candidates: ak.Array, jet: ak.Array, n_jets: Any) -> ak.Array:
    """Group linked candidates by the jet that they are linked to.

    Parameters
    ----------
    candidates
        (events, links): the candidate that each link names, as ``events.FatJetPFCands.pf`` of coffea's NanoEvents, or
        ``PFCands[FatJetPFCands_pFCandsIdx]``.
    jet
        (events, links) the number of the link's jet in its event; a negative one is none.
    n_jets
        (events,) how many jets each event has.

    Returns
    -------
    ak.Array
        (events, jets, var), the candidates of a jet in the order of their links; a jet that no link names is empty.

    Raises
    ------
    InputError
        When the tables differ in length, or a link names a jet that is not there.
    """
    counts = np.asarray(ak.to_numpy(n_jets), dtype=np.int64)
    links = np.asarray(ak.to_numpy(ak.num(jet, axis=1)), dtype=np.int64)
    if not np.array_equal(links, ak.to_numpy(ak.num(candidates, axis=1))) or len(links) != len(counts):
        raise InputError("links: candidates, numbers of jets and events do not have the same lengths")
    event = np.repeat(np.arange(len(counts)), links)
    number = np.asarray(ak.to_numpy(ak.flatten(jet, axis=1)), dtype=np.int64)
    if (wrong := number >= counts[event]).any():
        at = int(np.flatnonzero(wrong)[0])
        raise InputError(f"links: event {event[at]} has {counts[event[at]]} jets, a link names number {number[at]}")
    linked = np.flatnonzero(number >= 0)
    owner = offsets_of(counts)[event[linked]] + number[linked]
    order = linked[np.argsort(owner, kind="stable")]
    flat = ak.flatten(candidates, axis=1)[order]
    per_jet = np.bincount(owner, minlength=int(counts.sum()))
    return ak.unflatten(ak.unflatten(flat, per_jet), counts)
