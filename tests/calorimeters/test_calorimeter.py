"""Detectors: what their files say against PDG and hand calculation, cells found again, and files that are wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hepcnn.calorimeters import Calorimeter, list_detectors, parse_calorimeter, read_calorimeter
from hepcnn.calorimeters.materials import read_materials
from hepcnn.errors import ConfigError
from hepcnn.images.grids import BoxGrid, CylinderGrid, find_pixels

PLATES = {"absorber": {"material": "lead", "thickness": 2.0}, "active": {"material": "argon", "thickness": 4.0}}
RINGS = {"kind": "cylinder", "r_edges": [0.0, 10.0, 30.0], "n_alpha": 4}
SQUARES = {"kind": "box", "cells": [4, 2], "pitch": [10.0, 20.0]}


def section(name: str = "em", **changes: object) -> dict:
    return {"name": name, "layers": 2, **PLATES, "segmentation": RINGS, **changes}


def make(*sections: dict, **keys: object) -> Calorimeter:
    return parse_calorimeter({"sections": list(sections), **keys}, where="test")


@pytest.mark.parametrize(
    ("name", "x0", "lambda_int", "moliere", "loss"),
    # PDG's own columns in cm and MeV/cm, which the numbers by mass must give.
    [
        ("iron", 1.757, 16.77, 1.719, 11.43),
        ("tungsten", 0.3504, 9.946, 0.9327, 22.10),
        ("lead", 0.5612, 17.59, 1.602, 12.74),
        ("copper", 1.436, 15.32, 1.568, 12.57),
        ("silicon", 9.370, 46.52, 4.944, 3.876),
        ("argon", 14.00, 85.77, 9.043, 2.105),
        ("lead-tungstate", 0.8904, 20.27, 1.959, 10.20),
        ("scintillator", 42.54, 78.80, 9.586, 2.019),
    ],
)
def test_materials_are_pdgs(name: str, x0: float, lambda_int: float, moliere: float, loss: float) -> None:
    material = read_materials()[name]
    found = material.x0 / 10, material.lambda_int / 10, material.moliere_radius / 10, material.energy_loss * 10
    assert found == pytest.approx((x0, lambda_int, moliere, loss), rel=2e-3)


@pytest.mark.parametrize("name", list_detectors())
def test_shipped_detectors_stop_showers(name: str) -> None:
    detector = read_calorimeter(name)
    assert detector.name == name
    assert detector.depths_x0[detector.sections[0].layers] > 3
    assert detector.depths_x0[-1] > 25
    assert 6 < detector.depths_lambda[-1] < 12
    assert detector.grid.n_pixels >= detector.n_cells
    assert parse_calorimeter(json.loads(json.dumps(detector.to_record())), where="record") == detector
    x, y, z, layer = detector.cell_centres
    assert (detector.cell_of(layer, x, y) == np.arange(detector.n_cells)).all()
    assert ((detector.fronts[layer] < z) & (z < detector.backs[layer])).all()
    assert len(np.unique(find_pixels(detector.grid, {"cell": np.arange(detector.n_cells, dtype=float)}))) == len(x)


def test_the_default_has_the_shape_of_calochallenge_2() -> None:
    assert read_calorimeter("sampling45").grid.shape == (45, 16, 9)
    assert read_calorimeter("sampling45").grid.periodic == (False, True, False)


def test_lengths_follow_from_the_plates() -> None:
    detector = make(section(gap=1.0), section("back", layers=1, samplings=3, front=20.0))
    assert detector.fronts.tolist() == [0, 7, 20]
    assert detector.backs.tolist() == [6, 13, 38]
    lead, argon = read_materials()["lead"], read_materials()["argon"]
    layer = 2 / lead.x0 + 4 / argon.x0
    assert detector.depths_x0 == pytest.approx([0, layer, 2 * layer, 5 * layer])
    stack = detector.stacks[1]
    assert stack.x0 == pytest.approx(6 / layer)
    assert stack.sampling_frequency == pytest.approx(1 / layer)
    assert 1 / stack.moliere_radius == pytest.approx((2 / lead.moliere_radius + 4 / argon.moliere_radius) / 6)
    assert detector.sampling_fractions == pytest.approx(4 * 0.2105 / (4 * 0.2105 + 2 * 1.274), rel=1e-3)
    # ATLAS's calorimeters as built: 10 % for accordion lead and argon, 28 % for tiles (JINST 3 (2008) S08003).
    barrel = read_calorimeter("barrel12")
    assert [barrel.stacks[k].sampling_term for k in (0, 3)] == pytest.approx([0.10, 0.28], rel=0.15)


def test_a_homogeneous_section_samples_nothing() -> None:
    crystal = make({"name": "em", "layers": 1, "active": {"material": "lead-tungstate", "thickness": 230.0},
                    "segmentation": SQUARES})  # fmt: skip
    stack = crystal.stacks[0]
    assert (stack.e_mip, stack.sampling_fraction, stack.sampling_term) == (1.0, 1.0, 0.0)
    assert 1 / stack.sampling_frequency == 0.0


def test_grids_follow_the_cells() -> None:
    assert isinstance(make(section()).grid, CylinderGrid)
    boxes = make(section(segmentation=SQUARES), section("back", segmentation=SQUARES | {"cells": [1, 3]}))
    assert isinstance(boxes.grid, BoxGrid)
    assert boxes.grid.shape == (4, 4, 3)
    assert boxes.offsets.tolist() == [0, 8, 16, 19, 22]
    assert boxes.cell_of([0, 0, 3, 4, -1, 0], [-20, 19.9, 0, 0, 0, 20], [-20, 19.9, 0, 0, 0, 0]).tolist() == [
        0, 7, 20, -1, -1, -1]  # fmt: skip
    assert boxes.cell_of(0, np.nan, 0.0) == -1


@given(st.floats(-40, 40), st.floats(-40, 40))
def test_cells_of_rings_agree_with_a_search_by_hand(x: float, y: float) -> None:
    detector = make(section())
    radius, alpha = np.hypot(x, y), np.arctan2(y, x)
    ring = 0 if radius < 10 else 1 if radius < 30 else -1
    quarter = min(int((alpha + np.pi) // (np.pi / 2)), 3) if alpha < np.pi else 0
    assert detector.cell_of(1, x, y) == (-1 if ring < 0 else 8 + quarter * 2 + ring)


def test_dead_cells_are_the_seeds_and_the_named() -> None:
    detector = make(section(layers=200), dead={"fraction": 0.1, "seed": 3, "cells": [5]})
    assert 5 in detector.dead_cells
    assert 100 < len(detector.dead_cells) < 220
    assert (make(section(layers=200), dead={"fraction": 0.1, "seed": 3, "cells": [5]}).dead_cells
            == detector.dead_cells).all()  # fmt: skip


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"sections": []}, "sections: one at least is needed"),
        ({}, "sections: this key is required"),
        ({"sections": [section(layer=3)]}, "sections.0.layer: unknown key"),
        ({"sections": [section(active={"material": "argonn", "thickness": 1})]}, "'em': active: .*mean 'argon'"),
        ({"sections": [section(active={"material": "argon", "thickness": -1})]}, "thickness: .*greater than 0"),
        ({"sections": [section(), section("b", front=5.0)]}, "'b' begins at 5 mm, inside 'em', which ends at 12 mm"),
        ({"sections": [section(), section()]}, "two sections are called 'em'"),
        ({"sections": [section(), section("b", segmentation=SQUARES)]}, "one kind is needed"),
        ({"sections": [section(segmentation=RINGS | {"r_edges": [0, 9, 4]})]}, "radii must rise, but 4 follows 9"),
        ({"sections": [section(segmentation=RINGS | {"r_edges": [-1, 9]})]}, "r_edges.0: .*greater than or equal to 0"),
        ({"sections": [section(segmentation={"kind": "hexagon"})]}, "segmentation: .*'hexagon'.* 'cylinder', 'box'"),
        ({"sections": [section(noise=-1.0)]}, "noise: "),
        ({"sections": [section()], "dead": {"cells": [16]}}, "cell 16 is beyond the last, 15"),
        ({"sections": [section()], "dead": {"fraction": 1.5}}, "dead.fraction: "),
        ({"sections": [section(layers=5000)]}, "layers: "),
    ],
)  # fmt: skip
def test_wrong_files_name_the_place(record: dict, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(record))
    with pytest.raises(ConfigError, match=message) as caught:
        read_calorimeter(path)
    assert str(path) in str(caught.value)


def test_unknown_detectors_are_named() -> None:
    with pytest.raises(ConfigError, match="no detector 'sampling54'; did you mean 'sampling45'"):
        read_calorimeter("sampling54")
    with pytest.raises(ConfigError, match="cannot read this config"):
        read_calorimeter("nowhere.yaml")


def test_own_materials_and_names(tmp_path: Path) -> None:
    brass = {"density": 8.5, "z": 29.4, "a": 64.2, "radiation_length": 12.7, "interaction_length": 137.0,
             "critical_energy": 19.4, "min_ionisation": 1.4}  # fmt: skip
    plates = {"absorber": {"material": "brass", "thickness": 50.0}, "active": PLATES["active"]}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"materials": {"brass": brass}, "sections": [section(**plates)]}))
    assert read_calorimeter(path).name == "mine"
    assert read_calorimeter(str(path)).stacks[0].x0 == pytest.approx(54 / (50 / (127 / 8.5) + 4 / 140.04), rel=1e-3)
