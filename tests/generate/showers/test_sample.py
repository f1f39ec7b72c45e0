"""Files of showers: their layout, the same on any number of workers, going on after a stop, and wrong requests."""

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

from hepcnn.calorimeters import parse_calorimeter
from hepcnn.config import ShowersConfig, parse_model
from hepcnn.config.samples import SampleConfig
from hepcnn.errors import ConfigError, HepcnnError
from hepcnn.generate.showers import sample
from hepcnn.generate.showers.chunk import SHOWERS_PER_CHUNK, make_chunk
from hepcnn.generate.showers.parts import shower_key, write_part
from hepcnn.generate.showers.sample import generate_showers
from tests.generate.showers.conftest import make

# Coarse, so that the file is made in a moment.
DETECTOR = {
    "sections": [
        {"name": "em", "layers": 4, "absorber": {"material": "lead", "thickness": 35.0},
         "active": {"material": "scintillator", "thickness": 5.0}, "noise": 0.01, "threshold": 0.03,
         "segmentation": {"kind": "box", "cells": [8, 6], "pitch": [10.0, 12.0]}},
    ],
    "dead": {"cells": [3]},
}  # fmt: skip
N = SHOWERS_PER_CHUNK + 70


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> ShowersConfig:
    path = tmp_path_factory.mktemp("detector") / "small.yaml"
    path.write_text(yaml.safe_dump(DETECTOR))
    return ShowersConfig(detector=str(path), energy=(1.0, 20.0), max_angle=0.2, spread=5.0)


@pytest.fixture(scope="module")
def made(settings: ShowersConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "pion.root"
    summary = generate_showers("pion", N, 7, path, settings=settings, workers=2)
    assert (summary.n_showers, summary.n_chunks_reused) == (N, 0)
    assert list(path.parent.iterdir()) == [path]
    return path


def read(path: Path) -> ak.Array:
    with uproot.open(path) as file:
        return file["showers"].arrays()


def test_the_file_holds_showers_hits_and_geometry(made: Path) -> None:
    showers = read(made)
    assert len(showers) == N
    assert ak.all(showers.n_hits == ak.num(showers.hit_cell))
    assert set(np.unique(showers.particle_pdg)) == {-211, 211}
    assert len(np.unique(showers.event)) == N
    energy, theta = showers.particle_energy.to_numpy(), showers.particle_theta.to_numpy()
    assert 1.0 <= energy.min() < energy.max() <= 20.0
    # Uniform in the logarithm, and in the solid angle.
    assert np.log(energy).mean() == pytest.approx(np.log(20) / 2, abs=0.15)
    assert theta.max() <= 0.2
    assert (theta < 0.2 / np.sqrt(2)).mean() == pytest.approx(0.5, abs=0.1)
    assert np.hypot(showers.particle_x, showers.particle_y).to_numpy().max() <= 5.0
    with uproot.open(made) as file:
        geometry, about = json.loads(file["geometry"]), json.loads(file["hepcnn_generation"])
    assert (about["particle"], about["n_hits"]) == ("pion", int(ak.sum(showers.n_hits)))
    calorimeter = parse_calorimeter(geometry, where="file")
    assert calorimeter.name == "small"
    hits = {name: ak.flatten(showers[f"hit_{name}"]).to_numpy() for name in ("cell", "layer", "x", "y", "z", "energy")}
    assert (calorimeter.cell_of(hits["layer"], hits["x"], hits["y"]) == hits["cell"]).all()
    assert (hits["z"] == 20 + 40 * hits["layer"]).all()
    assert hits["energy"].min() >= np.float32(0.03)
    assert 3 not in hits["cell"]


def test_workers_and_numbers_change_no_shower(made: Path, settings: ShowersConfig, tmp_path: Path) -> None:
    path = tmp_path / "fewer.root"
    generate_showers("pion", 60, 7, path, settings=settings)
    fewer, more = read(path), read(made)[:60]
    assert all(ak.array_equal(fewer[name], more[name]) for name in fewer.fields)


def test_another_seed_or_particle_gives_others() -> None:
    calorimeter, settings = make(layers=2), ShowersConfig()
    chunks = [make_chunk(*what, 0) for what in (
        ("electron", calorimeter, settings, 1), ("electron", calorimeter, settings, 2),
        ("photon", calorimeter, settings, 1), ("electron", calorimeter, settings, 1))]  # fmt: skip
    energies = [chunk.particles["energy"] for chunk in chunks]
    assert not (energies[0] == energies[1]).any()
    assert not (energies[0] == energies[2]).any()
    assert (energies[0] == energies[3]).all()
    assert (chunks[0].energies == chunks[3].energies).all()
    keys = {shower_key("pion", calorimeter, settings, 1), shower_key("pion", calorimeter, settings, 2),
            shower_key("pion", make(layers=3), settings, 1),
            shower_key("pion", calorimeter, settings.model_copy(update={"spread": 1.0}), 1)}  # fmt: skip
    assert len(keys) == 4
    assert shower_key("pion", calorimeter, settings.model_copy(update={"n_showers": 5}), 1) in keys


def test_finished_chunks_serve_the_next_call(
    settings: ShowersConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pion.root"

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(sample, "write_table", fail)
        with pytest.raises(KeyboardInterrupt):
            generate_showers("pion", 10, 7, path, settings=settings)
    assert not path.exists()
    parts = tmp_path / ".pion.root.parts"
    (only,) = parts.glob("*/chunk-*.npz")
    calorimeter = sample.read_calorimeter(settings.detector)
    # A marked part shows that it is used, not made again.
    chunk = make_chunk("pion", calorimeter, settings, 7, 0)
    chunk.particles["x"][:] = 1.25
    write_part(only, chunk)
    summary = generate_showers("pion", 10, 7, path, settings=settings)
    assert summary.n_chunks_reused == 1
    assert ak.all(read(path).particle_x == 1.25)
    assert not parts.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"particle": "electrn"}, "no particle 'electrn' .* did you mean 'electron'"),
        ({"n_showers": 0}, "n_showers must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"settings": ShowersConfig(detector="samplng45")}, "no detector 'samplng45'; did you mean 'sampling45'"),
        ({"output": Path()}, "this is a folder"),
    ],
)
def test_wrong_requests_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    request = {"particle": "electron", "n_showers": 5, "seed": 1, "output": tmp_path / "x.root",
               "settings": ShowersConfig()} | changes  # fmt: skip
    with pytest.raises(HepcnnError, match=message):
        generate_showers(**request)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"energy": [-1.0, 10.0]}, "energy: expected two rising energies from 0.5 to 10000 GeV, found -1 and 10"),
        ({"energy": [10.0, 1.0]}, "found 10 and 1"),
        ({"energy": [float("nan"), 1.0]}, "found nan and 1"),
        ({"energy": [1.0]}, "energy"),
        ({"max_angle": 2.0}, "max_angle: .*less than or equal to 0.8"),
        ({"spread": -1}, "spread: "),
        ({"detectr": "sampling45"}, "detectr: unknown key; did you mean 'detector'"),
    ],
)
def test_wrong_settings_name_the_key(record: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_model(ShowersConfig, record, where="showers")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"particle": "electron", "process": "top"}, "name one of"),
        ({"particle": "electron", "n_jets": 5}, "'n_jets' is for jets of a 'process'"),
        ({"process": "top", "n_showers": 5}, "'n_showers' is for showers of a 'particle'"),
        ({}, "name one of a generator 'process', a 'particle' of showers, or 'files'"),
    ],
)
def test_samples_have_one_source(record: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_model(SampleConfig, record, where="sample")
