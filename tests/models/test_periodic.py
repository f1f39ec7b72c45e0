"""Networks on grids that close into a circle: what is rolled comes out rolled."""

import copy
from pathlib import Path

import numpy as np
import pytest
import timm.layers as timm_layers
import torch
from torch import nn

from hepcnn.data.normalisation import Normalisation
from hepcnn.errors import ConfigError
from hepcnn.export import export_onnx
from hepcnn.models import create_model, describe_model, model_options, register_model, registry
from hepcnn.models.base import JetTagger
from hepcnn.models.cnn import conv_block
from hepcnn.models.fit import CompleteConv2d, SameConv2d
from hepcnn.models.periodic import PeriodicConv2d, PeriodicMaxPool2d, close_axes, wrap_axis
from hepcnn.models.registry import count_axes
from hepcnn.models.shape import ImageShape
from hepcnn.sparse import SparseTensor
from hepcnn.training.network import TaggerNetwork
from tests.models.small import MODELS, SMALL

GRID = (16, 24)
PERIODIC = (False, True)
STRIDES = {
    "convnext_atto": 32,
    "convnext_nano": 32,
    "convnext_tiny": 32,
    "efficientnet_b0": 16,
    "landscape_resnext": 16,
}


def grid_of(name: str) -> tuple[int, ...]:
    """Two and three steps of the network; of a shower 16 layers of 24 angles and 16 rings."""
    if count_axes(name) == 3:
        return 16, 24, 16
    return 2 * STRIDES.get(name, 8), 3 * STRIDES.get(name, 8)


def circle_of(name: str) -> tuple[bool, ...]:
    """Phi or alpha closes: the second axis of both."""
    return PERIODIC if count_axes(name) == 2 else (False, True, False)


def make_images(n: int, grid: tuple[int, ...] = GRID) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    active = torch.rand(n, 1, *grid, generator=generator) < 0.1
    return torch.rand(n, 2, *grid, generator=generator, dtype=torch.float64) * active


def build(name: str, periodic: tuple[bool, ...] = (), **options: object) -> JetTagger:
    torch.manual_seed(1)
    options = {"pool": "average"} | SMALL.get(name, {}) | options
    grid, periodic = grid_of(name), periodic or circle_of(name)
    model = create_model(name, in_channels=2, n_classes=2, grid=grid, periodic=periodic, **options)
    for key, parameter in model.named_parameters():
        if parameter.ndim == 1 and not key.endswith("bias"):
            # Fresh scales may shut residual blocks, and would hide what these compute.
            nn.init.uniform_(parameter, 0.5, 1.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            module.momentum = 1.0
    model.double().train()(make_images(9, grid))
    return model.double().eval()


@pytest.mark.parametrize("name", ["cnn", "resnet", "resnext50", "sparse", "sparse_resnet"])
@pytest.mark.parametrize("periodic", [(True, False), (True, True)])
def test_scores_do_not_change_under_rolls_by_the_stride(name: str, periodic: tuple[bool, bool]) -> None:
    model, images = build(name, periodic), make_images(3)
    stride = describe_model(model, GRID, 2)["stride"]
    with torch.no_grad():
        expected = model(images)
        assert expected.std(dim=0).max() > 1e-3, "scores that hang on nothing would pass"
        for axis, wraps in enumerate(periodic):
            rolled = images.roll(stride[axis], dims=2 + axis)
            assert torch.allclose(model(rolled), expected, rtol=1e-9, atol=1e-12) == wraps, axis
            if model.input_format == "sparse":
                other = model(SparseTensor.from_dense(rolled))
                torch.testing.assert_close(other, model(rolled), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_feature_maps_roll_with_the_image(name: str) -> None:
    grid = grid_of(name)
    model, images = build(name), make_images(2, grid)
    stride, place = describe_model(model, grid, 2)["stride"][1], 2 if name.startswith("layers/") else 3
    with torch.no_grad():
        one, other = (model.features(x) for x in (images, images.roll(stride, dims=3)))
        assert one.std() > 0
        torch.testing.assert_close(one.roll(1, dims=place), other, rtol=1e-7, atol=1e-9 * float(one.abs().max()))
        # The other axis is open, and has to stay so.
        across, dim = describe_model(model, grid, 2)["stride"][-1 if len(grid) == 3 else 0], -1 if len(grid) == 3 else 2
        assert not torch.allclose(one.roll(1, dims=dim), model.features(images.roll(across, dims=dim)), rtol=1e-3)


def test_a_layer_of_stride_one_rolls_by_every_pixel() -> None:
    block = close_axes(conv_block(2, 3, 5), PERIODIC).double().eval()
    images = make_images(2)
    with torch.no_grad():
        for shift in range(GRID[1]):
            torch.testing.assert_close(block(images.roll(shift, dims=3)), block(images).roll(shift, dims=3))


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation"), [(3, 1, 1, 1), (5, 2, 2, 1), (3, 1, 2, 2)])
def test_a_closed_convolution_is_one_of_a_wrapped_image(kernel: int, stride: int, padding: int, dilation: int) -> None:
    """Against numpy's own wrapping of the image, and torch's convolution without padding."""
    open_ = nn.Conv2d(2, 3, kernel, stride, padding, dilation).double()
    closed = close_axes(nn.Sequential(open_), PERIODIC)
    assert isinstance(closed[0], PeriodicConv2d)
    assert "periodic=(False, True)" in repr(closed)
    images = make_images(2)
    wrapped = np.pad(images.numpy(), ((0, 0), (0, 0), (0, 0), (padding, padding)), mode="wrap")
    wrapped = np.pad(wrapped, ((0, 0), (0, 0), (padding, padding), (0, 0)))
    expected = nn.functional.conv2d(
        torch.from_numpy(wrapped), open_.weight, open_.bias, stride=stride, dilation=dilation
    )
    torch.testing.assert_close(closed(images), expected)


@pytest.mark.parametrize(("size", "periodic"), [(7, (False, True)), (7, (True, True)), (8, (True, True))])
def test_the_last_window_of_a_closed_pool_goes_on_at_the_other_end(size: int, periodic: tuple[bool, bool]) -> None:
    pool = close_axes(nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), periodic)
    assert isinstance(pool[0], PeriodicMaxPool2d)
    image = torch.rand(1, 1, size, size)
    found = pool(image)[0, 0]
    for row in range((size + 1) // 2):
        for column in range((size + 1) // 2):
            rows, columns = ([2 * k, 2 * k + 1] for k in (row, column))
            rows = [k % size for k in rows] if periodic[0] else [k for k in rows if k < size]
            columns = [k % size for k in columns] if periodic[1] else [k for k in columns if k < size]
            assert found[row, column] == image[0, 0][rows][:, columns].max()


@pytest.mark.parametrize("name", ["cnn", "deeptop", "resnet18", "squeezenet", "sparse", "sparse_resnet"])
def test_a_grid_that_is_open_gives_the_network_that_it_gave(name: str) -> None:
    model = build(name, (False, False))
    assert not any(isinstance(module, PeriodicConv2d | PeriodicMaxPool2d) for module in model.modules())
    closed = build(name)
    assert list(model.state_dict()) == list(closed.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), closed.parameters(), strict=True))
    assert "periodic" not in model_options(name)


@pytest.mark.parametrize("name", ["resnet", "sparse", "resnet3d"])
def test_a_closed_network_passes_the_parity_gate(name: str, tmp_path: Path) -> None:
    network = TaggerNetwork(build(name).float(), Normalisation((1.0, 1.0), 0.5, (), (), ()))
    images, features = make_images(6, grid_of(name)).float().numpy(), np.zeros((6, 0), np.float32)
    assert export_onnx(network, tmp_path / "model.onnx", images=images, jet_features=features) < 1e-5


@pytest.mark.parametrize("size", [7, 8, 9])
@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        nn.AvgPool2d(3, stride=1, padding=1),
        nn.AvgPool2d(2),
        nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, padding_mode="reflect"),
        nn.Conv2d(2, 2, 7, padding=3, groups=2),
        nn.Conv2d(2, 3, (1, 5), padding=(0, 2)),
        nn.Conv2d(2, 3, 4),
        SameConv2d(2, 3, 4),
        CompleteConv2d(2, 3, 2, stride=2),
        timm_layers.Conv2dSame(2, 3, 3, stride=2),
    ],
    ids=str,
)
def test_every_layer_has_one_output_per_step_and_closes(layer: nn.Module, size: int) -> None:
    """Against the layer as it is, on three of the images side by side: its middle outputs see no end."""
    closed = close_axes(nn.Sequential(copy.deepcopy(layer)), PERIODIC).double()
    image = torch.rand(1, 2, 8, size, dtype=torch.float64)
    step = closed[0].steps[1]
    found, steps = closed(image), -(-size // step)
    assert found.shape[3] == steps
    if size % step == 0:
        three = copy.deepcopy(layer).double()(torch.cat([image] * 3, dim=3))
        torch.testing.assert_close(found, three[..., steps : 2 * steps])


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool3d((1, 2, 2), ceil_mode=True),
        nn.MaxPool3d(3, stride=2, padding=1),
        nn.Conv3d(2, 3, (3, 5, 1), (2, 1, 1), (1, 2, 0)),
        nn.Conv3d(2, 4, 3, (1, 2, 2), 1, groups=2, padding_mode="replicate"),
        nn.Conv3d(2, 3, 3, padding=2, dilation=2),
    ],
    ids=str,
)
def test_layers_over_three_axes_close_the_second(layer: nn.Module) -> None:
    """Against the layer as it is on three of the volumes side by side, as over two axes."""
    closed = close_axes(nn.Sequential(copy.deepcopy(layer)), (False, True, False)).double()
    volume = torch.rand(1, 2, 7, 8, 5, dtype=torch.float64)
    found, steps = closed(volume), 8 // closed[0].steps[1]
    three = copy.deepcopy(layer).double()(torch.cat([volume] * 3, dim=3))
    torch.testing.assert_close(found, three[:, :, :, steps : 2 * steps])


def test_layers_as_channels_cannot_close() -> None:
    with pytest.raises(ConfigError, match="takes the first axis as channels"):
        create_model("layers/cnn", in_channels=2, n_classes=2, grid=(8, 16, 16), periodic=(True, False, False))


def test_a_window_that_goes_round_more_than_once() -> None:
    image = torch.arange(3.0).view(1, 1, 1, 3)
    assert wrap_axis(image, 3, 4, 5).flatten().tolist() == [2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]


def test_a_model_that_cannot_close_axes_is_refused_for_grids_that_need_it() -> None:
    @register_model("open-only")
    def _open_only(shape: ImageShape) -> JetTagger:
        return create_model("cnn", in_channels=shape.in_channels, n_classes=2, grid=shape.grid)

    try:
        with pytest.raises(ConfigError, match=r"'open-only' cannot close the axes \(False, True\)"):
            create_model("open-only", in_channels=2, n_classes=2, grid=GRID, periodic=PERIODIC)
    finally:
        del registry._builders["open-only"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("timm/vit_tiny_patch16_224", "cannot close the axes"),
        ("timm/inception_v3", "cannot close the axes|does not fit a grid"),  # its pools are functions
        ("timm/resnetblur18", "cannot close the axes"),  # its blurring layer pads by itself
    ],
)
def test_what_is_no_layer_is_found_open(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        create_model(name, in_channels=2, n_classes=2, grid=(96, 96), periodic=PERIODIC)


def test_a_convolution_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="ConvTranspose2d cannot go on at the other end"):
        close_axes(nn.Sequential(nn.ConvTranspose2d(2, 2, 3)), PERIODIC)
    with pytest.raises(ConfigError, match="more padding than its window is wide"):
        close_axes(nn.Sequential(nn.Conv2d(2, 2, 3, padding=3)), PERIODIC)
