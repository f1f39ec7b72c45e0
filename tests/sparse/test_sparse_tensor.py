"""SparseTensor: what it refuses, its dense forms, and the two ways to build a kernel map."""

import subprocess
import sys

import pytest
import torch
from sparse_oracle import random_sites, scatter

from hepcnn.errors import InputError
from hepcnn.sparse import MaskedDense, SparseTensor
from hepcnn.sparse.kernel_map import map_sites, transpose_table
from hepcnn.sparse.sites import Sites
from hepcnn.sparse.window import Window

COORDS = torch.tensor([[0, 1, 2], [1, 0, 0]], dtype=torch.int32)
FEATURES = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("coords", "features", "shape", "batch_size", "words"),
    [
        (COORDS.long(), FEATURES, (3, 4), 2, "int32, got torch.int64"),
        (COORDS[:, :2], FEATURES, (3, 4), 2, r"\(sites, 1 \+ 2\)"),
        (COORDS[0], FEATURES, (3, 4), 2, r"\(sites, 1 \+ 2\)"),
        (COORDS, FEATURES[:1], (3, 4), 2, r"features must be \(2, channels\)"),
        (COORDS, FEATURES[:, 0], (3, 4), 2, r"features must be \(2, channels\)"),
        (COORDS, FEATURES.int(), (3, 4), 2, "floating point"),
        (COORDS, FEATURES.to("meta"), (3, 4), 2, "coords are on cpu and features on meta"),
        (COORDS, FEATURES, (3, 2), 2, r"coords\[0\] = \[0, 1, 2\] is outside"),
        (COORDS, FEATURES, (3, 4), 1, r"coords\[1\] = \[1, 0, 0\] is outside batch size 1"),
        (COORDS - 1, FEATURES, (3, 4), 2, "outside"),
        (COORDS[[0, 0]], FEATURES, (3, 4), 2, r"coords\[0\] = \[0, 1, 2\] appears more than once; 1 of 2"),
        (COORDS, FEATURES, (3, 0), 2, "impossible spatial shape"),
        (COORDS, FEATURES, (3, 4), -1, "impossible spatial shape"),
        (COORDS, FEATURES, (2**31, 2**31), 2, "more cells than int64"),
        (COORDS, FEATURES, (2**31 + 1, 1), 2, "int32 do not reach"),
        (COORDS, FEATURES, (1, 1), 2**31 + 1, "int32 do not reach"),
        (
            torch.empty(2**31, 2, dtype=torch.int32, device="meta"),
            torch.empty(2**31, 1, device="meta"),
            (4,),
            2,
            "more than int32 can number",
        ),
    ],
)
def test_wrong_input_is_refused(coords, features, shape, batch_size, words):
    with pytest.raises(InputError, match=words):
        SparseTensor(coords, features, shape, batch_size)


def test_to_dense_and_back():
    coords = random_sites((5, 4), 3, 7, skip=1)
    features = torch.rand(len(coords), 2) + 0.1
    x = SparseTensor(coords, features, (5, 4), 3)
    assert torch.equal(x.to_dense(), scatter(coords, features, (5, 4), 3))
    back = SparseTensor.from_dense(x.to_dense())
    assert torch.equal(back.to_dense(), x.to_dense())
    assert back.coords.dtype == torch.int32
    assert len(back.sites) == len(coords)
    with pytest.raises(InputError, match="values must be"):
        SparseTensor.from_dense(torch.zeros(3, 4))


@pytest.mark.parametrize("shape", [(7,), (5, 4), (3, 4, 2)])
def test_from_pixels_equals_the_dense_way(shape):
    image = torch.rand(4, 3, *shape, dtype=torch.float64) * (torch.rand(4, 1, *shape) < 0.4)
    image[2] = 0
    pixels = image.flatten(2).movedim(1, -1)
    active = (pixels != 0).any(2)
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), active.sum(1).cumsum(0)])
    index = active.nonzero()[:, 1]
    for kind in (torch.int64, torch.int32, torch.uint16, torch.uint32):
        x = SparseTensor.from_pixels(indptr, index.to(kind), pixels[active], shape)
        assert torch.equal(x.to_dense(), image)
        assert x.coords.dtype == torch.int32
    part = slice(int(indptr[1]), int(indptr[3]))
    some = SparseTensor.from_pixels(indptr[1:4], index[part], pixels[active][part], shape)
    assert torch.equal(some.to_dense(), image[1:3])
    empty = SparseTensor.from_pixels(indptr[:1], index[:0], pixels[active][:0], shape)
    assert empty.to_dense().shape == (0, 3, *shape)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"indptr": torch.tensor([0, 2, 1, 3])}, "never decrease"),
        ({"indptr": torch.tensor([0, 2])}, r"indptr counts 2 pixels, index holds 3"),
        ({"indptr": torch.tensor([0.0, 3.0])}, "indptr must be a vector of integers"),
        ({"index": torch.tensor([[0, 1, 2]])}, "index must be a vector of integers"),
        ({"index": torch.tensor([0, 1, 20])}, r"index\[2\] = 20 is no pixel of a grid of \(5, 4\), 20 cells"),
        ({"index": torch.tensor([0, -1, 2])}, r"index\[1\] = -1 is no pixel"),
        ({"index": torch.tensor([1, 1, 2])}, r"coords\[0\] = \[0, 0, 1\] appears more than once"),
        ({"value": torch.ones(3)}, r"value be \(pixels, channels\)"),
        ({"value": torch.ones(3, 1, dtype=torch.int64)}, "floating point"),
        ({"value": torch.ones(3, 1, device="meta")}, "on cpu and value on meta"),
    ],
)
def test_wrong_pixels_are_refused(change, words):
    pixels = {"indptr": torch.tensor([0, 2, 3]), "index": torch.tensor([0, 1, 2]), "value": torch.ones(3, 1)}
    SparseTensor.from_pixels(**pixels, spatial_shape=(5, 4))
    with pytest.raises(InputError, match=words):
        SparseTensor.from_pixels(**pixels | change, spatial_shape=(5, 4))


def test_any_non_zero_channel_makes_a_site_active():
    values = torch.zeros(1, 2, 3)
    values[0, 1, 2] = -1.0
    assert SparseTensor.from_dense(values).coords.tolist() == [[0, 2]]
    assert MaskedDense.from_dense(values).mask.tolist() == [[[0.0, 0.0, 1.0]]]


def test_a_site_of_zero_features_stays_active_in_masked_form():
    x = SparseTensor(COORDS, torch.zeros(2, 3), (3, 4), 2)
    assert x.to_masked().mask.sum() == 2
    assert len(SparseTensor.from_masked(x.to_masked()).sites) == 2


def test_to_dense_is_differentiable():
    features = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    x = SparseTensor(COORDS, features, (3, 4), 2)
    assert torch.autograd.gradcheck(lambda f: x.replace(f).to_dense(), (features,))


def test_replace_keeps_the_sites_and_checks_their_number():
    x = SparseTensor(COORDS, FEATURES, (3, 4), 2)
    assert x.replace(FEATURES[:, :1]).sites is x.sites
    with pytest.raises(InputError, match="2 sites need as many rows"):
        x.replace(torch.ones(3, 3))


def test_casting_keeps_the_coordinates():
    x = SparseTensor(COORDS, FEATURES, (3, 4), 2).to(torch.float64)
    assert x.dtype == torch.float64
    assert x.coords.dtype == torch.int32
    assert "sites=2, channels=3" in repr(x)


@pytest.mark.parametrize("shape", [(17,), (9, 7), (6, 5, 4)])
@pytest.mark.parametrize("kind", ["submanifold", "periodic", "strided"])
@pytest.mark.parametrize("n", [0, 1, 12])
def test_grid_and_sorting_build_identical_maps(shape, kind, n):
    dims = len(shape)
    if kind == "strided":
        window = Window((3,) * dims, (2,) * dims, (1,) * dims, (1,) * dims, (False,) * dims)
    else:
        window = Window((3,) * dims, (1,) * dims, (2,) * dims, (2,) * dims, (kind == "periodic",) * dims, True)
    sites = Sites(random_sites(shape, 3, n), shape, 3)
    (by_grid, out_grid), (by_sort, out_sort) = (map_sites(sites, window, grid_budget=b) for b in (2**30, 0))
    assert torch.equal(out_grid.coords, out_sort.coords)
    assert torch.equal(by_grid.table, by_sort.table)
    assert torch.equal(by_grid.back(), by_sort.back())


def test_table_names_the_neighbour_under_each_offset():
    coords = torch.tensor([[0, 2], [0, 3], [0, 5]], dtype=torch.int32)
    window = Window((3,), (1,), (1,), (1,), (False,), True)
    table = map_sites(Sites(coords, (6,), 1), window)[0].table
    assert table.tolist() == [[-1, 0, -1], [0, 1, 2], [1, -1, -1]]


def test_no_pair_repeats_a_row_within_an_offset():
    window = Window((5, 5), (1, 1), (2, 2), (1, 1), (True, True), True)
    found, _ = map_sites(Sites(random_sites((3, 4), 4, 9), (3, 4), 4), window)
    for rows in found.table:
        assert len(rows[rows >= 0].unique()) == int((rows >= 0).sum())
    assert torch.equal(transpose_table(found.back(), len(found.outputs)), found.table)
    assert torch.equal(transpose_table(found.table, len(found.inputs)), found.back())


def test_importing_the_package_loads_no_torch():
    code = "import sys, hepcnn.sparse, hepcnn.models; assert 'torch' not in sys.modules; hepcnn.sparse.SparseTensor"
    subprocess.run([sys.executable, "-c", code], check=True)
