"""``preprocess.json`` holds what CMSSW's producer asks for; filled as that does it, the graph gives the same scores."""

import json

import numpy as np

from hepcnn.export.cmssw import describe_preprocessing
from hepcnn.export.constituents import make_constituents_graph
from hepcnn.export.imaging import list_fields
from hepcnn.export.made_up import make_up_jets
from tests.export.by_hand import feed_of, make_linear_graph, make_recipe, run_graph


def fill_as_cmssw(told: dict, features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ``BoostedJetONNXJetTagsProducer::make_inputs`` gives to ONNX Runtime for one jet.

    By its source (cms-sw/cmssw): for every variable ``clamp((x - median) * norm_factor, lower, upper)``, infinite and
    NaN replaced, cut or padded to a length between the two limits; variables one after the other.
    """
    inputs = {}
    for name in told["input_names"]:
        group, rows = told[name], []
        for variable in group["var_names"]:
            info, values = group["var_infos"][variable], features[variable].astype(np.float32)
            length = int(np.clip(len(values), group["min_length"], group["max_length"]))
            clean = np.where(np.isfinite(values) & (np.abs(values) <= 1e32), values, info["replace_inf_value"])
            scaled = np.clip((clean - info["median"]) * info["norm_factor"], info["lower_bound"], info["upper_bound"])
            row = np.full(length, info["pad"], np.float32)
            row[: len(scaled)] = scaled[:length]
            rows.append(row)
        inputs[name] = np.stack(rows)[np.newaxis].astype(np.float32)
    return inputs


def test_a_jet_filled_by_the_file_scores_alike() -> None:
    recipe = make_recipe()
    network = make_linear_graph(recipe)
    ours = make_constituents_graph(network, recipe, metadata={})
    theirs = make_constituents_graph(network, recipe, metadata={}, layout="fields-first")
    told = json.loads(json.dumps(describe_preprocessing(recipe, length=128, class_names=("qcd", "top"))))
    assert told["flav_names"] == ["qcd", "top"]
    feed, _ = feed_of(recipe, make_up_jets(recipe, 5, seed=1))
    (expected,) = run_graph(ours, feed, ["score"])
    for jet in range(5):
        there = feed["mask"][jet] > 0.5
        columns = feed["constituents"][jet][there]
        features = {f"pfcand_{name}": columns[:, k] for k, name in enumerate(list_fields(recipe))}
        features["pfcand_mask"] = np.ones(int(there.sum()))
        (score,) = run_graph(theirs, fill_as_cmssw(told, features), ["score"])
        np.testing.assert_allclose(score[0], expected[jet], atol=1e-6)


def test_a_jet_without_constituents_becomes_nan() -> None:
    recipe = make_recipe()
    graph = make_constituents_graph(make_linear_graph(recipe), recipe, metadata={}, layout="fields-first")
    told = describe_preprocessing(recipe, length=128)
    names = [variable for name in told["input_names"] for variable in told[name]["var_names"]]
    (score,) = run_graph(graph, fill_as_cmssw(told, {name: np.zeros(0) for name in names}), ["score"])
    assert np.isnan(score).all()


def test_what_must_be_given_is_an_input_of_its_own() -> None:
    told = describe_preprocessing(make_recipe(jet_features=("tau1", "pt"), steps=("groom",)), length=64)
    assert told["input_names"] == ["constituents", "mask", "groomed", "given_features"]
    assert told["given_features"]["var_names"] == ["jet_tau1"]
    assert told["constituents"]["max_length"] == 64
