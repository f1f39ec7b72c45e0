"""The ways from constituents to a score that a bundle offers, gone with the same jets.

Shapes: N jets, C channels, F jet-level numbers, K classes.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from hepcnn.constituents import Constituents
from hepcnn.errors import HepcnnError
from hepcnn.export.constituents import make_constituents_graph
from hepcnn.export.imaging import list_fields, list_given
from hepcnn.export.network import Network, StagedNetwork
from hepcnn.export.padding import pad_constituents, unpad_constituents
from hepcnn.export.parity import REFERENCE, ParityReport, Way, compare_ways, find_first_stage
from hepcnn.images.recipe import ImageRecipe
from hepcnn.outputs import join_outputs, make_comparable
from hepcnn.training.fabric import compile_network

BATCH, N_ALONE = 256, 8
AUTOCAST = "torch bf16 autocast"
Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class ParityJets:
    """Jets to compare on: constituents rounded to float32, and all that is made of them once.

    ``images`` (N, C, …), ``features`` (N, F); ``padded`` is the feed of the graph of constituents.
    """

    constituents: Constituents
    images: NDArray[np.float32]
    features: NDArray[np.float32]
    padded: Arrays
    empty: NDArray[np.bool_]


def make_parity_jets(constituents: Constituents, recipe: ImageRecipe) -> ParityJets:
    """Round constituents to float32, make images and numbers of them, and pad them.

    Energies that no field of the graph needs are kept: jet-level numbers of FastJet's are made of them.
    """
    constituents = constituents.keep(constituents.fields["pt"] > 0)
    names = list(constituents.fields)
    values, mask = pad_constituents(constituents, names)
    rounded = unpad_constituents(values, mask, names)
    numbers = recipe.make_jet_features(rounded)
    columns = [numbers[name] for name in recipe.jet_features]
    padded = {"constituents": values[:, :, [names.index(name) for name in list_fields(recipe)]], "mask": mask}
    if given := list_given(recipe):
        padded["given_features"] = np.stack([numbers[name] for name in given], axis=1)
    if "groom" in recipe.steps:
        padded["groomed"] = _find_groomed(rounded, mask, recipe)
    return ParityJets(
        rounded,
        recipe.make_pixels(rounded).to_dense(recipe.grid.shape),
        np.stack(columns, axis=1) if columns else np.zeros((len(rounded), 0), np.float32),
        padded,
        rounded.counts == 0,
    )


def _find_groomed(constituents: Constituents, mask: NDArray[np.float32], recipe: ImageRecipe) -> NDArray[np.float32]:
    """Which constituents soft drop keeps, laid out as the mask is, (N, P)."""
    from hepcnn.substructure import find_soft_drop  # brings FastJet

    momenta = {name: constituents.fields[name] for name in ("pt", "eta", "phi", "energy")}
    jets = Constituents(constituents.offsets, momenta).to_awkward()
    groomed = np.zeros_like(mask)
    groomed[mask > 0.5] = find_soft_drop(jets, z_cut=recipe.groom.z_cut, beta=recipe.groom.beta, radius=recipe.radius)
    return groomed


class WayMaker:
    """Goes the ways of one tagger.

    Parameters
    ----------
    network
        In evaluation mode, on the CPU.
    images_graph
        The bundle's graph.
    recipe
        How its images are made.
    constituents_graph
        A graph of constituents; by default one is made of the bundle's.
    """

    def __init__(
        self,
        network: Network,
        images_graph: onnx.ModelProto,
        recipe: ImageRecipe,
        *,
        constituents_graph: onnx.ModelProto | None = None,
    ) -> None:
        self.staged, self.recipe = StagedNetwork(network), recipe
        self.images_graph = images_graph
        self.graph = constituents_graph or make_constituents_graph(images_graph, recipe, metadata={})

    def make_ways(self, jets: ParityJets, *, full: bool) -> tuple[list[Way], dict[str, str]]:
        """Score jets on every way.

        Parameters
        ----------
        jets
            From `make_parity_jets`.
        full
            Whether to let ``torch.compile`` make code too, which takes minutes.

        Returns
        -------
        tuple
            The ways, torch's first, and why others were not gone.
        """
        feed = {"images": jets.images, "jet_features": jets.features}
        alone = {name: values[:N_ALONE] for name, values in feed.items()}
        images, graph = (self._run_graph(model) for model in (self.images_graph, self.graph))
        padded_alone = {name: values[:N_ALONE] for name, values in jets.padded.items()}
        found = [
            Way(REFERENCE, self._in_batches(self._torch, feed, BATCH)),
            Way("torch eager, one by one", self._in_batches(self._torch, alone, 1)),
            Way("onnx images", self._in_batches(images, feed, BATCH)),
            Way("onnx images, one by one", self._in_batches(images, alone, 1)),
            Way("onnx constituents", self._in_batches(graph, jets.padded, BATCH)),
            Way("onnx constituents, one by one", self._in_batches(graph, padded_alone, 1)),
            Way("onnx constituents, permuted", self._in_batches(graph, _permute(jets.padded), BATCH)),
        ]
        skipped: dict[str, str] = {}
        try:
            found.append(Way(AUTOCAST, self._in_batches(self._autocast, feed, BATCH), precision="bf16"))
        except RuntimeError as error:
            skipped[AUTOCAST] = _first_line(error)
        if full:
            try:
                found.append(Way("torch.compile", self._in_batches(self._compiled(), feed, BATCH)))
            except HepcnnError as error:
                skipped["torch.compile"] = _first_line(error)
            finally:
                self.staged._compiled_call_impl = None
        else:
            skipped["torch.compile"] = "takes minutes: hepcnn export --parity full"
        return [_without_empty(way, jets.empty) for way in found], skipped

    def compare(self, jets: ParityJets, where: str, ways: list[Way], skipped: Mapping[str, str]) -> ParityReport:
        """Compare ways, and where one is too far from another find the stage that differs first."""
        report = ParityReport(where, len(jets.images), compare_ways(ways), skipped)
        if not report.failures:
            return report
        return ParityReport(report.jets, report.n_jets, report.pairs, skipped, self._find_stage(jets))

    def _find_stage(self, jets: ParityJets) -> str:
        expected = self.stages_of_torch(jets)
        return find_first_stage(expected, self.stages_of_graph(jets)) or find_first_stage(
            expected, self.stages_of_images_graph(jets)
        )

    def stages_of_torch(self, jets: ParityJets) -> dict[str, NDArray[Any]]:
        """What each stage gives in torch, from hepcnn's own images on."""
        with torch.no_grad():
            found = self.staged(torch.from_numpy(jets.images), torch.from_numpy(jets.features))
        values = dict(zip(self.staged.stages, (tensor.numpy() for tensor in found), strict=True))
        outputs = {name: values.pop(name) for name in self.staged.outputs}
        for output in outputs.values():
            output[jets.empty] = np.nan
        return {"image": jets.images, "jet features": jets.features, **values, **outputs}

    def stages_of_graph(self, jets: ParityJets) -> dict[str, NDArray[Any]]:
        """The same in the graph of constituents; stages that an old graph does not name are not there."""
        names = {"image": "images", "jet features": "jet_features"} | {name: name for name in self.staged.stages}
        return _run_stages(self.graph, jets.padded, names)

    def stages_of_images_graph(self, jets: ParityJets) -> dict[str, NDArray[Any]]:
        """The same in the graph of images, which begins with the features."""
        feed = {"images": jets.images, "jet_features": jets.features}
        found = _run_stages(self.images_graph, feed, {name: name for name in self.staged.stages})
        for name in self.staged.outputs:
            found[name][jets.empty] = np.nan
        return found

    def _torch(self, feed: Arrays) -> NDArray[np.float32]:
        with torch.no_grad():
            found = self.staged(torch.from_numpy(feed["images"]), torch.from_numpy(feed["jet_features"]))
        return self._table([one.float().numpy() for one in found[: len(self.staged.outputs)]])

    def _table(self, outputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """All outputs side by side, as they are compared."""
        return make_comparable(join_outputs(outputs), self.staged.tasks)

    def _run_graph(self, model: onnx.ModelProto) -> Callable[[Arrays], NDArray[np.float32]]:
        session = _open(model)
        names = {entry.name for entry in session.get_inputs()}

        def run(feed: Arrays) -> NDArray[np.float32]:
            taken = {name: values for name, values in feed.items() if name in names}
            return self._table(session.run(list(self.staged.outputs), taken))

        return run

    def _autocast(self, feed: Arrays) -> NDArray[np.float32]:
        with torch.autocast("cpu", torch.bfloat16):
            return self._torch(feed)

    def _compiled(self) -> Callable[[Arrays], NDArray[np.float32]]:
        logging.getLogger("torch._dynamo").setLevel(logging.ERROR)
        compile_network(self.staged, sparse=False)
        try:
            self._torch(
                {"images": self._blank(), "jet_features": np.zeros((2, len(self.recipe.jet_features)), np.float32)}
            )
        except Exception as error:  # what the compiler raises is of no common kind
            raise HepcnnError(f"{type(error).__name__}: {error}") from error

        def run(feed: Arrays) -> NDArray[np.float32]:
            return self._torch(feed)

        return run

    def _blank(self) -> NDArray[np.float32]:
        return np.zeros((2, len(self.recipe.channels), *self.recipe.grid.shape), np.float32)

    def _in_batches(
        self, score: Callable[[Arrays], NDArray[np.float32]], feed: Arrays, size: int
    ) -> NDArray[np.float32]:
        n_jets = len(next(iter(feed.values())))
        parts = [
            score({name: values[start : start + size] for name, values in feed.items()})
            for start in range(0, n_jets, size)
        ]
        return np.concatenate(parts)


def _without_empty(way: Way, empty: NDArray[np.bool_]) -> Way:
    """Networks score an empty image as any other; graphs and the tagger give NaN to a jet without constituents."""
    if "constituents" not in way.name:
        way.scores[empty[: len(way.scores)]] = np.nan
    return way


def _first_line(error: Exception) -> str:
    return f"{error}".strip().splitlines()[0][:200]


def _permute(feed: Arrays) -> dict[str, NDArray[np.float32]]:
    """The same jets with their constituents, and the places that hold none, in another order."""
    order = np.random.default_rng(1).permutation(feed["mask"].shape[1])
    return {name: values if name == "given_features" else values[:, order] for name, values in feed.items()}


def _run_stages(model: onnx.ModelProto, feed: Arrays, names: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """What values inside a graph are, by the name of their stage."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    made = {name for node in copy.graph.node for name in node.output}
    wanted = {stage: name for stage, name in names.items() if name in made}
    shown = {entry.name for entry in copy.graph.output}
    for name in wanted.values():
        if name not in shown:
            copy.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = _open(copy)
    taken = {entry.name for entry in session.get_inputs()}
    found = session.run(list(wanted.values()), {name: values for name, values in feed.items() if name in taken})
    return dict(zip(wanted, (np.array(values) for values in found), strict=True))


def _open(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
