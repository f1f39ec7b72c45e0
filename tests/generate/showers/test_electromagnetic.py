"""Electromagnetic showers against the formulas of hep-ex/0001020 by scipy, and against published figures."""

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hepcnn.calorimeters import Calorimeter, read_calorimeter
from hepcnn.generate.showers import compiled
from hepcnn.generate.showers.decays import decay_pions, share_pair
from hepcnn.generate.showers.electromagnetic import count_spots, make_media, mean_logs, spread_logs
from tests.generate.showers.conftest import make, shoot

LEAD = make(layers=1)


def layers_of(calorimeter: Calorimeter, cells: np.ndarray) -> np.ndarray:
    return np.add.reduceat(cells, calorimeter.offsets[:-1], axis=1)


@given(st.floats(0.3, 60), st.floats(0, 150))
def test_the_incomplete_gamma_function_is_scipys(shape: float, x: float) -> None:
    found = compiled.lower_gamma(shape, x, float(scipy.special.gammaln(shape)))
    assert found == pytest.approx(scipy.special.gammainc(shape, x), abs=1e-8)


def test_means_are_those_of_the_paper() -> None:
    # Lead and argon, by hand: Z, F_S and e/mip enter linearly.
    media = make_media(LEAD)
    stack = LEAD.stacks[0]
    log_y = np.array([7.0])
    ln_t, ln_alpha = mean_logs(log_y, media)
    fs, e_mip = stack.sampling_frequency, 1 / (1 + 0.007 * (82 - 18))
    assert np.exp(ln_t) == pytest.approx(7 - 0.812 - 0.55 / fs - 0.69 * (1 - e_mip))
    assert np.exp(ln_alpha) == pytest.approx(0.81 + (0.458 + 2.26 / stack.z) * 7 - 0.476 / fs)
    spreads = spread_logs(log_y, media)
    assert np.ravel(spreads) == pytest.approx([1 / 6.25, 1 / 4.71, 0.623])
    crystal = make_media(make(absorber=None, active={"material": "lead-tungstate", "thickness": 9.0}))
    assert np.exp(mean_logs(log_y, crystal)[0]) == pytest.approx(7 - 0.812)
    assert np.ravel(spread_logs(log_y, crystal)) == pytest.approx([1 / 7.42, 1 / 5.44, 0.544])
    assert count_spots(np.array([10.0]), crystal) == pytest.approx(93 * np.log(68.4) * 10**0.876)


@pytest.mark.parametrize("energy", [5.0, 100.0])
def test_longitudinal_profiles_are_mean_gamma_distributions(perfect: Calorimeter, energy: float) -> None:
    found = layers_of(perfect, shoot(perfect, "electron", energy, 800))
    assert np.median(found.sum(axis=1)) == pytest.approx(energy, rel=2e-4)
    assert found.sum(axis=1).max() < energy * (1 + 1e-6)
    # The mean over showers of gamma distributions with correlated log-normal parameters, by scipy.
    media = make_media(perfect)
    log_y = np.log(energy / media.critical_energy)
    (ln_t, ln_alpha), (s_t, s_alpha, rho) = mean_logs(log_y, media), spread_logs(log_y, media)
    covariance = [[s_t[0] ** 2, rho[0] * s_t[0] * s_alpha[0]], [rho[0] * s_t[0] * s_alpha[0], s_alpha[0] ** 2]]
    drawn = scipy.stats.multivariate_normal([ln_t[0], ln_alpha[0]], covariance).rvs(4000, random_state=1)
    t, alpha = np.exp(drawn).T
    alpha = np.maximum(alpha, 1.1)
    edges = perfect.depths_x0[:, None]
    expected = np.diff(scipy.special.gammainc(alpha, (alpha - 1) / t * edges).mean(axis=1))
    assert found.mean(axis=0) / energy == pytest.approx(expected, abs=6e-3)
    # And the fluctuations of the centre of gravity, which is alpha / beta.
    middle = 0.5 * (edges[1:, 0] + edges[:-1, 0])
    centre = found @ middle / found.sum(axis=1)
    assert centre.mean() == pytest.approx((t * alpha / (alpha - 1)).mean(), rel=0.02)
    assert centre.std() == pytest.approx((t * alpha / (alpha - 1)).std(), rel=0.12)


def test_radial_profiles_are_the_papers(perfect: Calorimeter) -> None:
    energy, n, layer = 50.0, 300, 8
    stack, found = perfect.stacks[0], shoot(perfect, "electron", energy, n)
    rings = found[:, perfect.offsets[layer] : perfect.offsets[layer + 1]].reshape(n, 4, -1).sum(axis=1).mean(axis=0)
    edges = np.array(perfect.sections[0].segmentation.r_edges)
    t = 0.5 * (perfect.depths_x0[layer] + perfect.depths_x0[layer + 1])
    tau = t / np.exp(mean_logs(np.log(energy / make_media(perfect).critical_energy), make_media(perfect))[0][0])

    def density(r: float) -> float:
        """A.1.3 and A.2.3, once more; r in Moliere radii."""
        e_mip, per_fs, z, ln_e = stack.e_mip, 1 / stack.sampling_frequency, stack.z, np.log(energy)
        core = 0.0251 + 0.00319 * ln_e + (0.1162 - 0.000381 * z) * tau
        core += -0.0203 * (1 - e_mip) + 0.0397 * per_fs * np.exp(-tau)
        tail = (0.659 - 0.00309 * z) * (
            np.exp(-2.59 * (tau - 0.645)) + np.exp((0.3585 + 0.0412 * ln_e) * (tau - 0.645))
        )
        tail += -0.14 * (1 - e_mip) - 0.495 * per_fs * np.exp(-tau)
        x = (0.401 + 0.00187 * z - tau) / (1.313 - 0.0686 * ln_e)
        weight = (2.632 - 0.00094 * z) * np.exp(x - np.exp(x))
        weight += (1 - e_mip) * (0.348 - 0.642 * per_fs * np.exp(-((tau - 1) ** 2)))
        return sum(w * 2 * r * R**2 / (r**2 + R**2) ** 2 for w, R in ((weight, core), (1 - weight, tail)))

    expected = [
        scipy.integrate.quad(density, low, high)[0]
        for low, high in zip(edges[:-1] / stack.moliere_radius, edges[1:] / stack.moliere_radius, strict=True)
    ]
    # tau fluctuates from shower to shower.
    assert rings / rings.sum() == pytest.approx(expected, abs=0.02)


def test_most_of_a_shower_is_within_two_moliere_radii(perfect: Calorimeter) -> None:
    # PDG: 90 % within one Moliere radius, 95 % within two; GFLASH's own profiles in argon and lead have wider tails.
    fine = make(
        segmentation={
            "kind": "cylinder",
            "r_edges": [0.0, *(np.array([1, 2, 3.5]) * perfect.stacks[0].moliere_radius), 1e7],
        }
    )
    rings = shoot(fine, "electron", 50.0, 200).reshape(200, -1, 4).sum(axis=(0, 1))
    within = np.cumsum(rings) / rings.sum()
    assert 0.82 < within[0] < 0.93
    assert 0.91 < within[1] < 0.97


def test_photons_begin_later_by_what_pdg_says(perfect: Calorimeter) -> None:
    middle = 0.5 * (perfect.depths_x0[1:] + perfect.depths_x0[:-1])
    depths = {}
    for particle in ("electron", "photon"):
        layers = layers_of(perfect, shoot(perfect, particle, 30.0, 1000)).mean(axis=0)
        depths[particle] = layers @ middle / layers.sum()
    # t_max = ln y ± 0.5 (PDG): a pair shares the energy, and begins 9/7 X0 later on average.
    assert 0.6 < depths["photon"] - depths["electron"] < 1.1


def test_pairs_share_energy_by_bethe_and_heitler() -> None:
    share = share_pair(np.random.default_rng(1), 200_000)
    counts, edges = np.histogram(share, 20, (0, 1))
    cumulative = 9 / 7 * (edges - 4 / 3 * (edges**2 / 2 - edges**3 / 3))
    assert counts / len(share) == pytest.approx(np.diff(cumulative), abs=0.002)


@given(st.floats(0.2, 1000), st.floats(0, 0.5), st.floats(-3, 3))
def test_photons_of_pions_have_their_mass_and_momentum(energy: float, theta: float, phi: float) -> None:
    sine = np.sin(theta)
    direction = np.array([[sine * np.cos(phi), sine * np.sin(phi), np.cos(theta)]] * 5)
    energies, directions = decay_pions(np.random.default_rng(2), np.full(5, energy), direction)
    momenta = (energies[:, :, None] * directions).sum(axis=0)
    assert np.linalg.norm(directions, axis=2) == pytest.approx(1.0)
    assert energies.sum(axis=0) == pytest.approx(energy)
    assert momenta == pytest.approx(direction * np.sqrt(energy**2 - 0.13498**2), abs=1e-9 * energy + 1e-12)
    assert 2 * energies[0] * energies[1] * (1 - (directions[0] * directions[1]).sum(axis=1)) == pytest.approx(
        0.13498**2, rel=1e-4, abs=1e-8 * energy**2
    )


def test_electrons_are_linear_and_sampling_widens_them_as_said() -> None:
    term = 0.15
    calorimeter = make(term=term)
    for energy in (2.0, 20.0):
        total = shoot(calorimeter, "electron", energy, 1000, seed=int(energy)).sum(axis=1)
        assert total.mean() == pytest.approx(energy, rel=5 * term / np.sqrt(1000 * energy))
        assert total.std() / energy == pytest.approx(term / np.sqrt(energy), rel=0.08)


def test_showers_lean_with_their_particle() -> None:
    squares = make(layers=20, segmentation={"kind": "box", "cells": [161, 3], "pitch": [2.0, 200.0]})
    theta, layer = 0.3, 15
    found = shoot(squares, "electron", 20.0, 200, theta=theta).mean(axis=0)
    x, y, z, in_layer = squares.cell_centres
    here = in_layer == layer
    order = np.argsort(x[here], kind="stable")
    part = np.cumsum(found[here][order]) / found[here].sum()
    median = np.interp(0.5, part, x[here][order])
    assert median == pytest.approx(z[here][0] * np.tan(theta), abs=1.0)
    assert (found[here] * y[here]).sum() / found[here].sum() == pytest.approx(0.0, abs=1.0)


def test_showers_are_round(perfect: Calorimeter) -> None:
    quarters = shoot(perfect, "electron", 20.0, 300).reshape(300, 60, 4, -1).sum(axis=(0, 1, 3))
    assert quarters / quarters.sum() == pytest.approx(0.25, abs=0.008)


def test_shower_maximum_and_containment_are_what_pdg_says() -> None:
    # PDG: the maximum is at ln y - 0.5 for electrons, of a gamma distribution whose rate is near 0.5 per X0.
    calorimeter = read_calorimeter("sampling45")
    layers = layers_of(calorimeter, shoot(calorimeter, "electron", 100.0, 200)).mean(axis=0)
    maximum = np.log(100.0 / (calorimeter.stacks[0].critical_energy / 1000)) - 0.5
    assert calorimeter.depths_x0[np.argmax(layers)] + 0.5 == pytest.approx(maximum, abs=1.5)
    contained = np.interp(0.95, np.cumsum(layers) / layers.sum(), calorimeter.depths_x0[1:])
    assert contained == pytest.approx(scipy.stats.gamma(1 + 0.5 * maximum, scale=2).ppf(0.95), abs=1.5)
