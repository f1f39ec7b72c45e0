"""Showers of charged pions: energy is kept, and response, width, depth and radius are near published figures."""

import numpy as np
import pytest

from hepcnn.calorimeters import read_calorimeter
from hepcnn.generate.showers.hadronic import interact, mean_em_fraction
from hepcnn.generate.showers.tables import make_tables
from tests.generate.showers.conftest import make, shoot

IRON = {"material": "iron", "thickness": 50.0}
SCINTILLATOR = {"material": "scintillator", "thickness": 5.0}
RINGS = {"kind": "cylinder", "n_alpha": 1, "r_edges": [0.0, 50.0, 100.0, 150.0, 200.0, 300.0, 1e6]}
DEEP = {"absorber": IRON, "active": SCINTILLATOR, "layers": 90, "segmentation": RINGS}


def test_no_more_is_seen_than_arrives() -> None:
    # Every pion that starts early enough leaves all of its energy; MIPs fluctuate by their Moyal width.
    found = shoot(make(**DEEP), "pion", 50.0, 300).sum(axis=1)
    assert np.median(found) == pytest.approx(50.0, rel=0.005)
    assert np.quantile(found, 0.99) < 50.0 * 1.01
    assert found.min() > 0


def test_the_hadronic_part_is_seen_less() -> None:
    e_h, energy = 1.5, 100.0
    found = shoot(make(**DEEP, e_h=e_h), "pion", energy, 600).sum(axis=1) / energy
    fraction = float(mean_em_fraction(np.array([energy]))[0])
    assert fraction == pytest.approx(1 - 100**-0.18)
    # Ionisation before the first interaction is seen in full.
    assert found.mean() == pytest.approx(fraction + (1 - fraction) / e_h, abs=0.02)
    assert found.std() == pytest.approx(0.30 * np.sqrt(fraction * (1 - fraction)) * (1 - 1 / e_h), rel=0.15)


def test_interactions_are_a_mean_free_path_deep() -> None:
    calorimeter = make(**DEEP)
    n = 20_000
    for cosine in (1.0, 0.8):
        hits = interact(
            np.random.default_rng(1), calorimeter, make_tables(calorimeter), np.full(n, 50.0), np.full(n, cosine)
        )
        assert (hits.depth / cosine).mean() == pytest.approx(1.0, rel=0.03)
        assert np.exp(-1) == pytest.approx((hits.depth > cosine).mean(), abs=0.02)
    # In 20 mm of iron nearly all pass as minimum ionising particles: 11.4 MeV/cm (PDG).
    thin = make(
        absorber={"material": "iron", "thickness": 20.0}, active={"material": "silicon", "thickness": 0.3}, layers=1
    )
    hits = interact(np.random.default_rng(1), thin, make_tables(thin), np.full(n, 50.0), np.ones(n))
    assert np.isinf(hits.z_end).mean() == pytest.approx(np.exp(-20 / 167.7), abs=0.01)


def test_slow_pions_stop() -> None:
    calorimeter = make(**DEEP)
    energy, n = 0.5, 5000
    hits = interact(np.random.default_rng(1), calorimeter, make_tables(calorimeter), np.full(n, energy), np.ones(n))
    # 0.36 GeV of kinetic energy last for some 31 cm of iron and scintillator.
    assert np.isfinite(hits.z_end).all()
    assert 270 < hits.z_end.max() < 360
    assert ((hits.energy == 0) | (hits.energy < energy)).all()


def test_tracks_leave_what_minimum_ionising_particles_do() -> None:
    calorimeter = make(absorber={"material": "iron", "thickness": 2.0}, layers=4)
    found = shoot(calorimeter, "pion", 20.0, 3000).sum(axis=1)
    expected = 4 * calorimeter.stacks[0].mip_energy
    assert np.median(found) == pytest.approx(expected, rel=0.05)


def test_containment_and_width_are_near_published_ones() -> None:
    energy, n = 100.0, 400
    calorimeter = make(**DEEP)
    cells = shoot(calorimeter, "pion", energy, n)
    layers = np.add.reduceat(cells, calorimeter.offsets[:-1], axis=1).mean(axis=0)
    depth = np.interp(0.95, np.cumsum(layers) / layers.sum(), calorimeter.depths_lambda[1:])
    # C.W. Fabjan, in T. Ferbel, Experimental Techniques in High Energy Physics: 0.2 ln E + 0.7 + 2.5 E^0.13 lengths.
    assert depth == pytest.approx(0.2 * np.log(energy) + 0.7 + 2.5 * energy**0.13, rel=0.15)
    edges = np.array(calorimeter.sections[0].segmentation.r_edges)
    rings = cells.reshape(n, 90, -1).sum(axis=(0, 1))
    within = np.interp(calorimeter.stacks[0].lambda_int, edges[1:], np.cumsum(rings) / rings.sum())
    # The same: 95 % within one interaction length.
    assert 0.88 < within < 0.98


def test_the_default_detector_measures_as_such_detectors_do() -> None:
    calorimeter = read_calorimeter("sampling45")
    for energy, least, most in ((20.0, 0.40, 0.75), (100.0, 0.45, 0.95)):
        pions = shoot(calorimeter, "pion", energy, 300).sum(axis=1)
        electrons = shoot(calorimeter, "electron", energy, 150).sum(axis=1)
        low, high = np.quantile(pions, [0.16, 0.84])
        assert least < 0.5 * (high - low) / np.median(pions) * np.sqrt(energy) < most
        assert 1.05 < np.median(electrons) / np.median(pions) < 1.40
        assert electrons.mean() == pytest.approx(energy, rel=0.02)
        assert 0.10 < electrons.std() / electrons.mean() * np.sqrt(energy) < 0.23
