"""What really made a jet: heavy particles of the event record, their decay quarks, and the jets that hold them.

Shape letters: R rows of the record, Q decay quarks, H heavy particles, J jets.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hepcnn.generate.particles import Flags, Floats, Integers
from hepcnn.generate.pythia import Process, Record
from hepcnn.kinematics import delta_r, pt_eta_phi

TOP, W = 6, 24
FROM_HARD_PROCESS = 23
"""|status| of what comes out of the hard process or out of the decay of a resonance, before it showers."""


@dataclass(frozen=True)
class HeavyParticles:
    """Partons or resonances to match jets with: (H,) each, and (H, q) for their decay quarks (q = 0 for QCD)."""

    event: Integers
    pdg_id: Integers
    pt: Floats
    eta: Floats
    phi: Floats
    quark_eta: Floats
    quark_phi: Floats


@dataclass(frozen=True)
class Match:
    """Per jet (J,): the row of the heavy particle that fits best (-1: none), whether it is near, whether contained."""

    heavy: Integers
    is_near: Flags
    is_contained: Flags


def find_heavy_particles(record: Record, process: Process) -> HeavyParticles:
    """Find the last copies of the wanted particles and their decay quarks; the outgoing hard partons for QCD.

    Parameters
    ----------
    record
        The event records of a batch.
    process
        Says which particle and how many quarks.

    Returns
    -------
    HeavyParticles
        Ordered by row of the record. A particle with another number of quarks (a Z to neutrinos) is left out.

    Notes
    -----
    Followed upwards: a decay quark's mother is the last copy of the resonance. For a top quark's W, its copies are
    climbed to the top they came from, which is the last copy, since it has decayed.
    """
    absolute = np.abs(record.pdg_id)
    outgoing = np.abs(record.status) == FROM_HARD_PROCESS
    if not process.heavy:
        rows = np.flatnonzero(outgoing & ((absolute <= 5) | (absolute == 21)))
        return _describe(record, rows, np.empty((len(rows), 0), dtype=np.int64))
    quarks = np.flatnonzero(outgoing & (absolute >= 1) & (absolute <= 5))
    parents = record.mother[quarks]
    while process.heavy == TOP and (climbing := absolute[parents] == W).any():
        parents = np.where(climbing, record.mother[parents], parents)
    wanted = absolute[parents] == process.heavy
    quarks, parents = quarks[wanted], parents[wanted]
    order = np.argsort(parents, kind="stable")
    rows, first, counts = np.unique(parents[order], return_index=True, return_counts=True)
    whole = counts == process.n_quarks
    members = quarks[order][first[whole, np.newaxis] + np.arange(process.n_quarks)]
    return _describe(record, rows[whole], members)


def _describe(record: Record, rows: Integers, quarks: Integers) -> HeavyParticles:
    pt, eta, phi = pt_eta_phi(record.px[rows], record.py[rows], record.pz[rows])
    _, quark_eta, quark_phi = pt_eta_phi(record.px[quarks], record.py[quarks], record.pz[quarks])
    return HeavyParticles(record.event[rows], record.pdg_id[rows], pt, eta, phi, quark_eta, quark_phi)


def match_jets(
    heavy: HeavyParticles,
    jet_event: Integers,
    jet_eta: npt.NDArray[np.floating],
    jet_phi: npt.NDArray[np.floating],
    radius: float,
) -> Match:
    """Match jets, at most one an event, with the heavy particles of their events.

    Parameters
    ----------
    heavy
        H candidates.
    jet_event, jet_eta, jet_phi
        (J,) each; events rising.
    radius
        Largest distance in (eta, phi) of the heavy particle, and of each of its quarks, from the jet's axis.

    Returns
    -------
    Match
        A contained particle goes before a near one, a near before a far one, then the nearest is taken.
    """
    if not len(jet_event) or not len(heavy.event):
        nothing = np.zeros(len(jet_event), dtype=np.bool_)
        return Match(np.full(len(jet_event), -1, dtype=np.int64), nothing, nothing)
    jet = np.minimum(np.searchsorted(jet_event, heavy.event), len(jet_event) - 1)
    candidates = np.flatnonzero(jet_event[jet] == heavy.event)
    jet = jet[candidates]
    distance = delta_r(heavy.eta[candidates], heavy.phi[candidates], jet_eta[jet], jet_phi[jet])
    to_quarks = delta_r(
        heavy.quark_eta[candidates], heavy.quark_phi[candidates], jet_eta[jet, np.newaxis], jet_phi[jet, np.newaxis]
    )
    near = distance < radius
    contained = near & (to_quarks < radius).all(axis=1)
    order = np.lexsort((distance, ~near, ~contained, jet))
    best_jet, first = np.unique(jet[order], return_index=True)
    best = order[first]
    found, is_near = np.full(len(jet_event), -1, dtype=np.int64), np.zeros(len(jet_event), dtype=np.bool_)
    is_contained = is_near.copy()
    found[best_jet], is_near[best_jet], is_contained[best_jet] = candidates[best], near[best], contained[best]
    return Match(found, is_near, is_contained)
