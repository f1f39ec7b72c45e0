"""Pictures of energies and showers: they show the numbers that they were given."""

import numpy as np
import pytest

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.binned_rejection import rejection_in_bins
from hepcnn.evaluation.energy import energy_edges, measure_responses
from hepcnn.evaluation.energy_plots import (
    plot_angle,
    plot_binned_rejection,
    plot_energy_errors,
    plot_linearity,
    plot_resolution,
    plot_response_map,
    plot_tails,
)
from hepcnn.evaluation.plots import save_figure
from hepcnn.evaluation.resolution import fit_responses
from hepcnn.evaluation.samples import make_binary_sample
from hepcnn.evaluation.shower_plots import DrawnShower, make_profile, plot_profiles, plot_showers


@pytest.fixture(scope="module")
def toy():
    random = np.random.default_rng(1)
    energy = np.exp(random.uniform(0, np.log(1000), 2000))
    predicted = {f"net_{k}": energy * random.normal(1, 0.1 + 0.05 * k, 2000) for k in range(2)}
    return energy, random.uniform(0, 0.4, 2000), predicted


@pytest.fixture(scope="module")
def responses(toy):
    energy, _, predicted = toy
    return {name: measure_responses(one, energy, edges=energy_edges(energy)) for name, one in predicted.items()}


def heights(axes):
    return [container.lines[0].get_ydata() for container in axes.containers]


def test_curves_are_at_their_numbers(responses, tmp_path):
    fits = {name: fit_responses(found) for name, found in responses.items()}
    figure = plot_resolution(responses, fits, title="pion")
    for drawn, found in zip(heights(figure.axes[0]), responses.values(), strict=True):
        np.testing.assert_allclose(drawn, found.corrected)
    legend = figure.axes[0].get_legend().get_texts()[0].get_text()
    assert f"{100 * fits['net_0'].terms['a'].value:.1f}(" in legend
    written = save_figure(figure, tmp_path / "resolution")
    assert all(path.stat().st_size > 5000 for path in written)
    for drawn, found in zip(heights(plot_linearity(responses).axes[0]), responses.values(), strict=True):
        np.testing.assert_allclose(drawn, found.median)
    lower = heights(plot_tails(responses).axes[1])[0]
    np.testing.assert_allclose(lower, [100 * one.value for one in responses["net_0"].tail_high])


def test_angles_and_maps(toy):
    energy, theta, predicted = toy
    edges = np.linspace(0, 0.4, 3)
    by_angle = {n: measure_responses(one, energy, edges=edges, quantity=theta) for n, one in predicted.items()}
    np.testing.assert_allclose(heights(plot_angle(by_angle).axes[1])[1], by_angle["net_1"].resolution)
    parts = [(theta >= low) & (theta < low + 0.2) for low in edges[:-1]]
    found = [measure_responses(predicted["net_0"][k], energy[k], edges=[1, 30, 1000]) for k in parts]
    texts = [text.get_text() for text in plot_response_map(found, edges).axes[0].texts]
    assert texts == [f"{value:.3f}" for one in found for value in one.median]


def test_pulls_add_up_to_one():
    pulls = np.random.default_rng(2).normal(size=5000)
    stairs = plot_energy_errors({"net": pulls}).axes[0].patches[0].get_data()
    assert (stairs.values * np.diff(stairs.edges)).sum() == pytest.approx(1)


def test_nothing_to_draw_is_an_error():
    empty = {"net": measure_responses([1.0], [1.0], edges=[0.5, 2])}
    for plot in (lambda: plot_resolution(empty, {}), lambda: plot_linearity(empty), lambda: plot_tails(empty)):
        with pytest.raises(EmptySampleError, match="enough showers"):
            plot()
    with pytest.raises(EmptySampleError, match="no cell"):
        plot_showers([DrawnShower("empty", *(np.zeros(0) for _ in range(4)))])
    with pytest.raises(EmptySampleError, match="no profile"):
        plot_profiles({}, xlabel="", ylabel="")


def test_profiles_are_means_with_their_errors():
    content = np.random.default_rng(3).exponential(1, (50, 4))
    profile = make_profile(content, None, [0, 1, 3, 5, 9], density=True)
    np.testing.assert_allclose(profile.value, content.mean(axis=0) / [1, 2, 2, 4])
    np.testing.assert_allclose(profile.error, content.std(axis=0) / np.sqrt(50) / [1, 2, 2, 4])
    drawn = plot_profiles({"pion": profile}, xlabel="depth", ylabel="energy").axes[0].patches[0].get_data()
    np.testing.assert_allclose(drawn.values, profile.value)
    with pytest.raises(InputError, match="shape"):
        make_profile(content, None, [0, 1])


def test_a_display_shows_every_cell_that_has_energy():
    random = np.random.default_rng(4)
    energy = np.concatenate([random.exponential(1, 30), np.zeros(5)])
    place = random.normal(size=(3, 35))
    figure = plot_showers([DrawnShower("pion, 50 GeV", *place, energy)])
    x, y, z = figure.axes[0].collections[0]._offsets3d
    order = np.argsort(energy[:30])
    np.testing.assert_allclose([x, y, z], place[[2, 0, 1]][:, order])


def test_limits_are_arrows():
    random = np.random.default_rng(5)
    label, energy = np.arange(600) % 2, random.uniform(1, 100, 600)
    score = np.where(energy < 50, label, random.normal(label, 0.7))
    found = rejection_in_bins(make_binary_sample(score, label), energy, edges=[1, 50, 100])
    axes = plot_binned_rejection({"net": found}, signal="electron", background="pion").axes[0]
    drawn = [float(np.squeeze(values)) for values in heights(axes)]
    np.testing.assert_allclose(drawn, [one.value for one in found.rejection])
    assert [one.is_lower_limit for one in found.rejection] == [True, False]
