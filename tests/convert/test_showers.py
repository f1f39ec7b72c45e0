"""Showers: images against a sum of hits by hand, rules of noise and of empty showers, and cells that do not exist."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcnn.calorimeters import read_calorimeter
from hepcnn.config import ImagesConfig, parse_model
from hepcnn.constituents import Constituents, offsets_of
from hepcnn.convert.files import convert_files
from hepcnn.convert.inputs import LabelledFiles
from hepcnn.errors import ConfigError, EmptySampleError, InputError, SchemaError
from hepcnn.grids import CellGrid
from hepcnn.images.grids import grid_from_record
from hepcnn.images.pixelate import make_pixels
from hepcnn.io.inspect import inspect_file
from hepcnn.io.reader import iterate_jets
from hepcnn.io.store import ImageFile, read_images
from tests.convert.conftest import same_datasets
from tests.images.test_binning import PHOTONS, write_binning
from tests.io.calorimeter_files import CALOGAN, Showers, make_showers, write_calogan, write_hits
from tests.io.layouts import write_showers

N_CELLS = {name: read_calorimeter(name).n_cells for name in ("sampling45", "barrel12")}


def images_config(grid: Any = "native", **more: Any) -> ImagesConfig:
    grid = {"kind": grid} if isinstance(grid, str) else grid
    content = {"grid": grid, "channels": ["energy"], "preprocess": [], "jet_features": ["pt", "n_constituents"]}
    return parse_model(ImagesConfig, content | more, where="test")


def convert(path: Path, output: Path, *, schema: str = "showers", **options: Any) -> dict[str, Any]:
    images = options.pop("images", None) or images_config(**options.pop("config", {}))
    inputs = [LabelledFiles([path], schema, "electron")]
    return convert_files(inputs, output, class_names=["electron"], images=images, **options)


def to_dense(images: ImageFile, at: int) -> np.ndarray:
    shape = grid_from_record(images.attributes["grid"]).shape
    dense = np.zeros(int(np.prod(shape)))
    here = slice(*images.indptr[at : at + 2])
    dense[images.index[here]] = images.value[here, 0]
    return dense.reshape(shape)


@pytest.fixture(scope="module")
def showers() -> Showers:
    return make_showers(60, N_CELLS["sampling45"])


@pytest.fixture(scope="module")
def hits(showers: Showers, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hits(tmp_path_factory.mktemp("hits") / "hits.root", showers)


def test_cylindrical_cells_are_summed_as_numpy_does(hits: Path, tmp_path: Path) -> None:
    card = convert(hits, tmp_path / "i.h5", config={"truth": ["energy", "theta", "phi", "x", "y"]})
    images = read_images(tmp_path / "i.h5")
    tree = uproot.open(hits)["showers"].arrays()
    kept = [at for at in range(60) if len(tree["hit_cell"][at])]
    assert images.jets["source_entry"].tolist() == kept
    for row, at in enumerate(kept):
        cell, energy = np.asarray(tree["hit_cell"][at]), np.asarray(tree["hit_energy"][at], np.float64)
        # 45 layers of 16 angles and 9 rings count as an array of this shape does.
        expected = np.bincount(cell, energy, minlength=6480).reshape(45, 16, 9)
        assert to_dense(images, row) == pytest.approx(expected, rel=1e-6, abs=1e-7)
        assert images.jets["pt"][row] == pytest.approx(energy.sum(), rel=1e-6)
    for name in ("energy", "theta", "phi", "x", "y"):
        assert np.array_equal(images.truth[name], np.asarray(tree[f"particle_{name}"])[kept])
    assert set(images.jets["eta"].tolist()) == set(images.jets["mass"].tolist()) == {0.0}
    assert card["cutflow"] == {"no constituents": 6}
    assert card["constituents_outside"] == 0
    assert inspect_file(hits).schema == "showers"


def test_rectangular_cells_of_uneven_layers_fill_the_first(tmp_path: Path) -> None:
    detector = read_calorimeter("barrel12")
    showers = make_showers(20, detector.n_cells, seed=2)
    convert(write_hits(tmp_path / "h.root", showers, detector), tmp_path / "i.h5")
    images = read_images(tmp_path / "i.h5")
    for row, at in enumerate(images.jets["source_entry"]):
        energy = np.bincount(showers.cell[showers.hits(at)], showers.energy[showers.hits(at)], detector.n_cells)
        expected = np.zeros((12, 96, 24))
        for layer, (n_x, n_y) in enumerate(detector.shapes):
            first, last = detector.offsets[layer : layer + 2]
            expected[layer, :n_x, :n_y] = energy[first:last].reshape(n_x, n_y)
        assert to_dense(images, row) == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_workers_and_the_way_to_name_the_grid_change_nothing(hits: Path, tmp_path: Path) -> None:
    convert(hits, tmp_path / "one.h5")
    convert(hits, tmp_path / "two.h5", config={"grid": {"kind": "calorimeter", "detector": "sampling45"}}, workers=2)
    assert same_datasets(tmp_path / "one.h5", tmp_path / "two.h5")
    first, second = (read_images(tmp_path / f"{name}.h5").attributes["grid"] for name in ("one", "two"))
    assert first == second == read_calorimeter("sampling45").grid.model_dump()


def test_classes_come_from_the_kind_of_particle(hits: Path, showers: Showers) -> None:
    (batch,) = iterate_jets(hits, "showers")
    assert np.array_equal(batch.labels["particle"], showers.particles["particle_pdg"])


def test_a_file_without_geometry_needs_a_detector(showers: Showers, tmp_path: Path) -> None:
    path = write_hits(tmp_path / "h.root", showers, None)
    with pytest.raises(SchemaError, match=r"h.root: no text 'geometry' .*kind: calorimeter, detector: sampling45"):
        convert(path, tmp_path / "i.h5")
    named = {"grid": {"kind": "calorimeter", "detector": "sampling45"}}
    assert convert(path, tmp_path / "i.h5", config=named)["jets_written"] == 54
    with pytest.raises(ConfigError, match="no detector 'sampling54'"):
        convert(path, tmp_path / "i.h5", config={"grid": {"kind": "calorimeter", "detector": "sampling54"}})


def test_a_users_detector_is_one_file(tmp_path: Path) -> None:
    cells = {"kind": "cylinder", "r_edges": [0, 10, 30], "n_alpha": 4}
    layers = {"absorber": {"material": "lead", "thickness": 2}, "active": {"material": "argon", "thickness": 4}}
    record = {"sections": [{"name": "em", "layers": 3, **layers, "segmentation": cells}]}
    (tmp_path / "mine.yaml").write_text(json.dumps(record))
    detector = read_calorimeter(tmp_path / "mine.yaml")
    path = write_hits(tmp_path / "h.root", make_showers(20, 24), detector)
    grid = {"kind": "calorimeter", "detector": str(tmp_path / "mine.yaml")}
    convert(path, tmp_path / "i.h5", config={"grid": grid})
    assert grid_from_record(read_images(tmp_path / "i.h5").attributes["grid"]).shape == (3, 4, 2)
    with pytest.raises(InputError, match=r"h.root: the file describes other cells than those of detector 'sampling45'"):
        convert(path, tmp_path / "j.h5", config={"grid": {"kind": "calorimeter", "detector": "sampling45"}})


def test_files_of_two_detectors_do_not_mix(hits: Path, tmp_path: Path) -> None:
    other = write_hits(tmp_path / "o.root", make_showers(20, N_CELLS["barrel12"], seed=3), "barrel12")
    group = LabelledFiles([hits, other], "showers", "electron")
    with pytest.raises(InputError, match=r"o.root: its grid is 12 × 96 × 24 pixels.*hits.root is 45 × 16 × 9 pixels"):
        convert_files([group], tmp_path / "i.h5", class_names=["electron"], images=images_config())


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "'geometry' is no JSON object"), ('{"layers": 3}', "'geometry'.*layers"), ("[1]", "is no JSON object")],
)
def test_a_damaged_geometry_is_told(showers: Showers, tmp_path: Path, text: str, message: str) -> None:
    path = write_hits(tmp_path / "h.root", showers, None)
    with uproot.update(path) as file:
        file["geometry"] = text
    with pytest.raises(InputError, match=message):
        convert(path, tmp_path / "i.h5")


@pytest.mark.parametrize("cell", [6480, -1, 2**31 - 1])
def test_a_cell_that_does_not_exist_is_named(showers: Showers, tmp_path: Path, cell: int) -> None:
    cells = showers.cell.copy()
    cells[[showers.hits(7).start, showers.hits(11).start]] = cell
    path = write_hits(tmp_path / "h.root", replace(showers, cell=cells))
    message = rf"h.root.*entry 7: cell {cell} does not exist, the grid has cells 0 to 6479 \(2 of 60 showers"
    with pytest.raises(InputError, match=message):
        convert(path, tmp_path / "i.h5")
    card = convert(path, tmp_path / "i.h5", config={"skip_bad": True})
    assert card["cutflow"] == {"no constituents": 6, "cells that the grid has not": 2}
    assert not {7, 11} & set(read_images(tmp_path / "i.h5").jets["source_entry"])


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_energies_that_are_no_numbers_are_told_or_counted(showers: Showers, tmp_path: Path, wrong: float) -> None:
    energy = showers.energy.copy()
    energy[showers.hits(4).start] = wrong
    path = write_hits(tmp_path / "h.root", replace(showers, energy=energy))
    with pytest.raises(InputError, match=r"entry 4, jet 0: NaN or infinite values"):
        convert(path, tmp_path / "i.h5")
    cutflow = convert(path, tmp_path / "i.h5", config={"skip_bad": True})["cutflow"]
    assert cutflow == {"no constituents": 6, "NaN or infinite values": 1}


def test_showers_without_any_hit_leave_no_sample(showers: Showers, tmp_path: Path) -> None:
    silent = replace(showers, energy=np.zeros_like(showers.energy))
    path = write_hits(tmp_path / "h.root", silent)
    with pytest.raises(EmptySampleError, match="60 no constituents"):
        convert(path, tmp_path / "i.h5")


def test_the_rule_of_noise_is_the_schemas(hits: Path, showers: Showers, tmp_path: Path) -> None:
    """Kept as shipped; a schema may refuse negative energies, or cut them."""
    from hepcnn.io.schema import SCHEMA_FOLDER

    text = (SCHEMA_FOLDER / "showers.yaml").read_text()
    found = {}
    for rule in ("keep", "drop", "refuse"):
        schema = tmp_path / f"{rule}.yaml"
        schema.write_text(text.replace("negative: keep", f"negative: {rule}"))
        (batch,) = iterate_jets(hits, str(schema))
        found[rule] = batch
    per_shower = [showers.energy[showers.hits(at)].astype(float) for at in range(60)]
    assert found["keep"].pt == pytest.approx([e.sum() for e in per_shower], abs=1e-6)
    assert found["drop"].pt == pytest.approx([e[e > 0].sum() for e in per_shower], abs=1e-6)
    assert not any(found["keep"].problems["negative energy or pT"] & (found["keep"].pt > 0))
    assert found["refuse"].problems["negative energy or pT"].tolist() == [bool((e < 0).any()) for e in per_shower]


def test_calogan_layers_are_h5pys(tmp_path: Path) -> None:
    path = write_calogan(tmp_path / "c.hdf5", 25)
    assert inspect_file(path).schema == "calogan"
    convert(path, tmp_path / "i.h5", schema="calogan", config={"truth": ["energy"]})
    images = read_images(tmp_path / "i.h5")
    with h5py.File(path) as file:
        assert np.array_equal(images.truth["energy"], file["energy"][:, 0].astype(np.float32))
        for at in range(25):
            dense = to_dense(images, at)
            assert dense.shape == (3, 12, 96)
            for layer, (name, (n_x, n_y)) in enumerate(CALOGAN.items()):
                assert dense[layer, :n_x, :n_y] == pytest.approx(file[name][at] * 1e-3, rel=1e-6)
                assert np.count_nonzero(dense[layer]) == np.count_nonzero(file[name][at])


def test_calogan_files_of_other_layers_are_told(tmp_path: Path) -> None:
    path = write_calogan(tmp_path / "c.hdf5", 5)
    with h5py.File(path, "r+") as file:
        del file["layer_2"]
        file["layer_2"] = np.ones((5, 12, 12))
    nearest = inspect_file(path).nearest
    assert nearest is not None
    assert nearest.missing == ["'layer_0' and 'layer_1' and 'layer_2' of 504 cells (there are 576)"]
    with pytest.raises(InputError, match="'layer_0' and 'layer_1' and 'layer_2' have 576 cells an entry, expected 504"):
        convert(path, tmp_path / "i.h5", schema="calogan")


def test_any_binning_file_makes_a_grid(tmp_path: Path) -> None:
    layers = {0: ("0,5,10", 2), 2: ("0,1,2,3", 4)}
    binning = write_binning(tmp_path / "b.xml", layers)
    path = write_showers(tmp_path / "s.hdf5", 30, 2 * 2 + 4 * 3)
    grid = {"kind": "binning", "file": str(binning), "particle": "photon"}
    convert(path, tmp_path / "i.h5", schema="calochallenge:binned", config={"grid": grid, "truth": ["energy"]})
    images = read_images(tmp_path / "i.h5")
    with h5py.File(path) as file:
        for at, voxels in enumerate(file["showers"][:][images.jets["source_entry"]]):
            dense = to_dense(images, at)
            assert dense[0, :2, :2] == pytest.approx(voxels[:4].reshape(2, 2) * 1e-3, rel=1e-6)
            assert dense[1, :4, :3] == pytest.approx(voxels[4:].reshape(4, 3) * 1e-3, rel=1e-6)


def test_a_binning_of_other_data_is_refused(tmp_path: Path) -> None:
    binning, path = write_binning(tmp_path / "b.xml", PHOTONS), write_showers(tmp_path / "s.hdf5", 5, 533)
    grid = {"kind": "binning", "file": str(binning), "particle": "photon"}
    for schema in ("calochallenge:binned", "calochallenge:pions"):
        with pytest.raises(InputError, match=r"s.hdf5: .*an entry has 533 cells, but the grid has 368: this grid"):
            convert(path, tmp_path / "i.h5", schema=schema, config={"grid": grid})
    with pytest.raises(InputError, match="no binning for 'pion'"):
        convert(path, tmp_path / "i.h5", schema="calochallenge:pions", config={"grid": grid | {"particle": "pion"}})
    with pytest.raises(SchemaError, match="do not say where their cells are: name the binning file"):
        convert(path, tmp_path / "i.h5", schema="calochallenge:binned")


@settings(max_examples=30)
@given(
    st.sampled_from(["sampling45", "barrel12"]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.floats(-1, 10, width=32)), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
)
def test_the_order_of_hits_is_nothing_and_no_energy_is_lost(name: str, drawn: list[Any], random: Any) -> None:
    grid = read_calorimeter(name).grid
    assert isinstance(grid, CellGrid)
    shuffled = list(drawn)
    random.shuffle(shuffled)
    found = []
    for hits in (drawn, shuffled):
        cell = np.array([int(place * grid.n_cells) for place, _ in hits], float)
        energy, zero = np.array([energy for _, energy in hits]), np.zeros(len(hits))
        fields = {"pt": energy, "eta": zero, "phi": zero, "energy": energy, "cell": cell}
        shower = Constituents(offsets_of(np.array([len(hits)])), fields)
        found.append(make_pixels(shower, grid=grid, channels=["energy"], steps=[]))
    one, other = found
    total = sum(energy for _, energy in drawn)
    assert one.value.sum(dtype=float) == pytest.approx(total, rel=1e-5, abs=1e-4)
    dense = [np.bincount(pixels.index, pixels.value[:, 0], minlength=grid.n_pixels) for pixels in (one, other)]
    assert dense[0] == pytest.approx(dense[1], rel=1e-6, abs=1e-6)
    cells = {int(place * grid.n_cells) for place, _ in drawn}
    assert set(one.index.tolist()) <= {int(grid.pixel_of_cell[cell]) for cell in cells}
