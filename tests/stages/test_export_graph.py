"""`hepcnn export`: the graph that is written scores as the tagger does, and a broken bundle writes nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from safetensors.torch import load_file, save_file

import hepcnn
from hepcnn import bundle as bundles
from hepcnn.constituents import Constituents
from hepcnn.errors import ExportError, HepcnnError
from hepcnn.export.padding import pad_constituents, unpad_constituents
from hepcnn.io.reader import iterate_jets
from hepcnn.stages.export_graph import export_graph
from hepcnn.stages.parity import RealFile
from tests.toy import make_constituents


def test_a_training_ends_with_all_ways_compared(toy_run: Path) -> None:
    parity = json.loads((toy_run / "bundle" / "manifest.json").read_text())["parity"]
    assert parity["passed"] is True
    assert 0 < parity["largest"] <= 1e-5
    assert "qcd.root, top.root" in parity["jets"]
    named = {pair["first"] for pair in parity["pairs"]} | {pair["second"] for pair in parity["pairs"]}
    assert {"torch eager", "onnx images", "onnx constituents", "friend tree", "tagger in memory"} <= named
    assert list(parity["skipped"]) == ["torch.compile"]


def test_the_graph_scores_constituents_as_the_tagger_does(toy_run: Path, tmp_path: Path) -> None:
    done = export_graph(toy_run / "bundle", tmp_path / "model.onnx")
    assert done.fields[:3] == ("pt", "eta", "phi")
    assert done.given == ()
    jets = Constituents.from_awkward(make_constituents(30, seed=11))
    names = list(jets.fields)
    values, mask = pad_constituents(jets, names)
    seen = unpad_constituents(values, mask, names)
    tagger = hepcnn.Tagger.load(toy_run / "bundle")
    feed = {"constituents": values[:, :, [names.index(name) for name in done.fields]], "mask": mask}
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (score,) = session.run(None, feed)
    np.testing.assert_allclose(score, tagger.score_constituents(seen), atol=1e-5)
    told = session.get_modelmeta().custom_metadata_map
    assert json.loads(told["class_names"]) == ["qcd", "top"]
    assert tuple(json.loads(told["fields"])) == done.fields


def test_real_files_are_tagged_whole_where_asked(toy_run: Path, shared_data: Path, tmp_path: Path) -> None:
    """One parity of a real file: PFNano's first jets, the friend tree of hepcnn's own copy of them."""
    file = RealFile(str(shared_data / "nano_root" / "pfnano.root"), "pfnano")
    done = export_graph(toy_run / "bundle", tmp_path / "model.onnx", graph_input="images", file=file)
    assert "24 jets of pfnano.root" in done.report.jets
    assert (tmp_path / "model.onnx").exists()
    assert next(entry.name for entry in onnx.load(tmp_path / "model.onnx").graph.input) == "images"
    (batch,) = iterate_jets(file.path, file.schema)
    assert len(batch) == 24


def test_cmssw_gets_its_file(toy_run: Path, tmp_path: Path) -> None:
    done = export_graph(toy_run / "bundle", tmp_path / "model.onnx", layout="fields-first")
    assert [path.name for path in done.files] == ["model.onnx", "preprocess.json"]
    told = json.loads((tmp_path / "preprocess.json").read_text())
    assert told["input_names"] == ["constituents", "mask"]
    shapes = {entry.name: entry.type.tensor_type.shape.dim for entry in onnx.load(done.files[0]).graph.input}
    assert shapes["constituents"][1].dim_value == len(told["constituents"]["var_names"])


def test_weights_that_are_not_the_graphs_are_found(toy_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(toy_run / "bundle", folder)
    weights = load_file(folder / "weights.safetensors")
    name = next(key for key in weights if key.endswith("classify.3.bias"))
    weights[name][0] += 0.1
    save_file(weights, folder / "weights.safetensors")
    bundles.write_manifest(folder, json.loads((folder / "manifest.json").read_text()))
    with pytest.raises(ExportError, match="the stage that differs first is: logits"):
        export_graph(folder, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"graph_input": "pixels"}, "input 'pixels' does not exist"),
        ({"layout": "rows"}, "layout 'rows' does not exist"),
        ({"level": "none"}, "parity 'none' does not exist"),
        ({"file": RealFile("absent.root", "pfnano")}, "absent.root"),
    ],
)
def test_wrong_choices_say_so(toy_run: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(HepcnnError, match=message):
        export_graph(toy_run / "bundle", tmp_path / "model.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_the_bundle_is_never_the_output(toy_run: Path) -> None:
    with pytest.raises(HepcnnError, match="this is the input"):
        export_graph(toy_run / "bundle", toy_run / "bundle" / "model.onnx")
