"""Conversion: real files keep their energy, nothing is lost silently, nothing half-written stays."""

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from hepcnn.config import ImagesConfig
from hepcnn.convert.card import read_card
from hepcnn.convert.files import convert_files
from hepcnn.convert.inputs import LabelledFiles
from hepcnn.errors import ConfigError, EmptySampleError, InputError, SchemaError
from hepcnn.io.store import read_images
from tests.toy import make_toy_jets, write_toy_jets

PLAIN = ImagesConfig(channels=["pt", "multiplicity"], preprocess=["centre", "rotate", "flip"])


def convert(files: list[Path], output: Path, **options: Any) -> Any:
    group = LabelledFiles(files, options.get("schema", "hepcnn"), options.get("label", "qcd"))
    return convert_files([group], output, class_names=["qcd", "top"], images=options.get("images", ImagesConfig()))


def read_image_sums(path: Path, column: int = 0) -> np.ndarray:
    """Sum of a channel over each jet's pixels, by plain h5py."""
    with h5py.File(path) as file:
        indptr, value = file["pixels/indptr"][:], file["pixels/value"][:, column]
    return np.array([value[start:stop].sum() for start, stop in itertools.pairwise(indptr)])


@pytest.mark.parametrize(("schema", "jets"), [("pfnano", "FatJet"), ("pfnano:ak4", "Jet")])
def test_pfnano_images_hold_the_energy_of_the_file(shared_data: Path, tmp_path: Path, schema: str, jets: str) -> None:
    path = shared_data / "nano_root" / "pfnano.root"
    convert([path], tmp_path / "i.h5", schema=schema, images=PLAIN)
    link, candidate = f"{jets}PFCands_jetIdx", f"{jets}PFCands_pFCandsIdx"
    events = uproot.open(path)["Events"].arrays([link, candidate, "PFCands_pt", "PFCands_puppiWeight", f"{jets}_pt"])
    expected = []
    for event in events:
        weight = event["PFCands_puppiWeight"] if jets == "FatJet" else ak.ones_like(event["PFCands_pt"])
        pt = (event["PFCands_pt"] * weight)[event[candidate]]
        expected += [float(ak.sum(pt[event[link] == jet])) for jet in range(len(event[f"{jets}_pt"]))]
    # AK8 jets fit into the window of ±0.8; a rotated jet may have a corner outside, so that a per mille may be missing.
    sums = read_image_sums(tmp_path / "i.h5")
    assert len(sums) == len(expected)
    assert (sums <= np.array(expected) * (1 + 1e-5)).all()
    assert sums == pytest.approx(expected, rel=2e-3)


def test_delphes_images_hold_the_energy_of_the_file(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "delphes_root" / "delphes_towers_10ev.root"
    names = ["Jet.Eta", "Jet.Phi", "Tower.ET", "Tower.Eta", "Tower.Phi"]
    convert([path], tmp_path / "i.h5", schema="delphes:jet-towers", images=PLAIN)
    expected, counts = [], []
    for event in uproot.open(path)["Delphes"].arrays(names):
        for eta, phi in zip(event["Jet.Eta"], event["Jet.Phi"], strict=True):
            turn = np.angle(np.exp(1j * (ak.to_numpy(event["Tower.Phi"]) - phi)))
            near = np.hypot(ak.to_numpy(event["Tower.Eta"]) - eta, turn) < 0.5
            expected.append(ak.to_numpy(event["Tower.ET"])[near].sum())
            counts.append(near.sum())
    assert read_image_sums(tmp_path / "i.h5") == pytest.approx(expected, rel=1e-5)
    assert read_image_sums(tmp_path / "i.h5", column=1).tolist() == counts


def test_the_file_describes_itself(toy_files: dict[str, Path], tmp_path: Path) -> None:
    again = write_toy_jets(tmp_path / "again.root", n_jets=400, n_prongs=3, seed=4)
    card = convert([toy_files["top"], again], tmp_path / "i.h5", label="top")
    images = read_images(tmp_path / "i.h5")
    assert card["jets_read"] == card["jets_written"] == len(images) == 800
    assert set(images.jets["label"].tolist()) == {1}
    assert images.jets["source_file"].tolist() == [0] * 400 + [1] * 400
    assert images.jets["source_entry"].tolist() == list(range(400)) * 2
    with h5py.File(tmp_path / "i.h5") as file:
        attributes = dict(file.attrs)
    sources = json.loads(attributes["sources"])
    assert [source["entries"] for source in sources] == [400, 400]
    assert json.loads(attributes["channels"]) == ["pt", "ecal", "hcal", "track_pt", "multiplicity"]
    preprocess = json.loads(attributes["preprocess"])
    assert preprocess["steps"] == ["centre", "rotate", "flip", "normalise"]
    assert sources[1]["sha256"] == hashlib.sha256(again.read_bytes()).hexdigest()
    assert len(attributes["config_sha256"]) == 64
    assert read_card(tmp_path / "i.card.json") == card


def test_jet_features_are_those_of_the_constituents_sum(toy_files: dict[str, Path], tmp_path: Path) -> None:
    convert([toy_files["top"]], tmp_path / "i.h5")
    images = read_images(tmp_path / "i.h5")
    assert images.features["pt"] == pytest.approx(images.jets["pt"], rel=1e-4)
    assert images.features["mass"] == pytest.approx(images.jets["mass"], rel=2e-2, abs=0.5)


def with_bad_jet(path: Path) -> Path:
    columns = make_toy_jets(20, n_prongs=1, seed=1)
    energy = ak.to_numpy(ak.flatten(columns["part_energy"])).copy()
    energy[0] = np.nan
    bad = ak.unflatten(energy, ak.num(columns["part_energy"]))
    return write_toy_jets(path, n_jets=20, n_prongs=1, seed=1, part_energy=bad)


def test_a_bad_jet_stops_the_conversion_and_leaves_what_was_there(tmp_path: Path) -> None:
    path, output = with_bad_jet(tmp_path / "a.root"), tmp_path / "i.h5"
    output.write_text("an older file")
    with pytest.raises(InputError, match=r"a\.root.*entry 0, jet 0: NaN"):
        convert([path], output)
    assert output.read_text() == "an older file"
    assert {item.name for item in tmp_path.iterdir()} == {"a.root", "i.h5"}


def test_a_bad_jet_left_out_is_counted(tmp_path: Path) -> None:
    path = with_bad_jet(tmp_path / "a.root")
    card = convert([path], tmp_path / "i.h5", images=ImagesConfig(skip_bad=True))
    assert (card["jets_read"], card["jets_written"], card["nan_jets"]) == (20, 19, 1)
    assert card["cutflow"] == {"NaN or infinite values": 1}
    assert read_images(tmp_path / "i.h5").jets["source_entry"][0] == 1
    assert read_images(tmp_path / "i.h5").attributes["summary"]["left_out"] == {"NaN or infinite values": 1}


def test_files_that_do_not_fit(tmp_path: Path, shared_data: Path) -> None:
    missing = write_toy_jets(tmp_path / "a.root", n_jets=5, n_prongs=1, seed=1, part_ecal=None)
    with pytest.raises(SchemaError, match="no branch 'part_ecal'"):
        convert([missing], tmp_path / "i.h5")
    with pytest.raises(SchemaError, match=r"channel 'ecal' needs 'ecal'.*possible channels: pt, energy"):
        convert([missing], tmp_path / "i.h5", schema="jetclass")
    empty = write_toy_jets(tmp_path / "e.root", n_jets=0, n_prongs=1, seed=1)
    with pytest.raises(EmptySampleError, match="no jet to write"):
        convert([empty], tmp_path / "i.h5")
    with pytest.raises(SchemaError, match="no tree 'Delphes'"):
        convert([shared_data / "bad" / "bad_delphes.root"], tmp_path / "i.h5", schema="delphes")
    with pytest.raises(ConfigError, match=r"label 'tpo'.*did you mean 'top'"):
        convert([missing], tmp_path / "i.h5", label="tpo")
    assert not (tmp_path / "i.h5").exists()


def test_classes_in_one_file(toy_files: dict[str, Path], tmp_path: Path) -> None:
    groups = [LabelledFiles([path], "hepcnn", name) for name, path in toy_files.items()]
    convert_files(groups, tmp_path / "all.h5", class_names=["qcd", "top"], images=ImagesConfig())
    images = read_images(tmp_path / "all.h5")
    assert not (tmp_path / "all.h5.parts").exists()
    assert images.jets["label"].tolist() == images.jets["source_file"].tolist() == [0] * 400 + [1] * 400
    other = tmp_path / "other.root"
    mixed = [LabelledFiles([toy_files["qcd"]], "hepcnn", "qcd"), LabelledFiles([other], "pfnano:ak4", "top")]
    with pytest.raises(ConfigError, match=r"jets of one radius.*hepcnn: 0\.8, pfnano:ak4: 0\.4"):
        convert_files(mixed, tmp_path / "x.h5", class_names=["qcd", "top"], images=ImagesConfig())
