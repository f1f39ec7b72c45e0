"""Small graphs and recipes for the tests of the export, made without torch."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hepcnn.constituents import Constituents
from hepcnn.export.imaging import list_fields, list_given
from hepcnn.export.padding import pad_constituents, unpad_constituents
from hepcnn.images.grids import WindowGrid
from hepcnn.images.recipe import ImageRecipe

STEPS = ("centre", "rotate", "flip", "normalise")


def make_recipe(**changes: Any) -> ImageRecipe:
    """The demo's recipe with some things changed."""
    values: dict[str, Any] = {
        "grid": WindowGrid(n_eta=40, n_phi=40, half_width=0.8),
        "channels": ("pt", "ecal", "hcal", "track_pt", "multiplicity"),
        "steps": STEPS,
        "jet_features": ("pt", "mass", "n_constituents"),
        "radius": 0.8,
    }
    return ImageRecipe(**(values | changes))


def make_linear_graph(recipe: ImageRecipe, *, n_classes: int = 2, seed: int = 1) -> onnx.ModelProto:
    """Stands for a network: the softmax of a linear function of pixels and jet-level numbers."""
    random = np.random.default_rng(seed)
    n_pixels = len(recipe.channels) * recipe.grid.n_pixels
    weights = {"pixels": random.normal(0, 1, (n_pixels, n_classes)).astype(np.float32)}
    shape = ["n_jets", len(recipe.channels), *recipe.grid.shape]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)]
    nodes = [helper.make_node("Flatten", ["images"], ["flat"]), helper.make_node("MatMul", ["flat", "pixels"], ["sum"])]
    if recipe.jet_features:
        weights["numbers"] = random.normal(0, 1e-3, (len(recipe.jet_features), n_classes)).astype(np.float32)
        inputs.append(
            helper.make_tensor_value_info("jet_features", TensorProto.FLOAT, ["n_jets", len(recipe.jet_features)])
        )
        nodes += [helper.make_node("MatMul", ["jet_features", "numbers"], ["more"])]
        nodes += [helper.make_node("Add", ["sum", "more"], ["logits"])]
    else:
        # As torch exports it: an input that nothing takes.
        inputs.append(helper.make_tensor_value_info("jet_features", TensorProto.FLOAT, ["n_jets", 0]))
        nodes += [helper.make_node("Identity", ["sum"], ["logits"])]
    nodes.append(helper.make_node("Softmax", ["logits"], ["score"], axis=1))
    graph = helper.make_graph(
        nodes,
        "linear",
        inputs,
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["n_jets", n_classes])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run_graph(model: onnx.ModelProto, feed: dict[str, NDArray[Any]], names: Sequence[str]) -> list[NDArray[Any]]:
    """Values of a graph, inner ones too."""
    session = _open(model.SerializeToString(), tuple(names))
    wanted = {entry.name for entry in session.get_inputs()}
    return session.run(list(names), {name: values for name, values in feed.items() if name in wanted})


@lru_cache(maxsize=8)
def _open(content: bytes, names: tuple[str, ...]) -> onnxruntime.InferenceSession:
    model = onnx.ModelProto.FromString(content)
    for name in names:
        if name not in {entry.name for entry in model.graph.output}:
            model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def feed_of(
    recipe: ImageRecipe, jets: Constituents, *, length: int | None = None
) -> tuple[dict[str, Any], Constituents]:
    """What a graph of constituents is fed with, and what it then sees, in float64."""
    names = list(jets.fields)
    values, mask = pad_constituents(jets, names, length=length)
    seen = unpad_constituents(values, mask, names)
    feed: dict[str, Any] = {"constituents": values[:, :, [names.index(name) for name in list_fields(recipe)]]}
    feed["mask"] = mask
    if given := list_given(recipe):
        numbers = recipe.make_jet_features(seen)
        feed["given_features"] = np.stack([numbers[name] for name in given], axis=1)
    return feed, seen
