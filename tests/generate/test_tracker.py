"""Tracks: the way through the field against a step-by-step integration, efficiency and resolution against the card."""

import numpy as np
import pytest

from hepcnn.generate.tracker import make_tracks, propagate, smear_log_normal
from tests.generate.conftest import make_particles


def integrate(pt, eta, phi, charge, tracker, step=1e-4):
    """Follow dp/ds = q v × B in small steps of path to the cylinder; returns eta and phi of where it leaves."""
    x = np.zeros(3)
    direction = np.array([np.cos(phi), np.sin(phi), np.sinh(eta)])
    angle_a_metre = -0.299792458 * charge * tracker.field_t / pt
    for _ in range(200_000):
        middle = angle_a_metre * step / 2
        turn = np.array([[np.cos(middle), -np.sin(middle)], [np.sin(middle), np.cos(middle)]])
        direction[:2] = turn @ direction[:2]
        x = x + step * direction
        direction[:2] = turn @ direction[:2]
        if np.hypot(x[0], x[1]) >= tracker.radius_m or abs(x[2]) >= tracker.half_length_m:
            return np.arcsinh(x[2] / np.hypot(x[0], x[1])), np.arctan2(x[1], x[0])
    raise AssertionError("never left")


@pytest.mark.parametrize(
    ("pt", "eta", "phi", "charge"),
    [
        (50.0, 0.3, 1.0, 1),
        (1.0, -1.2, 3.1, -1),
        (0.5, 2.2, -3.0, 1),
        (0.3, 0.4, 0.2, 1),
        (0.36, -0.1, 2.0, -1),
        (2.0, 2.4, 0.0, -1),
    ],
)
def test_helix_agrees_with_integration(card, pt, eta, phi, charge):
    particles = make_particles([0], [211 * charge], [charge], [pt], [eta], [phi])
    eta_out, phi_out = propagate(particles, card.tracker)
    expected_eta, expected_phi = integrate(pt, eta, phi, charge, card.tracker)
    assert eta_out[0] == pytest.approx(expected_eta, abs=2e-3)
    assert np.cos(phi_out[0] - expected_phi) == pytest.approx(1.0, abs=1e-5)


def test_neutral_particles_and_no_field_mean_straight_lines(card):
    particles = make_particles([0, 0], [22, 211], [0, 1], [1.0, 1.0], [0.5, -0.5], [3.0, -3.0])
    eta, phi = propagate(particles, card.tracker)
    assert (eta[0], phi[0]) == pytest.approx((0.5, 3.0))
    eta, phi = propagate(particles, card.tracker.model_copy(update={"field_t": 0.0}))
    assert phi == pytest.approx([3.0, -3.0])
    assert eta == pytest.approx([0.5, -0.5])


@pytest.mark.parametrize(
    ("pdg_id", "pt", "eta", "efficiency", "resolution"),
    [
        (211, 20.0, 0.2, 0.95, np.hypot(0.06, 0.0013 * 20)),
        (-211, 0.7, 1.0, 0.70, np.hypot(0.10, 0.0017 * 0.7)),
        (11, 150.0, 2.0, 0.90, np.hypot(0.15, 0.0031 * 150)),
        (13, 40.0, -1.8, 0.98, np.hypot(0.025, 0.00035 * 40)),
        (211, 40.0, 2.7, 0.0, 0.0),
        (211, 0.05, 0.0, 0.0, 0.0),
    ],
)
def test_efficiency_and_resolution_are_the_cards(card, pdg_id, pt, eta, efficiency, resolution):
    n = 40_000
    particles = make_particles(
        np.zeros(n), np.full(n, pdg_id), np.ones(n), np.full(n, pt), np.full(n, eta), np.zeros(n)
    )
    tracks = make_tracks(particles, np.full(n, eta), card.tracker, np.random.default_rng(5))
    assert len(tracks.px) / n == pytest.approx(efficiency, abs=4 * np.sqrt(0.25 / n))
    if efficiency:
        measured = np.hypot(tracks.px, tracks.py)
        assert measured.mean() / pt == pytest.approx(1.0, abs=5 * resolution / np.sqrt(n))
        assert measured.std() / pt == pytest.approx(resolution, rel=0.06)


def test_log_normal_keeps_mean_and_width_and_zero():
    normal = np.random.default_rng(1).standard_normal(400_000)
    smeared = smear_log_normal(np.full(400_000, 10.0), np.full(400_000, 3.0), normal)
    assert smeared.mean() == pytest.approx(10.0, rel=0.003)
    assert smeared.std() == pytest.approx(3.0, rel=0.01)
    assert smear_log_normal(np.zeros(2), np.ones(2), np.ones(2)).tolist() == [0.0, 0.0]
