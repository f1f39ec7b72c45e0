"""Augmentation against numpy's own moves, sums that must stay, and itself on the other kind of image."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor

from hepcnn.config import AugmentConfig, NoiseConfig
from hepcnn.data.batches import Batch
from hepcnn.errors import ConfigError
from hepcnn.grids import CylinderGrid, DetectorGrid, GivenGrid, Grid, LayersGrid, WindowGrid
from hepcnn.grids.cells import VoxelLayer
from hepcnn.sparse import SparseTensor
from hepcnn.training.augment import Augmentation, Moves, make_augmentation, move_pixels
from hepcnn.training.pixels import put_pixels, take_pixels

CHANNELS = ("pt", "ecal", "multiplicity")
WINDOW, DETECTOR = WindowGrid(n_eta=9, n_phi=12), DetectorGrid(n_eta=9, n_phi=12)
RINGS = VoxelLayer(r_edges=(0, 1, 2, 3), n_alpha=8)
CYLINDER, UNEVEN = CylinderGrid(layers=(RINGS,) * 5), CylinderGrid(layers=(RINGS, VoxelLayer(r_edges=(0, 1, 2, 3))))


def make_images(n_jets: int = 6, *, seed: int = 1, shape: tuple[int, int] = (9, 12), margin: int = 0) -> Tensor:
    """Images of some bright pixels, none within the margin."""
    random = Generator().manual_seed(seed)
    images = torch.rand(n_jets, len(CHANNELS), *shape, generator=random) * 10
    images = images * (torch.rand(n_jets, 1, *shape, generator=random) < 0.2)
    inner = torch.zeros(shape)
    inner[margin : shape[0] - margin, margin : shape[1] - margin] = 1
    return images * inner


def make_batch(images: Tensor | SparseTensor, n_jets: int = 6) -> Batch:
    label = torch.zeros(n_jets, dtype=torch.long)
    return Batch(images, torch.full((n_jets, 1), 500.0), label, torch.ones(n_jets), torch.ones(n_jets))


def augment(images: Tensor | SparseTensor, *, seed: int = 3, **config: Any) -> Tensor | SparseTensor:
    change = make_augmentation(AugmentConfig(**config), grid=WINDOW, channels=CHANNELS)
    assert change is not None
    return change(make_batch(images), Generator().manual_seed(seed)).images


def move(images: Tensor, grid: Grid = WINDOW, **moves: Any) -> Tensor:
    """Move all jets alike."""
    n = len(images)
    told = {"sign": [1.0, 1.0], "angle": 0.0, "shift": [0.0, 0.0]} | moves
    each = {name: torch.tensor(value).expand(n, *torch.tensor(value).shape) for name, value in told.items()}
    moved = put_pixels(move_pixels(take_pixels(images), Moves(**each), grid), sparse=False)
    assert isinstance(moved, Tensor)
    return moved


EVERYTHING: dict[str, Any] = {
    "flip": ["deta", "dphi"],
    "rotate": 3.0,
    "shift": 1.3,
    "smear": 0.5,
    "drop": 0.2,
    "noise": {"probability": 0.05, "energy": 0.5},
}


@pytest.mark.parametrize("config", [EVERYTHING, *({name: value} for name, value in EVERYTHING.items())])
def test_dense_and_sparse_images_change_alike(config: dict[str, Any]) -> None:
    images = make_images()
    sparse = SparseTensor.from_dense(images)
    order = torch.randperm(len(sparse.coords), generator=Generator().manual_seed(1))
    shuffled = SparseTensor(sparse.coords[order], sparse.features[order], (9, 12), 6)
    dense, found = augment(images, **config), augment(shuffled, **config)
    assert isinstance(dense, Tensor)
    assert isinstance(found, SparseTensor)
    # As a network would check it: no place twice, none outside, and a site is what is not zero.
    checked = SparseTensor(found.coords, found.features, (9, 12), 6)
    assert torch.allclose(checked.to_dense(), dense, atol=1e-5)
    assert torch.equal((checked.to_dense() != 0).any(1), (dense != 0).any(1))
    assert not torch.allclose(dense, images, atol=1e-3)


def test_the_generator_decides_and_the_input_stays() -> None:
    images = make_images()
    before = images.clone()
    one, same, other = (augment(images, seed=seed, **EVERYTHING) for seed in (1, 1, 2))
    assert isinstance(one, Tensor)
    assert isinstance(other, Tensor)
    assert torch.equal(one, same)  # type: ignore[arg-type]
    assert not torch.equal(one, other)
    assert torch.equal(images, before)


def test_only_images_change() -> None:
    batch = make_batch(make_images())
    change = make_augmentation(AugmentConfig(**EVERYTHING), grid=WINDOW, channels=CHANNELS)
    assert change is not None
    found = change(batch, Generator().manual_seed(1))
    for name in ("jet_features", "label", "weight", "mass", "number"):
        assert getattr(found, name) is getattr(batch, name)


@given(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 100))
def test_a_shift_by_whole_pixels_is_numpys_roll(first: int, second: int, seed: int) -> None:
    images = make_images(seed=seed, margin=3)
    found = move(images, shift=[float(first), float(second)])
    assert torch.equal(found, torch.roll(images, (first, second), dims=(2, 3)))
    around = make_images(seed=seed)
    found = move(around, DETECTOR, shift=[0.0, float(second)])
    assert torch.equal(found, torch.roll(around, second, dims=3))


def test_half_a_pixel_is_the_mean_of_two_neighbours() -> None:
    images = make_images(margin=1)
    expected = (images + torch.roll(images, 1, dims=3)) / 2
    assert torch.allclose(move(images, shift=[0.0, 0.5]), expected)


def test_a_flip_is_numpys_and_twice_is_none() -> None:
    images = make_images()
    once = move(images, sign=[-1.0, 1.0])
    assert torch.equal(once, images.flip(2))
    assert torch.equal(move(once, sign=[-1.0, 1.0]), images)
    found = augment(images, flip=["dphi"])
    assert isinstance(found, Tensor)
    flipped = [torch.equal(a, b.flip(2)) for a, b in zip(found, images, strict=True)]
    assert 0 < sum(flipped) < len(images)
    assert all(f or torch.equal(a, b) for f, a, b in zip(flipped, found, images, strict=True))


@pytest.mark.parametrize(("angle", "turns"), [(math.pi / 2, 1), (math.pi, 2), (-math.pi / 2, -1)])
def test_a_quarter_turn_is_numpys(angle: float, turns: int) -> None:
    images = make_images(shape=(9, 9))
    square = WindowGrid(n_eta=9, n_phi=9)
    expected = torch.rot90(images, turns, dims=(2, 3))
    assert torch.allclose(move(images, square, angle=angle), expected)


def test_an_angle_is_one_in_the_plane_of_the_axes() -> None:
    """With pixels twice as long as wide, what is two pixels off along one axis comes to one pixel along the other."""
    grid = WindowGrid(n_eta=9, n_phi=18)  # pixels along dphi are half as wide
    image = torch.zeros(1, 1, 9, 18)
    image[0, 0, 4, 8 + 3 : 8 + 5] = 1.0  # centre 3 pixels of dphi off the middle, which is at 8.5
    found = move(image, grid, angle=math.pi / 2)
    rows = (found.sum(dim=(0, 1, 3)) * torch.arange(9.0)).sum() / found.sum()
    assert float(rows) == pytest.approx(4 - 3 / 2, abs=1e-4)


@given(st.floats(-math.pi, math.pi), st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 50))
def test_nothing_is_lost_within_the_grid(angle: float, first: float, second: float, seed: int) -> None:
    images = torch.zeros(4, 3, 13, 13)
    images[:, :, 5:8, 5:8] = make_images(4, seed=seed, shape=(9, 12))[:, :, :3, :3]
    found = move(images, WindowGrid(n_eta=13, n_phi=13), angle=angle, shift=[first, second])
    assert torch.allclose(found.sum(dim=(2, 3)), images.sum(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    # The centroid turns with the image.
    total, place = images[:, 0].sum(dim=(1, 2)), torch.arange(13.0) - 6
    if bool((total > 0.1).all()):
        before, after = (
            torch.stack([(x[:, 0] * place[:, None]).sum((1, 2)), (x[:, 0] * place).sum((1, 2))]) / total
            for x in (images, found)
        )
        turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        assert torch.allclose(after, turn @ before + torch.tensor([[first], [second]]), atol=1e-3)


def test_what_leaves_the_grid_is_lost_but_not_around_a_circle() -> None:
    images = torch.zeros(1, 3, 9, 12)
    images[:, :, 4, 11] = 8.0
    assert float(move(images, shift=[0.0, 0.25]).sum()) == pytest.approx(0.75 * 24)
    around = move(images, DETECTOR, shift=[0.0, 0.25])
    assert float(around.sum()) == pytest.approx(24)
    assert float(around[0, 0, 4, 0]) == pytest.approx(2)


def test_moves_belong_to_their_jets() -> None:
    images, random = make_images(), Generator().manual_seed(8)
    config = AugmentConfig(flip=["deta"], rotate=1.0, shift=2.0)
    drawer = Augmentation(config, WINDOW, CHANNELS, (), normalised=False)
    moves = drawer.draw_moves(6, random)
    assert float(moves.shift.abs().max()) <= 2
    assert float(moves.angle.abs().max()) <= 1
    assert set(moves.sign[:, 1].tolist()) == {1.0}
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    permuted = Moves(moves.sign[order], moves.angle[order], moves.shift[order])
    one = put_pixels(move_pixels(take_pixels(images), moves, WINDOW), sparse=False)
    other = put_pixels(move_pixels(take_pixels(images[order]), permuted, WINDOW), sparse=False)
    assert torch.allclose(one[order], other, atol=1e-6)  # type: ignore[index, arg-type]


@pytest.mark.parametrize("scale", [1.0, 500.0])
def test_smearing_has_the_width_that_it_says_and_keeps_the_mean(scale: float) -> None:
    """Normalised images are in units of 500 GeV here."""
    grid, names = WindowGrid(n_eta=100, n_phi=100), ("pt", "track_pt")
    images = torch.full((6, 2, 100, 100), 16.0 / scale)
    features = () if scale == 1 else ("pt",)
    change = make_augmentation(
        AugmentConfig(smear=0.8), grid=grid, channels=names, feature_names=features, normalised=scale != 1
    )
    assert change is not None
    found = change(make_batch(images), Generator().manual_seed(5)).images
    assert isinstance(found, Tensor)
    energy = found[:, 0].double() * scale
    n = energy.numel()
    assert float(energy.mean()) == pytest.approx(16, abs=5 * 3.2 / math.sqrt(n))
    assert float(energy.std()) == pytest.approx(0.8 * math.sqrt(16), rel=0.02)
    assert torch.equal(found[:, 1], images[:, 1])


def test_smearing_leaves_a_pixel_of_tracks_alone_and_soft_ones_finite() -> None:
    images = torch.zeros(6, 3, 9, 12)
    images[:, 2, 4, 4] = 3.0  # multiplicity alone
    images[:, 0, 2, 2] = 1e-30
    found = augment(images, smear=1.0)
    assert isinstance(found, Tensor)
    assert torch.equal(found[:, 2], images[:, 2])
    assert bool(torch.isfinite(found).all())


def test_dropping_takes_all_channels_of_as_many_pixels_as_it_says() -> None:
    images = torch.ones(6, 3, 9, 12)
    lost = torch.cat([(augment(images, seed=seed, drop=0.3) == 0).float() for seed in range(20)])  # type: ignore[union-attr]
    assert torch.equal(lost.amax(1), lost.amin(1))
    assert float(lost.mean()) == pytest.approx(0.3, abs=5 * math.sqrt(0.21 / (6 * 108 * 20)))


@pytest.mark.parametrize("normalised", [False, True])
def test_noise_has_the_rate_and_the_energy_that_it_says(normalised: bool) -> None:
    grid, names = WindowGrid(n_eta=100, n_phi=100), ("pt", "ecal", "hcal", "track_pt", "multiplicity")
    config = AugmentConfig(noise=NoiseConfig(probability=0.2, energy=0.5))
    change = make_augmentation(config, grid=grid, channels=names, feature_names=("pt",), normalised=normalised)
    assert change is not None
    found = change(make_batch(torch.zeros(6, 5, 100, 100)), Generator().manual_seed(5)).images
    assert isinstance(found, Tensor)
    pt, ecal, hcal, track, count = found.double().movedim(1, 0)
    pt, ecal, hcal = ((500.0 if normalised else 1.0) * energy for energy in (pt, ecal, hcal))
    n = 60_000
    assert float(count.mean()) == pytest.approx(0.2, abs=5 * math.sqrt(0.16 / n))
    hit = count == 1
    assert torch.equal(hit, pt > 0)
    assert float(pt[hit].mean()) == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(0.2 * n))
    assert float(pt[hit].std()) == pytest.approx(0.5, rel=0.05)
    assert torch.allclose(ecal + hcal, pt, rtol=1e-5)
    assert not bool(track.any())


@pytest.mark.parametrize("sparse", [False, True])
def test_a_batch_without_jets_stays_one(sparse: bool) -> None:
    images: Tensor | SparseTensor = torch.zeros(0, 3, 9, 12)
    if sparse:
        images = SparseTensor(torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 3), (9, 12), 0)
    change = make_augmentation(AugmentConfig(**EVERYTHING), grid=WINDOW, channels=CHANNELS)
    assert change is not None
    found = change(make_batch(images, 0), Generator().manual_seed(1)).images
    if isinstance(found, SparseTensor):
        assert (found.batch_size, len(found.coords)) == (0, 0)
    else:
        assert found.shape == (0, 3, 9, 12)


def test_empty_images_stay_so() -> None:
    config = {name: value for name, value in EVERYTHING.items() if name != "noise"}
    images = torch.zeros(6, 3, 9, 12)
    assert not bool(augment(images, **config).any())  # type: ignore[union-attr]
    found = augment(SparseTensor.from_dense(images), **config)
    assert isinstance(found, SparseTensor)
    assert len(found.coords) == 0


@pytest.mark.parametrize(
    ("config", "change", "message"),
    [
        ({"flip": ["dfi"]}, {}, "no axis 'dfi'; did you mean 'dphi'"),
        ({"flip": ["deta"]}, {"grid": GivenGrid(shape=(9,))}, "two or three axes can be augmented"),
        ({"flip": ["layer"]}, {"grid": CYLINDER}, "a shower begins at one end of 'layer'"),
        ({"flip": ["alfa"]}, {"grid": CYLINDER}, "no axis 'alfa'; did you mean 'alpha'"),
        ({"shift": 1.0}, {"grid": CYLINDER}, r"shift: images over \(layer, alpha, r\) are not moved by parts"),
        ({"rotate": 1.0}, {"grid": LayersGrid(n_layers=3, n_eta=4, n_phi=4)}, "rotate: .* have no axis 'alpha'"),
        (
            {"rotate": 1.0},
            {"grid": UNEVEN},
            "rotate: layers differ in their cells, so that 21 of 48 pixels .* are none",
        ),
        ({"noise": {"probability": 0.1, "energy": 1}}, {"grid": UNEVEN}, "noise: layers differ"),
        ({"rotate": 1.0}, {"grid": DETECTOR}, "no middle to turn about"),
        ({"smear": 1.0}, {"channels": ("track_pt",)}, "hold none of them, but track_pt"),
        ({"shift": 1.0}, {"channels": ("pt", "pt_mean:dxy")}, "no meaning for the mean 'pt_mean:dxy'"),
        ({"smear": 1.0}, {"normalised": True}, "add 'pt' to training.jet_features"),
    ],
)
def test_what_cannot_be_done_is_named(config: dict[str, Any], change: dict[str, Any], message: str) -> None:
    told: dict[str, Any] = {"grid": WINDOW, "channels": CHANNELS} | change
    with pytest.raises(ConfigError, match=message):
        make_augmentation(AugmentConfig(**config), **told)


def test_nothing_asked_for_is_nothing_done() -> None:
    assert make_augmentation(AugmentConfig(), grid=LayersGrid(n_layers=3), channels=("track_pt",)) is None


def test_a_mean_may_be_flipped() -> None:
    images = make_images()[:, :2]
    change = make_augmentation(AugmentConfig(flip=["deta"]), grid=WINDOW, channels=("pt", "pt_mean:dxy"))
    assert change is not None
    found = change(replace(make_batch(images)), Generator().manual_seed(1)).images
    assert np.isclose(float(found.sum()), float(images.sum()))  # type: ignore[union-attr]


@pytest.mark.parametrize("sparse", [False, True])
def test_showers_turn_and_flip_by_whole_voxels(sparse: bool) -> None:
    """Each is one of the sixteen that numpy makes of it by rolls and mirrors in alpha, and most of those occur."""
    random = Generator().manual_seed(1)
    one = torch.rand(1, len(CHANNELS), 5, 8, 3, generator=random) * (torch.rand(1, 1, 5, 8, 3, generator=random) < 0.4)
    images: Tensor | SparseTensor = one.expand(200, -1, -1, -1, -1)
    images = SparseTensor.from_dense(images) if sparse else images
    augment = make_augmentation(
        AugmentConfig(flip=["alpha"], rotate=math.pi), grid=CYLINDER, channels=CHANNELS, feature_names=("pt",)
    )
    assert augment is not None
    moved = augment(make_batch(images, 200), Generator().manual_seed(2)).images
    dense = moved.to_dense() if isinstance(moved, SparseTensor) else moved
    whole = one[0].numpy()
    made = [np.roll(turned, step, axis=2) for turned in (whole, whole[:, :, ::-1]) for step in range(8)]
    found = [[number for number, other in enumerate(made) if np.array_equal(shower, other)] for shower in dense.numpy()]
    assert all(len(which) == 1 for which in found)
    assert len({which[0] for which in found}) >= 14


def test_voxels_are_smeared_dropped_and_get_noise() -> None:
    config = AugmentConfig(smear=0.3, drop=0.2, noise=NoiseConfig(probability=0.05, energy=0.5))
    augment = make_augmentation(config, grid=CYLINDER, channels=("energy",))
    assert augment is not None
    images = torch.rand(40, 1, 5, 8, 3, generator=Generator().manual_seed(1)) * 10
    images[:, :, 3:] = 0
    found = augment(make_batch(images, 40), Generator().manual_seed(2)).images
    assert isinstance(found, Tensor)
    assert float((found[:, :, :3] == 0).float().mean()) == pytest.approx(0.2 * 0.95, abs=0.02)
    assert float((found[:, :, 3:] != 0).float().mean()) == pytest.approx(0.05, abs=0.015)
    assert float(found[:, :, :3].sum()) == pytest.approx(0.8 * float(images.sum()) + 0.05 * 0.5 * 40 * 72, rel=0.03)
