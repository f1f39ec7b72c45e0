"""Images hold the energy that the constituents hold: exact cases, properties, and NumPy doing the same otherwise."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcnn.constituents import Constituents
from hepcnn.images.channels import CHANNELS
from hepcnn.images.grids import CylinderGrid, DetectorGrid, GivenGrid, Grid, LayersGrid, WindowGrid
from hepcnn.images.pixelate import make_pixels
from hepcnn.images.preprocess import find_frame
from tests.images import oracle
from tests.images.jets import changed, jets_of, reordered, toy_jets

GRID = WindowGrid(n_eta=40, n_phi=40, half_width=0.8)
LAYERS = LayersGrid(n_layers=4, n_eta=5, n_phi=7, half_width=0.5)
DETECTOR = DetectorGrid(n_eta=30, n_phi=24, eta_max=2.0)
FOLLOWING, STAYING = [GRID, LAYERS, WindowGrid(n_eta=70, n_phi=90, half_width=0.3)], [DETECTOR]
ALL = (*CHANNELS, "sum:d0", "pt_mean:d0", "pt_mean:charge")
STEPS = ("centre", "rotate", "flip", "normalise")
ORDERS = [(), ("centre",), ("centre", "rotate"), STEPS[:3], ("normalise",), STEPS]
seeds = st.integers(0, 10_000)


def dense(jets: Constituents, steps: tuple = STEPS, channels: tuple[str, ...] = ("pt",), grid: Grid = GRID):
    return make_pixels(jets, grid=grid, channels=channels, steps=steps).to_dense(grid.shape)


def assert_close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(seeds, st.sampled_from(ORDERS), st.sampled_from(FOLLOWING))
def test_images_equal_numpys(seed: int, steps: tuple, grid: Grid) -> None:
    jets = toy_jets(5, seed=seed, n_prongs=3)
    expected = oracle.make_images(jets, grid, ALL, steps)
    assert_close(dense(jets, steps, ALL, grid), expected)


@settings(deadline=None, max_examples=15)
@given(seeds, st.sampled_from([(), ("normalise",)]))
def test_images_of_the_detector_equal_numpys(seed: int, steps: tuple) -> None:
    jets = toy_jets(5, seed=seed)
    expected = oracle.make_images(jets, DETECTOR, ALL, steps)
    assert_close(dense(jets, steps, ALL, DETECTOR), expected)


@settings(deadline=None, max_examples=15)
@given(seeds, st.sampled_from([GivenGrid(shape=(6, 8)), GivenGrid(shape=(200,)), GivenGrid(shape=(3, 4, 5))]))
def test_ready_made_images_come_out_as_they_are(seed: int, grid: Grid) -> None:
    random = np.random.default_rng(seed)
    images = random.exponential(1.0, (4, grid.n_pixels)) * (random.random((4, grid.n_pixels)) < 0.3)
    assert np.array_equal(dense(jets_of_cells(images), (), grid=grid)[:, 0].reshape(4, -1), images.astype(np.float32))


def jets_of_cells(images: np.ndarray) -> Constituents:
    """As readers give ready-made images, (N, cells)."""
    jet, cell = np.nonzero(images)
    value, zero = images[jet, cell], np.zeros(len(jet))
    fields = {"pt": value, "energy": value, "eta": zero, "phi": zero, "cell": cell.astype(float)}
    return Constituents(np.searchsorted(jet, np.arange(len(images) + 1)), fields)


def test_voxels_lie_where_the_layer_has_them() -> None:
    """CaloChallenge counts r first, then alpha, then layers; a layer with less fills the first bins."""
    grid = CylinderGrid(layers=[{"r_edges": [0, 5, 10], "n_alpha": 1}, {"r_edges": [0, 2, 4, 6], "n_alpha": 2}])
    image = dense(jets_of_cells(np.arange(1.0, 9.0)[np.newaxis]), (), grid=grid)[0, 0]
    assert image.tolist() == [[[1, 2, 0], [0, 0, 0]], [[3, 4, 5], [6, 7, 8]]]


@settings(deadline=None, max_examples=25)
@given(seeds, st.sampled_from(ORDERS[:4]))
def test_every_channel_keeps_its_sum_inside_the_window(seed: int, steps: tuple) -> None:
    jets = toy_jets(5, seed=seed, n_prongs=3)
    sums = tuple(name for name in ALL if not name.startswith("pt_mean"))
    pixels = make_pixels(jets, grid=GRID, channels=sums, steps=steps)
    frame = oracle.find_frame(jets, steps)
    inside = (np.abs(frame.deta) < 0.8) & (np.abs(frame.dphi) < 0.8)
    for column, name in enumerate(sums):
        expected = np.bincount(jets.jet, np.where(inside, oracle.channel_values(name, dict(jets.fields)), 0.0))
        found = pixels.to_dense(GRID.shape)[:, column].sum(axis=(1, 2))
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
        if name == "pt":
            assert pixels.pt_inside == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=15)
@given(seeds, st.integers(-3, 3), st.sampled_from([GRID, DETECTOR]))
def test_whole_turns_change_nothing(seed: int, turns: int, grid: Grid) -> None:
    jets = centred_in_pixels(toy_jets(5, seed=seed)) if grid is DETECTOR else toy_jets(5, seed=seed)
    steps = STEPS if grid is GRID else ("normalise",)
    turned = changed(jets, phi=jets.fields["phi"] + 2 * np.pi * turns)
    assert_close(dense(turned, steps, ALL, grid), dense(jets, steps, ALL, grid))


@settings(deadline=None, max_examples=25)
@given(seeds, st.floats(-10, 10), st.sampled_from([(), STEPS]))
def test_turning_the_detector_changes_nothing(seed: int, angle: float, steps: tuple) -> None:
    """Jets at phi = ±pi come out like any other."""
    jets = toy_jets(5, seed=seed)
    turned = changed(jets, phi=jets.fields["phi"] + angle)
    one, other = find_frame(jets, steps), find_frame(turned, steps)
    for name in ("deta", "dphi"):
        assert other[name] == pytest.approx(one[name], abs=1e-12)


def centred_in_pixels(jets: Constituents) -> Constituents:
    """Constituents moved to the middle of their pixels, where rounding cannot move them out."""
    phi = (np.floor(jets.fields["phi"] / (2 * np.pi / 24)) + 0.5) * (2 * np.pi / 24)
    return changed(jets, phi=phi)


@settings(deadline=None, max_examples=20)
@given(seeds, st.integers(-30, 30))
def test_turning_the_detector_rolls_its_image(seed: int, k: int) -> None:
    jets = centred_in_pixels(toy_jets(5, seed=seed))
    turned = changed(jets, phi=jets.fields["phi"] + k * 2 * np.pi / 24)
    rolled = np.roll(dense(jets, (), ALL, DETECTOR), k, axis=-1)
    assert np.array_equal(dense(turned, (), ALL, DETECTOR), rolled)


@pytest.mark.parametrize("phi", [np.nextafter(np.pi, 0), np.pi, -np.pi, np.nextafter(-np.pi, -4), 3 * np.pi, 1e-300])
def test_the_whole_circle_is_inside(phi: float) -> None:
    jets = jets_of([{"pt": 1.0, "eta": 0.0, "phi": phi}])
    for n_phi in (1, 3, 7, 64, 100):
        assert dense(jets, (), grid=DetectorGrid(n_eta=1, n_phi=n_phi)).sum() == 1.0


def test_a_jet_across_pi_by_hand() -> None:
    records = [{"pt": 10.0, "eta": 0.0, "phi": np.pi - 0.15}, {"pt": 10.0, "eta": 0.0, "phi": -np.pi + 0.15}]
    image = dense(jets_of(records), ("centre",), grid=WindowGrid(n_eta=1, n_phi=8, half_width=0.4))
    assert image[0, 0, 0].tolist() == [0, 0, 10, 0, 0, 10, 0, 0]


@settings(deadline=None, max_examples=15)
@given(seeds, st.sampled_from([*FOLLOWING, *STAYING]))
def test_the_order_of_constituents_is_irrelevant(seed: int, grid: Grid) -> None:
    jets = toy_jets(5, seed=seed)
    steps = STEPS if grid.follows_jet else ()
    other = dense(reordered(jets, seed=seed), steps, ALL, grid)
    assert_close(other, dense(jets, steps, ALL, grid))


@settings(deadline=None, max_examples=20)
@given(seeds, st.lists(st.integers(0, 40), max_size=5), st.sampled_from([*FOLLOWING, *STAYING]))
def test_jets_cut_in_blocks_give_the_same_bits(seed: int, cuts: list[int], grid: Grid) -> None:
    jets = toy_jets(40, seed=seed)
    steps = STEPS if grid.follows_jet else ("normalise",)
    whole = make_pixels(jets, grid=grid, channels=ALL, steps=steps)
    edges = [0, *sorted(cuts), 40]
    for start, stop in itertools.pairwise(edges):
        fields = {k: v[jets.offsets[start] : jets.offsets[stop]].copy() for k, v in jets.fields.items()}
        part = Constituents(jets.offsets[start : stop + 1] - jets.offsets[start], fields)
        found, expected = make_pixels(part, grid=grid, channels=ALL, steps=steps), whole.select(start, stop)
        assert np.array_equal(found.indptr, expected.indptr)
        assert np.array_equal(found.index, expected.index)
        assert found.value.tobytes() == expected.value.tobytes()
        assert found.pt_inside.tobytes() == expected.pt_inside.tobytes()


def test_more_jets_than_one_block_holds() -> None:
    jets, grid = toy_jets(8000, seed=7), WindowGrid(n_eta=6, n_phi=6)
    assert len(list(jets.blocks())) > 2
    found = dense(jets, STEPS, ("pt", "multiplicity"), grid)
    assert_close(found, oracle.make_images(jets, grid, ("pt", "multiplicity"), STEPS))


def test_pixels_are_sorted_and_not_all_zero() -> None:
    pixels = make_pixels(toy_jets(50, seed=3), grid=GRID, channels=ALL, steps=STEPS)
    assert (pixels.indptr.dtype, pixels.index.dtype, pixels.value.dtype) == (np.int64, np.uint32, np.float32)
    within = np.setdiff1d(np.arange(1, len(pixels.index)), pixels.indptr)
    assert (np.diff(pixels.index.astype(int))[within - 1] > 0).all()
    assert (pixels.value != 0).any(axis=1).all()
    jets = jets_of(
        [{"pt": 1.0, "eta": 0.0, "phi": 0.1, "charge": 0.0}, {"pt": 1.0, "eta": 0.2, "phi": 0.0, "charge": 1.0}]
    )
    assert len(make_pixels(jets, grid=GRID, channels=("track_pt",), steps=("centre",)).index) == 1


def test_normalise_divides_by_the_scalar_pt_sum_and_leaves_counts_and_means() -> None:
    jets, names = toy_jets(10, seed=2), ("pt", "multiplicity", "pt_mean:d0", "sum:d0")
    plain, normalised = dense(jets, STEPS[:3], names), dense(jets, STEPS, names)
    total = jets.sum(jets.fields["pt"])
    assert normalised[:, 0] == pytest.approx(plain[:, 0] / total[:, None, None], rel=1e-5)
    assert np.array_equal(normalised[:, 1:], plain[:, 1:])


def test_inputs_are_not_changed_and_need_not_be_writeable() -> None:
    jets = toy_jets(5, seed=1)
    before = {name: values.copy() for name, values in jets.fields.items()}
    for values in jets.fields.values():
        values.flags.writeable = False
    for grid in (*FOLLOWING, *STAYING):
        dense(jets, STEPS if grid.follows_jet else (), ALL, grid)
    assert all(np.array_equal(before[name], values) for name, values in jets.fields.items())


def test_fields_of_any_layout_are_taken() -> None:
    jets = toy_jets(5, seed=1)
    table = np.stack([jets.fields[name] for name in ("pt", "eta", "phi", "energy", "charge")], axis=1)
    columns = {name: table[:, column] for column, name in enumerate(("pt", "eta", "phi", "energy", "charge"))}
    strided = Constituents(jets.offsets, columns)
    assert np.array_equal(dense(strided, STEPS, ("pt", "track_pt")), dense(jets, STEPS, ("pt", "track_pt")))


@pytest.mark.parametrize("grid", [GRID, LAYERS, DETECTOR])
@pytest.mark.parametrize("field", ["pt", "eta", "phi", "ecal"])
def test_nan_leaves_its_jet_without_pixels_and_no_other(grid: Grid, field: str) -> None:
    jets, steps = toy_jets(3, seed=5), STEPS if grid.follows_jet else ()
    values = jets.fields[field].copy()
    values[jets.offsets[1] + 2] = np.nan
    broken, whole = dense(changed(jets, **{field: values}), steps, ALL, grid), dense(jets, steps, ALL, grid)
    assert (broken[1] == 0).all()
    assert np.array_equal(broken[[0, 2]], whole[[0, 2]])


def test_empty_and_lone_constituents() -> None:
    jets = jets_of([], [{"pt": 5.0, "eta": 0.3, "phi": 3.0}], [])
    for grid, steps in ((GRID, STEPS), (DETECTOR, ("normalise",))):
        pixels = make_pixels(jets, grid=grid, channels=("pt",), steps=steps)
        assert np.diff(pixels.indptr).tolist() == [0, 1, 0]
        assert pixels.value.tolist() == [[1.0]]
        assert pixels.pt_inside.tolist() == [0, 5, 0]
        none = make_pixels(jets.slice(0, 0), grid=grid, channels=("pt",), steps=steps)
        assert (len(none), len(none.index)) == (0, 0)


def test_layers_beyond_the_grid_are_outside() -> None:
    records = [{"pt": 2.0**n, "eta": 0.0, "phi": 0.0, "layer": float(n - 1)} for n in range(4)]
    pixels = make_pixels(jets_of(records), grid=LayersGrid(n_layers=2), channels=("pt",), steps=())
    assert (pixels.index.tolist(), pixels.value.ravel().tolist()) == ([0, 1], [2.0, 4.0])
    assert pixels.pt_inside.tolist() == [6.0]
