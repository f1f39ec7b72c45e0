"""The parity gate: what is let through, what is not, and which stage is blamed."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from hepcnn.data.normalisation import Normalisation
from hepcnn.export.constituents import make_constituents_graph
from hepcnn.export.made_up import join_jets, make_awkward_jets, make_up_jets
from hepcnn.export.network import export_onnx
from hepcnn.export.parity import ParityReport, Way, compare_ways, find_difference, find_first_stage
from hepcnn.export.ways import WayMaker, make_parity_jets
from hepcnn.images.grids import WindowGrid
from hepcnn.models import create_model
from hepcnn.training.network import TaggerNetwork
from tests.export.by_hand import STEPS, make_recipe

RECIPE = make_recipe(grid=WindowGrid(n_eta=16, n_phi=16, half_width=0.8), channels=("pt", "ecal", "hcal"))
JETS = make_parity_jets(join_jets([make_up_jets(RECIPE, 24, seed=1), make_awkward_jets(RECIPE, seed=2)]), RECIPE)


@pytest.fixture(scope="module")
def network() -> TaggerNetwork:
    torch.manual_seed(1)
    model = create_model(
        "cnn", in_channels=3, n_classes=2, grid=(16, 16), n_jet_features=3, stem=4, widths=(4, 4), depth=1, hidden=8
    )
    normalisation = Normalisation((0.05,) * 3, 0.5, RECIPE.jet_features, (6.0, 4.0, 3.5), (0.5, 1.0, 0.5))
    return TaggerNetwork(model, normalisation).eval()


@pytest.fixture(scope="module")
def images_graph(network: TaggerNetwork, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export_onnx(network, path, images=JETS.images[:4], jet_features=JETS.features[:4], metadata={"a": "b"})
    return onnx.load(path)


def report_of(maker: WayMaker) -> ParityReport:
    ways, skipped = maker.make_ways(JETS, full=False)
    return maker.compare(JETS, "made up", ways, skipped)


def test_every_way_gives_the_same_score(network: TaggerNetwork, images_graph: onnx.ModelProto) -> None:
    report = report_of(WayMaker(network, images_graph, RECIPE))
    assert not report.failures
    assert 0 < report.largest < 1e-5
    names = {name for pair in report.pairs for name in (pair.first, pair.second)}
    assert names >= {"torch eager", "torch bf16 autocast", "onnx images", "onnx constituents, permuted"}
    bf16 = [pair for pair in report.pairs if "bf16" in pair.first + pair.second]
    assert bf16
    assert not any(pair.binds for pair in bf16)
    assert max(pair.difference for pair in bf16) > report.largest


def test_the_exported_graph_names_its_stages_and_no_machine(images_graph: onnx.ModelProto) -> None:
    made = {name for node in images_graph.graph.node for name in node.output}
    assert {"features", "logits", "score"} <= made
    assert [entry.name for entry in images_graph.graph.output] == ["score"]
    assert images_graph.ir_version == 8
    assert b".py" not in images_graph.SerializeToString()


def change_weight(model: onnx.ModelProto, consumer: str, by: float) -> onnx.ModelProto:
    """A copy in which the last input of the node that makes a value is changed: its bias, or its weights."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    (node,) = [node for node in copy.graph.node if consumer in node.output]
    weights = next(entry for entry in copy.graph.initializer if entry.name == node.input[-1])
    values = numpy_helper.to_array(weights).copy()
    values.flat[0] += by
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    return copy


def first_convolution(model: onnx.ModelProto) -> str:
    return next(node.output[0] for node in model.graph.node if node.op_type == "Conv")


def break_image(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    unflipped = make_recipe(grid=RECIPE.grid, channels=RECIPE.channels, steps=(STEPS[0], STEPS[3]))
    return model, make_constituents_graph(model, unflipped, metadata={})


def break_number(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    changes = {"grid": RECIPE.grid, "channels": RECIPE.channels, "jet_features": ("mass", "pt", "n_constituents")}
    return model, make_constituents_graph(model, make_recipe(**changes), metadata={})


def break_features(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    broken = change_weight(model, first_convolution(model), 0.5)
    return broken, make_constituents_graph(broken, RECIPE, metadata={})


def break_logits(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    broken = change_weight(model, "logits", 0.01)
    return broken, make_constituents_graph(broken, RECIPE, metadata={})


def break_score(model: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A softmax over the wrong jets' logits: twice the logits."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    place, softmax = next((k, node) for k, node in enumerate(copy.graph.node) if "score" in node.output)
    copy.graph.node.insert(place, onnx.helper.make_node("Add", ["logits", "logits"], ["twice"]))
    copy.graph.node[place + 1].input[0] = "twice"
    assert softmax.op_type == "Softmax"
    return copy, make_constituents_graph(copy, RECIPE, metadata={})


@pytest.mark.parametrize(
    ("damage", "stage"),
    [
        (break_image, "image"),
        (break_number, "jet features"),
        (break_features, "features"),
        (break_logits, "logits"),
        (break_score, "score"),
    ],
)
def test_what_is_broken_on_purpose_is_found(
    network: TaggerNetwork, images_graph: onnx.ModelProto, damage: Callable, stage: str
) -> None:
    graph, constituents_graph = damage(images_graph)
    report = report_of(WayMaker(network, graph, RECIPE, constituents_graph=constituents_graph))
    assert report.failures
    assert report.first_stage == stage
    assert f"the stage that differs first is: {stage}" in report.explain_failure()
    assert report.describe()["passed"] is False
    assert any("exceeded" in row[2] for row in report.list_rows())


def test_differences_of_scores_that_are_missing() -> None:
    one, nan = np.array([[0.1, 0.9]]), np.array([[np.nan, np.nan]])
    assert find_difference(nan, nan) == 0
    assert find_difference(one, nan) == np.inf
    assert find_difference(one, one[:, :1]) == np.inf
    assert find_difference(one[:0], one[:0]) == 0


def test_inputs_of_another_rounding_are_compared_but_bind_nothing() -> None:
    scores = np.array([[0.5, 0.5]], np.float32)
    moved = Way("tree", scores + np.float32(0.01), input="file")
    ways = [Way("torch eager", scores), moved, Way("tagger", scores + np.float32(0.01), input="file")]
    report = ParityReport("one jet", 1, compare_ways(ways))
    assert [pair.binds for pair in report.pairs] == [False, False, True]
    assert not report.failures


def test_stages_that_only_one_side_names_are_passed_over() -> None:
    one = {"image": np.ones(3), "logits": np.ones(3)}
    assert find_first_stage(one, {"logits": np.ones(3)}) == ""
    assert find_first_stage(one, {"logits": np.zeros(3)}) == "logits"
