"""Options that families share: padding, normalisation, kernels, heads, and networks of timm."""

import numpy as np
import pytest
import torch
from torch import nn

from hepcnn.errors import ConfigError
from hepcnn.models import create_model, describe_model, model_options
from hepcnn.models.base import TaggingHead
from hepcnn.models.cnn import conv_block
from hepcnn.models.fit import ChannelBias, ChannelNorm, CompleteConv2d, SameConv2d, complete_windows, set_norm
from hepcnn.models.periodic import close_axes
from tests.models.small import build, make_images

NUMPY_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}


@pytest.mark.parametrize("padding", NUMPY_MODES)
@pytest.mark.parametrize("periodic", [(False, False), (False, True)])
def test_padding_is_numpys(padding, periodic):
    """Against numpy's padding of the image, and a convolution without."""
    conv = nn.Conv2d(2, 3, 5, padding=2, padding_mode=padding).double()
    layer = close_axes(nn.Sequential(conv), periodic)
    image = torch.rand(1, 2, 8, 9, dtype=torch.float64)
    padded = np.pad(image.numpy(), ((0, 0), (0, 0), (2, 2), (0, 0)), mode=NUMPY_MODES[padding])
    mode = "wrap" if periodic[1] else NUMPY_MODES[padding]
    padded = np.pad(padded, ((0, 0), (0, 0), (0, 0), (2, 2)), mode=mode)
    torch.testing.assert_close(layer(image), nn.functional.conv2d(torch.from_numpy(padded), conv.weight, conv.bias))


@pytest.mark.parametrize("name", ["cnn", "deeptop", "resnet18", "squeezenet", "vgg11", "convnext_atto"])
def test_padding_reaches_the_network_and_the_names_stay(name):
    one, other = (build(name, (32, 32), padding=padding).eval() for padding in ("zeros", "replicate"))
    with torch.no_grad():
        for parameter in one.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.5)  # ConvNeXt's branches start near zero
    other.load_state_dict(one.state_dict())
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(one.features(images), other.features(images))


@pytest.mark.parametrize(
    ("norm", "kind"),
    [("batch", nn.BatchNorm2d), ("layer", ChannelNorm), ("group", nn.GroupNorm), ("none", ChannelBias)],
)
@pytest.mark.parametrize("name", ["cnn", "resnet", "resnet18", "vgg11"])
def test_normalisation(name, norm, kind):
    model = build(name, norm=norm)
    found = {type(m) for m in model.trunk.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm)}
    assert found | {ChannelBias} == {kind, ChannelBias}
    assert sum(isinstance(m, kind) for m in model.trunk.modules()) > 1
    model(make_images(3)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_norms_normalise_what_they_say():
    image = torch.rand(2, 8, 5, 5) * 3 + 1
    layer = set_norm(nn.Sequential(nn.BatchNorm2d(8)), "layer")(image)
    torch.testing.assert_close(layer.mean(dim=1), torch.zeros(2, 5, 5), atol=1e-5, rtol=0)
    group = set_norm(nn.Sequential(nn.BatchNorm2d(12)), "group")(torch.rand(2, 12, 5, 5))
    torch.testing.assert_close(group.view(2, 6, -1).mean(dim=2), torch.zeros(2, 6), atol=1e-5, rtol=0)
    zero = nn.BatchNorm2d(4)
    nn.init.zeros_(zero.weight)
    assert set_norm(nn.Sequential(zero), "group")(torch.rand(1, 4, 3, 3)).abs().max() == 0


def test_a_normalisation_over_the_image_is_seen_by_every_cell():
    assert describe_model(build("cnn", norm="group"), (24, 24), 3)["receptive_field"] == [None, None]
    assert describe_model(build("cnn", norm="layer"), (24, 24), 3)["receptive_field"] != [None, None]


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_factorised_convolution_is_the_outer_product_of_its_factors(kernel):
    square, factors = conv_block(1, 1, kernel)[0], conv_block(1, 1, kernel, factorised=True)
    column, row = factors[0], factors[1]
    with torch.no_grad():
        square.weight.copy_(column.weight * row.weight)
        image = torch.rand(1, 1, 9, 11)
        torch.testing.assert_close(square(image), row(column(image)))


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, 5 + 1 + 2 * 2 + 2 + 2 * 4),
        ({"kernel_size": 1}, 5 + 1 + 2),
        ({"kernel_size": 5}, 5 + 1 + 4 * 2 + 2 + 4 * 4),
        ({"dilation": 2}, 5 + 1 + 4 * 2 + 2 + 4 * 4),
        ({"factorised": True}, 5 + 1 + 2 * 2 + 2 + 2 * 4),
        ({"down": "stride"}, 5 + 2 + 2 * 2),
    ],
)
def test_kernels_of_the_small_cnn(options, field):
    """By hand: a 5×5 stem, a pool, a layer at a distance of 2, a pool, a layer at a distance of 4."""
    told = describe_model(build("cnn", (40, 40), **options), (40, 40), 3)
    assert told["receptive_field"] == [field, field]
    assert told["stride"] == [4, 4]


@pytest.mark.parametrize("options", [{"kernel_size": 5}, {"dilation": 2}, {"factorised": True}])
def test_kernels_of_the_small_resnet(options):
    plain, other = build("resnet"), build("resnet", **options)
    assert other(make_images(2)).shape == (2, 2)
    same = describe_model(plain, (24, 24), 3) == describe_model(other, (24, 24), 3)
    assert not same


def test_windows_are_completed_with_what_an_odd_grid_leaves_over():
    image = torch.rand(1, 2, 7, 8)
    patches = complete_windows(nn.Sequential(nn.Conv2d(2, 3, 2, stride=2)))
    assert isinstance(patches[0], CompleteConv2d)
    padded = nn.functional.pad(image, (0, 0, 0, 1))
    expected = nn.functional.conv2d(padded, patches[0].weight, patches[0].bias, stride=2)
    torch.testing.assert_close(patches(image), expected)
    pool = complete_windows(nn.Sequential(nn.MaxPool2d(2)))
    assert pool(image).shape[2:] == (4, 4)
    assert complete_windows(nn.Sequential(nn.MaxPool2d(3, 2, 1)))[0].ceil_mode is False


def test_every_pixel_of_an_odd_grid_counts():
    """But for the papers' networks, whose pools leave the last row over."""
    for name in ("cnn", "vgg11", "alexnet", "convnext_atto", "mobilenet_v2"):
        model = build(name, (37, 33), pool="average").double()
        model.eval()
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in model.parameters():
                scale = 0.5 / parameter[0].numel() if parameter.ndim > 1 else 1.0
                parameter.copy_(torch.rand(parameter.shape, generator=generator, dtype=parameter.dtype) * scale)
        image = torch.rand(1, 3, 37, 33, generator=generator, dtype=torch.float64).requires_grad_()
        model.features(image).sum().backward()
        reached = image.grad.abs().sum(dim=(0, 1)) > 0
        assert reached[-2:].any(), name
        assert reached[:, -2:].any(), name


def test_an_even_kernel_keeps_the_size_as_torch_does():
    conv = SameConv2d(2, 3, 4)
    image = torch.rand(1, 2, 7, 8)
    other = nn.functional.conv2d(nn.functional.pad(image, (1, 2, 1, 2)), conv.weight, conv.bias)
    torch.testing.assert_close(conv(image), other)


@pytest.mark.parametrize(("hidden", "layers"), [(16, 3), ((16,), 2), ((16, 8, 8), 4), ((), 1)])
@pytest.mark.parametrize("n_jet_features", [0, 3])
def test_heads_of_any_depth(hidden, layers, n_jet_features):
    head = TaggingHead(4, (2, 3), 5, n_jet_features, hidden=hidden)
    linear = [m for part in (head.embed, head.classify) for m in part if isinstance(m, nn.Linear)]
    assert len(linear) == layers
    jets = torch.rand(7, n_jet_features) if n_jet_features else None
    assert head(torch.rand(7, 4, 2, 3), jets).shape == (7, 5)


class TestTimm:
    @pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "swin_s3_tiny_224", "regnetx_002"])
    def test_any_network_becomes_a_tagger(self, name):
        arguments = {"swin_s3_tiny_224": {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}}
        options = {"arguments": arguments.get(name)}
        model = create_model(f"timm/{name}", in_channels=3, n_classes=2, grid=(56, 56), n_jet_features=1, **options)
        logits = model(torch.rand(4, 3, 56, 56), torch.rand(4, 1))
        assert logits.shape == (4, 2)
        logits.square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())
        held = sum(p.numel() for _, stage in model.stages() for p in stage.parameters())
        assert held + sum(p.numel() for p in model.head.parameters()) == sum(p.numel() for p in model.parameters())

    def test_tokens_become_a_map_of_one_column(self):
        arguments = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
        model = create_model(
            "timm/vit_tiny_patch16_224", in_channels=3, n_classes=2, grid=(40, 40), arguments=arguments
        )
        assert model.features(torch.rand(1, 3, 40, 40)).shape == (1, 16, 26, 1)
        assert model.stages()[0][0] == "trunk.0.network"
        assert describe_model(model, (40, 40), 3)["receptive_field"] == [None, None]

    def test_the_stem_steps_less(self):
        for stride, step in ((1, 16), (2, 32), (None, 32)):
            model = create_model("timm/resnet10t", in_channels=3, n_classes=2, grid=(64, 64), stem_stride=stride)
            assert describe_model(model, (64, 64), 3)["stride"] == [step, step]

    def test_networks_close_their_axes(self):
        model = create_model(
            "timm/mobilenetv3_small_050", in_channels=2, n_classes=2, grid=(32, 48), periodic=(False, True)
        )
        model.double().eval()
        images = torch.rand(2, 2, 32, 48, dtype=torch.float64)
        with torch.no_grad():
            one, other = model.features(images), model.features(images.roll(16, dims=3))
        torch.testing.assert_close(other, one.roll(1, dims=3))

    def test_a_stem_with_ways_side_by_side_says_what_may_help(self):
        with pytest.raises(ConfigError, match=r"does not fit a grid of \(40, 40\): .* stem_stride: null"):
            create_model("timm/repvgg_a0", in_channels=2, n_classes=2, grid=(40, 40))
        model = create_model("timm/repvgg_a0", in_channels=2, n_classes=2, grid=(40, 40), stem_stride=None)
        assert model.features(torch.rand(1, 2, 40, 40)).shape[2:] == (2, 2)

    def test_options_and_names(self):
        assert {"arguments", "complete", "stem_stride", "hidden", "dropout", "pool", "padding", "norm"} == set(
            model_options("timm/resnet18")
        )
        with pytest.raises(ConfigError, match="no option 'depth'"):
            create_model("timm/resnet18", in_channels=1, n_classes=2, grid=(40, 40), depth=3)
        with pytest.raises(ConfigError, match=r"cannot be built .* unexpected keyword argument 'colour'"):
            create_model("timm/resnet18", in_channels=1, n_classes=2, grid=(40, 40), arguments={"colour": 1})
