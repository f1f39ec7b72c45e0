"""Charged particles in the solenoid: where they meet the calorimeter, and which are found as tracks.

Shape letters: P particles, T tracks.
"""

from dataclasses import dataclass

import numpy as np

from hepcnn.generate.card import TrackEfficiency, Tracker, TrackResolution, find_step
from hepcnn.generate.particles import Flags, Floats, Integers, Kind, Particles
from hepcnn.kinematics import mass, pt_eta_phi, px_py_pz, wrap_phi

TESLA_METRE_TO_GEV = 0.299792458
"""pT in GeV of a particle of charge e per tesla and metre of its radius of curvature."""


@dataclass(frozen=True)
class Tracks:
    """Tracks, (T,) each: the row of the particle, the measured momentum in GeV, and its relative resolution."""

    particle: Integers
    kind: Integers
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    mass: Floats
    resolution: Floats


def propagate(particles: Particles, tracker: Tracker) -> tuple[Floats, Floats]:
    """Follow particles from the origin to the face of the calorimeter.

    Parameters
    ----------
    particles
        Stable particles, P rows.
    tracker
        The field and the cylinder.

    Returns
    -------
    tuple of ndarray
        eta and phi (P,) of the point on the cylinder as seen from the origin.

    Notes
    -----
    A helix of radius ``r = pT / (0.2998 |q| B)`` turned by ``psi`` is ``2 r sin(psi / 2)`` away from the beam, in
    the direction ``phi - sign(q) psi / 2``, at ``z = r psi pz / pT`` (e.g. PDG review, "Kinematics", and Delphes,
    arXiv:1307.6346, section 3.1). It leaves by the barrel when the distance reaches the radius, by an end when ``|z|``
    does first. Particles that curl more than half a turn leave by the end they spiral towards. Neutral particles keep
    their direction.
    """
    pt, eta, phi = pt_eta_phi(particles.px, particles.py, particles.pz)
    bent = (particles.charge != 0) & (pt > 0.0) & (tracker.field_t > 0.0)
    eta_out, phi_out = eta.copy(), phi.copy()
    if not bent.any():
        return eta_out, phi_out
    charge, slope = particles.charge[bent], np.sinh(eta[bent])
    curvature = pt[bent] / (TESLA_METRE_TO_GEV * np.abs(charge) * tracker.field_t)
    half_sine = tracker.radius_m / (2.0 * curvature)
    with np.errstate(divide="ignore"):
        turn_barrel = np.where(half_sine < 1.0, 2.0 * np.arcsin(np.minimum(half_sine, 1.0)), np.inf)
        turn_end = tracker.half_length_m / (curvature * np.abs(slope))
    # A particle at rest along the beam that curls for ever is stopped after half a turn.
    turn = np.minimum(turn_barrel, turn_end)
    turn = np.where(np.isfinite(turn), turn, np.pi)
    distance = np.abs(2.0 * curvature * np.sin(turn / 2.0))
    z = curvature * turn * slope
    sine = np.sin(turn / 2.0)
    # Where the chord is negative (more than a full turn), the point lies on the other side of the beam.
    direction = phi[bent] - np.sign(charge) * turn / 2.0 + np.where(sine < 0.0, np.pi, 0.0)
    eta_out[bent] = np.arcsinh(z / np.maximum(distance, 1e-9))
    phi_out[bent] = wrap_phi(direction)
    return eta_out, phi_out


def make_tracks(particles: Particles, eta_face: Floats, tracker: Tracker, rng: np.random.Generator) -> Tracks:
    """Find the tracks of charged particles and smear their pT.

    Parameters
    ----------
    particles
        Stable particles, P rows.
    eta_face
        eta (P,) at the calorimeter, on which efficiency and resolution depend, as in Delphes.
    tracker
        Efficiencies and resolutions.
    rng
        Source of the random numbers; two a particle are drawn, whatever happens to it.

    Returns
    -------
    Tracks
        In the order of the particles. The direction and the mass are the particle's own.

    Notes
    -----
    The measured pT is log-normal with the particle's pT as its mean, so that it stays positive; the relative width is
    ``constant (+) slope pT``, at most 1 (Delphes, arXiv:1307.6346, section 3.1).
    """
    pt, eta, phi = pt_eta_phi(particles.px, particles.py, particles.pz)
    kind = track_kind(particles.pdg_id)
    lottery, smearing = rng.random(len(particles)), rng.standard_normal(len(particles))
    efficiency, resolution = np.zeros(len(particles)), np.zeros(len(particles))
    for species in (Kind.CHARGED_HADRON, Kind.ELECTRON, Kind.MUON):
        rows = (kind == species) & (particles.charge != 0)
        name = species.name.lower()
        efficiency[rows] = track_efficiency(getattr(tracker.efficiency, name), pt[rows], eta_face[rows])
        resolution[rows] = track_resolution(getattr(tracker.resolution, name), pt[rows], eta_face[rows])
    found = np.flatnonzero(lottery < efficiency)
    measured = smear_log_normal(pt[found], resolution[found] * pt[found], smearing[found])
    px, py, pz = px_py_pz(measured, eta[found], phi[found])
    own_mass = mass(particles.energy[found], particles.px[found], particles.py[found], particles.pz[found])
    energy = np.sqrt(px**2 + py**2 + pz**2 + own_mass**2)
    return Tracks(found, kind[found], px, py, pz, energy, own_mass, resolution[found])


def track_kind(pdg_id: Integers) -> Integers:
    """What a track of this particle is taken for: electron, muon, else charged hadron."""
    absolute = np.abs(pdg_id)
    kind = np.full(len(pdg_id), int(Kind.CHARGED_HADRON), dtype=np.int64)
    kind[absolute == 11] = Kind.ELECTRON
    kind[absolute == 13] = Kind.MUON
    return kind


def track_efficiency(card: TrackEfficiency, pt: Floats, eta: Floats) -> Floats:
    """Efficiency (P,) by pT in GeV and eta."""
    table = np.zeros((len(card.abs_eta_max) + 1, len(card.pt_min) + 1))
    table[:-1, 1:] = card.efficiency
    result: Floats = table[find_step(card.abs_eta_max, eta), np.searchsorted(card.pt_min, pt, side="left")]
    return result


def track_resolution(card: TrackResolution, pt: Floats, eta: Floats) -> Floats:
    """Relative pT resolution (P,) by pT in GeV and eta, at most 1; that of the last step beyond it."""
    step = np.minimum(find_step(card.abs_eta_max, eta), len(card.abs_eta_max) - 1)
    constant, slope = np.asarray(card.constant)[step], np.asarray(card.slope)[step]
    result: Floats = np.minimum(np.hypot(constant, slope * pt), 1.0)
    return result


def smear_log_normal(mean: Floats, sigma: Floats, normal: Floats) -> Floats:
    """Log-normal numbers of given mean and standard deviation from standard normal ones; 0 where the mean is 0.

    Notes
    -----
    ``exp(a + b x)`` with ``b² = ln(1 + sigma² / mean²)`` and ``a = ln(mean) - b² / 2``.
    """
    result = np.zeros_like(mean)
    good: Flags = mean > 0.0
    width_squared = np.log1p((sigma[good] / mean[good]) ** 2)
    result[good] = mean[good] * np.exp(np.sqrt(width_squared) * normal[good] - 0.5 * width_squared)
    return result
