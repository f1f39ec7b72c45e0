"""Events without jets: FastJet makes them."""

from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError, require
from hepcnn.io.rules import ClusterLink
from hepcnn.io.sources import SourceRows
from hepcnn.kinematics import px_py_pz

MOMENTUM = ("pt", "eta", "phi", "energy")
ALGORITHMS = {"antikt": "antikt_algorithm", "cambridge": "cambridge_algorithm", "kt": "kt_algorithm"}


def cluster_events(
    rows: SourceRows, link: ClusterLink, *, radius: float, where: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Cluster the constituents of each event.

    Parameters
    ----------
    rows
        All constituents, in GeV; those of zero pT are left out, and negative energies refused.
    link
        Algorithm, smallest pT in GeV, largest |eta|, how many of the hardest jets to keep.
    radius
        The jets' radius.
    where
        File and tree, for messages.

    Returns
    -------
    tuple
        Jets per event (n,); the jet and the constituent of each pair, sorted by jet; and ``pt, eta, phi, mass`` of the
        jets, the hardest of each event first.

    Raises
    ------
    InputError
        When a constituent is NaN, infinite or of negative energy: FastJet would give no sense.
    MissingExtraError
        Without FastJet.
    """
    fastjet: Any = require("fastjet", extra="generate")
    fields = rows.fields
    bad = (fields["energy"] < 0) | ~np.logical_and.reduce([np.isfinite(fields[name]) for name in MOMENTUM])
    if bad.any():
        raise InputError(f"{where}: {bad.sum()} constituents of this block are NaN, infinite or of negative energy")
    kept = np.flatnonzero(fields["pt"] > 0)
    event = np.repeat(np.arange(len(rows.counts)), rows.counts)[kept]
    px, py, pz = (component[kept] for component in px_py_pz(fields["pt"], fields["eta"], fields["phi"]))
    counts = np.bincount(event, minlength=len(rows.counts))
    filled = np.flatnonzero(counts)
    if not len(filled):
        return _no_jets(len(rows.counts))
    particles = ak.zip({"px": px, "py": py, "pz": pz, "E": fields["energy"][kept]}, with_name="Momentum4D")
    definition = fastjet.JetDefinition(getattr(fastjet, ALGORITHMS[link.algorithm]), radius)
    clustered = fastjet.ClusterSequence(ak.unflatten(particles, counts[filled]), definition)
    jets = clustered.inclusive_jets(min_pt=link.pt_min)
    members = clustered.constituent_index(min_pt=link.pt_min)
    return _arrange(jets, members, link, filled, counts, kept)


def _no_jets(
    n_events: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    none = np.zeros(0, dtype=np.int64)
    empty = {name: np.zeros(0) for name in ("pt", "eta", "phi", "mass")}
    return np.zeros(n_events, dtype=np.int64), none, none, empty


def _arrange(
    jets: Any, members: Any, link: ClusterLink, filled: Any, counts: Any, kept: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Sort each event's jets by pT, cut them, and number their constituents through the block."""
    px, py, pz, energy = (jets[name] for name in ("px", "py", "pz", "E"))
    pt = np.hypot(px, py)
    eta = np.arcsinh(pz / pt)
    order = ak.argsort(pt, axis=1, ascending=False)
    keep = order
    if link.eta_max is not None:
        keep = keep[abs(eta[order]) < link.eta_max]
    if link.leading is not None:
        keep = keep[:, : link.leading]
    per_event = np.zeros(len(counts), dtype=np.int64)
    per_event[filled] = ak.to_numpy(ak.num(keep, axis=1))
    starts = (np.cumsum(counts) - counts)[filled]
    numbered = (members + starts)[keep]
    constituent = kept[ak.to_numpy(ak.flatten(numbered, axis=None))]
    sizes = ak.to_numpy(ak.flatten(ak.num(numbered, axis=2), axis=None))
    jet = np.repeat(np.arange(len(sizes)), sizes)
    mass = np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0))
    columns = {"pt": pt, "eta": eta, "phi": np.arctan2(py, px), "mass": mass}
    flat = {name: np.asarray(ak.to_numpy(ak.flatten(values[keep]))) for name, values in columns.items()}
    return per_event, jet, constituent, flat
