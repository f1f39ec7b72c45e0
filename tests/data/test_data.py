"""Samples in memory: joining, splitting, scaling, batching."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepcnn.config import ImagesConfig
from hepcnn.convert.files import convert_files
from hepcnn.convert.inputs import LabelledFiles
from hepcnn.data.batches import epoch_order
from hepcnn.data.dataset import ImageDataset, read_dataset
from hepcnn.data.normalisation import Normalisation, fit_normalisation
from hepcnn.data.sources import DeviceDataset
from hepcnn.data.splits import SPLITS, make_splits, require_every_class
from hepcnn.errors import EmptySampleError, InputError

FRACTIONS = {"train": 0.6, "val": 0.15, "test": 0.25}


@pytest.fixture(scope="module")
def image_files(toy_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for name, path in toy_files.items():
        group = LabelledFiles([path], "hepcnn", name)
        convert_files([group], folder / f"{name}.h5", class_names=list(toy_files), images=ImagesConfig())
    return [folder / f"{name}.h5" for name in toy_files]


@pytest.fixture(scope="module")
def dataset(image_files: list[Path]) -> ImageDataset:
    return read_dataset(image_files)


def test_files_join_in_order(dataset: ImageDataset, image_files: list[Path]) -> None:
    alone = [read_dataset([path]) for path in image_files]
    assert len(dataset) == sum(map(len, alone)) == 800
    assert dataset.class_names == ("qcd", "top")
    assert np.array_equal(dataset.to_dense(), np.concatenate([part.to_dense() for part in alone]))
    assert dataset.jets["source_file"].tolist() == [0] * 400 + [1] * 400


def test_files_made_differently_do_not_join(
    image_files: list[Path], toy_files: dict[str, Path], tmp_path: Path
) -> None:
    other = ImagesConfig(preprocess=["centre"])
    output = tmp_path / "other.h5"
    group = LabelledFiles([toy_files["top"]], "hepcnn", "top")
    convert_files([group], output, class_names=["qcd", "top"], images=other)
    with pytest.raises(InputError, match=r"other\.h5: its preprocess is"):
        read_dataset([image_files[0], output])
    with pytest.raises(InputError, match="made for the classes"):
        read_dataset(image_files, class_names=["top", "qcd"])


def test_selecting_keeps_jets_whole(dataset: ImageDataset) -> None:
    jets = np.array([5, 700, 5, 0])
    part = dataset.select(jets)
    assert np.array_equal(part.to_dense(), dataset.to_dense()[jets])
    assert np.array_equal(part.label, dataset.label[jets])
    assert len(dataset.select(np.array([], np.int64))) == 0


def test_splits_cover_all_and_share_no_event(dataset: ImageDataset) -> None:
    splits = make_splits(dataset.jets["event_id"], FRACTIONS)
    joined = np.sort(np.concatenate(list(splits.values())))
    assert joined.tolist() == list(range(800))
    require_every_class(splits, dataset.label, dataset.class_names)


@given(st.integers(1, 3000), st.integers(0, 100))
def test_more_events_move_none(n_more: int, seed: int) -> None:
    random = np.random.default_rng(n_more)
    some = random.integers(0, 2**64, 500, dtype=np.uint64)
    more = np.concatenate([random.integers(0, 2**64, n_more, dtype=np.uint64), some])
    before, after = make_splits(some, FRACTIONS, seed=seed), make_splits(more, FRACTIONS, seed=seed)
    for name in SPLITS:
        assert np.array_equal(after[name][after[name] >= n_more] - n_more, before[name])


def test_the_fractions_are_met_as_a_random_draw_would() -> None:
    splits = make_splits(np.random.default_rng(1).integers(0, 2**64, 100_000, dtype=np.uint64), FRACTIONS)
    for name, fraction in FRACTIONS.items():
        assert len(splits[name]) == pytest.approx(1e5 * fraction, abs=5 * np.sqrt(1e5 * fraction * (1 - fraction)))


def test_a_split_without_a_class_is_named() -> None:
    splits = {"train": np.array([0, 1]), "val": np.array([2]), "test": np.array([3])}
    with pytest.raises(EmptySampleError, match="split 'val' holds no jet of class 'top' \\(there are 2 of it"):
        require_every_class(splits, np.array([0, 1, 0, 1]), ("qcd", "top"))


def test_normalisation_is_fitted_on_what_it_is_given(dataset: ImageDataset) -> None:
    fitted = fit_normalisation(dataset, power=0.5, feature_names=("pt", "mass"))
    for column, scale in zip(dataset.value.T, fitted.channel_scale, strict=True):
        assert scale == pytest.approx(column[column > 0].mean(), rel=1e-5)
    logs = np.log1p(dataset.features["mass"].astype(np.float64))
    assert fitted.feature_mean[1] == pytest.approx(logs.mean())
    assert fitted.feature_std[1] == pytest.approx(logs.std())
    assert Normalisation.from_dict(fitted.to_dict()) == fitted
    with pytest.raises(EmptySampleError):
        fit_normalisation(dataset.select(np.array([], np.int64)), power=1, feature_names=())
    with pytest.raises(InputError, match="no jet feature"):
        fit_normalisation(dataset, power=1, feature_names=("tau9",))


def test_batches_hold_the_images_dense_or_sparse(dataset: ImageDataset) -> None:
    data = DeviceDataset(dataset, feature_names=("mass",), device=torch.device("cpu"))
    order = np.array([3, 799, 400, 3])
    dense, sparse = (data.table.batch(order, sparse=sparse) for sparse in (False, True))
    expected = dataset.to_dense(order)
    assert np.array_equal(dense.images.numpy(), expected)
    assert np.array_equal(sparse.images.to_dense().numpy(), expected)
    assert dense.jet_features[:, 0].tolist() == dataset.features["mass"][order].tolist()
    assert dense.label.tolist() == dataset.label[order].tolist()


def test_an_epoch_sees_every_jet_once_in_an_order_of_its_own() -> None:
    orders = [epoch_order(100, seed=seed, epoch=epoch) for seed, epoch in ((1, 0), (1, 1), (2, 0), (1, 0))]
    assert all(sorted(order.tolist()) == list(range(100)) for order in orders)
    assert np.array_equal(orders[0], orders[3])
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])
