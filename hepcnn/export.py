"""A trained network → ONNX, let through only if ONNX Runtime gives what torch gives."""

import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from hepcnn.errors import HepcnnError
from hepcnn.training.ensemble import EnsembleNetwork
from hepcnn.training.network import ScoringNetwork, TaggerNetwork

OPSET = 18
TOLERANCE = 1e-5


class ExportError(HepcnnError):
    """The exported graph does not give the scores that the network gives."""


def export_onnx(
    network: TaggerNetwork | EnsembleNetwork,
    path: str | os.PathLike[str],
    *,
    images: NDArray[np.float32],
    jet_features: NDArray[np.float32],
    metadata: Mapping[str, str] | None = None,
) -> float:
    """Export a network for any number of jets, and compare the result with the network on real jets.

    Parameters
    ----------
    network
        The trained network, or several as one; left in evaluation mode, on the CPU.
    path
        The ONNX file to write. Inputs ``images`` (N, C, n_eta, n_phi) and ``jet_features`` (N, F), in the units of
        ``images.h5``; output ``score`` (N, K), probabilities.
    images, jet_features
        Jets to compare on; at least two, the more varied the better.
    metadata
        Texts stored in the graph, for programs that read nothing else.

    Returns
    -------
    float
        The largest difference of a probability.

    Raises
    ------
    ExportError
        When it exceeds 1e-5. The file is then not there.
    """
    scoring = _make_scoring(network)
    inputs = (torch.from_numpy(images), torch.from_numpy(jet_features))
    n_jets = torch.export.Dim("n_jets", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            scoring,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=["images", "jet_features"],
            output_names=["score"],
            dynamic_shapes=({0: n_jets}, {0: n_jets}),
            verbose=False,
        )
    if program is None:
        raise ExportError(f"{path}: torch exported nothing")
    program.model.metadata_props.update(metadata or {})
    program.save(path)
    try:
        return check_parity(network, path, images=images, jet_features=jet_features)
    except ExportError:
        Path(path).unlink()
        raise


def check_parity(
    network: TaggerNetwork | EnsembleNetwork,
    path: str | os.PathLike[str],
    *,
    images: NDArray[np.float32],
    jet_features: NDArray[np.float32],
) -> float:
    """Compare an exported graph with its network.

    Returns
    -------
    float
        The largest difference of a probability.

    Raises
    ------
    ExportError
        When it exceeds 1e-5, or is not a number.
    """
    scoring = _make_scoring(network)
    difference = _largest_difference(scoring, path, images, jet_features)
    if not difference <= TOLERANCE:
        raise ExportError(
            f"{path}: ONNX Runtime's scores differ from torch's by {difference:.2g}; at most {TOLERANCE:.0e} is let "
            "through"
        )
    return difference


def _make_scoring(network: TaggerNetwork | EnsembleNetwork) -> nn.Module:
    scoring = network if isinstance(network, EnsembleNetwork) else ScoringNetwork(network)
    return scoring.cpu().eval()


def _largest_difference(
    scoring: nn.Module, path: str | os.PathLike[str], images: NDArray[np.float32], features: NDArray[np.float32]
) -> float:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = {entry.name for entry in session.get_inputs()}
    worst = 0.0
    # A lone jet too: a graph whose batch size froze at the export's would fail here.
    for part in (slice(0, 1), slice(None)):
        feed = {"images": images[part], "jet_features": features[part]}
        (found,) = session.run(None, {name: values for name, values in feed.items() if name in names})
        with torch.no_grad():
            expected = scoring(torch.from_numpy(images[part]), torch.from_numpy(features[part])).numpy()
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst
