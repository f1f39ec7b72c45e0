"""Numbers of parameters, against the layer lists of the papers and against other people's code."""

import itertools

import pytest
import torch
import torchvision
from torch import nn

from hepcnn.models import create_model


def parameters(name, *, n_classes=2, in_channels=1, grid=(40, 40), **options):
    model = create_model(name, in_channels=in_channels, n_classes=n_classes, grid=grid, **options)
    return sum(p.numel() for p in model.parameters())


def trunk(name, **options):
    model = create_model(name, in_channels=3, n_classes=2, grid=(40, 40), **options)
    return sum(p.numel() for _, stage in model.stages() for p in stage.parameters())


def conv(inputs, outputs, kernel):
    return inputs * outputs * kernel**2 + outputs


def dense(*widths):
    return sum(before * after + after for before, after in itertools.pairwise(widths))


# 128C4-64C4-MP2-64C4-64C4-MP2.
DEEPTOP = sum(conv(*layer, 4) for layer in ((1, 128), (128, 64), (64, 64), (64, 64)))


def test_the_cnn_of_the_landscape():
    """arXiv:1902.09914 gives 610k for images of 40×40."""
    derived = DEEPTOP + dense(64 * 8 * 8, 64, 256, 256, 2)
    assert parameters("landscape_cnn") == derived == 609_666
    assert round(derived, -4) == 610_000


def test_deeptop():
    """arXiv:1803.00107 takes 37×37 pixels, zero-padded: pooled twice, 9×9 remain."""
    assert parameters("deeptop", grid=(37, 37)) == DEEPTOP + dense(64 * 9 * 9, 64, 256, 256, 2) == 679_298


def test_the_first_deeptop():
    """arXiv:1701.08784: 8C4-8C4-MP2-8C4-8C4-64N-64N-64N on 40×40 pixels, zero-padded."""
    derived = conv(1, 8, 4) + 3 * conv(8, 8, 4) + dense(8 * 20 * 20, 64, 64, 64, 2)
    assert parameters("deeptop_minimal") == derived == 216_546


def test_the_resnext_of_the_landscape():
    """arXiv:1902.09914 gives 1.46M. Layer by layer, with a quarter of the channels of ResNeXt-50 (32×4d)."""
    derived, width = 7 * 7 * 64 + 2 * 64, 64
    for planes, blocks in ((16, 3), (32, 4), (64, 6), (128, 3)):
        inner, outer = 2 * planes, 4 * planes
        for block in range(blocks):
            derived += width * inner + 2 * inner
            derived += 3 * 3 * (inner // 32) * inner + 2 * inner
            derived += inner * outer + 2 * outer
            derived += 0 if block else width * outer + 2 * outer
            width = outer
    derived += dense(512, 2)
    assert parameters("landscape_resnext", grid=(64, 64)) == derived == 1_457_314
    assert round(derived, -4) == 1_460_000


def test_lenet5():
    """With every map of the first layer seen by the second, LeNet-5 on 32×32 has 61,706, as any textbook counts."""
    assert parameters("lenet5", grid=(32, 32), n_classes=10) == 61_706


@pytest.mark.parametrize(
    ("name", "theirs", "options"),
    [
        ("resnet18", lambda: torchvision.models.resnet18(), {"stem_kernel": 7}),
        ("resnet34", lambda: torchvision.models.resnet34(), {"stem_kernel": 7}),
        ("resnet50", lambda: torchvision.models.resnet50(), {"stem_kernel": 7}),
        ("resnet101", lambda: torchvision.models.resnet101(), {"stem_kernel": 7}),
        ("resnet152", lambda: torchvision.models.resnet152(), {"stem_kernel": 7}),
        ("resnext50", lambda: torchvision.models.resnext50_32x4d(), {"stem_kernel": 7}),
        ("inception_v3", lambda: torchvision.models.inception_v3(aux_logits=False, init_weights=False), {}),
        ("googlenet", lambda: torchvision.models.googlenet(aux_logits=False, init_weights=False), {}),
        ("vgg16", lambda: torchvision.models.vgg16_bn().features, {}),
        ("alexnet", lambda: torchvision.models.alexnet().features, {"stem_kernel": 11}),
        ("squeezenet", lambda: torchvision.models.squeezenet1_1().features, {}),
        ("mobilenet_v2", lambda: torchvision.models.mobilenet_v2().features, {}),
        ("efficientnet_b0", lambda: torchvision.models.efficientnet_b0().features, {}),
    ],
)
def test_trunks_have_the_parameters_of_torchvision(name, theirs, options):
    with torch.device("meta"):
        other = theirs()
        assert trunk(name, **options) == sum(
            p.numel() for key, p in other.named_parameters() if not key.startswith(("fc.", "classifier."))
        )


def test_convnext_has_the_parameters_of_torchvision():
    with torch.device("meta"):
        features = torchvision.models.convnext_tiny().features
        ours = create_model("convnext_tiny", in_channels=3, n_classes=2, grid=(32, 32), patch=4)
    assert isinstance(features, nn.Sequential)
    held = sum(p.numel() for _, stage in ours.stages() for p in stage.parameters())
    assert held == sum(p.numel() for p in features.parameters())
