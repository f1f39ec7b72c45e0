"""Stable particles through tracker, ECAL and HCAL to energy-flow constituents, for a whole batch of events at once."""

import numpy as np

from hepcnn.generate.calorimeter import Hits, LayerFlow, TowerGrid, measure_layer
from hepcnn.generate.card import Calorimeter, DetectorCard
from hepcnn.generate.particles import Constituents, Flags, Floats, Integers, Kind, Particles
from hepcnn.generate.tracker import Tracks, make_tracks, propagate
from hepcnn.kinematics import px_py_pz


def apply_detector(
    particles: Particles, card: DetectorCard, rng: np.random.Generator, *, drop_pileup_tracks: bool = False
) -> Constituents:
    """Simulate the response to all particles of a batch.

    Parameters
    ----------
    particles
        Stable particles, ordered by event. Neutrinos may be among them: they leave nothing.
    card
        The detector.
    rng
        Source of the random numbers.
    drop_pileup_tracks
        Remove the tracks of pile-up after the energy flow.

    Returns
    -------
    Constituents
        Ordered by event and, within it, by falling pT. Over the constituents of a tower, ``ecal`` (``hcal``) sums to
        what the ECAL (HCAL) tower measured, unless pile-up tracks were dropped or the tower measured nothing.

    Notes
    -----
    As in Delphes (arXiv:1307.6346, section 3): tracks keep their direction at the origin; the neutral excess of a tower
    is a massless photon (ECAL) or neutral hadron (HCAL) at a random point of it. Tracks that point to no tower of a
    layer leave nothing there. No particle at all gives no constituent.
    """
    eta, phi = propagate(particles, card.tracker)
    tracks = make_tracks(particles, eta, card.tracker, rng)
    ecal_share, hcal_share = deposit_shares(particles.pdg_id, card)
    at = tracks.particle
    flows = []
    for layer, share in ((card.ecal, ecal_share), (card.hcal, hcal_share)):
        hits = Hits(particles.event, eta, phi, particles.energy * share, particles.is_pileup)
        pointing = Hits(particles.event[at], eta[at], phi[at], tracks.energy * share[at], particles.is_pileup[at])
        flows.append(measure_layer(layer, hits, pointing, tracks.resolution, rng))
    ecal, hcal = flows
    charged = _charged_constituents(particles, tracks, ecal, hcal)
    if drop_pileup_tracks:
        charged = charged.select(~charged.is_pileup)
    photons = _neutral_constituents(card.ecal, ecal, Kind.PHOTON, rng)
    neutrals = _neutral_constituents(card.hcal, hcal, Kind.NEUTRAL_HADRON, rng)
    everything = Constituents.concatenate([charged, photons, neutrals])
    pt_squared = everything.px**2 + everything.py**2
    return everything.select(np.lexsort((-pt_squared, everything.event)))


def deposit_shares(pdg_id: Integers, card: DetectorCard) -> tuple[Floats, Floats]:
    """Share of the energy of particles (P,) that ECAL and HCAL absorb."""
    kinds, inverse = np.unique(np.abs(pdg_id), return_inverse=True)
    deposits = [card.deposits.get(int(kind), card.hadron_deposit) for kind in kinds]
    ecal = np.array([deposit.ecal for deposit in deposits], dtype=np.float64)
    hcal = np.array([deposit.hcal for deposit in deposits], dtype=np.float64)
    return ecal[inverse], hcal[inverse]


def _charged_constituents(particles: Particles, tracks: Tracks, ecal: LayerFlow, hcal: LayerFlow) -> Constituents:
    scale = ecal.track_scale * hcal.track_scale
    px, py, pz = tracks.px * scale, tracks.py * scale, tracks.pz * scale
    at = tracks.particle
    return Constituents(
        event=particles.event[at],
        px=px,
        py=py,
        pz=pz,
        energy=np.sqrt(px**2 + py**2 + pz**2 + tracks.mass**2),
        ecal=ecal.track_deposit,
        hcal=hcal.track_deposit,
        charge=particles.charge[at],
        kind=tracks.kind.astype(np.int8),
        is_pileup=particles.is_pileup[at],
    )


def _neutral_constituents(layer: Calorimeter, flow: LayerFlow, kind: Kind, rng: np.random.Generator) -> Constituents:
    u, v = rng.random(len(flow.tower)), rng.random(len(flow.tower))
    kept: Flags = flow.neutral > 0.0
    energy = flow.neutral[kept]
    eta, phi = TowerGrid(layer).place(flow.tower[kept], u[kept], v[kept])
    px, py, pz = px_py_pz(energy / np.cosh(eta), eta, phi)
    nothing = np.zeros_like(energy)
    return Constituents(
        event=flow.event[kept],
        px=px,
        py=py,
        pz=pz,
        energy=energy,
        ecal=energy if kind == Kind.PHOTON else nothing,
        hcal=nothing if kind == Kind.PHOTON else energy,
        charge=np.zeros(len(energy), dtype=np.int64),
        kind=np.full(len(energy), int(kind), dtype=np.int8),
        is_pileup=flow.in_pileup[kept] > 0.5,
    )
