"""What a generator knew of each jet: kept to the last bit whoever converts, and asked for by name."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hepcnn.config import ImagesConfig, parse_model
from hepcnn.convert.files import convert_files
from hepcnn.convert.inputs import LabelledFiles
from hepcnn.data.dataset import read_columns, read_dataset
from hepcnn.data.splits import make_splits
from hepcnn.errors import ConfigError, InputError, SchemaError
from hepcnn.grids import NativeGrid
from hepcnn.io.image_blocks import read_image_columns
from hepcnn.io.store import read_images
from tests.convert.conftest import PLAIN, same_datasets
from tests.io.layouts import write_showers
from tests.toy import write_toy_jets

CELLS: dict[str, Any] = {"channels": ["energy"], "preprocess": [], "jet_features": ["pt"], "grid": NativeGrid()}
ASKED = ImagesConfig(**CELLS, truth=["energy"])


@pytest.fixture(scope="module")
def showers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two files of 120 and 80 showers."""
    folder = tmp_path_factory.mktemp("showers")
    return [write_showers(folder / f"{seed}.hdf5", n, 368, seed=seed) for seed, n in ((1, 120), (2, 80))]


def convert(files: list[Path], output: Path, images: ImagesConfig = ASKED, **options: Any) -> dict[str, Any]:
    inputs = [LabelledFiles([path], "calochallenge", name) for path, name in zip(files, "ab", strict=False)]
    return convert_files(inputs, output, class_names=["a", "b"], images=images, **options)


@pytest.mark.usefixtures("small_ranges")
def test_truth_is_that_of_the_files_on_any_number_of_workers(showers: list[Path], tmp_path: Path) -> None:
    card = convert(showers, tmp_path / "one.h5")
    convert(showers, tmp_path / "two.h5", workers=2)
    assert same_datasets(tmp_path / "one.h5", tmp_path / "two.h5")
    images = read_images(tmp_path / "one.h5")
    assert images.attributes["truth"] == ["energy"]
    told = [h5py.File(path)["incident_energies"][:, 0] for path in showers]
    for number, energy in enumerate(told):
        mine = images.jets["source_file"] == number
        expected = energy[images.jets["source_entry"][mine]] / 1000
        assert np.array_equal(images.truth["energy"][mine], expected.astype(np.float32))
    spectrum = card["histograms"]["truth/energy"]
    assert spectrum["title"] == "true energy, GeV"
    for name, energy in zip("ab", told, strict=True):
        counts = np.histogram(energy / 1000, spectrum["edges"])[0]
        assert spectrum["counts"][name] == counts.tolist()
    assert card["settings"]["truth"] == ["energy"]


def test_samples_and_splits_carry_it_along(showers: list[Path], tmp_path: Path) -> None:
    files = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path, output in zip(showers, files, strict=True):
        convert([path], output)
    whole = read_dataset(files)
    apart = [read_images(path).truth["energy"] for path in files]
    assert np.array_equal(whole.truth["energy"], np.concatenate(apart))
    for jets in make_splits(whole.jets["event_id"], {"train": 0.5, "val": 0.2, "test": 0.3}).values():
        assert np.array_equal(whole.select(jets).truth["energy"], np.concatenate(apart)[jets])
    convert([showers[0]], tmp_path / "without.h5", ASKED.model_copy(update={"truth": []}))
    with pytest.raises(InputError, match=r"its truth is \[\], but that of .*a.h5 is \['energy'\]: convert both alike"):
        read_columns([files[0], tmp_path / "without.h5"])


def test_files_of_older_releases_are_read(showers: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "i.h5"
    convert(showers, path, ASKED.model_copy(update={"truth": []}))
    with h5py.File(path, "r+") as file:
        assert "truth" not in file
        del file.attrs["truth"]
    assert read_images(path).truth == {}
    assert read_columns([path])[0].truth == {}
    assert read_columns([path])[0].attributes["truth"] == []


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e39])
def test_a_truth_that_nobody_knows_is_told_or_counted(tmp_path: Path, wrong: float) -> None:
    path = write_showers(tmp_path / "a.hdf5", 30, 368)
    with h5py.File(path, "r+") as file:
        file["incident_energies"][[3, 17]] = wrong * 1000
    with pytest.raises(InputError, match=r"entry 3, jet 0: the truth 'energy' is (nan|inf) \(2 of 30 jets in this"):
        convert([path], tmp_path / "i.h5")
    card = convert([path], tmp_path / "i.h5", ASKED.model_copy(update={"skip_bad": True}))
    assert card["cutflow"] == {"without truth 'energy'": 2}
    assert (card["jets_read"], card["jets_written"]) == (30, 28)
    assert not set(read_images(tmp_path / "i.h5").jets["source_entry"]) & {3, 17}
    # Who asks for no truth loses no shower.
    assert convert([path], tmp_path / "i.h5", ImagesConfig(**CELLS))["jets_written"] == 30


def test_a_truth_that_is_not_there_is_told(showers: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"truth: schema 'calochallenge' offers no 'enrgy'.*energy"):
        convert(showers, tmp_path / "i.h5", ASKED.model_copy(update={"truth": ["enrgy"]}))
    jets = write_toy_jets(tmp_path / "a.root", n_jets=5, n_prongs=1, seed=1)
    group, asked = LabelledFiles([jets], "hepcnn", "a"), PLAIN.model_copy(update={"truth": ["energy"]})
    with pytest.raises(ConfigError, match="schema 'hepcnn' offers no 'energy'; it offers none"):
        convert_files([group], tmp_path / "i.h5", class_names=["a"], images=asked)
    with pytest.raises(ConfigError, match="a name stands twice"):
        parse_model(ImagesConfig, {"truth": ["energy", "energy"]}, where="test")
    without = tmp_path / "without.hdf5"
    with h5py.File(showers[0]) as file, h5py.File(without, "w") as copy:
        file.copy("showers", copy)
    with pytest.raises(SchemaError, match=r"without.hdf5: table '/' has no column 'incident_energies'"):
        convert([without], tmp_path / "i.h5")
    assert convert([without], tmp_path / "i.h5", ImagesConfig(**CELLS))["jets_written"] == 120
    assert list(tmp_path.glob("*.parts")) == []


def test_a_damaged_truth_is_refused(showers: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "i.h5"
    convert(showers, path)
    with h5py.File(path, "r+") as file:
        file["truth/energy"][7] = np.nan
    for read in (read_images, read_image_columns):
        with pytest.raises(InputError, match=r"'truth/energy' of jet 7 is nan"):
            read(path)
    with h5py.File(path, "r+") as file:
        del file["truth/energy"]
        file["truth/energy"] = np.ones(3, np.float32)
    with pytest.raises(InputError, match=r"'truth/energy' has the shape \(3,\) for 200 jets"):
        read_images(path)
