"""Microseconds per jet from constituents to scores: the graph of constituents, the graph of images, torch, ParticleNet.

``python -m benchmarks.tagger [--weaver-python PYTHON]`` prints a table: one thread, processor time, medians of turns, a
batch of one jet and one of 1024. Every way begins with ragged constituents in memory, and so pads them or makes images
of them itself. ParticleNet is weaver-core's, written as ONNX by its own exporter and run by the same ONNX Runtime; what
it takes of a constituent (deta, dphi, logarithms) is computed with NumPy, as CMSSW does in C++. What takes seconds is
timed once.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from benchmarks.pixelate import make_sample
from hepcnn.constituents import Constituents
from hepcnn.data.normalisation import Normalisation
from hepcnn.export.constituents import make_constituents_graph
from hepcnn.export.imaging import list_fields
from hepcnn.export.network import export_onnx
from hepcnn.export.padding import pad_constituents
from hepcnn.images.grids import WindowGrid
from hepcnn.images.recipe import ImageRecipe
from hepcnn.models import create_model
from hepcnn.training.network import ScoringNetwork, TaggerNetwork

BATCHES = (1, 1024)
SLOW = 2.0
NETWORKS = ("cnn", "landscape_cnn")
N_FEATURES, LENGTH = 7, 128
RECIPE = ImageRecipe(
    grid=WindowGrid(n_eta=40, n_phi=40, half_width=0.8),
    channels=("pt",),
    steps=("centre", "rotate", "flip", "normalise"),
    jet_features=(),
    radius=0.8,
)
Score = Callable[[Constituents], Any]


def open_graph(model: onnx.ModelProto | Path) -> onnxruntime.InferenceSession:
    """A session of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def feed(images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """What a graph of images takes, here without jet-level numbers."""
    return {"images": images, "jet_features": np.zeros((len(images), 0), np.float32)}


def make_images(jets: Constituents) -> NDArray[np.float32]:
    """Dense images, by hepcnn's compiled loops."""
    fresh = Constituents(jets.offsets, jets.fields)
    return RECIPE.make_pixels(fresh).to_dense(RECIPE.grid.shape)


def pad(jets: Constituents) -> dict[str, NDArray[np.float32]]:
    """The feed of a graph of constituents."""
    values, mask = pad_constituents(jets, list_fields(RECIPE), length=LENGTH)
    return {"constituents": values, "mask": mask}


def list_ways(name: str, folder: Path) -> dict[str, Score]:
    """The ways of one network with random weights."""
    torch.manual_seed(1)
    model = create_model(name, in_channels=1, n_classes=2, grid=RECIPE.grid.shape)
    network = TaggerNetwork(model, Normalisation((0.05,), 0.5, (), (), ())).eval()
    path, blank = folder / f"{name}.onnx", np.zeros((2, 1, *RECIPE.grid.shape), np.float32)
    export_onnx(network, path, images=blank, jet_features=np.zeros((2, 0), np.float32))
    images, scoring = open_graph(path), ScoringNetwork(network).eval()
    graph = open_graph(make_constituents_graph(onnx.load(path), RECIPE, metadata={}))

    def eager(jets: Constituents) -> Any:
        with torch.no_grad():
            return scoring(torch.from_numpy(make_images(jets)), torch.zeros(len(jets), 0))

    return {
        f"{name}: graph of constituents": lambda jets: graph.run(None, pad(jets)),
        f"{name}: images, then graph of images": lambda jets: images.run(None, feed(make_images(jets))),
        f"{name}: images, then torch eager": eager,
        f"{name}: graph of images alone, on an empty image": lambda jets: images.run(
            None, feed(np.zeros((len(jets), 1, *RECIPE.grid.shape), np.float32))
        ),
    }


def list_imaging() -> dict[str, Score]:
    """Imaging alone: in a graph whose network is one sum, and by hepcnn."""
    shape = ["n", 1, *RECIPE.grid.shape]
    value = onnx.helper.make_tensor_value_info
    nodes = [onnx.helper.make_node("ReduceSum", ["images", "axes"], ["score"], keepdims=0)]
    inner = onnx.helper.make_graph(
        nodes,
        "sum",
        [value("images", onnx.TensorProto.FLOAT, shape)],
        [value("score", onnx.TensorProto.FLOAT, ["n", 1])],
        [onnx.numpy_helper.from_array(np.array([2, 3]), "axes")],
    )
    model = onnx.helper.make_model(inner, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    graph = open_graph(make_constituents_graph(model, RECIPE, metadata={}))
    return {
        "imaging alone: in a graph, padding included": lambda jets: graph.run(None, pad(jets)),
        "imaging alone: in hepcnn": make_images,
        "padding alone": pad,
    }


def list_particle_net(python: str, folder: Path) -> dict[str, Score]:
    """weaver-core's ParticleNet, in its two sizes."""
    ways: dict[str, Score] = {}
    script = Path(__file__).with_name("weaver_tagger.py")
    for size in ("full", "lite"):
        path = folder / f"{size}.onnx"
        subprocess.run(
            [python, script, size, str(N_FEATURES), str(LENGTH), path], check=True, stdout=subprocess.DEVNULL
        )
        session = open_graph(path)
        ways[f"weaver-core's ParticleNet ({size})"] = lambda jets, session=session: session.run(None, describe(jets))
    return ways


def describe(jets: Constituents) -> dict[str, NDArray[np.float32]]:
    """What ParticleNet takes: deta, dphi and seven features, padded."""
    fields, jet = jets.fields, jets.jet
    total = jets.momentum
    pt = np.hypot(total[:, 0], total[:, 1])
    deta = fields["eta"] - np.arcsinh(total[:, 2] / pt)[jet]
    dphi = (fields["phi"] - np.arctan2(total[:, 1], total[:, 0])[jet] + np.pi) % (2 * np.pi) - np.pi
    energy = jets.sum(fields["energy"])
    columns = {
        "deta": deta,
        "dphi": dphi,
        "pt": np.log(fields["pt"]),
        "energy": np.log(fields["energy"]),
        "pt_part": np.log(fields["pt"] / pt[jet]),
        "energy_part": np.log(fields["energy"] / energy[jet]),
        "distance": np.hypot(deta, dphi),
    }
    values, mask = pad_constituents(Constituents(jets.offsets, columns), list(columns), length=LENGTH)
    rows = np.ascontiguousarray(values.transpose(0, 2, 1))
    return {"points": np.ascontiguousarray(rows[:, :2]), "features": rows, "mask": mask[:, np.newaxis]}


def measure(ways: dict[str, Score], jets: Constituents, size: int, repeat: int) -> dict[str, float]:
    """Median microseconds per jet of each way, in turns; the first is left out, unless it took seconds."""
    n_calls = 50 if size == 1 else 1
    parts = [jets.slice(k * size, (k + 1) * size) for k in range(n_calls)]
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeat + 1):
        for name, score in ways.items():
            if times[name] and times[name][0] * n_calls * size > SLOW * 1e6:
                continue
            started = time.process_time()
            for part in parts:
                score(part)
            times[name].append((time.process_time() - started) / (n_calls * size) * 1e6)
    return {name: statistics.median(found[1:] or found) for name, found in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weaver-python", default="", help="a Python that has weaver-core and onnx")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    jets = make_sample(max(BATCHES))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways = list_imaging()
        for network in NETWORKS:
            ways |= list_ways(network, folder)
        if options.weaver_python:
            ways |= list_particle_net(options.weaver_python, folder)
        found = {size: measure(ways, jets, size, options.repeat) for size in BATCHES}
    print(
        f"| us per jet, one thread, processor time | batch {BATCHES[0]} | batch {BATCHES[1]} |\n| --- | ---: | ---: |"
    )
    for way in ways:
        print(f"| {way} | {found[BATCHES[0]][way]:.0f} | {found[BATCHES[1]][way]:.1f} |")


if __name__ == "__main__":
    main()
