"""Bundles: what is shipped scores as the workflow did, on awkward jets, on files, and nowhere else than it should."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
import uproot
from safetensors.numpy import load_file

import hepcnn
from hepcnn import bundle as bundles
from hepcnn.config import StudyConfig
from hepcnn.errors import BundleError, HepcnnError, InputError, SchemaError
from hepcnn.io.reader import iterate_jets
from hepcnn.io.scores import read_scores
from hepcnn.stages.export import export_bundle, load_network
from hepcnn.tagger import tag_file
from tests.toy import make_constituents, make_toy_jets, write_toy_jets


@pytest.fixture
def tagger(toy_run: Path) -> hepcnn.Tagger:
    return hepcnn.Tagger.load(toy_run / "bundle")


def test_the_bundle_holds_what_the_contract_says(toy_run: Path) -> None:
    folder = toy_run / "bundle"
    names = {"config.yaml", "weights.safetensors", "model.onnx", "manifest.json"}
    assert {path.name for path in folder.iterdir()} == names
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["class_names"] == ["qcd", "top"]
    assert set(manifest["checksums"]) == names - {"manifest.json"}
    assert set(manifest["metrics"]["top"]) >= {"auc", "accuracy", "rejection", "n_signal", "n_background"}
    assert set(manifest["metrics"]["top"]["rejection"]) == {"0.3", "0.5"}
    assert {"top"} == set(manifest["working_points"])
    onnx.checker.check_model(folder / "model.onnx")
    assert all(np.isfinite(values).all() for values in load_file(folder / "weights.safetensors").values())


def test_awkward_jets_score_as_the_workflow_did(
    tagger: hepcnn.Tagger, toy_run: Path, toy_files: dict[str, Path], toy_study: StudyConfig
) -> None:
    expected = read_scores(toy_run / "scores.h5")
    names = list(toy_study.samples)
    for number, name in enumerate(names):
        (batch,) = iterate_jets(toy_files[name], "hepcnn")
        scores = tagger(batch.constituents)
        mine = expected.label == number
        found = scores[expected.jets["source_entry"][mine]]
        assert found == pytest.approx(expected.score[mine], abs=1e-6)
    assert tagger.class_names == ("qcd", "top")


class PixelSums:
    """Stands for a network: the softmax of a jet's first channel and of nothing, (N, 2)."""

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="images")]

    def run(self, _: None, feed: dict[str, np.ndarray]) -> tuple[np.ndarray]:
        self.shape = feed["images"].shape
        total = feed["images"][:, 0].reshape(len(feed["images"]), -1).sum(axis=1)
        return (np.stack([total, 1 - total], axis=1),)


@pytest.mark.parametrize(
    ("grid", "steps"),
    [
        ({"kind": "window", "n_eta": 4, "n_phi": 5, "half_width": 3.0}, ["centre", "normalise"]),
        ({"kind": "detector", "n_eta": 4, "n_phi": 5, "eta_max": 9.0}, ["normalise"]),
        ({"kind": "layers", "n_layers": 2, "n_eta": 4, "n_phi": 5, "half_width": 3.0}, ["normalise"]),
        ({"kind": "given", "shape": [10]}, ["normalise"]),
        ({"kind": "cylinder", "layers": [{"r_edges": [0, 1, 2], "n_alpha": 5}]}, ["normalise"]),
    ],
)
def test_images_of_any_grid_reach_the_network(toy_run: Path, grid: dict[str, Any], steps: list[str]) -> None:
    read = bundles.read_manifest(toy_run / "bundle")
    changes = {"grid": grid, "channels": ["pt"], "preprocess": {"version": 1, "steps": steps}, "jet_features": []}
    session = PixelSums()
    tagger = hepcnn.Tagger(bundles.Manifest(read.path, {**read.values, **changes}), session)
    jets = make_constituents(6, seed=4)
    for field in ("layer", "cell"):
        jets = ak.with_field(jets, ak.local_index(jets) % 2, field)
    assert tagger(jets)[:, 0] == pytest.approx(1.0, abs=1e-5)
    assert session.shape == (6, 1, *tagger.recipe.grid.shape)
    missing = jets[[name for name in ak.fields(jets) if name not in tagger.recipe.grid.needs]]
    if tagger.recipe.grid.needs:
        with pytest.raises(SchemaError, match=f"grid of kind '{grid['kind']}' needs"):
            tagger(missing)


def test_grooming_travels_in_the_bundle(toy_run: Path) -> None:
    read = bundles.read_manifest(toy_run / "bundle")
    record = {"version": 1, "steps": ["groom"], "groom": {"z_cut": 0.2, "beta": 1.0}}
    recipe = bundles.Manifest(read.path, {**read.values, "preprocess": record}).recipe
    assert recipe.describe_preprocessing() == record


def test_scores_are_probabilities_of_each_jet_alone(tagger: hepcnn.Tagger) -> None:
    jets = make_constituents(40, seed=4)
    scores = tagger(jets)
    assert scores.dtype == np.float32
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert np.concatenate([tagger(jets[i : i + 1]) for i in range(40)]) == pytest.approx(scores, abs=1e-6)
    assert tagger(jets[:0]).shape == (0, 2)


def test_jets_without_constituents_have_no_score(tagger: hepcnn.Tagger) -> None:
    jets = make_constituents(3, seed=4)
    emptied = ak.concatenate([jets[:1], jets[1:2][:, :0], jets[2:]])
    scores = tagger(emptied)
    assert np.isnan(scores[1]).all()
    assert scores[[0, 2]] == pytest.approx(tagger(jets)[[0, 2]], abs=1e-6)


def test_constituents_of_no_pt_do_not_count(tagger: hepcnn.Tagger) -> None:
    """As in conversion: a PUPPI weight of zero leaves nothing."""
    jets = make_constituents(5, seed=4)
    ghost = ak.zip({name: [[1.0 if name == "eta" else 0.0] * 3] * 5 for name in ak.fields(jets)})
    assert tagger(ak.concatenate([jets, ghost], axis=1)) == pytest.approx(tagger(jets), abs=1e-6)
    assert np.isnan(tagger(ghost)).all()


def test_other_fields_are_ignored(tagger: hepcnn.Tagger) -> None:
    jets = make_constituents(5, seed=4)
    more = ak.with_field(ak.with_field(jets, np.nan, "d0"), ak.local_index(jets), "name")
    assert tagger(more) == pytest.approx(tagger(jets), abs=1e-6)
    missing = ak.with_field(jets, ak.mask(jets["pt"], jets["pt"] > ak.mean(jets["pt"])), "pt")
    with pytest.raises(InputError, match="'pt' are missing"):
        tagger(missing)


def test_the_input_is_never_the_output(tagger: hepcnn.Tagger, tmp_path: Path) -> None:
    path = write_toy_jets(tmp_path / "a.root", n_jets=4, n_prongs=1, seed=1)
    before = path.read_bytes()
    with pytest.raises(HepcnnError, match="this is the input"):
        tag_file(tagger, path, path, schema="hepcnn")
    assert path.read_bytes() == before


def test_masses_serve_where_there_is_no_energy(tagger: hepcnn.Tagger) -> None:
    jets = make_constituents(5, seed=4)
    massless = ak.with_field(jets[[name for name in ak.fields(jets) if name != "energy"]], 0.0, "mass")
    assert tagger(massless) == pytest.approx(tagger(jets), abs=1e-4)


@pytest.mark.parametrize("field", ["pt", "charge", "ecal"])
def test_a_missing_field_is_named(tagger: hepcnn.Tagger, field: str) -> None:
    jets = make_constituents(5, seed=4)
    with pytest.raises((InputError, SchemaError), match=field):
        tagger(jets[[name for name in ak.fields(jets) if name != field]])


@pytest.mark.parametrize(("field", "value"), [("pt", -1.0), ("energy", np.nan), ("ecal", np.inf)])
def test_bad_values_are_refused(tagger: hepcnn.Tagger, field: str, value: float) -> None:
    jets = make_constituents(5, seed=4)
    broken = ak.with_field(jets, ak.where(ak.local_index(jets) == 2, value, jets[field]), field)
    with pytest.raises(InputError, match=f"values of '{field}' are NaN, infinite or negative; the first is in jet 0"):
        tagger(broken)


@pytest.mark.parametrize("schema", ["pfnano", "pfnano:ak4", "delphes", "delphes:fatjet", "delphes:jet-towers"])
def test_friend_trees_of_real_files(tagger: hepcnn.Tagger, shared_data: Path, tmp_path: Path, schema: str) -> None:
    family = schema.partition(":")[0]
    path = shared_data / {"pfnano": "nano_root/pfnano.root", "delphes": "delphes_root/delphes_towers_10ev.root"}[family]
    summary = tag_file(tagger, path, tmp_path / "friend.root", schema=schema)
    friend = uproot.open(tmp_path / "friend.root")["hepcnn"].arrays()
    branch = {"pfnano": "FatJet_pt", "pfnano:ak4": "Jet_pt", "delphes:fatjet": "FatJet.PT"}.get(schema, "Jet.PT")
    tree = uproot.open(path)["Events" if family == "pfnano" else "Delphes"]
    pt = tree[branch].array()
    assert len(friend) == len(pt) == summary.n_entries == 10
    assert ak.num(friend["jet_score_top"]).tolist() == ak.num(pt).tolist()
    assert ak.to_numpy(ak.flatten(friend["jet_pt"])) == pytest.approx(ak.to_numpy(ak.flatten(pt)), rel=1e-6)
    total = ak.to_numpy(ak.flatten(friend["jet_score_top"] + friend["jet_score_qcd"]))
    assert total == pytest.approx(1, abs=1e-6)
    if family == "delphes":
        assert friend["Event_Number"].tolist() == list(range(10))
    if family == "pfnano":
        assert friend["event"].tolist() == tree["event"].array().tolist()
        assert summary.estimated_fields == ("ecal", "hcal")
    assert summary.n_outside_training_pt > 0


def test_friend_trees_of_flat_files(tagger: hepcnn.Tagger, toy_files: dict[str, Path], tmp_path: Path) -> None:
    tag_file(tagger, toy_files["top"], tmp_path / "friend.root", schema="hepcnn")
    friend = uproot.open(tmp_path / "friend.root")["hepcnn"].arrays()
    (batch,) = iterate_jets(toy_files["top"], "hepcnn")
    assert friend["score_top"].to_numpy() == pytest.approx(tagger(batch.constituents)[:, 1], abs=1e-6)
    assert friend["event_number"].tolist() == make_toy_jets(400, n_prongs=3, seed=3)["event_number"].tolist()


def test_tagging_stops_at_bad_jets_unless_told(tagger: hepcnn.Tagger, tmp_path: Path) -> None:
    columns = make_toy_jets(4, n_prongs=1, seed=1)
    energy = ak.where(ak.Array([0, 0, 1, 0]) == 1, columns["part_energy"] * np.nan, columns["part_energy"])
    path = write_toy_jets(tmp_path / "a.root", n_jets=4, n_prongs=1, seed=1, part_energy=energy)
    output = tmp_path / "friend.root"
    with pytest.raises(InputError, match="entry 2, jet 0: NaN"):
        tag_file(tagger, path, output, schema="hepcnn")
    assert not output.exists()
    summary = tag_file(tagger, path, output, schema="hepcnn", skip_bad=True)
    assert summary.without_score == {"NaN or infinite values": 1}
    assert np.isnan(uproot.open(output)["hepcnn"]["score_top"].array().to_numpy()).tolist() == [
        False,
        False,
        True,
        False,
    ]


def test_a_file_without_entries(tagger: hepcnn.Tagger, tmp_path: Path) -> None:
    path = write_toy_jets(tmp_path / "a.root", n_jets=0, n_prongs=1, seed=1)
    with pytest.raises(InputError, match="no entries"):
        tag_file(tagger, path, tmp_path / "friend.root", schema="hepcnn")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.onnx").unlink(), "missing from the bundle"),
        (lambda folder: (folder / "weights.safetensors").write_bytes(b"x"), "checksum differs"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "expected format 'hepcnn-bundle'"),
        (lambda folder: shutil.rmtree(folder), "not a bundle"),
        (lambda f: (f / "manifest.json").write_text('{"format": "hepcnn-bundle"}'), "incomplete: no version"),
        (lambda folder: change_manifest(folder, version=99), "newer than this hepcnn"),
        (lambda folder: change_manifest(folder, preprocess={"version": 0, "steps": []}), "preprocessing version 0"),
    ],
)
def test_damaged_bundles_are_refused(toy_run: Path, tmp_path: Path, damage: Any, message: str) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(toy_run / "bundle", folder)
    damage(folder)
    with pytest.raises(BundleError, match=message):
        hepcnn.Tagger.load(folder)


def change_manifest(folder: Path, **values: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_export_checks_the_graph_against_the_weights(toy_run: Path, tmp_path: Path) -> None:
    assert export_bundle(toy_run / "bundle", tmp_path / "model.onnx") < 1e-5
    assert (tmp_path / "model.onnx").read_bytes() == (toy_run / "bundle" / "model.onnx").read_bytes()
    network = load_network(toy_run / "bundle")
    assert not network.training


def test_export_refuses_a_graph_that_scores_otherwise(toy_run: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file as load_torch
    from safetensors.torch import save_file

    folder = tmp_path / "bundle"
    shutil.copytree(toy_run / "bundle", folder)
    weights = load_torch(folder / "weights.safetensors")
    name = next(key for key in weights if key.endswith("classify.3.bias"))
    weights[name][0] += 0.1
    save_file(weights, folder / "weights.safetensors")
    values = json.loads((folder / "manifest.json").read_text())
    bundles.write_manifest(folder, values)
    with pytest.raises(HepcnnError, match="differ from torch's"):
        export_bundle(folder, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_the_graph_says_what_it_is(toy_run: Path) -> None:
    properties = {p.key: p.value for p in onnx.load(toy_run / "bundle" / "model.onnx").metadata_props}
    assert json.loads(properties["class_names"]) == ["qcd", "top"]
    assert json.loads(properties["channels"])[0] == "pt"
