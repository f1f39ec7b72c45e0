"""Binnings of the CaloChallenge: the voxels that its papers count."""

from pathlib import Path

import pytest

from hepcnn.errors import InputError
from hepcnn.images.binning import read_binning
from hepcnn.images.grids import grid_from_record
from hepcnn.io.schema import read_schema

# Dataset 1, photons, of the CaloChallenge's own binning_dataset_1_photons.xml.
PHOTONS = {
    0: ("0,5,10,30,50,100,200,400,600", 1),
    1: ("0,2,4,6,8,10,12,15,20,30,40,50,70,90,120,150,200", 10),
    2: ("0,2,5,10,15,20,25,30,40,50,60,80,100,130,160,200,250,300,350,400", 10),
    3: ("0,50,100,200,400,600", 1),
    12: ("0,100,200,400,1000,2000", 1),
}


def write_binning(path: Path, layers: dict[int, tuple[str, int]], *, particle: str = "photon") -> Path:
    rows = [
        f'<Layer id="{n}" r_edges="{layers.get(n, ("0", 1))[0]}" n_bin_alpha="{layers.get(n, ("0", 1))[1]}" />'
        for n in range(24)
    ]
    bins = f'<Bin pid="22" etaMin="0" etaMax="130" name="{particle}">{"".join(rows)}</Bin>'
    path.write_text(f"<Bins>{bins}</Bins>")
    return path


def test_photons_have_the_voxels_of_the_challenge(tmp_path: Path) -> None:
    grid = read_binning(write_binning(tmp_path / "b.xml", PHOTONS), "photon")
    assert len(grid.pixel_of_cell) == 368
    assert len(set(grid.pixel_of_cell.tolist())) == 368
    assert grid.shape == (5, 10, 19)
    # As the challenge's files have it: 8 rings of layer 0, then ring by ring and angle by angle of layer 1.
    assert grid.pixel_of_cell[:9].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 190]
    assert grid.pixel_of_cell[8 + 16] == 190 + 19
    assert grid_from_record(read_schema("calochallenge").collection("photons").grid) == grid


@pytest.mark.parametrize(("collection", "n_voxels"), [("pions", 533), ("dataset2", 6480), ("dataset3", 40500)])
def test_the_schemas_grids_have_the_voxels_of_the_challenge(collection: str, n_voxels: int) -> None:
    grid = grid_from_record(read_schema("calochallenge").collection(collection).grid)
    assert len(set(grid.pixel_of_cell.tolist())) == n_voxels


def test_regular_layers_are_numbered_as_they_stand() -> None:
    grid = grid_from_record(read_schema("calochallenge").collection("dataset2").grid)
    assert grid.shape == (45, 16, 9)
    assert grid.pixel_of_cell.tolist() == list(range(6480))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<Bins>", "cannot read this binning"),
        ('<Bins><Bin name="pion"/></Bins>', "no binning for 'photon'.*pion"),
        ('<Bins><Bin name="photon"/></Bins>', "layers"),
        ('<Bins><Bin name="photon"><Layer id="3" n_bin_alpha="1"/></Bin></Bins>', "layer 3: expected r_edges"),
        ('<Bins><Bin name="photon"><Layer id="3" r_edges="a" n_bin_alpha="1"/></Bin></Bins>', "layer 3: expected"),
        ('<Bins><Bin name="photon"><Layer r_edges="0,5,4" n_bin_alpha="1"/></Bin></Bins>', "radii must rise"),
    ],
)
def test_wrong_binnings_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "b.xml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_binning(tmp_path / "b.xml", "photon")
    with pytest.raises(InputError, match="No such file"):
        read_binning(tmp_path / "none.xml", "photon")
