"""Changed images: by hand on small arrays."""

import numpy as np
import pytest

from hepcnn.errors import InputError
from hepcnn.grids import LayersGrid, WindowGrid
from hepcnn.images.variations import DEAD, SMEARING, Variation, make_variations

GRID = WindowGrid(n_eta=6, n_phi=8, half_width=0.8)
CHANNELS = ("pt", "multiplicity")


def images(n: int = 50) -> np.ndarray:
    rng = np.random.default_rng(0)
    filled = rng.random((n, 1, 6, 8)) < 0.3
    return np.where(filled, rng.exponential(1, (n, 2, 6, 8)), 0.0).astype(np.float32)


def by_name(steps: tuple[str, ...] = (), channels: tuple[str, ...] = CHANNELS) -> dict[str, Variation]:
    return {v.name: v for v in make_variations(GRID, channels, steps)}


def apply(variation: Variation, x: np.ndarray) -> np.ndarray:
    before = x.copy()
    result = variation.apply(x, np.random.default_rng(1))
    assert np.array_equal(x, before), "the images that came in stay as they were"
    assert result.shape == x.shape
    return result


def test_scale_changes_energies_and_not_counts() -> None:
    x = images()
    up = by_name()["scale_1.01"]
    assert up.feature_scale == 1.01
    found = apply(up, x)
    assert found[:, 0] == pytest.approx(1.01 * x[:, 0])
    assert np.array_equal(found[:, 1], x[:, 1])


def test_scale_cancels_where_jets_are_normalised() -> None:
    x = images()
    assert apply(by_name(("normalise",))["scale_0.99"], x) == pytest.approx(x, rel=1e-5)


@pytest.mark.parametrize("name", [f"smear_{SMEARING:g}", f"dead_{DEAD:g}", "shift_deta_1"])
def test_normalised_jets_keep_their_sum(name: str) -> None:
    x = images()
    found = apply(by_name(("normalise",))[name], x)
    assert not np.array_equal(found, x)
    assert found[:, 0].sum(axis=(1, 2)) == pytest.approx(x[:, 0].sum(axis=(1, 2)), rel=1e-5)


def test_smearing_has_the_width_it_says_and_is_one_factor_per_pixel() -> None:
    x = np.full((400, 2, 6, 8), 2.0, np.float32)
    two = {v.name: v for v in make_variations(GRID, ("ecal", "hcal"), ())}[f"smear_{SMEARING:g}"]
    found = apply(two, x)
    assert found.std() / 2 == pytest.approx(SMEARING, rel=0.02)
    assert found.mean() == pytest.approx(2.0, rel=1e-3)
    assert np.array_equal(found[:, 0], found[:, 1])


def test_dead_pixels_are_as_many_as_it_says_in_all_channels() -> None:
    x = np.ones((500, 2, 6, 8), np.float32)
    found = apply(by_name()[f"dead_{DEAD:g}"], x)
    assert np.array_equal(found[:, 0], found[:, 1])
    assert (found == 0).mean() == pytest.approx(DEAD, rel=0.2)
    assert len(np.unique(found[:, 0].reshape(500, -1), axis=0)) > 50


def test_a_detectors_dead_towers_are_the_same_for_all_jets() -> None:
    grid = LayersGrid(n_layers=4, n_eta=20, n_phi=20)
    dead = {v.name: v for v in make_variations(grid, ("energy",), ())}[f"dead_{DEAD:g}"]
    x = np.ones((3, 1, 4, 20, 20), np.float32)
    found = dead.apply(x, np.random.default_rng(1))
    if not grid.follows_jet:
        assert np.array_equal(found[0], found[1])
        assert np.array_equal(found, dead.apply(x, np.random.default_rng(2)))
    assert (found == 0).any()


def test_shifts_move_and_share_energy() -> None:
    x = np.zeros((1, 2, 6, 8), np.float32)
    x[0, 0, 2, 7] = 4.0
    whole = apply(by_name()["shift_deta_1"], x)
    assert whole[0, 0, 3, 7] == 4.0
    assert whole.sum() == 4.0
    half = apply(by_name()["shift_deta_0.5"], x)
    assert half[0, 0, [2, 3], 7].tolist() == [2.0, 2.0]
    outside = apply(by_name()["shift_dphi_1"], x)
    assert outside.sum() == 0.0


def test_a_shift_goes_round_a_periodic_axis() -> None:
    around = by_name()["shift_dphi_1"]
    x = np.zeros((1, 2, 6, 8), np.float32)
    x[0, 0, 2, 7] = 4.0
    object.__setattr__(around.apply, "periodic", True)
    assert apply(around, x)[0, 0, 2, 0] == 4.0


def test_means_are_not_shared_and_channels_without_energy_are_refused() -> None:
    assert "shift_deta_0.5" not in by_name(channels=("pt", "pt_mean:d0"))
    with pytest.raises(InputError, match="none of the channels multiplicity holds an energy"):
        make_variations(GRID, ("multiplicity",), ())
