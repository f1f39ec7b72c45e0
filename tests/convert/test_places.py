"""Hits by their places: cells against the calorimeter's own search and numpy's histograms, and units that are wrong."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import onnx
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcnn.calorimeters import Calorimeter, read_calorimeter
from hepcnn.config import ImagesConfig, parse_model
from hepcnn.convert.files import convert_files
from hepcnn.convert.inputs import LabelledFiles
from hepcnn.convert.native import place_cells
from hepcnn.errors import ConfigError, EmptySampleError, ExportError, InputError, SchemaError
from hepcnn.export.constituents import make_constituents_graph
from hepcnn.grids import CalorimeterGrid, PlacedGrid
from hepcnn.images.grids import find_pixels, grid_from_record
from hepcnn.images.recipe import make_recipe
from hepcnn.io.schema import SCHEMA_FOLDER
from hepcnn.io.store import read_images
from tests.io.calorimeter_files import make_showers, write_hits

DETECTORS = {name: read_calorimeter(name) for name in ("sampling45", "barrel12")}
PLATES = {"absorber": {"material": "lead", "thickness": 3}, "active": {"material": "argon", "thickness": 7}}
# 10 layers of 10 mm that begin at the endcap of FCC's Delphes, in squares of 200 mm.
ENDCAP = {"sections": [{"name": "em", "layers": 10, **PLATES}]}
ENDCAP["sections"][0]["segmentation"] = {"kind": "box", "cells": [24, 24], "pitch": [200, 200]}


def place(detector: Calorimeter, **where: Any) -> PlacedGrid:
    return place_cells(detector, CalorimeterGrid(detector=detector.name, **where))


def expect_pixels(detector: Calorimeter, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """By the calorimeter's own search, which works in another way."""
    layer = np.full(len(z), -1)
    for number, (front, back) in enumerate(zip(detector.fronts, detector.backs, strict=True)):
        layer[(z >= front) & (z < back)] = number
    cell = detector.cell_of(layer, x, y)
    return np.where(cell < 0, -1, detector.grid.pixel_of_cell[np.maximum(cell, 0)])


coordinates = st.one_of(st.floats(-700, 700), st.sampled_from([0.0, 6.0, 14.0, -600.0, 600.0, np.nan, np.inf]))


@settings(max_examples=100)
@given(st.sampled_from(sorted(DETECTORS)), st.lists(st.tuples(coordinates, coordinates, st.floats(-50, 2000))))
def test_places_are_in_the_cells_of_the_calorimeter(name: str, places: list[Any]) -> None:
    detector = DETECTORS[name]
    x, y, z = np.array(places, float).reshape(-1, 3).T
    found = find_pixels(place(detector), {"x": x, "y": y, "z": z})
    assert found.tolist() == expect_pixels(detector, x, y, z).tolist()


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_every_cell_is_found_by_its_centre_and_its_number_comes_back(name: str) -> None:
    detector = DETECTORS[name]
    x, y, z, _ = detector.cell_centres
    grid = grid_from_record(json.loads(json.dumps(place(detector).model_dump())))
    assert find_pixels(grid, {"x": x, "y": y, "z": z}).tolist() == detector.grid.pixel_of_cell.tolist()
    assert (grid.shape, grid.periodic) == (detector.grid.shape, detector.grid.periodic)


AXES: dict[str, Any] = {  # inwards, across, up
    "x": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "y": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "z": ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
    "-x": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "-y": ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
    "-z": ((0, 0, -1), (-1, 0, 0), (0, 1, 0)),
}


@pytest.mark.parametrize("axis", AXES)
def test_a_calorimeter_may_stand_anywhere(axis: str) -> None:
    inwards, across, up = AXES[axis]
    turned = np.array([across, up, inwards], float)
    assert np.linalg.det(turned) == pytest.approx(1)
    detector = DETECTORS["barrel12"]
    origin = (100.0, -2000.0, 50.0)
    random = np.random.default_rng(1)
    local = random.uniform([-300, -300, -20], [300, 300, 1200], (2000, 3))
    x, y, z = (local @ turned + np.array(origin)).T
    found = find_pixels(place(detector, origin=origin, axis=axis), {"x": x, "y": y, "z": z})
    assert found.tolist() == expect_pixels(detector, *local.T).tolist()


def test_layers_that_overlap_are_no_grid() -> None:
    record = place(DETECTORS["barrel12"]).model_dump()
    with pytest.raises(ConfigError, match="layers must follow each other"):
        grid_from_record(record | {"fronts": record["fronts"][::-1]})
    with pytest.raises(ConfigError, match="12 layers need as many fronts and backs"):
        grid_from_record(record | {"backs": record["backs"][1:]})


@pytest.fixture
def specimen(shared_data: Path) -> ak.Array:
    path = shared_data / "edm4hep_root" / "p8_ee_WW_ecm240_edm4hep.root"
    return uproot.open(path)["events"].arrays([f"CalorimeterHits.position.{axis}" for axis in "xyz"])


def write_edm4hep(path: Path, places: ak.Array, energy: ak.Array, *, gun: float = 30.0, scale: float = 1.0) -> Path:
    """Hits at the places of a real file, with energies, which that has not, and a particle gun's particle first."""
    names = [f"CalorimeterHits.position.{axis}" for axis in "xyz"]
    columns = {name: ak.values_astype(places[name] * scale, np.float32) for name in names}
    columns["CalorimeterHits.energy"] = ak.values_astype(energy, np.float32)
    momentum = ak.Array([[[0.3 * gun, 0.0, gun], [1.0, 2.0, 3.0]]] * len(energy))
    for number, axis in enumerate("xyz"):
        columns[f"Particle.momentum.{axis}"] = momentum[:, :, number]
    columns["Particle.mass"] = ak.full_like(momentum[:, :, 0], 0.14)
    with uproot.recreate(path) as file:
        tree = file.mktree("events", {name: column.type.content for name, column in columns.items()})
        tree.extend(columns)
    return path


def convert(path: Path, output: Path, grid: Any, *, schema: str = "edm4hep:showers", **more: Any) -> dict[str, Any]:
    content = {"grid": grid, "channels": ["energy", "multiplicity"], "preprocess": [], "jet_features": ["pt"]} | more
    images = parse_model(ImagesConfig, content, where="test")
    return convert_files([LabelledFiles([path], schema, "e")], output, class_names=["e"], images=images)


@pytest.fixture(scope="module")
def endcap(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("endcap") / "endcap.yaml"
    path.write_text(json.dumps(ENDCAP))
    return {"kind": "calorimeter", "detector": str(path), "origin": [0, 0, 2430]}


def test_real_places_are_histogrammed_as_numpy_does(specimen: ak.Array, endcap: dict[str, Any], tmp_path: Path) -> None:
    x = specimen["CalorimeterHits.position.x"]
    energy = ak.unflatten(np.random.default_rng(1).exponential(1.0, ak.count(x)).astype(np.float32), ak.num(x))
    path = write_edm4hep(tmp_path / "e.root", specimen, energy)
    card = convert(path, tmp_path / "i.h5", endcap, truth=["energy", "theta", "phi"])
    images = read_images(tmp_path / "i.h5")
    across, depth = np.linspace(-2400, 2400, 25), 2430 + np.arange(11) * 10.0
    n_outside = 0
    for row, at in enumerate(images.jets["source_entry"]):
        hits = np.stack([np.asarray(specimen[f"CalorimeterHits.position.{axis}"][at]) for axis in "zxy"], axis=1)
        weight = np.asarray(energy[at], float)
        expected, _ = np.histogramdd(hits, bins=(depth, across, across), weights=weight)
        counts, _ = np.histogramdd(hits, bins=(depth, across, across))
        dense = np.zeros((2, 10 * 24 * 24))
        here = slice(*images.indptr[row : row + 2])
        dense[:, images.index[here]] = images.value[here].T
        assert dense[0] == pytest.approx(expected.ravel(), rel=1e-5)
        assert dense[1].tolist() == counts.ravel().tolist()
        n_outside += len(hits) - int(counts.sum())
        assert images.jets["pt"][row] == pytest.approx(weight.sum(), rel=1e-6)
    assert 0 < card["constituents_outside"] == n_outside < card["constituents"] == ak.count(energy)
    assert images.truth["energy"] == pytest.approx(np.full(len(images), np.sqrt(30**2 * 1.09 + 0.14**2)), rel=1e-6)
    assert images.truth["theta"] == pytest.approx(np.full(len(images), np.arctan(0.3)), rel=1e-6)
    assert images.truth["phi"].tolist() == [0.0] * len(images)


def test_the_real_file_has_no_energies(shared_data: Path, endcap: dict[str, Any], tmp_path: Path) -> None:
    path = shared_data / "edm4hep_root" / "p8_ee_WW_ecm240_edm4hep.root"
    with pytest.raises(EmptySampleError, match="10 no constituents"):
        convert(path, tmp_path / "i.h5", endcap)


@pytest.mark.parametrize(("scale", "unit"), [(0.1, "cm"), (0.001, "m")])
def test_places_in_other_units_are_told(specimen: ak.Array, tmp_path: Path, scale: float, unit: str) -> None:
    """The real hits are around the middle of a barrel: a calorimeter that holds them all begins far from it."""
    deep = {"sections": [{**ENDCAP["sections"][0], "layers": 500}]}
    (tmp_path / "deep.yaml").write_text(json.dumps(deep))
    grid = {"kind": "calorimeter", "detector": str(tmp_path / "deep.yaml"), "origin": [0, 0, -2510]}
    energy = ak.ones_like(specimen["CalorimeterHits.position.x"])
    assert convert(write_edm4hep(tmp_path / "mm.root", specimen, energy), tmp_path / "i.h5", grid)["jets_written"] == 10
    # The half of a detector that looks along z, where most of its hits are further than 1 m from the middle.
    half = specimen[ak.any(abs(specimen["CalorimeterHits.position.z"]) > 0, axis=1)]
    forward = ak.zip({name: half[name] for name in half.fields}, depth_limit=2)
    forward = forward[forward["CalorimeterHits.position.z"] > 1000]
    path = write_edm4hep(tmp_path / "e.root", forward, ak.ones_like(forward["CalorimeterHits.position.x"]), scale=scale)
    with pytest.raises(InputError, match=rf"e.root: .*would be if places were in {unit}: hepcnn takes mm"):
        convert(path, tmp_path / "j.h5", grid | {"origin": [0, 0, 990]})


def places_schema(tmp_path: Path, **top: str) -> str:
    """The family of generated showers, but read by the places of hits."""
    text = (SCHEMA_FOLDER / "showers.yaml").read_text().replace("    geometry: geometry\n", "")
    text = text.replace(
        "- cell: hit_cell\n", "- {x: hit_x, y: hit_y, z: hit_z, shower: true, energy: hit_energy, negative: keep}\n"
    )
    text = text.replace("        energy: hit_energy\n        negative: keep\n", "")
    path = tmp_path / f"places{len(top)}.yaml"
    path.write_text(text + "".join(f"{key}: {value}\n" for key, value in top.items()))
    return str(path)


@pytest.mark.parametrize(("scale", "unit"), [(0.1, "cm"), (0.001, "m")])
def test_planes_in_too_few_layers_are_told(tmp_path: Path, scale: float, unit: str) -> None:
    """Hits of a calorimeter that begins at the origin are inside whatever the unit; but their planes are not layers."""
    grid = {"kind": "calorimeter", "detector": "sampling45"}
    showers = make_showers(60, DETECTORS["sampling45"].n_cells)
    path = write_hits(tmp_path / "h.root", showers)
    schema = places_schema(tmp_path)
    convert(path, tmp_path / "by_place.h5", grid, schema=schema)
    convert(path, tmp_path / "by_cell.h5", grid, schema="showers")
    one, other = (read_images(tmp_path / f"by_{kind}.h5") for kind in ("place", "cell"))
    assert np.array_equal(one.index, other.index)
    assert np.array_equal(one.value, other.value)
    scaled = write_hits(tmp_path / "scaled.root", showers, scale=scale)
    with pytest.raises(InputError, match=rf"scaled.root: .*more planes than they fill layers.*in {unit}: hepcnn takes"):
        convert(scaled, tmp_path / "i.h5", grid, schema=schema)
    right = places_schema(tmp_path, length_unit=unit)
    convert(scaled, tmp_path / "right.h5", grid, schema=right)
    # In single precision a place on an edge may come to its other side.
    right_sum = read_images(tmp_path / "right.h5").value[:, 0].sum(dtype=float)
    assert right_sum == pytest.approx(one.value[:, 0].sum(dtype=float), rel=1e-3)


def test_energies_in_other_units_are_told(tmp_path: Path) -> None:
    showers = make_showers(60, DETECTORS["sampling45"].n_cells)
    path = write_hits(tmp_path / "h.root", showers)
    text = (SCHEMA_FOLDER / "showers.yaml").read_text()
    particle, whole = "particle_energy, is_energy: true", "particle_energy, unit: GeV"
    # The file holds GeV throughout: a schema that takes one of the two for MeV is a file that mixes them.
    mixed = {"truth": text.replace(particle, "particle_energy, unit: MeV")}
    mixed["hits"] = text.replace("tree: showers", "tree: showers\nenergy_unit: MeV").replace(particle, whole)
    for name, wrong in mixed.items():
        (tmp_path / f"{name}.yaml").write_text(wrong)
        schema = str(tmp_path / f"{name}.yaml")
        with pytest.raises(
            InputError, match=r"showers hold .* times the energy of their particle in the middle: is one"
        ):
            convert(path, tmp_path / "i.h5", {"kind": "native"}, schema=schema, truth=["energy"])
    loud = replace(showers, energy=np.abs(showers.energy) * np.float32(1e4))
    path = write_hits(tmp_path / "loud.root", loud)
    with pytest.raises(InputError, match="more than any particle of an accelerator: are energies in MeV"):
        convert(path, tmp_path / "i.h5", {"kind": "native"}, schema="showers")


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    path = write_hits(tmp_path / "h.root", make_showers(20, DETECTORS["sampling45"].n_cells))
    with pytest.raises(ConfigError, match="'origin' and 'axis' are for hits at places, but these name their cells"):
        convert(
            path, tmp_path / "i.h5", {"kind": "calorimeter", "detector": "sampling45", "axis": "x"}, schema="showers"
        )
    with pytest.raises(InputError, match="showers have no direction, and so no image on a grid of kind 'window'"):
        convert(path, tmp_path / "i.h5", {"kind": "window"}, schema="showers")
    placed = place(DETECTORS["sampling45"]).model_dump()
    with pytest.raises(SchemaError, match="a grid of kind 'placed' needs 'x' of each constituent"):
        convert(path, tmp_path / "i.h5", placed, schema="showers")


def test_no_graph_finds_cells_by_place() -> None:
    recipe = make_recipe(ImagesConfig(channels=["energy"], preprocess=[], jet_features=[]), radius=1.0)
    recipe = replace(recipe, grid=place(DETECTORS["barrel12"]))
    with pytest.raises(ExportError, match=r"found by place need a search .*: export with '--input images'"):
        make_constituents_graph(onnx.ModelProto(), recipe, metadata={})
