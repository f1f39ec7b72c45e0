"""Grids: their records, their axes, and the pixel of a point."""

import json
import math

import numpy as np
import pytest

from hepcnn.config import ImagesConfig, parse_model
from hepcnn.errors import ConfigError
from hepcnn.images.grids import (
    BoxGrid,
    CylinderGrid,
    DetectorGrid,
    GivenGrid,
    Grid,
    LayersGrid,
    NativeGrid,
    WindowGrid,
    describe_grid,
    find_pixels,
    grid_from_record,
    parse_grid,
)

TWO_LAYERS = [{"r_edges": [0.0, 5.0, 10.0], "n_alpha": 1}, {"r_edges": [0.0, 2.0, 4.0, 6.0], "n_alpha": 4}]
TWO_PLANES = [
    {"x_edges": [-1.0, 0.0, 1.0], "y_edges": [0.0, 4.0]},
    {"x_edges": [0.0, 2.0], "y_edges": [-3.0, 0.0, 3.0]},
]
GRIDS: list[tuple[Grid, tuple[int, ...], tuple[bool, ...], list[str]]] = [
    (WindowGrid(n_eta=4, n_phi=6), (4, 6), (False, False), ["deta", "dphi"]),
    (DetectorGrid(n_eta=4, n_phi=6), (4, 6), (False, True), ["eta", "phi"]),
    (LayersGrid(n_layers=3, n_eta=4, n_phi=6), (3, 4, 6), (False, False, False), ["layer", "deta", "dphi"]),
    (CylinderGrid(layers=TWO_LAYERS), (2, 4, 3), (False, True, False), ["layer", "alpha", "ring"]),
    (CylinderGrid(layers=TWO_LAYERS[:1] * 2), (2, 1, 2), (False, True, False), ["layer", "alpha", "r"]),
    (BoxGrid(layers=TWO_PLANES), (2, 2, 2), (False, False, False), ["layer", "column", "row"]),
    (BoxGrid(layers=TWO_PLANES[:1] * 3), (3, 2, 1), (False, False, False), ["layer", "x", "y"]),
    (GivenGrid(shape=(5, 7)), (5, 7), (False, False), ["row", "column"]),
    (GivenGrid(shape=(5,)), (5,), (False,), ["column"]),
]


@pytest.mark.parametrize(("grid", "shape", "periodic", "names"), GRIDS)
def test_one_record_says_all(grid: Grid, shape: tuple, periodic: tuple, names: list[str]) -> None:
    assert (grid.shape, grid.n_pixels, grid.periodic) == (shape, math.prod(shape), periodic)
    assert [axis.name for axis in grid.axes] == names
    assert all((np.diff(axis.edges) > 0).all() for axis in grid.axes)
    record = grid.model_dump()
    assert json.loads(json.dumps(record)) == record
    assert grid_from_record(record) == grid
    assert hash(grid) == hash(grid_from_record(record))
    assert ImagesConfig.model_validate({"grid": record}).grid == grid
    assert describe_grid(grid).startswith(" × ".join(map(str, shape)))


def test_records_of_older_files_are_windows() -> None:
    record = {"kind": "window", "n_eta": 40, "n_phi": 30, "half_width": 0.8}
    assert WindowGrid(n_eta=40, n_phi=30).model_dump() == record
    assert grid_from_record({"n_eta": 10, "n_phi": 12, "half_width": 0.5}).shape == (10, 12)
    assert ImagesConfig.model_validate({"grid": {"n_eta": 24}}).grid == WindowGrid(n_eta=24)
    assert ImagesConfig().grid == WindowGrid()
    assert ImagesConfig.model_validate({"grid": {"kind": "native"}}).grid == NativeGrid()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "windw"}, "no kind 'windw'; did you mean 'window'"),
        ({"kind": "detector", "n_et": 4}, "grid: n_et: unknown key; did you mean 'n_eta'"),
        ({"kind": "given", "shape": []}, "shape"),
        ({"kind": "cylinder", "layers": [{"r_edges": [0, 5, 5]}]}, "radii must rise"),
        ({"kind": "box", "layers": [{"x_edges": [0, 1], "y_edges": [3, 1]}]}, "edges must rise"),
        ({"kind": "layers"}, "n_layers: this key is required"),
        ({"kind": "layers", "n_layers": 64, "n_eta": 4096, "n_phi": 4096}, "64 × 4096 × 4096 pixels are more than"),
    ],
)
def test_wrong_records_name_the_place(record: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        grid_from_record(record)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "detector", "eta_mx": 4}, "grid.eta_mx: unknown key; did you mean 'eta_max'"),
        ({"n_eta": 0}, "grid.n_eta: .*greater than or equal to 1"),
        ({"kind": "disk"}, "grid: expected a kind among window, detector, .*native"),
        (7, "grid: expected a kind"),
    ],
)
def test_wrong_grids_of_a_config_name_the_place(record: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_model(ImagesConfig, {"grid": record}, where="study")


def test_the_command_lines_grids() -> None:
    assert parse_grid("40x30", half_width=0.5) == WindowGrid(n_eta=40, n_phi=30, half_width=0.5)
    assert parse_grid("28×1×2") == LayersGrid(n_layers=28, n_eta=1, n_phi=2)
    assert parse_grid("detector:64x32", eta_max=3.0) == DetectorGrid(n_eta=64, n_phi=32, eta_max=3.0)
    assert parse_grid(" native ") == NativeGrid()


@pytest.mark.parametrize(
    "text", ["40", "40x", "x40", "40x40x40x40", "0x3", "a x b", "detector:4", "window:4x4", "-1x2", ""]
)
def test_wrong_grids_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="grid '"):
        parse_grid(text, half_width=0.8)


def test_edges_belong_to_the_pixel_above() -> None:
    grid = WindowGrid(n_eta=4, n_phi=4, half_width=1.0)
    deta = np.array([-1.0, 0.0, 1.0, np.nan, np.inf, -1.0000001])
    assert find_pixels(grid, {"deta": deta, "dphi": np.zeros(6)}).tolist() == [2, 10, -1, -1, -1, -1]
    assert grid.axes[0].edges.tolist() == grid.axes[1].edges.tolist() == [-1, -0.5, 0, 0.5, 1]


def test_cells_beyond_the_image_are_outside() -> None:
    cells = {"cell": np.array([0.0, 1.0, 2.0, 13.0, 14.0, -1.0, np.nan])}
    assert find_pixels(CylinderGrid(layers=TWO_LAYERS), cells).tolist() == [0, 1, 12, 23, -1, -1, -1]
    assert find_pixels(BoxGrid(layers=TWO_PLANES), cells).tolist() == [0, 2, 4, -1, -1, -1, -1]
    assert find_pixels(GivenGrid(shape=(2, 7)), cells).tolist() == [0, 1, 2, 13, -1, -1, -1]
