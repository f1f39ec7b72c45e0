"""Parts of images.h5, against h5py's own reading."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepcnn.errors import InputError
from hepcnn.io.image_blocks import read_image_columns, read_pixels
from hepcnn.io.store import open_image_writer
from tests.toy import make_images, write_images

N_PIXELS = 100
FILTERS = {
    "as hepcnn writes": {"compression": "gzip", "shuffle": True},
    "gzip alone": {"compression": "gzip"},
    "with checksums": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "in chunks": {},
}


@pytest.fixture(scope="module", params=FILTERS)
def pixels(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, np.ndarray, np.ndarray]:
    path, random = tmp_path_factory.mktemp("pixels") / "images.h5", np.random.default_rng(1)
    index = random.integers(0, 50, N_PIXELS).astype(np.uint16)
    value = random.exponential(1, (N_PIXELS, 3)).astype(np.float32)
    with h5py.File(path, "w") as file:
        options = FILTERS[request.param]
        file.create_dataset("pixels/index", data=index, chunks=(16,), **options)
        file.create_dataset("pixels/value", data=value, chunks=(16, 3), **options)
    return path, index, value


@given(first=st.integers(0, N_PIXELS), size=st.integers(0, N_PIXELS))
def test_any_range_of_pixels_is_read(pixels: tuple[Path, np.ndarray, np.ndarray], first: int, size: int) -> None:
    path, index, value = pixels
    last = min(first + size, N_PIXELS)
    found = np.zeros(last - first, np.uint16), np.zeros((last - first, 3), np.float32)
    read_pixels(path, first, last, index=found[0], value=found[1])
    assert np.array_equal(found[0], index[first:last])
    assert np.array_equal(found[1], value[first:last])


def test_a_written_file_is_read(tmp_path: Path) -> None:
    path, part = tmp_path / "images.h5", make_images(50, seed=1, n_channels=2)
    with open_image_writer(path, n_pixels=144, n_channels=2) as writer:
        jets = {"label": part.label, "weight": part.weight, "source_file": np.zeros(50), "source_entry": np.arange(50)}
        jets |= dict(part.jets) | {"source_jet": np.zeros(50)}
        writer.append(part.indptr, part.index, part.value, jets, {})
        names = ("grid", "channels", "class_names", "preprocess", "jet_features", "radius", "sources")
        writer.set_attributes({name: [] for name in names})
    columns = read_image_columns(path)
    assert np.array_equal(columns.indptr, part.indptr)
    assert np.array_equal(columns.jets["pt"], part.jets["pt"])
    assert (columns.n_channels, columns.index_dtype) == (2, np.uint16)
    index, value = np.zeros(len(part.index), np.uint16), np.zeros_like(part.value)
    read_pixels(path, 0, len(index), index=index, value=value)
    assert np.array_equal(index, part.index)
    assert np.array_equal(value, part.value)


def test_a_damaged_chunk_is_named(pixels: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    path, _, _ = pixels
    with h5py.File(path) as file:
        if file["pixels/value"].compression is None:
            pytest.skip("nothing tells that plain numbers are damaged")
        where = file["pixels/value"].id.get_chunk_info(2)
    content = bytearray(path.read_bytes())
    content[where.byte_offset : where.byte_offset + where.size] = bytes(where.size)
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(content)
    index, value = np.zeros(N_PIXELS, np.uint16), np.zeros((N_PIXELS, 3), np.float32)
    with pytest.raises(InputError, match=r"damaged\.h5: damaged or cut short at pixels 0 to 100"):
        read_pixels(damaged, 0, N_PIXELS, index=index, value=value)


def test_a_file_without_pixels_is_named(tmp_path: Path) -> None:
    path = tmp_path / "images.h5"
    write_images(make_images(9, seed=1), path)
    with h5py.File(path, "r+") as file:
        del file["pixels/value"]
    with pytest.raises(InputError, match=r"images\.h5: this images file is incomplete"):
        read_image_columns(path)
