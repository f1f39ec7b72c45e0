"""Events without jets: FastJet makes them."""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.constituents import Constituents, offsets_of
from hepcnn.errors import require
from hepcnn.io.columns import Counts, Float
from hepcnn.io.rules import ClusterLink
from hepcnn.io.sources import SourceRows
from hepcnn.kinematics import mass, pt_eta_phi, px_py_pz

ALGORITHMS = {"antikt": "antikt_algorithm", "cambridge": "cambridge_algorithm", "kt": "kt_algorithm"}
COMPONENTS = ("px", "py", "pz", "E")


@dataclass(frozen=True)
class ClusteredJets:
    """Jets, event by event.

    ``momenta`` are px, py, pz and E of each, ``event`` the event of each (n_jets,); ``jet`` and ``constituent`` the two
    numbers of each pair.
    """

    momenta: dict[str, Float]
    event: Counts
    jet: Counts
    constituent: Counts


def cluster_events(
    rows: SourceRows, link: ClusterLink, *, radius: float
) -> tuple[Counts, Counts, Counts, dict[str, Float]]:
    """Cluster the constituents of each event; those of zero pT are left out.

    Parameters
    ----------
    rows
        All constituents, in GeV.
    link
        Algorithm, smallest pT in GeV, largest |eta|, how many of the hardest jets to keep.
    radius
        The jets' radius.

    Returns
    -------
    tuple
        Jets per event (n,); the jet and the constituent of each pair, sorted by jet; and ``pt, eta, phi, mass`` of the
        jets, the hardest of each event first.

    Raises
    ------
    MissingExtraError
        Without FastJet.

    Notes
    -----
    Momenta are added up (E scheme). An event with a constituent that is NaN, infinite or of negative energy, of which
    FastJet could make no sense, comes out as one jet, the sum of all its constituents: a batch counts it as unusable.
    """
    fields, n_events = rows.fields, len(rows.counts)
    with np.errstate(over="ignore", invalid="ignore"):
        momenta = (*px_py_pz(fields["pt"], fields["eta"], fields["phi"]), fields["energy"])
    event = np.repeat(np.arange(n_events), rows.counts)
    bad = (fields["energy"] < 0) | ~np.logical_and.reduce([np.isfinite(component) for component in momenta])
    in_bad_event = np.isin(event, event[bad])
    whole = _make_whole(momenta, event, np.flatnonzero(in_bad_event), n_events)
    kept = np.flatnonzero((fields["pt"] > 0) & ~in_bad_event)
    clustered = _cluster(momenta, event, kept, link, radius) if len(kept) else None
    found = whole if clustered is None else _join(clustered, whole)
    px, py, pz, energy = (found.momenta[name] for name in COMPONENTS)
    pt, eta, phi = pt_eta_phi(px, py, pz)
    with np.errstate(invalid="ignore"):
        columns = {"pt": pt, "eta": eta, "phi": phi, "mass": np.asarray(mass(energy, px, py, pz))}
    return np.bincount(found.event, minlength=n_events), found.jet, found.constituent, columns


def _make_whole(momenta: tuple[Float, ...], event: Counts, members: Counts, n_events: int) -> ClusteredJets:
    """One jet of all constituents of each event that has some of these."""
    counts = np.bincount(event[members], minlength=n_events)
    filled = np.flatnonzero(counts)
    grouped = Constituents(offsets_of(counts[filled]), {})
    with np.errstate(invalid="ignore"):
        total = [grouped.sum(component[members]) for component in momenta]
    return ClusteredJets(dict(zip(COMPONENTS, total, strict=True)), filled, grouped.jet, members)


def _cluster(
    momenta: tuple[Float, ...], event: Counts, kept: Counts, link: ClusterLink, radius: float
) -> ClusteredJets:
    fastjet: Any = require("fastjet", extra="generate")
    # FastJet's C++ prints a banner on stdout at its first clustering, where a verb's --json belongs.
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    definition = fastjet.JetDefinition(getattr(fastjet, ALGORITHMS[link.algorithm]), radius)
    columns = {name: component[kept] for name, component in zip(COMPONENTS, momenta, strict=True)}
    events, counts = np.unique(event[kept], return_counts=True)
    particles = ak.unflatten(ak.zip(columns, with_name="Momentum4D"), counts)
    sequence = fastjet.ClusterSequence(particles, definition)
    jets, members = sequence.inclusive_jets(min_pt=link.pt_min), sequence.constituent_index(min_pt=link.pt_min)
    chosen = _choose(jets, link)
    numbered = (members + (np.cumsum(counts) - counts))[chosen]
    sizes = _flat(ak.num(numbered, axis=2))
    return ClusteredJets(
        momenta={name: _flat(jets[name][chosen]) for name in COMPONENTS},
        event=np.repeat(events, ak.to_numpy(ak.num(chosen, axis=1))),
        jet=np.repeat(np.arange(len(sizes)), sizes),
        constituent=kept[_flat(numbered)],
    )


def _choose(jets: Any, link: ClusterLink) -> Any:
    """The places of the jets to keep, the hardest of each event first."""
    pt, eta, _ = pt_eta_phi(jets["px"], jets["py"], jets["pz"])
    chosen = ak.argsort(pt, axis=1, ascending=False, stable=True)
    if link.eta_max is not None:
        chosen = chosen[abs(eta[chosen]) < link.eta_max]
    return chosen if link.leading is None else chosen[:, : link.leading]


def _flat(values: Any) -> NDArray[Any]:
    return np.asarray(ak.to_numpy(ak.flatten(values, axis=None)))


def _join(first: ClusteredJets, second: ClusteredJets) -> ClusteredJets:
    """Both kinds of jets in the order of their events; no event has both."""
    if not len(second.event):
        return first
    event = np.concatenate([first.event, second.event])
    order = np.argsort(event, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    jet = place[np.concatenate([first.jet, second.jet + len(first.event)])]
    pairs = np.argsort(jet, kind="stable")
    momenta = {name: np.concatenate([first.momenta[name], second.momenta[name]])[order] for name in COMPONENTS}
    return ClusteredJets(
        momenta, event[order], jet[pairs], np.concatenate([first.constituent, second.constituent])[pairs]
    )
