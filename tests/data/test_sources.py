"""Where pixels come from: the device, memory, or disk; each gives every jet once, and the same again after a stop."""

import threading
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcnn.config import LoaderConfig
from hepcnn.data import loading
from hepcnn.data.batches import Batch, JetSource, block_order, count_parts
from hepcnn.data.dataset import ImageDataset, read_columns, read_dataset
from hepcnn.data.loading import available_memory, choose_loader
from hepcnn.data.normalisation import fit_normalisation
from hepcnn.data.segments import prefetch
from hepcnn.data.sources import DeviceDataset, HostDataset, StreamDataset
from hepcnn.data.table import JetTable
from hepcnn.errors import ConfigError, InputError
from tests.toy import make_images, write_images

CPU = torch.device("cpu")
N_JETS = 300


def draw_images(dataset: ImageDataset, shape: tuple[int, ...]) -> np.ndarray:
    """(N, C, *shape), pixel by pixel, without anything of hepcnn."""
    images = np.zeros((len(dataset), dataset.value.shape[1], *shape), np.float32)
    for jet, (start, stop) in enumerate(pairwise(dataset.indptr)):
        for place in range(start, stop):
            images[(jet, slice(None), *np.unravel_index(dataset.index[place], shape))] = dataset.value[place]
    return images


@pytest.fixture(scope="module")
def dataset() -> ImageDataset:
    return make_images(N_JETS, seed=3, n_channels=2)


@pytest.fixture(scope="module")
def paths(dataset: ImageDataset, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    files = [tmp_path_factory.mktemp("images") / f"{name}.h5" for name in ("a", "b", "c")]
    write_images(dataset, *files)
    return files


def split_jets() -> np.ndarray:
    """Two jets of three, none of those 100 to 150, and a block that has none."""
    return np.array([jet for jet in range(N_JETS) if jet % 3 and not 100 <= jet < 150])


def make_source(mode: str, dataset: ImageDataset, paths: list[Path], **options: Any) -> JetSource:
    jets, common = split_jets(), {"feature_names": ("mass",), "device": CPU}
    if mode == "device":
        return DeviceDataset(dataset.select(jets), **common)
    if mode == "host":
        return HostDataset(dataset.select(jets), **common, block=options.get("block", 32))
    columns, files = read_columns(paths)
    return StreamDataset(files, columns.select(jets), jets, **common, **({"block": 32, "pool": 2} | options))


def same(one: Batch, other: Batch) -> bool:
    images = (b.images if isinstance(b.images, torch.Tensor) else b.images.to_dense() for b in (one, other))
    pairs = [images, *((getattr(one, k), getattr(other, k)) for k in ("jet_features", "label", "weight"))]
    return all(torch.equal(a, b) for a, b in pairs)


def as_rows(batches: list[Batch]) -> np.ndarray:
    """One row per jet of all that a batch holds, sorted."""
    rows = [
        torch.cat([b.images.flatten(1), b.jet_features, b.label[:, None].float(), b.weight[:, None]], 1).numpy()
        for b in batches
    ]
    joined = np.concatenate(rows)
    return joined[np.lexsort(joined.T)]


@pytest.mark.parametrize("shape", [(30,), (7, 5), (3, 6, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("sparse", [False, True])
def test_batches_on_grids_of_any_number_of_axes(shape: tuple[int, ...], sparse: bool) -> None:
    part = make_images(40, seed=1, shape=shape, n_channels=3)
    numbers = np.zeros((40, 0), np.float32), part.label, part.weight
    table = JetTable.from_arrays(shape, part.indptr, part.index, part.value, *numbers)
    jets = np.array([39, 0, 8, 8, 17])
    images = table.batch(jets, sparse=sparse).images
    expected = draw_images(part, shape)[jets]
    assert np.array_equal((images.to_dense() if sparse else images).numpy(), expected)
    assert np.array_equal(table.select(jets).batch(np.arange(5), sparse=False).images.numpy(), expected)
    with pytest.raises(InputError, match="there are 40"):
        table.batch(np.array([40]), sparse=sparse)


def test_files_read_as_they_were_written(dataset: ImageDataset, paths: list[Path]) -> None:
    found = read_dataset(paths)
    assert np.array_equal(found.to_dense(), draw_images(dataset, (12, 12)))
    assert found.shape == (12, 12)
    assert found.jets["source_file"].tolist() == [0] * 100 + [1] * 100 + [2] * 100


@pytest.mark.parametrize("threads", [1, 3])
def test_any_number_of_threads_gives_the_same(dataset: ImageDataset, threads: int) -> None:
    data, before = DeviceDataset(dataset, feature_names=(), device=CPU), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        images = data.table.batch(np.arange(N_JETS), sparse=False).images
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(images.numpy(), draw_images(dataset, (12, 12)))


@pytest.mark.parametrize("mode", ["device", "host", "stream"])
@pytest.mark.parametrize("batch_size", [7, 32, 1000])
def test_an_epoch_has_every_jet_of_the_split_once(
    mode: str, batch_size: int, dataset: ImageDataset, paths: list[Path]
) -> None:
    source = make_source(mode, dataset, paths)
    options = {"batch_size": batch_size, "sparse": False}
    whole = make_source("device", dataset, paths)
    assert isinstance(whole, DeviceDataset)
    expected = as_rows([whole.table.batch(np.arange(whole.n_jets), sparse=False)])
    orders = [list(source.epoch(seed=1, epoch=epoch, **options)) for epoch in (0, 1, 0)]
    for batches in orders:
        assert np.array_equal(as_rows(batches), expected)
        assert [len(b.label) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert all(same(a, b) for a, b in zip(orders[0], orders[2], strict=True))
    assert not same(orders[0][0], orders[1][0])
    straight = list(source.in_order(batch_size, sparse=True))
    assert torch.cat([b.label for b in straight]).tolist() == source.label.tolist()
    assert np.array_equal(source.label, dataset.label[split_jets()])
    images = torch.cat([b.images.to_dense() for b in straight])
    assert np.array_equal(images.numpy(), draw_images(dataset, (12, 12))[split_jets()])


@pytest.mark.parametrize("mode", ["device", "host", "stream"])
@pytest.mark.parametrize("first_step", [1, 4, 5, 9])
def test_an_epoch_goes_on_from_any_step(mode: str, first_step: int, dataset: ImageDataset, paths: list[Path]) -> None:
    source = make_source(mode, dataset, paths)
    options = {"seed": 2, "epoch": 1, "batch_size": 15, "sparse": False}
    whole, rest = list(source.epoch(**options)), list(source.epoch(**options, first_step=first_step))
    assert len(rest) == len(whole) - first_step
    assert all(same(a, b) for a, b in zip(whole[first_step:], rest, strict=True))


@pytest.mark.parametrize("block", [5, 64, 1000])
def test_pixels_in_memory_come_in_one_order_on_device_or_not(
    block: int, dataset: ImageDataset, paths: list[Path]
) -> None:
    options = {"seed": 1, "epoch": 3, "batch_size": 20, "sparse": True}
    on_device, in_host = (make_source(mode, dataset, paths, block=block) for mode in ("device", "host"))
    pairs = zip(on_device.epoch(**options), in_host.epoch(**options), strict=True)
    assert all(same(a, b) for a, b in pairs)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 25), st.integers(0, 9))
def test_pools_are_whole_blocks_and_have_every_jet_once(counts: list[int], pool: int, seed: int) -> None:
    sizes = np.array(counts)
    pools = list(block_order(sizes, pool=pool, seed=seed, epoch=1))
    assert sorted(np.concatenate([blocks for blocks, _ in pools]).tolist()) == list(range(len(counts)))
    assert all(len(blocks) == pool for blocks, _ in pools[:-1])
    for blocks, order in pools:
        assert (np.diff(blocks) > 0).all()
        assert sorted(order.tolist()) == list(range(sizes[blocks].sum()))


@pytest.mark.parametrize("n_blocks", [40, 43, 95])
def test_every_pool_holds_files_that_come_one_after_the_other(n_blocks: int) -> None:
    """Two classes, one after the other: each pool of 8 has 4 blocks of each, give or take one."""
    pools = [blocks for blocks, _ in block_order(np.full(n_blocks, 7), pool=8, seed=1, epoch=0)]
    for blocks in pools[: n_blocks // 8]:
        assert abs(int((blocks < n_blocks / 2).sum()) - 4) <= 1
    assert sum(len(blocks) for blocks in pools) == n_blocks


@settings(max_examples=20)
@given(block=st.integers(1, 400), pool=st.integers(1, 9), batch_size=st.integers(1, 70), first_step=st.integers(0, 5))
def test_a_stream_of_any_size_of_blocks_is_whole(
    block: int, pool: int, batch_size: int, first_step: int, dataset: ImageDataset, paths: list[Path]
) -> None:
    source = make_source("stream", dataset, paths, block=block, pool=pool)
    options = {"seed": 1, "epoch": 0, "batch_size": batch_size, "sparse": False}
    batches = list(source.epoch(**options))
    assert sum(len(b.label) for b in batches) == source.n_jets
    rest = list(source.epoch(**options, first_step=min(first_step, len(batches) - 1)))
    assert all(same(a, b) for a, b in zip(batches[len(batches) - len(rest) :], rest, strict=True))


def test_a_stream_left_in_the_middle_leaves_no_thread(dataset: ImageDataset, paths: list[Path]) -> None:
    batches = make_source("stream", dataset, paths).epoch(seed=1, epoch=0, batch_size=8, sparse=False)
    assert len(list(islice(batches, 3))) == 3
    assert any("prefetch" in thread.name for thread in threading.enumerate())
    batches.close()  # type: ignore[attr-defined]
    assert not any("prefetch" in thread.name for thread in threading.enumerate())


def test_prefetching_works_one_ahead_and_passes_errors_on() -> None:
    begun: list[int] = []

    def task(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise InputError("no pixels")
        return number

    results = prefetch(lambda n=n: task(n) for n in range(9))
    assert next(results) == 0
    assert next(results) == 1
    with pytest.raises(InputError, match="no pixels"):
        list(results)
    assert max(begun) <= 4


def test_a_pixel_outside_the_grid_is_refused(dataset: ImageDataset, tmp_path: Path) -> None:
    path = tmp_path / "damaged.h5"
    write_images(dataset, path)
    with h5py.File(path, "r+") as file:
        file["pixels/index"][5] = 144
    with pytest.raises(InputError, match=r"damaged\.h5: a pixel has the number 144, the grid has 144 pixels"):
        read_dataset([path])
    columns, files = read_columns([path])
    source = StreamDataset(files, columns, np.arange(N_JETS), feature_names=(), device=CPU, block=32, pool=2)
    with pytest.raises(InputError, match="a pixel has the number 144"):
        list(source.in_order(10, sparse=False))


def test_jets_and_pixels_that_do_not_fit_are_refused(dataset: ImageDataset, tmp_path: Path) -> None:
    path = tmp_path / "damaged.h5"
    write_images(dataset, path)
    with h5py.File(path, "r+") as file:
        file["pixels/indptr"][4] = 10**6
    with pytest.raises(InputError, match=r"damaged\.h5: pixels/indptr must rise from 0"):
        read_columns([path])


def test_a_normalisation_fitted_block_by_block_is_the_same(dataset: ImageDataset, paths: list[Path]) -> None:
    columns, files = read_columns(paths)
    blocks = (files.read_range(start, start + 60)[2] for start in range(0, N_JETS, 60))
    expected = fit_normalisation(dataset, power=0.5, feature_names=("mass",))
    found = fit_normalisation(columns, power=0.5, feature_names=("mass",), values=blocks)
    assert found.channel_scale == pytest.approx(expected.channel_scale, rel=1e-12)
    assert found.feature_mean == expected.feature_mean


@pytest.mark.parametrize(
    ("asked", "n_bytes", "expected"),
    [
        ({}, 4e9, "device"),
        ({}, 6e9, "stream"),
        ({"memory_gb": 8}, 6e9, "device"),
        ({"memory_gb": 2}, 4e9, "stream"),
        ({"mode": "host"}, 1e3, "host"),
        ({"mode": "stream"}, 1e3, "stream"),
        ({"mode": "device"}, 1e12, "device"),
    ],
)
def test_the_loader_is_chosen_by_size(
    asked: dict[str, Any], n_bytes: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "available_memory", lambda: 10e9)
    choice = choose_loader(LoaderConfig(**asked), n_bytes=int(n_bytes), n_jets=10**7, device=CPU, n_files_jets=10**7)
    assert choice.mode == expected
    assert "GB" in choice.reason


def test_pools_beyond_the_budget_are_refused_with_what_fits() -> None:
    config = LoaderConfig(mode="stream", memory_gb=0.01)
    with pytest.raises(ConfigError, match=r"pools of 8 blocks of 16384 jets take .* a block of at most (\d+) jets"):
        choose_loader(config, n_bytes=10**9, n_jets=10**6, device=CPU, n_files_jets=10**6)


def test_memory_is_what_the_kernel_says_within_the_containers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert 1e8 < available_memory() < 1e14
    (tmp_path / "meminfo").write_text("MemTotal: 2000 kB\nMemAvailable:    1000 kB\n")
    monkeypatch.setattr(loading, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(loading, "CGROUP", tmp_path)
    assert available_memory() == 1_024_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("100000\n")
    assert available_memory() == 1_024_000
    (tmp_path / "memory.max").write_text("600000\n")
    assert available_memory() == 500_000


@pytest.mark.parametrize("mode", ["device", "host", "stream"])
def test_a_batch_knows_the_masses_and_places_of_its_jets(mode: str, dataset: ImageDataset, paths: list[Path]) -> None:
    part = dataset.select(split_jets())
    for batch in make_source(mode, dataset, paths).epoch(seed=1, epoch=0, batch_size=17, sparse=False):
        assert batch.number is not None
        assert batch.mass is not None
        assert np.array_equal(batch.images.numpy(), part.to_dense(batch.number.numpy()))
        assert np.array_equal(batch.mass.numpy(), part.jets["mass"][batch.number.numpy()])


@pytest.mark.parametrize("mode", ["device", "host", "stream"])
@pytest.mark.parametrize(("batch_size", "parts", "world"), [(32, 1, 2), (17, 3, 1), (166, 2, 3), (2, 4, 3)])
def test_processes_and_parts_share_the_batches_of_one(
    mode: str, batch_size: int, parts: int, world: int, dataset: ImageDataset, paths: list[Path]
) -> None:
    source = make_source(mode, dataset, paths)
    options: dict[str, Any] = {"seed": 1, "epoch": 2, "batch_size": batch_size, "sparse": True, "first_step": 1}
    expected = [batch.number.tolist() for batch in source.epoch(**options)]
    shares = [
        [batch.number.tolist() for batch in source.epoch(**options, parts=parts, share=(rank, world))]
        for rank in range(world)
    ]
    assert len({len(share) for share in shares}) == 1, "every process takes the same steps"
    rest = iter(zip(*shares, strict=True))
    for numbers in expected:
        pieces = [piece for _ in range(count_parts(len(numbers), parts)) for piece in next(rest)]
        assert [jet for piece in pieces for jet in piece] == numbers
    assert next(rest, None) is None
    in_order = [list(source.in_order(50, sparse=False, share=(rank, world))) for rank in range(world)]
    jets = [jet for step in zip(*in_order, strict=True) for batch in step for jet in batch.number.tolist()]
    assert jets == list(range(source.n_jets))
