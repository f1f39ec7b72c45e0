"""Calorimeter and energy flow: conservation, resolution, and who gets which energy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcnn.generate.calorimeter import Hits, TowerGrid, energy_resolution, measure_layer
from hepcnn.generate.detector import apply_detector
from hepcnn.generate.particles import Kind
from tests.generate.conftest import make_particles

SPECIES = [(22, 0), (211, 1), (-211, -1), (130, 0), (310, 0), (11, -1), (2112, 0)]


def random_particles(seed, n_events=3, n=60, eta_max=2.4):
    rng = np.random.default_rng(seed)
    species = np.array(SPECIES)[rng.integers(len(SPECIES), size=n)]
    event = np.sort(rng.integers(n_events, size=n))
    return make_particles(
        event,
        species[:, 0],
        species[:, 1],
        rng.exponential(8, n) + 0.2,
        rng.uniform(-eta_max, eta_max, n),
        rng.uniform(-np.pi, np.pi, n),
    )


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_energy_is_conserved_by_a_perfect_detector(perfect_card, seed):
    particles = random_particles(seed)
    constituents = apply_detector(particles, perfect_card, np.random.default_rng(seed))
    for event in range(3):
        true, seen = particles.event == event, constituents.event == event
        # To the last digit but for neutral excesses: K0S are shared by both layers and become a photon and a hadron.
        assert constituents.energy[seen].sum() == pytest.approx(particles.energy[true].sum(), rel=1e-9)
        deposits = constituents.ecal[seen].sum() + constituents.hcal[seen].sum()
        assert deposits == pytest.approx(particles.energy[true].sum(), rel=1e-9)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_deposits_of_constituents_sum_to_the_towers(card, seed):
    """ECAL and HCAL energies of an event's constituents are what its towers measured, computed layer by layer here."""
    particles = random_particles(seed)
    constituents = apply_detector(particles, card, np.random.default_rng(seed))
    measured = replay_layers(particles, card, seed)
    for event in range(3):
        seen = constituents.event == event
        for layer, column in zip(measured, (constituents.ecal, constituents.hcal), strict=True):
            assert column[seen].sum() == pytest.approx(layer.measured[layer.event == event].sum(), rel=1e-9)
    for column in constituents.columns().values():
        assert np.isfinite(column).all()


def replay_layers(particles, card, seed):
    from hepcnn.generate.detector import deposit_shares
    from hepcnn.generate.tracker import make_tracks, propagate

    rng = np.random.default_rng(seed)
    eta, phi = propagate(particles, card.tracker)
    tracks = make_tracks(particles, eta, card.tracker, rng)
    at = tracks.particle
    layers = []
    for layer, share in zip((card.ecal, card.hcal), deposit_shares(particles.pdg_id, card), strict=True):
        hits = Hits(particles.event, eta, phi, particles.energy * share, particles.is_pileup)
        pointing = Hits(particles.event[at], eta[at], phi[at], tracks.energy * share[at], particles.is_pileup[at])
        layers.append(measure_layer(layer, hits, pointing, tracks.resolution, rng))
    return layers


@pytest.mark.parametrize(
    ("pdg_id", "layer", "energy", "eta", "terms"),
    [
        (22, "ecal", 50.0, 0.4, (0.101, 0.0, 0.0017)),
        (22, "ecal", 200.0, 4.0, (0.285, 0.0, 0.035)),
        (130, "hcal", 120.0, 0.4, (0.5205, 1.59, 0.0302)),
        (130, "hcal", 300.0, 2.2, (0.706, 0.0, 0.05)),
    ],
)
def test_a_beam_is_measured_with_the_cards_resolution(card, pdg_id, layer, energy, eta, terms):
    n = 20_000
    particles = make_particles(
        np.arange(n),
        np.full(n, pdg_id),
        np.zeros(n),
        np.full(n, energy / np.cosh(eta)),
        np.full(n, eta),
        np.full(n, 0.3),
    )
    constituents = apply_detector(particles, card, np.random.default_rng(2))
    stochastic, noise, constant = terms
    expected = np.sqrt(stochastic**2 * energy + noise**2 + constant**2 * energy**2)
    assert len(constituents) == n
    assert getattr(constituents, layer).mean() == pytest.approx(energy, abs=5 * expected / np.sqrt(n))
    assert getattr(constituents, layer).std() == pytest.approx(expected, rel=0.03)


def test_towers_of_the_card_have_the_sizes_it_says(card):
    grid = TowerGrid(card.hcal)
    assert np.allclose(np.diff(grid.eta_edges)[12:-12], 0.1)
    assert grid.n_towers == 2 * (25 * 36 + 12 * 18)
    assert np.diff(TowerGrid(card.ecal).eta_edges)[11] == pytest.approx(0.0174)


@given(seed=st.integers(0, 10_000), layer=st.sampled_from(["ecal", "hcal"]))
@settings(max_examples=20, deadline=None)
def test_a_point_of_a_tower_is_found_in_it(card, seed, layer):
    grid, rng = TowerGrid(getattr(card, layer)), np.random.default_rng(seed)
    tower = rng.integers(grid.n_towers, size=200)
    eta, phi = grid.place(tower, rng.uniform(0.001, 0.999, 200), rng.uniform(0.001, 0.999, 200))
    assert (grid.find(eta, phi) == tower).all()


def test_outside_and_nan_are_in_no_tower(card):
    grid = TowerGrid(card.ecal)
    assert grid.find(np.array([5.5, -6.0, np.nan, np.inf]), np.zeros(4)).tolist() == [-1] * 4
    assert grid.find(np.array([0.0]), np.array([np.nan])).tolist() == [-1]
    both_ends = grid.find(np.array([0.0, 0.0]), np.array([-np.pi, np.pi]))
    assert (both_ends >= 0).all()


def test_kinds_and_charges(card):
    particles = make_particles(
        [0] * 5,
        [13, 11, 22, 130, 12],
        [-1, -1, 0, 0, 0],
        [50.0] * 5,
        [0.1, 0.5, -0.5, -1.0, 1.0],
        [0.0, 1.0, 2.0, 3.0, -1.0],
    )
    constituents = apply_detector(particles, card, np.random.default_rng(3))
    by_kind = {Kind(kind): row for row, kind in enumerate(constituents.kind)}
    assert set(by_kind) == {Kind.MUON, Kind.ELECTRON, Kind.PHOTON, Kind.NEUTRAL_HADRON}
    muon = by_kind[Kind.MUON]
    assert constituents.ecal[muon] == constituents.hcal[muon] == 0.0
    assert constituents.charge[muon] == -1
    assert constituents.hcal[by_kind[Kind.ELECTRON]] == 0.0
    assert constituents.ecal[by_kind[Kind.PHOTON]] == pytest.approx(constituents.energy[by_kind[Kind.PHOTON]])


def test_a_charged_hadron_without_a_track_becomes_neutral(card):
    particles = make_particles([0], [211], [1], [200.0], [2.0], [0.0])
    blind = card.model_copy(update={"tracker": card.tracker.model_copy(update={"efficiency": _no_tracks(card)})})
    constituents = apply_detector(particles, blind, np.random.default_rng(3))
    assert constituents.kind.tolist() == [Kind.NEUTRAL_HADRON]
    assert constituents.charge.tolist() == [0]


def _no_tracks(card):
    nothing = card.tracker.efficiency.muon.model_copy(update={"efficiency": ((0.0, 0.0), (0.0, 0.0))})
    return card.tracker.efficiency.model_copy(update={"charged_hadron": nothing})


def test_constituents_are_ordered_and_an_empty_batch_is_empty(card):
    constituents = apply_detector(random_particles(4), card, np.random.default_rng(4))
    pt = np.hypot(constituents.px, constituents.py)
    for event in range(3):
        assert (np.diff(pt[constituents.event == event]) <= 0).all()
    assert (np.diff(constituents.event) >= 0).all()
    nobody = apply_detector(random_particles(4, n=0), card, np.random.default_rng(4))
    assert len(nobody) == 0


def test_resolution_beyond_the_last_step_is_that_of_the_last(card):
    resolution = energy_resolution(card.ecal.resolution, np.array([100.0, 100.0]), np.array([4.0, 6.0]))
    assert resolution[0] == resolution[1]


def test_dropping_pileup_tracks_leaves_the_hard_ones(card):
    particles = random_particles(7)
    pileup = particles.columns() | {"is_pileup": np.arange(len(particles)) % 2 == 0}
    mixed = type(particles)(**pileup)
    everything = apply_detector(mixed, card, np.random.default_rng(1))
    kept = apply_detector(mixed, card, np.random.default_rng(1), drop_pileup_tracks=True)
    charged = everything.charge != 0
    assert len(kept) == len(everything) - (charged & everything.is_pileup).sum()
    assert not kept.is_pileup[kept.charge != 0].any()
