"""The receptive field of every registered network, against the support of the gradient of one cell of its last map."""

import pytest
import torch
from torch import nn

from hepcnn.models import describe_model
from hepcnn.models.describe import describe_layers
from hepcnn.models.field import Traced, trace_modules
from hepcnn.models.layers_as_channels import LayersAsChannels
from hepcnn.models.registry import count_axes
from tests.models.small import MODELS, VOLUMES, build


def open_everything(model):
    """Positive weights: nothing cancels, no ReLU closes, and no branch that starts at zero is shut."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for module in model.modules():
            for key, parameter in module.named_parameters(recurse=False):
                fresh = torch.rand(parameter.shape, generator=generator, dtype=parameter.dtype) + 0.5
                if key == "bias":
                    fresh.zero_()
                elif parameter.ndim > 1:
                    # Sums become means, which neither vanish in deep networks nor grow past what ReLU6 lets through.
                    fresh /= 2 * parameter[0].numel()
                parameter.copy_(fresh)


def gradient_support(model, axis, length, width):
    """Pixels along one axis of a strip that the middle cell of the last map depends on."""
    axes = len(model.grid)
    shape = [length if number == axis else width for number in range(axes)]
    if isinstance(model, LayersAsChannels):
        shape[0] = model.grid[0]
    # Slopes, since a maximum over equal values would follow one of them only.
    slope = torch.linspace(0.5, 1, length, dtype=torch.float64)
    strip = slope.view(*(-1 if number == axis else 1 for number in range(axes))).expand(1, 3, *shape)
    seen = torch.zeros(length, dtype=torch.bool)
    for image in (strip, strip.flip(2 + axis)):
        entry = image.clone().requires_grad_()
        maps = model.features(entry)
        maps[(0, slice(None), *(size // 2 for size in maps.shape[2:]))].sum().backward()
        across = [1 + number for number in range(axes) if number != axis]
        seen |= entry.grad[0].abs().sum(dim=(0, *across)) > 0
    return seen


@pytest.mark.parametrize("name", MODELS)
def test_receptive_field_is_the_support_of_the_gradient(name):
    grid = {2: (40, 40), 3: (45, 16, 9)}[count_axes(name)]
    model = build(name, grid).double().eval()
    told = describe_model(model, grid, 3)
    open_everything(model)
    for axis, (field, stride) in enumerate(zip(told["receptive_field"], told["stride"], strict=True)):
        if name.startswith("layers/") and axis == 0:
            assert field is None, "layers are channels"
            continue
        length = 2 * field + 4 * stride if field else 64
        seen = gradient_support(model, axis, length, max(2 * stride, 20 if len(grid) == 2 else 8))
        places = seen.nonzero()
        span = int(places.max() - places.min()) + 1
        assert span == (field or length), (axis, span)
        assert 0 < places.min() < places.max() < length - 1 or field is None, "the strip cut the field off"


def test_a_branch_with_a_window_of_its_own_counts():
    class Split(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.narrow = nn.Conv2d(1, 1, 7, padding=3), nn.Conv2d(1, 1, (1, 3), padding=(0, 1))

        def features(self, x):
            return self.wide(x) + self.narrow(self.narrow(x))

    fields, _ = trace_modules(Split(), torch.rand(1, 1, 9, 9))
    assert [sight.size for sight in fields[""]] == [7, 7]
    assert [sight.size for sight in fields["narrow"]] == [1, 5]


@pytest.mark.parametrize(
    ("operation", "field", "jump"),
    [
        (lambda x: x.relu() * 2 + x, (1, 1), (1, 1)),
        (lambda x: nn.functional.max_pool2d(x, 2), (2, 2), (2, 2)),
        (lambda x: nn.functional.conv2d(x, torch.ones(2, 2, 3, 1), dilation=(2, 1), stride=(1, 2)), (5, 1), (1, 2)),
        (lambda x: nn.functional.pad(x, (1, 1, 0, 0)), (1, 1), (1, 1)),
        (lambda x: x * x.mean(dim=(2, 3), keepdim=True), (None, None), (1, 1)),
        (lambda x: x + x.mean(dim=3, keepdim=True), (1, None), (1, 1)),
        (lambda x: nn.functional.layer_norm(x.permute(0, 2, 3, 1), (2,)).permute(0, 3, 1, 2), (1, 1), (1, 1)),
        (lambda x: nn.functional.group_norm(x, 1), (None, None), (0, 0)),
        (lambda x: x.view(1, 1, 2, 8, 8).flatten(1, 2), (1, 1), (1, 1)),
        (lambda x: x.split(1, dim=1)[1] + x[:, :1], (1, 1), (1, 1)),
        (lambda x: x.split(4, dim=3)[0], (None, None), (0, 0)),
        (lambda x: x[:, :, torch.arange(7, -1, -1)], (None, None), (0, 0)),
        (lambda x: x.flip(3), (None, None), (0, 0)),
        (lambda x: nn.functional.conv2d(x.view(1, 1, 2, 8, 8)[:, 0], torch.ones(2, 2, 3, 3)), (3, 3), (1, 1)),
        (lambda x: torch.cat([x.narrow(3, 6, 2), x, x.narrow(3, 0, 2)], dim=3), (1, 1), (1, 1)),
    ],
)
def test_operations(operation, field, jump):
    result = operation(Traced.start(torch.rand(1, 2, 8, 8)))
    sizes = [None if sight.size == float("inf") else sight.size for sight in result.field]
    assert (tuple(sizes), tuple(sight.jump for sight in result.field)) == (field, jump)


@pytest.mark.parametrize(
    ("operation", "field", "jump"),
    [
        (lambda x: nn.functional.max_pool3d(x, (1, 2, 3)), (1, 2, 3), (1, 2, 3)),
        (lambda x: nn.functional.conv3d(x, torch.ones(1, 1, 5, 3, 1), stride=(2, 1, 1)), (5, 3, 1), (2, 1, 1)),
        (lambda x: nn.functional.avg_pool3d(x, 3, 1, padding=1) + x, (3, 3, 3), (1, 1, 1)),
        (lambda x: nn.functional.conv2d(x.flatten(1, 2), torch.ones(1, 6, 3, 1)), (None, 3, 1), (0, 1, 1)),
        (lambda x: x.flatten(3), (None, None, None), (0, 0, 0)),
        (lambda x: nn.functional.layer_norm(x.flatten(1, 2).permute(0, 2, 3, 1), (6,)), (None, 1, 1), (0, 1, 1)),
    ],
)
def test_operations_over_three_axes(operation, field, jump):
    result = operation(Traced.start(torch.rand(1, 1, 6, 8, 9)))
    sizes = [None if sight.size == float("inf") else sight.size for sight in result.field]
    assert (tuple(sizes), tuple(sight.jump for sight in result.field)) == (field, jump)


def test_an_operation_in_place_counts_for_the_tensor_that_it_changes():
    image = Traced.start(torch.rand(1, 2, 8, 8))
    wide = nn.functional.max_pool2d(image, 3, 1, 1)
    image.add_(wide)
    assert [sight.size for sight in image.field] == [3, 3]


@pytest.mark.parametrize("name", ["cnn", "inception_v3", "mobilenet_v2", "convnext_atto", "sparse_resnet", *VOLUMES])
def test_layers_add_up_to_the_model(name):
    grid = {2: (40, 40), 3: (45, 16, 9)}[count_axes(name)]
    model = build(name, grid, n_jet_features=2)
    told, layers = describe_model(model, grid, 3), describe_layers(model, grid, 3)
    assert sum(layer["parameters"] for layer in layers) == told["parameters"]
    assert sum(layer["flops"] for layer in layers) == pytest.approx(told["flops"], rel=1e-3)
    trunk = [layer for layer in layers if layer["receptive_field"] is not None]
    for axis, field in enumerate(told["receptive_field"]):
        seen = [layer["receptive_field"][axis] for layer in trunk]
        assert (None if None in seen else max(seen)) == field
    assert layers[-1]["shape"] == [2]


def test_layers_of_a_network_that_can_be_counted_by_hand():
    model = build("lenet5", in_channels=1, grid=(32, 32), widths=(6, 16), hidden=(120, 84))
    rows = {layer["name"]: layer for layer in describe_layers(model, (32, 32), 1)}
    first, second = rows["trunk.0.0"], rows["trunk.1.0"]
    assert (first["shape"], first["parameters"], first["flops"]) == ([6, 28, 28], 156, 2 * 25 * 6 * 28 * 28)
    assert (second["shape"], second["parameters"], second["flops"]) == ([16, 10, 10], 2416, 2 * 150 * 16 * 10 * 10)
    assert [rows[f"trunk.{place}"]["receptive_field"] for place in ("0.0", "0.2", "1.0", "1.2")] == [
        [5, 5],
        [6, 6],
        [14, 14],
        [16, 16],
    ]
    assert rows["trunk.1.2"]["shape"] == [16, 5, 5]
    assert rows["head.embed.1"]["flops"] == 2 * 400 * 120
