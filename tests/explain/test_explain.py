"""What networks look at, on networks whose answer is known."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from torch import Tensor, nn

from hepcnn.data.normalisation import Normalisation
from hepcnn.errors import EmptySampleError, InputError
from hepcnn.explain.correlation import correlate_pixels
from hepcnn.explain.gradients import gradient_of, make_grad_cam, make_saliency
from hepcnn.explain.layers import collect_maps, find_first_kernels, list_stages, probe_depths
from hepcnn.explain.occlusion import make_occlusion
from hepcnn.explain.scoring import make_log_odds, normalise_inputs
from hepcnn.models.registry import create_model
from hepcnn.training.network import TaggerNetwork

GRID = (12, 12)


def make_sparse_images(n_jets: int = 6, n_channels: int = 2, *, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    active = torch.rand(n_jets, 1, *GRID, generator=random) < 0.15
    return torch.rand(n_jets, n_channels, *GRID, generator=random) * active + 0.1 * active


def pixel_score(images: Tensor, jet_features: Tensor | None) -> Tensor:
    """A network that looks at a single pixel of one channel."""
    del jet_features
    return 3.0 * images[:, 1, 4, 7]


@pytest.mark.parametrize("name", ["cnn", "sparse"])
def test_gradients_are_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, in_channels=2, n_classes=2, grid=GRID, n_jet_features=1).double().eval()
    score = make_log_odds(model, ("qcd", "top"), signal="top", background="qcd")
    images, features = make_sparse_images(2).double(), torch.rand(2, 1).double()
    found = gradient_of(score, images, features)
    for jet, channel, row, column in images.nonzero()[::8].tolist():
        # Only active pixels: where a sparse network sees nothing, its slope is not that of an active pixel.
        changed = [images.clone(), images.clone()]
        for sign, image in zip((1, -1), changed, strict=True):
            image[jet, channel, row, column] += sign * 1e-6
        up, down = (float(score(image, features)[jet].detach()) for image in changed)
        assert float(found[jet, channel, row, column]) == pytest.approx((up - down) / 2e-6, rel=1e-4, abs=1e-6)


def test_saliency_of_a_linear_score_adds_up_to_it() -> None:
    images, weight = make_sparse_images(), torch.randn(2, *GRID)

    def score(pixels: Tensor, _: Tensor | None) -> Tensor:
        return (pixels * weight).sum(dim=(1, 2, 3))

    plain = make_saliency(score, images)
    assert torch.allclose(plain.sum(dim=(1, 2, 3)), score(images, None), atol=1e-5)
    assert (plain[images == 0] == 0).all()
    # The gradient of a linear score is the same at every noisy copy.
    assert torch.allclose(make_saliency(score, images, n_smooth=3, noise=0.5), plain, atol=1e-5)
    with pytest.raises(InputError, match="n_smooth = -1"):
        make_saliency(score, images, n_smooth=-1)
    assert make_saliency(score, images[:0]).shape == (0, 2, *GRID)


def test_smoothing_averages_the_slope_over_noise() -> None:
    images = torch.full((1, 1, 1, 1), 2.0)

    def score(pixels: Tensor, _: Tensor | None) -> Tensor:
        return (pixels**3).sum(dim=(1, 2, 3))

    smooth = make_saliency(score, images, n_smooth=4000, noise=0.5)
    # E[3 (x + n)^2] x = 3 (x^2 + s^2) x with s = 0.5 * 2.
    assert float(smooth) == pytest.approx(3 * (4 + 1) * 2, rel=0.05)


def test_grad_cam_of_a_linear_network_is_known() -> None:
    """Two maps, pooled by their mean and weighted 2 and -1: their gradients are 2/(hw) and -1/(hw) everywhere."""
    images = make_sparse_images()

    def score_of_maps(maps: Tensor, _: Tensor | None) -> Tensor:
        means = maps.mean(dim=(2, 3))
        return 2 * means[:, 0] - means[:, 1]

    found = make_grad_cam(lambda pixels: pixels, score_of_maps, images)
    expected = ((2 * images[:, 0] - images[:, 1]) / (GRID[0] * GRID[1])).relu()
    assert torch.allclose(found, expected, atol=1e-7)
    halved = make_grad_cam(lambda pixels: nn.functional.avg_pool2d(pixels, 2), score_of_maps, images)
    assert halved.shape == found.shape
    assert (halved >= 0).all()


def test_occlusion_finds_the_pixel_that_is_looked_at() -> None:
    images = make_sparse_images()
    images[:, 1, 4, 7] = torch.arange(6.0)
    found = make_occlusion(pixel_score, images, size=3)
    expected = torch.zeros(6, *GRID)
    expected[:, 3:6, 6:9] = 3.0 * torch.arange(6.0).view(-1, 1, 1)
    assert torch.allclose(found, expected)
    assert torch.allclose(make_occlusion(pixel_score, images, size=1)[:, 4, 7], 3.0 * torch.arange(6.0))
    overlapping = make_occlusion(pixel_score, images, size=2, stride=1)
    assert torch.allclose(overlapping[:, 4, 7], 3.0 * torch.arange(6.0)), "all patches over it hide it"
    assert torch.allclose(overlapping[:, 4, 8], 1.5 * torch.arange(6.0)), "half of those over its neighbour do"
    with pytest.raises(InputError, match="1 <= stride <= size"):
        make_occlusion(pixel_score, images, size=2, stride=3)


def test_correlations_are_scipys_and_blank_for_constant_pixels() -> None:
    rng = np.random.default_rng(0)
    images = rng.random((50, 2, 3, 4)) + 1e6
    score = images[:, 0, 1, 1] - 1e6 + rng.normal(0, 0.1, 50)
    images[:, 1] = 0.3
    found = correlate_pixels(images, score)
    assert found.shape == (2, 3, 4)
    for pixel in np.ndindex(3, 4):
        assert found[0][pixel] == pytest.approx(pearsonr(images[(slice(None), 0, *pixel)], score)[0], abs=1e-6)
    assert np.isnan(found[1]).all()
    assert np.isnan(correlate_pixels(images, np.full(50, 0.1))).all()


def test_weighted_correlations_are_those_of_repeated_jets() -> None:
    rng = np.random.default_rng(1)
    images, score, counts = rng.random((20, 5)), rng.random(20), rng.integers(0, 4, 20)
    repeated = correlate_pixels(np.repeat(images, counts, axis=0), np.repeat(score, counts))
    assert correlate_pixels(images, score, counts) == pytest.approx(repeated)
    with pytest.raises(EmptySampleError, match="1 jets have a weight"):
        correlate_pixels(images[:1], score[:1])
    with pytest.raises(InputError):
        correlate_pixels(images * np.nan, score)
    with pytest.raises(InputError):
        correlate_pixels(images, score[:3])


def test_probes_tell_what_is_separable_from_what_is_not() -> None:
    rng = np.random.default_rng(2)
    truth = np.arange(2000) % 2 == 1
    noise = rng.normal(0, 1, (2000, 3))
    shifted = noise + np.array([1.0, 0, 0]) * truth[:, None]
    points = probe_depths({"noise": noise, "shifted": shifted, "told": truth[:, None] * 1.0}, truth)
    assert [point.name for point in points] == ["noise", "shifted", "told"]
    noise_point, shifted_point, told = points
    assert abs(noise_point.auc - 0.5) < 4 * (noise_point.err_stat or 0)
    # Two unit Gaussians one standard deviation apart: AUC = Phi(1 / sqrt 2).
    assert abs(shifted_point.auc - 0.7602) < 4 * (shifted_point.err_stat or 0)
    assert told.auc == 1.0
    with pytest.raises(EmptySampleError, match="3 jets"):
        probe_depths({"a": np.zeros((10, 1))}, np.arange(10) < 3)
    with pytest.raises(InputError, match="a: features"):
        probe_depths({"a": np.zeros((9, 1))}, np.arange(10) < 5)


@pytest.mark.parametrize("name", ["cnn", "resnet18", "sparse", "sparse_resnet"])
def test_every_network_can_be_looked_into(name: str) -> None:
    torch.manual_seed(1)
    grid = (32, 32)
    model = create_model(name, in_channels=2, n_classes=2, grid=grid, n_jet_features=1).eval()
    images, features = torch.zeros(3, 2, *grid), torch.rand(3, 1)
    images[:, :, 10:20, 12:18] = torch.rand(3, 2, 10, 6)
    maps, pooled = collect_maps(model, images, features), collect_maps(model, images, features, pool=True)
    assert list(maps) == list(pooled)
    assert len(maps) == len(list_stages(model)) >= 2
    for stage, values in maps.items():
        assert values.shape[0] == 3
        assert pooled[stage] == pytest.approx(values.mean(axis=(2, 3)), abs=1e-5)
    with torch.no_grad():
        assert torch.allclose(model.head(model.features(images), features), model(images, features), atol=1e-5)
    layer, kernels = find_first_kernels(model, 2)
    assert layer
    assert kernels.shape[1] == 2
    saliency = make_saliency(make_log_odds(model, ("a", "b"), signal="a", background="b"), images, features)
    assert torch.isfinite(saliency).all()
    with pytest.raises(InputError, match="over 7 channels"):
        find_first_kernels(model, 7)


def test_inputs_are_those_behind_the_normalisation() -> None:
    model = create_model("cnn", in_channels=2, n_classes=2, grid=GRID, n_jet_features=1)
    scales = Normalisation((2.0, 4.0), 0.5, ("mass",), (1.0,), (0.5,))
    network = TaggerNetwork(model, scales).eval()
    images, mass = make_sparse_images(), torch.rand(6, 1)
    pixels, features = normalise_inputs(network, images, mass)
    assert torch.allclose(pixels, (images / torch.tensor([2.0, 4.0]).view(1, 2, 1, 1)).sqrt())
    assert features is not None
    assert torch.allclose(features, (torch.log1p(mass) - 1.0) / 0.5)
    with torch.no_grad():
        assert torch.allclose(model(pixels, features), network(images, mass), atol=1e-6)


def test_log_odds_name_their_classes() -> None:
    model = nn.Identity()
    with pytest.raises(InputError, match="did you mean 'top'"):
        make_log_odds(model, ("qcd", "top"), signal="topp", background="qcd")
    with pytest.raises(InputError, match="both 'top'"):
        make_log_odds(model, ("qcd", "top"), signal="top", background="top")


VOLUME = (6, 4, 5)


@pytest.mark.parametrize("name", ["cnn3d", "layers/cnn", "sparse_resnet3d"])
def test_networks_over_three_axes_are_looked_into(name: str) -> None:
    """Maps have the shape of the grid, gradients are finite differences, occlusion is an emptied patch."""
    torch.manual_seed(0)
    model = create_model(name, in_channels=2, n_classes=2, grid=VOLUME, widths=(4, 6)).double().eval()
    score = make_log_odds(model, ("pion", "electron"), signal="electron", background="pion")
    active = torch.rand(3, 1, *VOLUME, generator=torch.Generator().manual_seed(1)) < 0.3
    images = (torch.rand(3, 2, *VOLUME) * active + 0.1 * active).double()
    gradient = gradient_of(score, images)
    place = tuple(images.nonzero()[0].tolist())
    up, down = images.clone(), images.clone()
    up[place] += 1e-6
    down[place] -= 1e-6
    slope = float((score(up, None) - score(down, None))[place[0]].detach()) / 2e-6
    assert float(gradient[place]) == pytest.approx(slope, rel=1e-4, abs=1e-6)
    assert make_saliency(score, images, n_smooth=2).shape == images.shape
    cam = make_grad_cam(model.features, lambda maps, _: model.head(maps, None)[:, 0], images)
    assert cam.shape == (3, *VOLUME)
    drop = make_occlusion(score, images, size=(3, 4, 5))
    front = images.clone()
    front[:, :, :3] = 0
    with torch.no_grad():
        expected = score(images, None) - score(front, None)
    torch.testing.assert_close(drop[:, 0, 0, 0], expected)
    assert float(drop[:, :3].std(dim=(1, 2, 3)).max()) < 1e-12
    layer, kernels = find_first_kernels(model, 2)
    assert kernels.shape[1] == 2
    assert kernels.ndim == (4 if name.startswith("layers/") else 5), layer
    pooled = collect_maps(model, images, pool=True)
    assert list(pooled) == [stage for stage, _ in list_stages(model)]
    assert all(values.shape[0] == 3 and values.ndim == 2 for values in pooled.values())
