"""One ONNX graph from padded constituents to scores, with a bundle's graph of images inside.

Shapes: N jets, P constituents at most, F fields, K classes.
"""

import json
from collections.abc import Mapping
from typing import Literal

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper

from hepcnn.errors import ExportError
from hepcnn.export.imaging import (
    fill_images,
    find_frame,
    find_pixels,
    list_fields,
    list_given,
    make_features,
    sum_momenta,
)
from hepcnn.export.nodes import PREFIX, Nodes, Value, set_metadata, value_info
from hepcnn.images.recipe import ImageRecipe

Layout = Literal["constituents-first", "fields-first"]
IR_VERSION = 8
"""What came with opset 18; later ones are refused by the ONNX Runtime of their day."""
LARGEST = float(np.finfo(np.float32).max)
NOT_NEGATIVE = ("pt", "energy", "ecal", "hcal")


def make_constituents_graph(
    images_graph: ModelProto,
    recipe: ImageRecipe,
    *,
    metadata: Mapping[str, str],
    layout: Layout = "constituents-first",
) -> ModelProto:
    """Put imaging in front of a graph that takes images.

    Parameters
    ----------
    images_graph
        With inputs ``images`` and, where the recipe has jet-level numbers, ``jet_features``; outputs ``score`` and, of
        a tagger with that task, ``energy`` and ``energy_err``.
    recipe
        What its images are made by.
    metadata
        Texts stored in the graph; the names of fields and of given numbers are added.
    layout
        ``constituents-first``: input ``constituents`` (N, P, F), ``mask`` (N, P). ``fields-first``, as CMSSW lays
        variables: (N, F, P) and (N, 1, P), and (N, F, 1) for given numbers.

    Returns
    -------
    ModelProto
        Inputs, all float32: ``constituents`` in GeV and radians, ``mask``, above 0.5 where there is a constituent;
        ``groomed`` like the mask, for constituents that soft drop keeps, where the recipe grooms; ``given_features``
        (N, F) where jet-level numbers need FastJet. Output ``score`` (N, K): probabilities, and ``energy``,
        ``energy_err`` (N,) where the graph inside has them; NaN for a jet without
        constituents of positive pT, and for one of whose constituents a field is NaN or infinite, or a pT or energy
        negative.

    Raises
    ------
    ExportError
        When the graph does not take what the recipe makes.
    """
    nodes = Nodes()
    jets = _read_inputs(nodes, recipe, layout)
    images, features = _make_images(recipe, jets)
    nodes.name(images, "images")
    # A network without jet-level numbers has the input all the same, and no node that takes it.
    wanted = {name for node in images_graph.graph.node for name in node.input}
    if features is not None and "jet_features" in wanted:
        nodes.name(features, "jet_features")
    elif "jet_features" in wanted:
        raise ExportError("the graph takes jet features, but the recipe of its images makes none")
    graph = _append(nodes, images_graph.graph, jets)
    model = helper.make_model(graph, producer_name="hepcnn", opset_imports=list(images_graph.opset_import))
    model.functions.extend(images_graph.functions)
    model.ir_version = IR_VERSION
    told = {"fields": list_fields(recipe), "given_features": list_given(recipe), "layout": layout}
    set_metadata(model, {**metadata, **{key: json.dumps(value) for key, value in told.items()}})
    onnx.checker.check_model(model)
    return model


class _Jets:
    """What goes in, as columns (N, P) float64 that are 0 where there is no constituent."""

    def __init__(self, fields: dict[str, Value], valid: Value, kept: Value, given: Value | None, bad: Value) -> None:
        self.fields, self.valid, self.kept, self.given, self.bad = fields, valid, kept, given, bad


def _read_inputs(nodes: Nodes, recipe: ImageRecipe, layout: Layout) -> _Jets:
    names, swapped = list_fields(recipe), layout == "fields-first"
    shape = ("n_jets", len(names), "n_constituents") if swapped else ("n_jets", "n_constituents", len(names))
    flat = ("n_jets", 1, "n_constituents") if swapped else ("n_jets", "n_constituents")
    raw = nodes.input("constituents", shape)
    if not swapped:
        raw = raw.apply("Transpose", perm=[0, 2, 1])
    masks = [nodes.input("mask", flat)] + ([nodes.input("groomed", flat)] if "groom" in recipe.steps else [])
    half = np.float32(0.5)
    there = [(mask if swapped else mask.apply("Unsqueeze", np.array([1]))) > half for mask in masks]
    lowest = np.array([[0.0 if name in NOT_NEGATIVE else -LARGEST] for name in names], np.float32)
    # NaN is neither above nor below.
    good = (raw >= lowest) & (raw <= np.float32(LARGEST))
    bad = (there[0] & ~good).cast(TensorProto.INT32).apply("ReduceMax", np.array([1, 2]), keepdims=0)
    has_pt = raw.apply("Gather", np.array([names.index("pt")]), axis=1) > np.float32(0.0)
    valid = there[0] & has_pt
    clean = (valid & good).where(raw, np.float32(0.0)).double()
    columns = nodes.add("Split", clean, outputs=len(names), axis=1, num_outputs=len(names))
    squeeze = np.array([1])
    fields = {name: column.apply("Squeeze", squeeze) for name, column in zip(names, columns, strict=True)}
    kept = valid if len(there) == 1 else valid & there[1]
    given = _read_given(nodes, recipe, swapped=swapped)
    return _Jets(fields, valid.apply("Squeeze", squeeze), kept.apply("Squeeze", squeeze), given, bad)


def _read_given(nodes: Nodes, recipe: ImageRecipe, *, swapped: bool) -> Value | None:
    names = list_given(recipe)
    if not names:
        return None
    shape = ("n_jets", len(names), 1) if swapped else ("n_jets", len(names))
    given = nodes.input("given_features", shape)
    return given.apply("Squeeze", np.array([2])) if swapped else given


def _make_images(recipe: ImageRecipe, jets: _Jets) -> tuple[Value, Value | None]:
    needs_sum = recipe.grid.follows_jet or {"pt", "mass"} & set(recipe.jet_features)
    momentum = sum_momenta(jets.fields) if needs_sum else None
    features = make_features(jets.fields, jets.valid, jets.given, recipe, momentum)
    columns = jets.fields
    if "groom" in recipe.steps:
        # Jet-level numbers are those of the whole jet; the image knows only what was kept.
        columns = {name: jets.kept.where(column, 0.0) for name, column in columns.items()}
        momentum = sum_momenta(columns)
    points = dict(columns)
    if recipe.grid.follows_jet and momentum is not None:
        points |= find_frame(columns, momentum, recipe.steps)
    inside, index = find_pixels(recipe.grid, points, jets.kept)
    return fill_images(recipe, columns, inside, index), features


def _append(nodes: Nodes, inner: GraphProto, jets: _Jets) -> GraphProto:
    """The nodes of the inner graph after those of the imaging, its score only for jets that can have one."""
    taken = {name for node in inner.node for name in (*node.input, *node.output)}
    clash = sorted(name for name in taken if name.startswith(PREFIX)) + sorted(taken & {"constituents", "mask"})
    if clash:
        raise ExportError(f"the graph of images has a value '{clash[0]}', which the imaging needs for its own")
    # Probabilities and energies inside, which become the outputs where a jet can have them.
    inside = {entry.name: f"{entry.name}_inside" for entry in inner.output}
    for node in inner.node:
        copy = onnx.NodeProto.FromString(node.SerializeToString())
        for names in (copy.input, copy.output):
            names[:] = [inside.get(name, name) for name in names]
        nodes.nodes.append(copy)
    empty = jets.valid.double().sum().reshape(-1) <= 0.0
    unknown = (jets.bad > np.int32(0)) | empty
    nan, outputs = np.float32(np.nan), []
    for entry in inner.output:
        sizes = [dim.dim_value for dim in entry.type.tensor_type.shape.dim][1:]
        place = unknown.apply("Unsqueeze", np.array([1])) if sizes else unknown
        nodes.name(place.where(nan, Value(nodes, inside[entry.name])), entry.name)
        outputs.append(value_info(entry.name, ("n_jets", *sizes)))
    graph = nodes.close("hepcnn", outputs)
    graph.initializer.extend(inner.initializer)
    return graph
