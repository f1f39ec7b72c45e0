"""The compiled loops: cells as the calorimeter finds them, spots by their density, and what is read out."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hepcnn.calorimeters import read_calorimeter
from hepcnn.generate.showers import compiled
from hepcnn.generate.showers.tables import ROW, make_tables
from tests.generate.showers.conftest import make


@pytest.mark.parametrize("name", ["sampling45", "barrel12"])
def test_cells_are_those_of_the_calorimeter(name: str) -> None:
    calorimeter = read_calorimeter(name)
    tables, rng = make_tables(calorimeter), np.random.default_rng(1)
    layer = rng.integers(0, calorimeter.n_layers, 500)
    x, y = rng.normal(0, 200, (2, 500))
    found = [compiled.find_cell(tables.layers[k], tables.radii2[k], a, b) for k, a, b in zip(layer, x, y, strict=True)]
    assert found == calorimeter.cell_of(layer, x, y).tolist()
    assert compiled.find_cell(tables.layers[0], tables.radii2[0], -3.0, 0.0) == calorimeter.cell_of(0, -3.0, 0.0)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_angles_are_those_of_atan2(x: float, y: float) -> None:
    # -0 is 0 here: both are on the edge between the last cell and the first.
    assert compiled.find_angle(x, y) == pytest.approx(np.arctan2(y + 0.0, x + 0.0) + np.pi, abs=3e-8)


def test_spots_have_the_density_of_their_radius() -> None:
    edges = [0.0, *np.linspace(1, 60, 30), 1e9]
    calorimeter = make(layers=1, segmentation={"kind": "cylinder", "r_edges": edges, "n_alpha": 8})
    tables, row = make_tables(calorimeter), np.zeros(1, dtype=ROW)
    row["cosine"] = 1.0
    cells, n, scale = np.zeros(calorimeter.n_cells), 200_000, 15.0
    compiled.throw_spots(row[0], tables.layers, 0, tables.radii2, np.array([3, 5], np.uint64), n, 1.0, scale, cells)
    assert cells.sum() == n
    quantiles = np.square(edges) / (np.square(edges) + scale**2)
    by_ring, by_angle = cells.reshape(8, -1).sum(axis=0), cells.reshape(8, -1).sum(axis=1)
    assert scipy.stats.chisquare(by_ring, n * np.diff(quantiles) / (quantiles[-1] - quantiles[0])).pvalue > 1e-4
    assert scipy.stats.chisquare(by_angle).pvalue > 1e-4


def test_noise_alone_passes_as_often_as_it_should() -> None:
    n, sigma, threshold = 40, 0.01, 0.025
    offsets, counts = np.array([0, 3000, 6000]), np.zeros(n, dtype=np.int32)
    cells, dead = np.zeros((n, 6000)), np.zeros(6000, dtype=np.bool_)
    dead[:30] = True
    noise, thresholds = np.array([sigma, sigma]), np.array([threshold, 0.5 * sigma])
    compiled.read_out(cells, offsets, noise, thresholds, dead, np.random.default_rng(1), counts)
    assert (cells[:, :30] == 0).all()
    rare, often = cells[:, 30:3000], cells[:, 3000:]
    for part, low in ((rare, threshold), (often, 0.5 * sigma)):
        chance = scipy.stats.norm.sf(low / sigma)
        assert (part > 0).sum() == pytest.approx(part.size * chance, abs=5 * np.sqrt(part.size * chance))
        assert scipy.stats.kstest(part[part > 0] / sigma, scipy.stats.truncnorm(low / sigma, np.inf).cdf).pvalue > 1e-4
    assert (counts == (cells > 0).sum(axis=1)).all()


def test_energies_are_read_out_from_the_threshold_on() -> None:
    cells, counts = np.array([[0.1, 0.2, 0.0, 5.0, -1.0]]), np.zeros(1, dtype=np.int32)
    dead = np.array([False, False, False, True, False])
    compiled.read_out(
        cells, np.array([0, 5]), np.zeros(1), np.array([0.2]), dead, np.random.default_rng(1), counts
    )  # fmt: skip
    assert cells.tolist() == [[0.0, 0.2, 0.0, 0.0, 0.0]]
    assert counts.tolist() == [1]


def test_noise_widens_energies() -> None:
    cells, counts = np.full((400, 50), 1.0), np.zeros(400, dtype=np.int32)
    compiled.read_out(
        cells,
        np.array([0, 50]),
        np.array([0.1]),
        np.array([0.3]),
        np.zeros(50, np.bool_),
        np.random.default_rng(1),
        counts,
    )
    assert (cells.mean(), cells.std()) == pytest.approx((1.0, 0.1), rel=0.03)
