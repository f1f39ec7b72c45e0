"""A segmented calorimeter layer: towers, their measured energy, and its sharing between tracks and neutral excess.

Shape letters: H deposits, T tracks, C towers that were hit.
"""

from dataclasses import dataclass

import numpy as np

from hepcnn.generate.card import Calorimeter, EnergyResolution, find_step
from hepcnn.generate.particles import Flags, Floats, Integers
from hepcnn.generate.tracker import smear_log_normal


class TowerGrid:
    """The towers of a layer, numbered ring by ring from the lowest eta, and in a ring from phi = -pi.

    Parameters
    ----------
    card
        The layer, with its regions.
    """

    def __init__(self, card: Calorimeter) -> None:
        positive, n_phi, low = [np.zeros(1)], [], 0.0
        for region in card.regions:
            positive.append(np.linspace(low, region.abs_eta_max, region.n_eta + 1)[1:])
            n_phi += [region.n_phi] * region.n_eta
            low = region.abs_eta_max
        edges = np.concatenate(positive)
        self.eta_edges: Floats = np.concatenate([-edges[:0:-1], edges])
        self.n_phi: Integers = np.array([*n_phi[::-1], *n_phi], dtype=np.int64)
        self.first: Integers = np.concatenate([[0], np.cumsum(self.n_phi)])
        self.n_towers = int(self.first[-1])

    def find(self, eta: Floats, phi: Floats) -> Integers:
        """Number of the tower at eta, phi (H,); -1 outside the layer and for NaN."""
        ring = np.searchsorted(self.eta_edges, eta, side="right") - 1
        inside = (ring >= 0) & (ring < len(self.n_phi)) & np.isfinite(phi)
        ring = np.where(inside, ring, 0)
        n_phi = self.n_phi[ring]
        column = np.floor((np.where(inside, phi, 0.0) + np.pi) / (2.0 * np.pi) * n_phi).astype(np.int64)
        return np.where(inside, self.first[ring] + np.clip(column, 0, n_phi - 1), -1)

    def place(self, tower: Integers, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Point eta, phi (C,) in a tower at the fractions u (in eta) and v (in phi) of its width; 0.5 is the centre."""
        ring = np.searchsorted(self.first, tower, side="right") - 1
        low, high = self.eta_edges[ring], self.eta_edges[ring + 1]
        eta: Floats = low + (high - low) * u
        phi: Floats = -np.pi + 2.0 * np.pi * (tower - self.first[ring] + v) / self.n_phi[ring]
        return eta, phi


@dataclass(frozen=True)
class LayerFlow:
    """What one layer measured, (C,) per hit tower and (T,) per track.

    ``measured`` is the tower's energy after thresholds and ``neutral`` the part of it that no track accounts for (GeV).
    ``track_deposit`` is the share of the measured energy that a track accounts for, and ``track_scale`` the factor by
    which its momentum is corrected. Sum of ``neutral`` and of ``track_deposit`` over a tower is ``measured``.
    """

    event: Integers
    tower: Integers
    measured: Floats
    neutral: Floats
    track_deposit: Floats
    track_scale: Floats
    in_pileup: Floats


@dataclass(frozen=True)
class Hits:
    """Energies that enter a layer: event, eta, phi at the face, energy in GeV, and whether they are pile-up."""

    event: Integers
    eta: Floats
    phi: Floats
    energy: Floats
    is_pileup: Flags


def energy_resolution(card: EnergyResolution, energy: Floats, eta: Floats) -> Floats:
    """Absolute resolution in GeV of an energy (GeV) at eta; that of the last step beyond it.

    Notes
    -----
    ``sigma² = S² E + N² + C² E²`` (Delphes, arXiv:1307.6346, eq. 3).
    """
    step = np.minimum(find_step(card.abs_eta_max, eta), len(card.abs_eta_max) - 1)
    stochastic, noise, constant = (np.asarray(v)[step] for v in (card.stochastic, card.noise, card.constant))
    sigma: Floats = np.sqrt(stochastic**2 * energy + noise**2 + (constant * energy) ** 2)
    return sigma


def measure_layer(
    card: Calorimeter, hits: Hits, tracks: Hits, track_resolution: Floats, rng: np.random.Generator
) -> LayerFlow:
    """Measure the towers of a layer and compare them with the tracks that point to them.

    Parameters
    ----------
    card
        The layer.
    hits
        What particles leave in it, H rows; those without energy or outside make no tower.
    tracks
        What the tracks should leave in it (measured energy times the share of their kind), T rows.
    track_resolution
        Relative resolution (T,) of the tracks.
    rng
        Source of the random numbers, one a tower.

    Returns
    -------
    LayerFlow
        The towers ordered by event and number.

    Notes
    -----
    Each tower's energy is log-normal around the sum of its deposits and counts if it passes ``energy_min`` and
    ``significance_min``. With T the energy of its tracks, the excess E - T is a neutral object if it passes the same
    two thresholds, its error being that of tower and tracks together. If not, the tower and the tracks are averaged
    with their inverse variances and the tracks scaled to the mean (Delphes, arXiv:1307.6346, section 3.3, in the form
    that its calorimeter modules have had since version 3.4).
    """
    grid = TowerGrid(card)
    hit_key, track_key = _keys(grid, hits), _keys(grid, tracks)
    use, seen = (hit_key >= 0) & (hits.energy > 0.0), (track_key >= 0) & (tracks.energy > 0.0)
    keys, row = np.unique(np.concatenate([hit_key[use], track_key[seen]]), return_inverse=True)
    hit_row, track_row = row[: use.sum()], row[use.sum() :]
    tower = keys % grid.n_towers
    eta, _ = grid.place(tower, np.full(len(keys), 0.5), np.full(len(keys), 0.5))

    def total(rows: Integers, weights: Floats) -> Floats:
        return np.bincount(rows, weights, minlength=len(keys)).astype(np.float64)

    deposited = total(hit_row, hits.energy[use])
    pileup = total(hit_row, (hits.energy * hits.is_pileup)[use])
    sigma = energy_resolution(card.resolution, deposited, eta)
    measured = smear_log_normal(deposited, sigma, rng.standard_normal(len(keys)))
    sigma = energy_resolution(card.resolution, measured, eta)
    measured = np.where((measured < card.energy_min) | (measured < card.significance_min * sigma), 0.0, measured)
    from_tracks = total(track_row, tracks.energy[seen])
    variance = total(track_row, (track_resolution * tracks.energy)[seen] ** 2)
    excess = np.maximum(measured - from_tracks, 0.0)
    error = np.sqrt(variance + sigma**2)
    # A tower without tracks passes as a whole: it has passed these thresholds already.
    neutral = (excess > 0.0) & (
        (from_tracks == 0.0) | ((excess > card.energy_min) & (excess > card.significance_min * error))
    )
    scale, share = _share_with_tracks(measured, sigma, from_tracks, variance, neutral)
    deposit, track_scale = np.zeros(len(tracks.energy)), np.ones(len(tracks.energy))
    deposit[seen] = tracks.energy[seen] * share[track_row]
    track_scale[seen] = scale[track_row]
    with np.errstate(invalid="ignore"):
        in_pileup = np.where(deposited > 0.0, pileup / deposited, 0.0)
    return LayerFlow(
        keys // grid.n_towers, tower, measured, np.where(neutral, excess, 0.0), deposit, track_scale, in_pileup
    )


def _keys(grid: TowerGrid, hits: Hits) -> Integers:
    """One number for each pair of event and tower; -1 outside."""
    tower = grid.find(hits.eta, hits.phi)
    return np.where(tower >= 0, hits.event * grid.n_towers + tower, -1)


def _share_with_tracks(
    measured: Floats, sigma: Floats, from_tracks: Floats, variance: Floats, neutral: Flags
) -> tuple[Floats, Floats]:
    """Per tower, the factor for its tracks' momenta and the share of their energy found in the calorimeter."""
    with np.errstate(divide="ignore", invalid="ignore"):
        # (T / var_T + E / var_E) / (1 / var_T + 1 / var_E), written so that a vanishing variance is no special case.
        mean = (from_tracks * sigma**2 + measured * variance) / (sigma**2 + variance)
        mean = np.where(sigma**2 + variance > 0.0, mean, from_tracks)
        scale = np.where(neutral | (from_tracks <= 0.0), 1.0, mean / from_tracks)
        share = np.where(neutral | (from_tracks <= 0.0), 1.0, measured / from_tracks)
    return scale, share
