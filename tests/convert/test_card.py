"""The data card against numbers that uproot and numpy find by themselves."""

import json
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from hepcnn.config import ImagesConfig, parse_model
from hepcnn.convert.card import read_card
from hepcnn.convert.files import convert_files
from hepcnn.convert.inputs import LabelledFiles
from hepcnn.convert.spectra import CountSpectrum, Spectrum, choose_edges
from hepcnn.errors import InputError
from tests.convert.conftest import convert, read_datasets
from tests.toy import write_toy_jets

NARROW = {"grid": {"n_eta": 10, "n_phi": 10, "half_width": 0.3}, "channels": ["pt"], "preprocess": []}


def test_numbers_of_the_card_are_those_of_the_files(toy_files: dict[str, Path], tmp_path: Path) -> None:
    images = parse_model(ImagesConfig, NARROW | {"select": {"abs_eta": [None, 1.0]}}, where="test")
    inputs = [LabelledFiles([path], "hepcnn", name) for name, path in toy_files.items()]
    card = convert_files(inputs, tmp_path / "i.h5", class_names=["qcd", "top"], images=images)
    kept_pt, all_pt = np.zeros(0), np.zeros(0)
    for file, (name, path) in zip(card["files"], toy_files.items(), strict=True):
        tree = uproot.open(path)["tree"].arrays(["jet_eta", "jet_pt", "part_px", "part_py", "part_pz"])
        chosen = tree[abs(tree["jet_eta"]) < 1.0]
        pt = np.hypot(chosen["part_px"], chosen["part_py"])
        eta = np.arcsinh(chosen["part_pz"] / pt)
        phi = np.arctan2(chosen["part_py"], chosen["part_px"])
        px, py, pz = (ak.sum(chosen[f"part_{axis}"], axis=1) for axis in ("px", "py", "pz"))
        turn = np.angle(np.exp(1j * (phi - np.arctan2(py, px))))
        inside = (abs(eta - np.arcsinh(pz / np.hypot(px, py))) < 0.3) & (abs(turn) < 0.3)
        kept, total = ak.to_numpy(ak.sum(pt[inside], axis=1)), ak.to_numpy(ak.sum(pt, axis=1))
        assert (file["entries"], file["jets_read"], file["jets_written"]) == (400, 400, len(chosen))
        assert file["cutflow"] == {"abs_eta not below 1": 400 - len(chosen)}
        assert file["pt_fraction_in_grid"] == pytest.approx(kept.sum() / total.sum(), rel=1e-5)
        assert file["classes"] == {name: card["classes"][name]}
        kept_pt, all_pt = np.concatenate([kept_pt, kept]), np.concatenate([all_pt, total])
        spectrum = card["histograms"]["n_constituents"]
        expected = np.histogram(ak.num(chosen["part_px"]), spectrum["edges"])[0]
        assert spectrum["counts"][name] == expected.tolist()
    fractions = card["histograms"]["pt_fraction"]
    found = np.sum([fractions["counts"][name] for name in ("qcd", "top")], axis=0)
    # A fraction on an edge may be in either bin.
    assert np.abs(found - np.histogram(kept_pt / all_pt, fractions["edges"])[0]).sum() <= 4
    data = read_datasets(tmp_path / "i.h5")
    pixels = np.diff(data["pixels/indptr"])
    assert card["occupancy"]["mean"] == pytest.approx(pixels.mean() / 100)
    assert card["occupancy"]["quantiles"]["0.5"] == np.quantile(pixels, 0.5, method="inverted_cdf") / 100
    for name in ("pt", "eta", "mass"):
        spectrum = card["histograms"][name]
        for number, label in enumerate(("qcd", "top")):
            values = data[f"jets/{name}"][data["jets/label"] == number]
            assert spectrum["counts"][label] == np.histogram(values, spectrum["edges"])[0].tolist()
            beyond = spectrum["below"][label] + spectrum["above"][label]
            assert sum(spectrum["counts"][label]) + beyond == len(values)


def test_event_weights_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    path = write_toy_jets(tmp_path / "a.root", n_jets=20, n_prongs=1, seed=1)
    convert([path], tmp_path / "i.h5")
    assert set(read_datasets(tmp_path / "i.h5")["jets/weight"].tolist()) == {1.0}


def test_a_list_of_many_files_fits_into_the_attributes(tmp_path: Path) -> None:
    """HDF5 has no room for an attribute of more than 64 kB, unless it is told to be newer than 1.8."""
    folder = tmp_path / ("a_long_name_of_a_folder_" * 8)
    folder.mkdir()
    files = [
        write_toy_jets(folder / f"{'and_of_a_file_' * 10}{seed}.root", n_jets=2, n_prongs=1, seed=seed)
        for seed in range(1, 101)
    ]
    convert(files, tmp_path / "i.h5")
    with h5py.File(tmp_path / "i.h5") as file:
        text = file.attrs["sources"]
    assert len(text) > 1 << 16 - 1
    assert [source["path"] for source in json.loads(text)] == list(map(str, files))


def test_a_wrong_card_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "i.card.json"
    for text, message in (("{", "damaged"), ("{}", "not a data card"), ("[1]", "not a data card")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_card(path)
    path.write_text(json.dumps({"format": "hepcnn-data-card", "version": 99}))
    with pytest.raises(InputError, match="version 99 is newer"):
        read_card(path)
    with pytest.raises(InputError, match=r"none\.card\.json"):
        read_card(tmp_path / "none.card.json")


@given(st.lists(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 1))), max_size=4))
def test_counts_of_whole_numbers_are_numpys(blocks: list[list[tuple[int, int]]]) -> None:
    joined, parts = CountSpectrum(2), CountSpectrum(2)
    for block in blocks:
        numbers, label = (np.array([pair[column] for pair in block], np.int64) for column in (0, 1))
        joined.add(numbers, label)
        part = CountSpectrum(2)
        part.add(numbers, label)
        parts.add_all(part)
    everything = [pair for block in blocks for pair in block]
    told = joined.to_json("pixels", ["a", "b"])
    assert told == parts.to_json("pixels", ["a", "b"])
    assert sum(sum(counts) for counts in told["counts"].values()) == len(everything)
    for number, name in enumerate(("a", "b")):
        values = [value for value, label in everything if label == number]
        bins = np.searchsorted(told["edges"], values, side="right") - 1
        assert told["counts"][name] == np.bincount(bins, minlength=len(told["counts"][name])).tolist()
    if everything:
        assert joined.quantile(0.5) == np.quantile([value for value, _ in everything], 0.5, method="inverted_cdf")


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=50))
def test_edges_hold_all_values_of_a_small_sample(values: list[float]) -> None:
    array = np.array(values)
    edges = choose_edges(array)
    low, high = np.quantile(array, [0.001, 0.999])
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= low + 1e-9 * abs(low)
    assert edges[-1] >= high - 1e-9 * abs(high)
    spectrum = Spectrum(edges, 1)
    spectrum.add(array, np.zeros(len(array), np.int64))
    told = spectrum.to_json("pt", ["a"])
    assert sum(told["counts"]["a"]) + told["below"]["a"] + told["above"]["a"] == len(values)
