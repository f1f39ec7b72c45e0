"""``preprocess.json``: what CMSSW's ``BoostedJetONNXJetTagsProducer`` reads beside a graph.

The keys are those that ``btagbtvdeep::ParticleNetConstructor`` asks for (cms-sw/cmssw,
RecoBTag/FeatureTools/src/deep_helpers.cc): ``input_names``, and for each input ``var_names``, ``min_length`` and
``max_length`` (or ``var_length``), ``var_infos`` with ``median, norm_factor, replace_inf_value, lower_bound,
upper_bound, pad``. CMSSW lays the variables of an input one after the other, as an array (1, variables, length) of
float32.
"""

from collections.abc import Sequence
from typing import Any

from hepcnn.export.imaging import list_fields, list_given
from hepcnn.images.recipe import ImageRecipe

LARGEST = 1e32
"""CMSSW takes anything beyond for infinite."""
PREFIX = "pfcand_"


def describe_preprocessing(recipe: ImageRecipe, *, length: int, class_names: Sequence[str] = ()) -> dict[str, Any]:
    """What ``preprocess.json`` says of a graph that was made ``fields-first``.

    Parameters
    ----------
    recipe
        Of the images.
    length
        Most constituents of a jet; CMSSW drops those after.
    class_names
        The classes, in order: what the producer's ``flav_names`` should list. It does not read them here.

    Returns
    -------
    dict
        Constituents are taken as they are (median 0, factor 1), padded with 0 and not fewer than 1. An infinite or NaN
        value is replaced by 0, and so a constituent whose pT is one is left out. The variables are ``pfcand_`` and
        hepcnn's field; whoever fills the ``DeepBoostedJetTagInfo`` gives them these names, with ``pfcand_mask`` equal
        to 1.
    """
    inputs = {"constituents": [f"{PREFIX}{name}" for name in list_fields(recipe)], "mask": [f"{PREFIX}mask"]}
    if "groom" in recipe.steps:
        inputs["groomed"] = [f"{PREFIX}groomed"]
    told: dict[str, Any] = {"input_names": list(inputs)}
    for name, variables in inputs.items():
        told[name] = _describe_input(variables, least=1, most=length)
    if given := list_given(recipe):
        told["input_names"].append("given_features")
        told["given_features"] = _describe_input([f"jet_{name}" for name in given], least=1, most=1)
    return told | {"output_names": ["score"], "flav_names": list(class_names)}


def _describe_input(variables: Sequence[str], *, least: int, most: int) -> dict[str, Any]:
    info = {
        "median": 0.0,
        "norm_factor": 1.0,
        "replace_inf_value": 0.0,
        "lower_bound": -LARGEST,
        "upper_bound": LARGEST,
        "pad": 0.0,
    }
    return {
        "var_names": list(variables),
        "min_length": least,
        "max_length": most,
        "var_infos": {name: dict(info) for name in variables},
    }
