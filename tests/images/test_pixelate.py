"""Images hold the energy that the constituents hold: exact cases, properties, and NumPy's own histogram."""

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcnn.errors import ConfigError, SchemaError
from hepcnn.images.channels import CHANNELS, check_channels, check_fields
from hepcnn.images.grids import WindowGrid, parse_grid
from hepcnn.images.pixelate import make_pixels
from hepcnn.images.preprocess import STEPS, apply_preprocessing, check_steps
from tests.toy import make_constituents

GRID = WindowGrid(n_eta=40, n_phi=40, half_width=0.8)
ALL = tuple(CHANNELS)


def dense(constituents: ak.Array, steps: tuple = STEPS, channels: tuple[str, ...] = ("pt",), grid: WindowGrid = GRID):
    return make_pixels(constituents, grid=grid, channels=channels, steps=steps).to_dense(grid.shape)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([(), ("centre",), ("centre", "rotate"), STEPS[:3]]))
def test_every_channel_keeps_its_sum_inside_the_window(seed: int, steps: tuple) -> None:
    constituents = make_constituents(5, seed=seed, n_prongs=3)
    images = dense(constituents, steps, ALL)
    jets = apply_preprocessing(constituents, steps)
    inside = (np.abs(jets.deta) < 0.8) & (np.abs(jets.dphi) < 0.8)
    for column, name in enumerate(ALL):
        weights = np.where(inside, CHANNELS[name].value(jets.fields), 0.0)
        expected = np.bincount(jets.jet, weights, minlength=5)
        assert images[:, column].sum(axis=(1, 2)) == pytest.approx(expected, rel=1e-5)


def test_images_equal_numpys_histogram() -> None:
    constituents = make_constituents(20, seed=3)
    images = dense(constituents, ("centre",), ("pt", "multiplicity"))
    jets = apply_preprocessing(constituents, ("centre",))
    for jet in range(20):
        mine = jets.jet == jet
        for column, weights in enumerate([jets.fields["pt"][mine], None]):
            expected, *_ = np.histogram2d(
                jets.deta[mine], jets.dphi[mine], bins=40, range=[[-0.8, 0.8]] * 2, weights=weights
            )
            assert images[jet, column] == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(-10, 10))
def test_turning_the_detector_changes_nothing(seed: int, angle: float) -> None:
    """Jets at phi = ±pi come out like any other."""
    constituents = make_constituents(5, seed=seed)
    turned = ak.with_field(constituents, constituents["phi"] + angle, "phi")
    for steps in ((), STEPS):
        assert_same_images(dense(constituents, steps), dense(turned, steps))


def assert_same_images(one: np.ndarray, other: np.ndarray) -> None:
    """Equal but for constituents that rounding moves across the edge between two pixels."""
    moved = np.abs(one - other).sum(axis=(1, 2, 3)) / one.sum(axis=(1, 2, 3))
    assert np.median(moved) < 1e-5
    assert one.sum(axis=(1, 2, 3)) == pytest.approx(other.sum(axis=(1, 2, 3)), rel=1e-2)


def test_a_jet_across_pi_by_hand() -> None:
    records = [{"pt": 10.0, "eta": 0.0, "phi": np.pi - 0.15}, {"pt": 10.0, "eta": 0.0, "phi": -np.pi + 0.15}]
    image = dense(ak.Array([records]), ("centre",), grid=WindowGrid(n_eta=1, n_phi=8, half_width=0.4))
    assert image[0, 0, 0].tolist() == [0, 0, 10, 0, 0, 10, 0, 0]


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_the_order_of_constituents_is_irrelevant(seed: int) -> None:
    constituents = make_constituents(5, seed=seed)
    reversed_ = constituents[:, ::-1]
    assert dense(reversed_) == pytest.approx(dense(constituents), abs=1e-6)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.floats(-np.pi, np.pi), st.booleans())
def test_a_rotated_or_mirrored_jet_has_the_same_image(seed: int, angle: float, mirrored: bool) -> None:
    random = np.random.default_rng(seed)
    # Narrow and central, where a rotation in (eta, phi) keeps the axis to rounding.
    x, y, pt = random.normal(0, 1e-3, 30), random.normal(0, 3e-4, 30), random.exponential(10, 30)
    grid = WindowGrid(n_eta=10, n_phi=10, half_width=5e-3)
    images = []
    for turn, sign in ((0.0, 1.0), (angle, -1.0 if mirrored else 1.0)):
        eta = (x * np.cos(turn) - y * np.sin(turn)) * sign
        phi = x * np.sin(turn) + y * np.cos(turn)
        images.append(dense(ak.Array([ak.zip({"pt": pt, "eta": eta, "phi": phi})]), grid=grid)[0, 0])
    moved = np.abs(images[0] - images[1]).sum()
    assert moved < 2 * pt.max() / pt.sum() + 1e-6


def test_blocks_of_jets_do_not_influence_each_other() -> None:
    constituents = make_constituents(30, seed=5)
    whole = dense(constituents, STEPS, ALL)
    alone = np.concatenate([dense(constituents[jet : jet + 1], STEPS, ALL) for jet in range(30)])
    assert np.array_equal(whole, alone)


def test_normalise_divides_by_the_scalar_pt_sum_and_leaves_counts() -> None:
    constituents = make_constituents(10, seed=2)
    plain = dense(constituents, STEPS[:3], ("pt", "multiplicity"))
    normalised = dense(constituents, STEPS, ("pt", "multiplicity"))
    total = ak.to_numpy(ak.sum(constituents["pt"], axis=1))
    assert normalised[:, 0] == pytest.approx(plain[:, 0] / total[:, None, None], rel=1e-5)
    assert np.array_equal(normalised[:, 1], plain[:, 1])


def test_the_frame_is_what_it_says() -> None:
    jets = apply_preprocessing(make_constituents(50, seed=8, n_prongs=3), STEPS)
    pt = jets.fields["pt"]

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(jets.jet, values, minlength=50)

    assert total(pt * jets.deta) / total(pt) == pytest.approx(0, abs=1e-12)
    assert total(pt * jets.dphi) / total(pt) == pytest.approx(0, abs=1e-12)
    assert total(pt * jets.deta * jets.dphi) / total(pt) == pytest.approx(0, abs=1e-12)
    assert (total(pt * jets.dphi**2) >= total(pt * jets.deta**2)).all()
    for coordinate in (jets.deta, jets.dphi):
        assert (total(pt * (coordinate > 0)) >= total(pt * (coordinate < 0))).all()


def test_inputs_are_not_changed() -> None:
    constituents = make_constituents(5, seed=1)
    before = ak.to_list(constituents)
    dense(constituents, STEPS, ALL)
    assert ak.to_list(constituents) == before


def test_empty_and_lone_constituents() -> None:
    lone = {"pt": 5.0, "eta": 0.3, "phi": 3.0}
    constituents = ak.Array([[], [lone], []])[:, :]
    pixels = make_pixels(constituents, grid=GRID, channels=("pt",), steps=STEPS)
    assert np.diff(pixels.indptr).tolist() == [0, 1, 0]
    assert pixels.value.tolist() == [[1.0]]
    none = make_pixels(constituents[:0], grid=GRID, channels=("pt",), steps=STEPS)
    assert len(none) == 0


def test_pixels_without_content_are_not_held() -> None:
    records = [{"pt": 1.0, "eta": 0.0, "phi": 0.1, "charge": 0.0}, {"pt": 1.0, "eta": 0.2, "phi": 0.0, "charge": 1.0}]
    pixels = make_pixels(ak.Array([records]), grid=GRID, channels=("track_pt",), steps=("centre",))
    assert len(pixels.index) == 1


def test_edges_belong_to_the_pixel_above() -> None:
    grid = WindowGrid(n_eta=4, n_phi=4, half_width=1.0)
    pixel, inside = grid.find_pixels(np.array([-1.0, 0.0, 1.0, np.nan]), np.zeros(4))
    assert inside.tolist() == [True, True, False, False]
    assert pixel[:2].tolist() == [2, 10]
    eta, phi = grid.edges()
    assert eta.tolist() == phi.tolist() == [-1, -0.5, 0, 0.5, 1]


@pytest.mark.parametrize("text", ["40", "40x", "x40", "40x40x40", "0x3", "a x b"])
def test_wrong_grids_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="grid '"):
        parse_grid(text, half_width=0.8)


def test_wrong_names_bring_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no channel 'pT'; did you mean 'pt'"):
        check_channels(["pT"])
    with pytest.raises(ConfigError, match="stands twice"):
        check_channels(["pt", "pt"])
    with pytest.raises(ConfigError, match="no step 'center'; did you mean 'centre'"):
        check_steps(["center"])
    with pytest.raises(ConfigError, match="name 'centre' too"):
        check_steps(["rotate"])
    with pytest.raises(SchemaError, match=r"channel 'ecal' needs 'ecal'.*possible channels: pt, multiplicity"):
        check_fields(["pt", "ecal"], ["pt", "eta", "phi"], where="file")
    assert check_steps(["normalise", "centre"]) == ("centre", "normalise")
