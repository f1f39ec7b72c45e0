"""Shapes of showers, and what sums and trees make of their energies, on showers whose truth is known."""

import numpy as np
import pytest

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.binned_rejection import rejection_in_bins
from hepcnn.evaluation.energy_baselines import fit_energy_tree, fit_linear_energy
from hepcnn.evaluation.metrics import rejection_at
from hepcnn.evaluation.samples import make_binary_sample
from hepcnn.evaluation.shower_shapes import find_places, make_shapes, sum_layers
from hepcnn.grids import BoxGrid, CylinderGrid, GivenGrid, WindowGrid

CYLINDER = CylinderGrid(
    layers=[{"r_edges": [0, 10, 30], "n_alpha": 4}, {"r_edges": [0, 20], "n_alpha": 2}, {"r_edges": [0, 10, 30]}]
)


def test_places_are_those_of_the_cells():
    places = find_places(CYLINDER)
    assert CYLINDER.shape == (3, 4, 2)
    cells = CYLINDER.pixel_of_cell
    assert np.isfinite(places.x[cells]).all()
    assert np.isnan(np.delete(places.x, cells)).all()
    np.testing.assert_allclose(places.r[cells[:2]], [5, 20])
    np.testing.assert_allclose([places.x[cells[0]], places.y[cells[0]]], 5 * np.cos([-0.75 * np.pi] * 2))
    np.testing.assert_array_equal(places.layer[cells], [0] * 8 + [1] * 2 + [2] * 2)
    box = find_places(BoxGrid(layers=[{"x_edges": [-10, 0, 10], "y_edges": [-5, 5]}]))
    np.testing.assert_allclose(np.stack([box.x, box.y]), [[-5, 5], [0, 0]])
    assert find_places(GivenGrid(shape=(2, 3, 3))).r.min() == 0
    with pytest.raises(InputError, match="three axes"):
        find_places(WindowGrid())


def test_shapes_by_hand():
    """A shower of three cells, one of a single cell, and one of none."""
    places, cells = find_places(CYLINDER), CYLINDER.pixel_of_cell
    index = cells[[0, 8, 11, 1]]
    energy = np.array([1.0, 2.0, 1.0, 3.0])
    found = make_shapes([0, 3, 4, 4], index, energy, places)
    np.testing.assert_allclose(found["log_energy"][:2], np.log([4, 3]))
    np.testing.assert_allclose(found["n_cells"], [3, 1, 0])
    np.testing.assert_allclose(found["depth"][:2], [(0 + 2 + 2) / 4, 0])
    np.testing.assert_allclose(found["depth_rms"][0], np.sqrt(0.5))
    np.testing.assert_allclose(found["depth_of_max"][:2], [1, 0])
    np.testing.assert_allclose(found["r"][:2], [(5 + 20 + 20) / 4, 20])
    np.testing.assert_allclose(found["core"][:2], [0.5, 1])
    np.testing.assert_allclose(found["core_4"][:2], 1)
    np.testing.assert_allclose(found["width"][1], 0, atol=1e-9)
    np.testing.assert_allclose([found[f"layers_{k}"][0] for k in range(3)], [0.25, 0.5, 0.25])
    assert np.isnan(found["depth"][2])
    assert found["n_layers"][2] == 0
    np.testing.assert_allclose(sum_layers([0, 3, 4, 4], index, energy, places), [[1, 2, 1], [3, 0, 0], [0, 0, 0]])


def make_layers(n, seed):
    """Two layers, the second of which shows half of what it gets, and noise of 20 %/sqrt(E)."""
    random = np.random.default_rng(seed)
    energy = np.exp(random.uniform(0, np.log(100), n))
    late = random.uniform(0, 1, n)
    seen = energy * (1 + 0.2 / np.sqrt(energy) * random.normal(size=n))
    return np.stack([seen * (1 - late), 0.5 * seen * late, np.zeros(n)], axis=1), energy, late


def test_weights_of_layers_find_what_layers_lose():
    layers, energy, _ = make_layers(5000, 1)
    fit = fit_linear_energy(layers, energy)
    # Least squares of relative residuals: compare with numpy's on the same equations.
    design = np.concatenate([np.ones((5000, 1)), layers[:, :2]], axis=1) / energy[:, None]
    expected = np.linalg.lstsq(design, np.ones(5000))[0]
    ratio = np.array([fit.offset, *fit.factors[:2]]) / expected
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    assert fit.factors[1] / fit.factors[0] == pytest.approx(2, rel=0.03)
    assert fit.factors[2] == 0
    assert np.median(fit.predict(layers) / energy) == pytest.approx(1, abs=1e-3)
    summed = fit_linear_energy(layers.sum(axis=1, keepdims=True), energy)
    spread = [np.std(f.predict(x) / energy) for f, x in ((fit, layers), (summed, layers.sum(axis=1, keepdims=True)))]
    assert spread[0] < 0.8 * spread[1]


def test_a_tree_learns_where_energy_is_lost():
    parts = []
    for seed in (2, 3, 4):
        layers, energy, late = make_layers(1500, seed)
        total = layers.sum(axis=1)
        shapes = np.stack([layers[:, 1] / total, np.log(total), np.where(late > 0.5, np.nan, late)], axis=1)
        parts.append((shapes, total, energy, np.ones(1500)))
    tree = fit_energy_tree(parts[0], parts[1], max_rounds=60)
    shapes, total, energy, _ = parts[2]
    found = tree.predict(shapes, total)
    assert np.std(np.log(found / energy)) < 0.8 * np.std(np.log(total / energy))
    again = fit_energy_tree(parts[0], parts[1], max_rounds=60).predict(shapes, total)
    np.testing.assert_array_equal(found, again)


def test_bad_sums_are_named():
    with pytest.raises(InputError, match=r"\(N, F\)"):
        fit_linear_energy([1.0], [1.0])
    with pytest.raises(InputError, match="not positive"):
        fit_linear_energy([[1.0]], [0.0])
    with pytest.raises(EmptySampleError, match="weight"):
        fit_linear_energy([[1.0]], [1.0], [0.0])


def test_rejections_in_bins_are_those_of_the_bins_alone():
    random = np.random.default_rng(5)
    label = random.integers(0, 2, 3000)
    score, energy = random.normal(label, 1), random.uniform(0, 30, 3000)
    found = rejection_in_bins(make_binary_sample(score, label), energy, edges=[0, 10, 20, 30, 40])
    for k in range(3):
        mine = (energy >= 10 * k) & (energy < 10 * (k + 1))
        assert found.rejection[k] == rejection_at(score[mine], label[mine], eps_s=0.9)
    assert found.rejection[3] is None
    assert found.overall == rejection_at(score, label, eps_s=0.9)
    assert found.to_dict()["rejection"][3] is None
    only_signal = rejection_in_bins(make_binary_sample(score, label), np.where(label, 5.0, 15.0), edges=[0, 10, 20])
    assert only_signal.rejection == (None, None)
    with pytest.raises(InputError, match="NaN or infinite"):
        rejection_in_bins(make_binary_sample(score, label), energy * np.nan, edges=[0, 1])
