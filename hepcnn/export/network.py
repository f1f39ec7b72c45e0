"""A trained network → ONNX, let through only if ONNX Runtime gives what torch gives.

Shapes: N jets, C channels, F jet-level numbers, K classes.
"""

import logging
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepcnn.errors import ExportError
from hepcnn.export.constituents import IR_VERSION
from hepcnn.export.nodes import set_metadata
from hepcnn.outputs import join_outputs, list_outputs, make_comparable
from hepcnn.training.energy import describe_outputs
from hepcnn.training.ensemble import EnsembleNetwork
from hepcnn.training.network import ScoringNetwork, TaggerNetwork, mean_of_members

OPSET = 18
TOLERANCE = 1e-5
Network = TaggerNetwork | EnsembleNetwork
__all__ = ["ExportError", "StagedNetwork", "check_parity", "export_onnx"]


class StagedNetwork(nn.Module):
    """A network that also gives what its score comes from: of each member the last feature map and the logits.

    ``stages`` names what the call gives, in order: ``score, features, logits``, or ``score, features_0, logits_0,
    features_1 …`` of an ensemble. The first ones are ``outputs``, see `hepcnn.outputs.list_outputs`; with the energy
    among the tasks, logits have its two columns too.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.cpu().eval()
        parts = [part.network for part in _members(network)]
        self.members = nn.ModuleList(parts)
        marks = [""] if isinstance(network, TaggerNetwork) else [f"_{k}" for k in range(len(parts))]
        self.tasks = network.tasks
        self.outputs = list_outputs(self.tasks)
        self.stages = [*self.outputs, *(f"{stage}{mark}" for mark in marks for stage in ("features", "logits"))]

    def forward(self, images: Tensor, jet_features: Tensor) -> tuple[Tensor, ...]:
        """Map images and jet-level numbers to the arrays that ``stages`` names."""
        scores, found = [], []
        for member in cast(Iterable[TaggerNetwork], self.members):
            pixels, numbers = member.prepare(images, jet_features)
            features = member.model.features(pixels)
            logits = member.apply_heads(features, numbers, images)
            scores.append(describe_outputs(logits, self.tasks))
            found += [features, logits]
        values = mean_of_members(torch.stack(scores), self.tasks) if len(scores) > 1 else scores[0]
        if "energy" not in self.tasks:
            return values, *found
        score = (values[:, :-2],) if "identity" in self.tasks else ()
        return *score, values[:, -2], values[:, -1], *found


def _members(network: Network) -> list[ScoringNetwork]:
    if isinstance(network, TaggerNetwork):
        return [ScoringNetwork(network)]
    return [member for member in network.members if isinstance(member, ScoringNetwork)]


def export_onnx(
    network: Network,
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
        ``images.h5``; output ``score`` (N, K), probabilities, and of a network with that task ``energy`` and
        ``energy_err`` (N,) in GeV. The last feature map and the logits carry the names
        ``features`` and ``logits`` inside.
    images, jet_features
        Jets to compare on; at least two, the more varied the better.
    metadata
        Texts stored in the graph, for programs that read nothing else.

    Returns
    -------
    float
        The largest difference of a probability, or relative difference of an energy.

    Raises
    ------
    ExportError
        When it exceeds 1e-5. The file is then not there.
    """
    staged = StagedNetwork(network)
    inputs = (torch.from_numpy(images), torch.from_numpy(jet_features))
    n_jets = torch.export.Dim("n_jets", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            staged,
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=["images", "jet_features"],
            output_names=staged.stages,
            dynamic_shapes=({0: n_jets}, {0: n_jets}),
            verbose=False,
        )
    if program is None:
        raise ExportError(f"{path}: torch exported nothing")
    onnx.save(_tidy(program.model_proto, metadata or {}, len(staged.outputs)), path)
    try:
        return check_parity(network, path, images=images, jet_features=jet_features)
    except ExportError:
        Path(path).unlink()
        raise


def _tidy(model: onnx.ModelProto, metadata: Mapping[str, str], n_outputs: int) -> onnx.ModelProto:
    """Leave the first outputs alone, and nothing of the machine that exported."""
    model.ir_version = IR_VERSION
    set_metadata(model, metadata)
    del model.graph.output[n_outputs:]
    model.doc_string = ""
    for node in model.graph.node:
        node.doc_string = ""
        node.ClearField("metadata_props")
    for value in model.graph.value_info:
        value.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    return model


def check_parity(
    network: Network,
    path: str | os.PathLike[str],
    *,
    images: NDArray[np.float32],
    jet_features: NDArray[np.float32],
) -> float:
    """Compare an exported graph with its network.

    Returns
    -------
    float
        The largest difference of a probability, or relative difference of an energy.

    Raises
    ------
    ExportError
        When it exceeds 1e-5, or is not a number.
    """
    scoring = _make_scoring(network)
    difference = _largest_difference(scoring, path, images, jet_features, network.tasks)
    if not difference <= TOLERANCE:
        raise ExportError(
            f"{path}: ONNX Runtime's scores differ from torch's by {difference:.2g}; at most {TOLERANCE:.0e} is let "
            "through"
        )
    return difference


def _make_scoring(network: Network) -> nn.Module:
    scoring = network if isinstance(network, EnsembleNetwork) else ScoringNetwork(network)
    return scoring.cpu().eval()


def _largest_difference(
    scoring: nn.Module,
    path: str | os.PathLike[str],
    images: NDArray[np.float32],
    features: NDArray[np.float32],
    tasks: Sequence[str],
) -> float:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = {entry.name for entry in session.get_inputs()}
    worst = 0.0
    # A lone jet too: a graph whose batch size froze at the export's would fail here.
    for part in (slice(0, 1), slice(None)):
        feed = {"images": images[part], "jet_features": features[part]}
        outputs = session.run(
            list(list_outputs(tasks)), {name: values for name, values in feed.items() if name in names}
        )
        found = make_comparable(join_outputs(outputs), tasks)
        with torch.no_grad():
            expected = scoring(torch.from_numpy(images[part]), torch.from_numpy(features[part])).numpy()
        worst = max(worst, float(np.abs(found - make_comparable(expected, tasks)).max()))
    return worst
