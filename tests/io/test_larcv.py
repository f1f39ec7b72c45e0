"""Images of liquid-argon detectors against h5py's own reading, and files that are wrong."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hepcnn.config import ImagesConfig, parse_model
from hepcnn.convert.files import convert_files
from hepcnn.convert.inputs import LabelledFiles
from hepcnn.errors import InputError, SchemaError
from hepcnn.io.inspect import inspect_file
from hepcnn.io.native import native_grid
from hepcnn.io.store import ImageFile, read_images
from tests.io.lartpc_files import make_tracks, write_larcv

CHANNELS = ["energy", "sum:segment"]


@pytest.fixture
def specimen(shared_data: Path) -> Path:
    return shared_data / "lartpc_h5" / "cosmic_tagging_light.h5"


def convert(path: Path, output: Path) -> ImageFile:
    content: dict[str, Any] = {"grid": {"kind": "native"}, "channels": CHANNELS, "preprocess": [], "jet_features": []}
    images = parse_model(ImagesConfig, content, where="test")
    convert_files([LabelledFiles([path], "larcv", "cosmic")], output, class_names=["cosmic"], images=images)
    return read_images(output)


def test_real_planes_by_hand(specimen: Path, tmp_path: Path) -> None:
    found = inspect_file(specimen)
    assert (found.schema, found.fits[0].n_jets, found.fits[0].n_constituents) == ("larcv", 15, 276_764)
    images = convert(specimen, tmp_path / "i.h5")
    assert images.attributes["grid"] == {"kind": "given", "shape": [2048, 1280]}
    with h5py.File(specimen) as file:
        group = file["Data/sparse2d_sbndwire_group"]
        extents, voxels = group["voxel_extents"][:], group["voxels"][:]
        labels = file["Data/sparse2d_sbnd_cosmicseg_group/voxels"][:]
    assert np.array_equal(voxels["id"], labels["id"])
    for image, extent in enumerate(extents):
        here = slice(int(extent["first"]), int(extent["first"] + extent["N"]))
        order = np.argsort(voxels["id"][here])
        mine = slice(*images.indptr[image : image + 2])
        assert images.index[mine].tolist() == voxels["id"][here][order].tolist()
        assert np.array_equal(images.value[mine, 0], voxels["value"][here][order])
        assert images.value[mine, 1].tolist() == labels["value"][here][order].tolist()
    assert len(images) == 15
    assert set(images.value[:, 1].tolist()) == {0.0, 1.0, 2.0}


def test_a_volume_of_seven_million_voxels(tmp_path: Path) -> None:
    tracks = [make_tracks(3000, 192, seed=seed) for seed in range(3)]
    path = write_larcv(tmp_path / "l.h5", tracks, (192, 192, 192))
    assert native_grid(path, "larcv") == {"kind": "given", "shape": [192, 192, 192]}
    images = convert(path, tmp_path / "i.h5")
    for image, (index, kinds) in enumerate(tracks):
        mine = slice(*images.indptr[image : image + 2])
        assert images.index[mine].tolist() == index.tolist()
        assert images.value[mine, 1].tolist() == kinds.tolist()


def test_files_that_do_not_fit_are_told(tmp_path: Path) -> None:
    tracks = [make_tracks(50, 16, seed=seed) for seed in range(3)]
    path = write_larcv(tmp_path / "l.h5", tracks, (16, 16, 16))
    with h5py.File(path, "r+") as file:
        places = file["Data/sparse3d_voxels_group/voxel_extents"]
        rows = places[:]
        rows["N"][2] += 7
        places[:] = rows
    with pytest.raises(InputError, match=r"images 0 to 3 of 'voxels': their voxels .* are beyond the \d+ of the file"):
        convert(path, tmp_path / "i.h5")
    with h5py.File(path, "r+") as file:
        rows["N"][2] -= 9
        file["Data/sparse3d_voxels_group/voxel_extents"][:] = rows
    with pytest.raises(InputError, match=r"entry 2: 'voxels.id' and 'segment.value' differ in length"):
        convert(path, tmp_path / "i.h5")
    with h5py.File(path, "r+") as file:
        meta = file["Data/sparse3d_voxels_group/image_meta"]
        sizes = meta[:]
        sizes["number_of_voxels"][1] = 8
        meta[:] = sizes
    with pytest.raises(InputError, match=r"images of 'voxels' need one size, they have \[8, 8, 8\] and \[16, 16, 16\]"):
        convert(path, tmp_path / "i.h5")


def test_voxels_beyond_the_image_and_other_producers_are_told(tmp_path: Path) -> None:
    path = write_larcv(tmp_path / "l.h5", [make_tracks(50, 16, seed=1)], (16, 16, 16))
    with h5py.File(path, "r+") as file:
        voxels = file["Data/sparse3d_voxels_group/voxels"]
        rows = voxels[:]
        rows["id"][4] = 16**3
        voxels[:] = rows
    with pytest.raises(InputError, match=r"entry 0: cell 4096 does not exist, the grid has cells 0 to 4095"):
        convert(path, tmp_path / "i.h5")
    with h5py.File(path, "r+") as file:
        file.move("Data/sparse3d_voxels_group", "Data/sparse3d_wires_group")
    with pytest.raises(SchemaError, match=r"table 'sparse3d' has no column 'sbndwire.id'; did you mean 'wires.id'"):
        convert(path, tmp_path / "i.h5")
