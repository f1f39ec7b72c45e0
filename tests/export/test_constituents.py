"""The graph of constituents makes the images that `hepcnn.images` makes, and scores only what can be scored."""

import json

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcnn.constituents import Constituents
from hepcnn.errors import ExportError, InputError
from hepcnn.export import imaging
from hepcnn.export.constituents import make_constituents_graph
from hepcnn.export.made_up import join_jets, make_awkward_jets, make_up_jets
from hepcnn.export.padding import pad_constituents, unpad_constituents
from hepcnn.images import compiled
from hepcnn.images.grids import CylinderGrid, DetectorGrid, GivenGrid, LayersGrid, WindowGrid
from hepcnn.io.reader import iterate_jets
from tests.export.by_hand import STEPS, feed_of, make_linear_graph, make_recipe, run_graph

RECIPES = {
    "the demo's": {},
    "jet axis, no steps": {"steps": (), "jet_features": ("pt",)},
    "centred, odd grid": {"steps": ("centre",), "grid": WindowGrid(n_eta=33, n_phi=20, half_width=0.6)},
    "rotated, not flipped": {"steps": STEPS[:2], "jet_features": ()},
    "means and sums": {"channels": ("energy", "sum:d0", "pt_mean:charge", "neutral_pt", "track_multiplicity")},
    "layers": {"grid": LayersGrid(n_layers=3, n_eta=8, n_phi=8, half_width=0.8), "channels": ("pt", "energy")},
    "detector": {"grid": DetectorGrid(n_eta=32, n_phi=32, eta_max=3.0), "steps": ("normalise",)},
    "cylinder": {
        "grid": CylinderGrid(layers=[{"r_edges": [0, 5, 10], "n_alpha": 1}, {"r_edges": [0, 2, 4, 6], "n_alpha": 4}]),
        "steps": (),
        "channels": ("energy",),
        "jet_features": ("n_tracks",),
    },
    "given": {"grid": GivenGrid(shape=(6, 7)), "steps": ("normalise",), "channels": ("pt",), "jet_features": ()},
}


@pytest.fixture(scope="module", params=list(RECIPES))
def case(request):
    recipe = make_recipe(**RECIPES[request.param])
    return recipe, make_constituents_graph(make_linear_graph(recipe), recipe, metadata={"class_names": "[]"})


def expected_of(recipe, seen: Constituents) -> tuple[np.ndarray, np.ndarray]:
    """Images and jet-level numbers as conversion and tagging make them."""
    kept = seen.keep(seen.fields["pt"] > 0)
    numbers = recipe.make_jet_features(kept)
    columns = [numbers[name] for name in recipe.jet_features]
    features = np.stack(columns, axis=1) if columns else np.zeros((len(kept), 0), np.float32)
    return recipe.make_pixels(kept).to_dense(recipe.grid.shape), features


def check_equal(recipe, model: onnx.ModelProto, jets: Constituents) -> None:
    """Pixels to 1e-6 of the image's largest, numbers to 1e-5 of themselves, scores to 1e-5."""
    feed, seen = feed_of(recipe, jets)
    images, features = expected_of(recipe, seen)
    names = ["score", "images"] + ["jet_features"] * bool(recipe.jet_features)
    score, found, *numbers = run_graph(model, feed, names)
    np.testing.assert_allclose(found, images, rtol=1e-6, atol=1e-6 * max(1.0, float(np.abs(images).max())))
    for values in numbers:
        # A mass of zero is the root of a rounding error.
        np.testing.assert_allclose(values, features, rtol=1e-5, atol=1e-3)
    (reference,) = run_graph(make_linear_graph(recipe), {"images": images, "jet_features": features}, ["score"])
    empty = seen.keep(seen.fields["pt"] > 0).counts == 0
    assert np.isnan(score[empty]).all()
    np.testing.assert_allclose(score[~empty], reference[~empty], atol=1e-5)


def test_images_equal_those_of_conversion(case) -> None:
    recipe, model = case
    jets = join_jets([make_up_jets(recipe, 60, seed=3), make_awkward_jets(recipe, seed=4)])
    check_equal(recipe, model, jets)


DEMO = make_recipe()
DEMO_GRAPH = make_constituents_graph(make_linear_graph(DEMO), DEMO, metadata={})
# Coordinates in quarters of a pixel, so that many lie on edges, many are collinear, and many turns are ties.
places = st.tuples(st.integers(1, 8), st.integers(-60, 60), st.integers(-60, 60))


@settings(max_examples=40)
@given(st.lists(st.lists(places, min_size=1, max_size=5), min_size=3, max_size=3), st.sampled_from([0.0, 3.1, np.pi]))
def test_jets_on_edges_and_in_line_are_no_exception(rows, phi: float) -> None:
    flat = np.array([(25.0 * pt, eta / 100, phi + at / 100) for row in rows for pt, eta, at in row])
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    energy = flat[:, 0] * np.cosh(flat[:, 1])
    fields = {"pt": flat[:, 0], "eta": flat[:, 1], "phi": flat[:, 2], "energy": energy, "ecal": energy}
    jets = Constituents(offsets, fields | {"hcal": energy * 0, "charge": np.ones(len(flat))})
    check_equal(DEMO, DEMO_GRAPH, jets)


def test_real_jets_score_alike(shared_data) -> None:
    (batch,) = iterate_jets(shared_data / "nano_root/pfnano.root", "pfnano")
    check_equal(DEMO, DEMO_GRAPH, batch.flat)


def test_neither_batch_nor_order_nor_padding_matter() -> None:
    feed, _ = feed_of(DEMO, make_up_jets(DEMO, 20, seed=5))
    (score,) = run_graph(DEMO_GRAPH, feed, ["score"])
    alone = [run_graph(DEMO_GRAPH, {k: v[i : i + 1] for k, v in feed.items()}, ["score"])[0] for i in range(3)]
    np.testing.assert_allclose(np.concatenate(alone), score[:3], atol=1e-6)
    order = np.random.default_rng(0).permutation(feed["mask"].shape[1])
    (permuted,) = run_graph(DEMO_GRAPH, {k: v[:, order] for k, v in feed.items()}, ["score"])
    np.testing.assert_allclose(permuted, score, atol=1e-6)
    longer = {
        k: np.concatenate([v, np.full_like(v[:, :5], 0 if k == "mask" else 9.0)], axis=1) for k, v in feed.items()
    }
    (padded,) = run_graph(DEMO_GRAPH, longer, ["score"])
    np.testing.assert_allclose(padded, score, atol=1e-6)


@pytest.mark.parametrize(("field", "value"), [("eta", np.nan), ("pt", np.inf), ("energy", -1.0), ("pt", -1.0)])
def test_bad_values_leave_their_jet_without_a_score_and_no_other(field: str, value: float) -> None:
    feed, _ = feed_of(DEMO, make_up_jets(DEMO, 4, seed=6))
    (before,) = run_graph(DEMO_GRAPH, feed, ["score"])
    feed["constituents"][1, 2, imaging.list_fields(DEMO).index(field)] = value
    (score,) = run_graph(DEMO_GRAPH, feed, ["score"])
    assert np.isnan(score[1]).all()
    np.testing.assert_allclose(score[[0, 2, 3]], before[[0, 2, 3]], atol=1e-7)


def test_what_fastjet_makes_is_given() -> None:
    pytest.importorskip("fastjet")
    recipe = make_recipe(jet_features=("tau1", "pt", "tau2"))
    model = make_constituents_graph(make_linear_graph(recipe), recipe, metadata={})
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(told["given_features"]) == ["tau1", "tau2"]
    check_equal(recipe, model, make_up_jets(recipe, 12, seed=7))


def test_groomed_constituents_are_told_by_a_mask() -> None:
    recipe = make_recipe(steps=("groom", *STEPS))
    plain = make_recipe()
    model = make_constituents_graph(make_linear_graph(recipe), recipe, metadata={})
    feed, seen = feed_of(recipe, make_up_jets(recipe, 12, seed=8))
    kept = np.random.default_rng(1).random(seen.n) < 0.7
    feed["groomed"] = np.zeros_like(feed["mask"])
    feed["groomed"][feed["mask"] > 0.5] = kept
    images, features = run_graph(model, feed, ["images", "jet_features"])
    np.testing.assert_allclose(images, expected_of(plain, seen.keep(kept))[0], atol=1e-6)
    np.testing.assert_allclose(features, expected_of(plain, seen)[1], rtol=1e-5, atol=1e-3)


def test_fields_first_is_the_same_graph_turned() -> None:
    recipe = make_recipe()
    model = make_constituents_graph(make_linear_graph(recipe), recipe, metadata={}, layout="fields-first")
    feed, _ = feed_of(recipe, make_up_jets(recipe, 9, seed=9))
    (score,) = run_graph(DEMO_GRAPH, feed, ["score"])
    turned = {"constituents": feed["constituents"].transpose(0, 2, 1), "mask": feed["mask"][:, np.newaxis]}
    np.testing.assert_array_equal(run_graph(model, turned, ["score"])[0], score)


def test_the_graph_needs_no_newer_onnx_than_it_says() -> None:
    assert DEMO_GRAPH.ir_version == 8
    assert [(entry.domain, entry.version) for entry in DEMO_GRAPH.opset_import] == [("", 18)]
    assert [entry.name for entry in DEMO_GRAPH.graph.output] == ["score"]
    told = {entry.key: entry.value for entry in DEMO_GRAPH.metadata_props}
    assert json.loads(told["fields"]) == ["pt", "eta", "phi", "ecal", "hcal", "charge", "energy"]


def test_margins_are_those_of_the_images() -> None:
    assert (imaging.EDGE, imaging.TIE) == (compiled.EDGE, compiled.TIE)


def test_a_graph_that_wants_numbers_which_nobody_makes_is_refused() -> None:
    with pytest.raises(ExportError, match="jet features"):
        make_constituents_graph(make_linear_graph(DEMO), make_recipe(jet_features=()), metadata={})


def test_padding_keeps_the_hardest_and_comes_back() -> None:
    jets = make_up_jets(DEMO, 15, seed=10)
    values, mask = pad_constituents(jets, ("pt", "eta"))
    assert mask.sum(axis=1).tolist() == jets.counts.tolist()
    back = unpad_constituents(values, mask, ("pt", "eta"))
    np.testing.assert_array_equal(back.fields["eta"], jets.fields["eta"].astype(np.float32))
    short, few = pad_constituents(jets, ("pt",), length=4)
    for jet in range(len(jets)):
        pt = np.sort(jets.fields["pt"][jets.offsets[jet] : jets.offsets[jet + 1]])[::-1][:4]
        assert np.sort(short[jet, few[jet] > 0.5, 0])[::-1] == pytest.approx(pt, rel=1e-6)
    with pytest.raises(InputError, match="'d0'"):
        pad_constituents(jets, ("pt", "d0"))
    with pytest.raises(InputError, match="padded to 0"):
        pad_constituents(jets, ("pt",), length=0)
    empty, none = pad_constituents(jets.slice(0, 0), ("pt",))
    assert empty.shape == (0, 1, 1)
    assert none.shape == (0, 1)
