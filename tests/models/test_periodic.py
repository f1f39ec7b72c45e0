"""Networks on grids that close into a circle: what is rolled comes out rolled."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hepcnn.data.normalisation import Normalisation
from hepcnn.errors import ConfigError
from hepcnn.export import export_onnx
from hepcnn.models import create_model, describe_model, list_models, model_options, register_model
from hepcnn.models.base import JetTagger
from hepcnn.models.cnn import conv_block
from hepcnn.models.periodic import PeriodicConv2d, PeriodicMaxPool2d, close_axes
from hepcnn.sparse import SparseTensor
from hepcnn.training.network import TaggerNetwork

GRID = (16, 24)
PERIODIC = (False, True)
SMALL = {
    "cnn": {"stem": 4, "widths": (6, 8), "depth": 1},
    "resnet": {"widths": (4, 6)},
    "resnet18": {},
    "sparse": {"sparse_widths": (4, 6), "widths": (6, 8)},
    "sparse_resnet": {"widths": (4, 6, 8)},
}


def make_images(n: int, grid: tuple[int, int] = GRID) -> torch.Tensor:
    generator = torch.Generator().manual_seed(n)
    active = torch.rand(n, 1, *grid, generator=generator) < 0.1
    return torch.rand(n, 2, *grid, generator=generator, dtype=torch.float64) * active


def build(name: str, periodic: tuple[bool, bool] = PERIODIC, **options: object) -> JetTagger:
    torch.manual_seed(1)
    options = {"pool": "average"} | SMALL.get(name, {}) | options
    model = create_model(name, in_channels=2, n_classes=2, grid=GRID, periodic=periodic, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            # Fresh ones let a deep network fade away, or shut residual blocks, and would hide what these compute.
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.momentum = 1.0
    model.double().train()(make_images(9))
    return model.double().eval()


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("periodic", [(False, True), (True, False), (True, True)])
def test_scores_do_not_change_under_rolls_by_the_stride(name: str, periodic: tuple[bool, bool]) -> None:
    model, images = build(name, periodic), make_images(3)
    stride = describe_model(model.float(), GRID, 2)["stride"]
    model.double()
    with torch.no_grad():
        expected = model(images)
        assert expected.std(dim=0).max() > 1e-3, "scores that hang on nothing would pass"
        for axis, wraps in enumerate(periodic):
            rolled = images.roll(stride[axis], dims=2 + axis)
            assert torch.allclose(model(rolled), expected, rtol=1e-9, atol=1e-12) == wraps, axis
            if model.input_format == "sparse":
                other = model(SparseTensor.from_dense(rolled))
                torch.testing.assert_close(other, model(rolled), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", list_models())
def test_feature_maps_roll_with_the_image(name: str) -> None:
    model, images = build(name), make_images(2)
    stride = describe_model(model.float(), GRID, 2)["stride"][1]
    with torch.no_grad():
        one, other = (model.double().features(x) for x in (images, images.roll(3 * stride, dims=3)))
    torch.testing.assert_close(one.roll(3, dims=3), other, rtol=1e-9, atol=1e-12)


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


@pytest.mark.parametrize("name", list_models())
def test_a_grid_that_is_open_gives_the_network_that_it_gave(name: str) -> None:
    model = build(name, (False, False))
    assert not any(isinstance(module, PeriodicConv2d | PeriodicMaxPool2d) for module in model.modules())
    closed = build(name)
    assert list(model.state_dict()) == list(closed.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), closed.parameters(), strict=True))
    assert "periodic" not in model_options(name)


@pytest.mark.parametrize("name", ["cnn", "resnet", "sparse"])
def test_a_closed_network_passes_the_parity_gate(name: str, tmp_path: Path) -> None:
    network = TaggerNetwork(build(name).float(), Normalisation((1.0, 1.0), 0.5, (), (), ()))
    images, features = make_images(6).float().numpy(), np.zeros((6, 0), np.float32)
    assert export_onnx(network, tmp_path / "model.onnx", images=images, jet_features=features) < 1e-5


def test_a_model_that_cannot_close_axes_is_refused_for_grids_that_need_it() -> None:
    @register_model("open-only")
    def _open_only(*, in_channels: int, n_classes: int, grid: tuple[int, int], n_jet_features: int = 0) -> JetTagger:
        return build("cnn", in_channels=in_channels, n_classes=n_classes, grid=grid, n_jet_features=n_jet_features)

    from hepcnn.models import registry

    try:
        with pytest.raises(ConfigError, match=r"'open-only' cannot close the axes \(False, True\)"):
            create_model("open-only", in_channels=2, n_classes=2, grid=GRID, periodic=PERIODIC)
    finally:
        del registry._builders["open-only"]
