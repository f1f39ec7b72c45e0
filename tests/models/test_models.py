"""One shared test for every registered model, and what the registry refuses."""

import os
import re

import numpy as np
import pytest
import torch
from torch import nn

from hepcnn.data.normalisation import Normalisation
from hepcnn.errors import ConfigError, InputError
from hepcnn.export import export_onnx
from hepcnn.models import create_model, describe_model, list_models, model_options, register_model
from hepcnn.models.base import JetTagger
from hepcnn.models.describe import nominal_images
from hepcnn.models.registry import count_axes
from hepcnn.sparse import SparseTensor
from hepcnn.training.network import TaggerNetwork
from tests.models.small import MODELS, ODD_GRIDS, SMALL, VOLUMES, build, grid_of, is_dense, make_images

# One of each family. An export takes seconds: the others go through the same gate where this is asked for.
EXPORTED = (
    *("cnn", "resnet18", "landscape_cnn", "squeezenet", "convnext_atto", "sparse", "sparse_resnet"),
    *("cnn3d", "sparse_resnet3d", "timm/resnet10t"),
)
EXPORT_ALL = "HEPCNN_EXPORT_ALL"


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    @pytest.mark.parametrize("number", range(3))
    def test_forward_on_odd_grids(self, name, number):
        grid = ODD_GRIDS[count_axes(name)][number]
        model, images = build(name, grid).eval(), make_images(2, grid=grid)
        with torch.no_grad():
            logits = model(images if is_dense(model) else SparseTensor.from_dense(images))
        assert logits.shape == (2, 2)
        assert logits.isfinite().all()

    def test_backward_reaches_every_parameter(self, name):
        model, images = build(name), make_images(4, grid=grid_of(name))
        logits = model(images if is_dense(model) else SparseTensor.from_dense(images))
        nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1])).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())

    def test_state_round_trip_and_same_seed_same_weights(self, name):
        model, images = build(name).eval(), make_images(2, grid=grid_of(name))
        twin, state = build(name).eval(), model.state_dict()
        same = zip(state.items(), twin.state_dict().items(), strict=True)
        assert all(key == other and torch.equal(value, its) for (key, value), (other, its) in same)
        assert all(value.is_contiguous() for value in state.values())
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.add_(0.1)
            assert not torch.equal(twin(images), model(images))
            twin.load_state_dict(state)
            assert torch.equal(twin(images), model(images))

    def test_stages_hold_the_trunk_in_order(self, name):
        model = build(name)
        stages = model.stages()
        held = [key for prefix, stage in stages for key in (f"{prefix}.{k}" for k, _ in stage.named_parameters())]
        trunk = [key for key, _ in model.named_parameters() if not key.startswith("head.")]
        assert sorted(held) == sorted(trunk)
        assert len(stages) > 1
        order = []
        for prefix, stage in stages:
            assert model.get_submodule(prefix) is stage
            stage.register_forward_hook(lambda *_, prefix=prefix: order.append(prefix))
        with torch.no_grad():
            model.eval()(make_images(1, grid=grid_of(name)))
        assert order == [prefix for prefix, _ in stages]

    def test_jet_features_join_and_matter(self, name):
        model, images = build(name, n_jet_features=2).eval(), make_images(3, grid=grid_of(name))
        with torch.no_grad():
            one, other = model(images, torch.zeros(3, 2)), model(images, torch.ones(3, 2))
        assert not torch.equal(one, other)
        for wrong in (None, torch.zeros(3, 3), torch.zeros(3)):
            with pytest.raises(InputError, match=r"jet features of \(jets, 2\)"):
                model(images, wrong)

    def test_wrong_images_and_jet_features_are_refused(self, name):
        model, grid = build(name).eval(), grid_of(name)
        shorter = (*grid[:-1], grid[-1] - 1)
        for images in (make_images(2, 4, grid), make_images(2, grid=shorter), torch.zeros(3, *grid)):
            with pytest.raises(InputError, match=re.escape(f"takes images of {(3, *grid)}")):
                model(images)
        with pytest.raises(InputError, match="takes no jet features"):
            model(make_images(2, grid=grid), torch.zeros(2, 4))

    def test_empty_images_and_no_images(self, name):
        model, grid = build(name).eval(), grid_of(name)
        empty = SparseTensor(torch.zeros(0, 1 + len(grid), dtype=torch.int32), torch.zeros(0, 3), grid, 2)
        with torch.no_grad():
            assert model(empty).isfinite().all()
            assert model(torch.zeros(0, 3, *grid), torch.zeros(0, 0)).shape == (0, 2)

    def test_describe(self, name):
        model = build(name, n_jet_features=1).train()
        told = describe_model(model, grid_of(name), 3)
        assert told["parameters"] == sum(p.numel() for p in model.parameters())
        assert told["flops"] > told["parameters"] / 2
        assert told["input_format"] in ("dense", "sparse")
        assert model.training

    def test_options_have_defaults(self, name):
        assert {"dropout", "hidden", "pool"} <= set(model_options(name))


@pytest.mark.parametrize("name", EXPORTED)
def test_the_exported_graph_gives_the_same_scores(name, tmp_path):
    grid = ODD_GRIDS[count_axes(name)][1]
    model = build(name, grid=grid, n_jet_features=1)
    network = TaggerNetwork(model, Normalisation((1.0,) * 3, 0.5, ("pt",), (0.0,), (1.0,)))
    images, features = make_images(5, grid=grid).numpy(), np.ones((5, 1), np.float32)
    assert export_onnx(network, tmp_path / "model.onnx", images=images, jet_features=features) < 1e-5


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get(EXPORT_ALL), reason=f"takes minutes: set {EXPORT_ALL}=1")
@pytest.mark.parametrize("name", sorted(set(MODELS) - set(EXPORTED)))
def test_the_exported_graph_of_the_others_too(name, tmp_path):
    test_the_exported_graph_gives_the_same_scores(name, tmp_path)


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("sparse")])
class TestSparseModels:
    @pytest.mark.parametrize("number", range(2))
    def test_dense_and_sparse_input_give_the_same(self, name, number):
        grid = ODD_GRIDS[count_axes(name)][number]
        model, images = build(name, grid).eval(), make_images(4, grid=grid)
        with torch.no_grad():
            torch.testing.assert_close(model(SparseTensor.from_dense(images)), model(images), rtol=1e-6, atol=1e-6)

    def test_dense_and_sparse_input_train_the_same(self, name):
        images, losses = make_images(8, grid=grid_of(name)), []
        for entry in (images, SparseTensor.from_dense(images)):
            model = build(name, dropout=0.0).double()
            loss = model(entry.to(torch.float64)).square().sum()
            loss.backward()
            losses.append([loss, *[p.grad for p in model.parameters()], *model.buffers()])
        for one, other in zip(*losses, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", ["cnn", "resnet", "sparse", "sparse_resnet", *VOLUMES])
def test_average_pooling_and_depth(name):
    assert build(name, pool="average", depth=2)(make_images(4, grid=grid_of(name))).shape == (4, 2)


def test_flops_of_sparse_layers_count_active_pixels_only():
    # Averaged, or the head's operations would hide the others.
    options = {"sparse_widths": (4,), "kernel_size": 1, "widths": (4,), "pool": "average"}
    model = build("sparse", (40, 40), **options)
    pixels = float((nominal_images(128, 1, (40, 40)) != 0).sum()) / 128
    head = sum(m.weight.numel() for m in model.head.modules() if isinstance(m, nn.Linear))
    told = describe_model(model, (40, 40), 3)["flops"]
    # At a stride of 2 a pixel meets 9/4 outputs on average; some padding and the border's losses remain.
    expected = 2 * head + 2 * 3 * 4 * pixels + 2 * 4 * 4 * pixels * 9 / 4
    assert told == pytest.approx(expected, rel=0.05)


def test_contract_example():
    model = create_model("resnet18", in_channels=3, n_classes=2, grid=(40, 40))
    assert isinstance(model, JetTagger)
    assert {"cnn", "resnet", "resnet18", "sparse"} <= set(list_models())


def test_every_small_size_belongs_to_a_model():
    assert set(SMALL) <= set(MODELS)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnt", {}, "unknown model 'resnt'; did you mean 'resnet'"),
        ("timm/resnt18", {}, "timm has no network 'resnt18'; did you mean 'resnet18'"),
        ("cnn", {"widhts": (4,)}, "no option 'widhts'; did you mean 'widths'"),
        ("vgg16", {"depth": 11}, "no option 'depth'"),
        ("cnn", {"widths": ()}, "widths must be positive integers"),
        ("cnn", {"widths": (4, "8")}, "widths must be positive integers"),
        ("cnn", {"hidden": (4, 0)}, "hidden must be positive integers"),
        ("cnn", {"kernel_size": 4}, "kernel_size must be odd"),
        ("cnn", {"dilation": 0}, "dilation must be at least 1"),
        ("cnn", {"down": "up"}, "down must be 'pool' or 'stride', got 'up'"),
        ("cnn", {"padding": "zero"}, "padding 'zero' is unknown; did you mean 'zeros'"),
        ("cnn", {"norm": "bach"}, "norm 'bach' is unknown; did you mean 'batch'"),
        ("cnn", {"padding": "reflect", "grid": (4, 40)}, "'cnn' cannot be built on the grid"),
        ("lenet5", {"grid": (12, 40)}, r"'lenet5' cannot be built on the grid \(12, 40\)"),
        ("landscape_cnn", {"grid": (6, 40)}, r"'landscape_cnn' cannot be built on the grid \(6, 40\)"),
        ("resnet50", {"widths": (4, 4)}, "widths must be 4 numbers"),
        ("vgg11", {"pools": 6}, "'vgg11' cannot be built"),
        ("timm/vit_tiny_patch16_224", {}, r"patches of \(16, 16\) pixels do not fill a grid of \(40, 40\)"),
        ("timm/efficientnet_b0", {"norm": "layer"}, "this network's layers are of the kind BatchNormAct2d"),
        ("cnn", {"stem": "wide"}, "'cnn' cannot be built"),
        ("cnn", {"dropout": 2.0}, "'cnn' cannot be built"),
        ("cnn", {"pool": "max"}, "pool must be 'flatten' or 'average'"),
        ("sparse", {"kernel_size": 4}, "must be odd"),
        ("cnn3d", {}, r"images of three axes, this grid has two axes: \(40, 40\); networks for it are alexnet"),
        (
            "cnn3d",
            {"grid": (9, 9, 9), "kernel_size": (3, 2, 3)},
            r"kernel_size must be odd along each axis, got \(3, 2",
        ),
        ("cnn3d", {"grid": (9, 9, 9), "kernel_size": (3, 3)}, "kernel_size must be an integer .* or 3 of them"),
        ("cnn3d", {"grid": (9, 9, 9), "strides": (2,)}, r"strides must be 3, one for each level, got \[2\]"),
        ("cnn3d", {"grid": (9, 9, 9), "down": "up"}, "down must be 'pool' or 'stride', got 'up'"),
        ("sparse_resnet3d", {"grid": (9, 9, 9), "sparse_levels": 5}, "must lie from 1 to the 4 levels"),
        ("sparse_resnet", {"sparse_levels": 5}, "must lie from 1 to the 4 levels"),
        ("sparse_resnet", {"depth": 0}, "depth must be at least 1"),
        ("cnn", {"grid": (40,)}, r"images of two axes, this grid has one axis: \(40,\); no network takes it"),
        ("cnn", {"grid": (2, 16, 16)}, r"this grid has three axes: \(2, 16, 16\); networks for it are .*layers/cnn"),
        ("layers/cnn", {}, r"images of three axes, this grid has two axes: \(40, 40\); networks for it are alexnet"),
        ("layers/layers/cnn", {}, "takes a network for two axes, 'layers/cnn' is one for 3"),
        ("layers/resnt", {}, "unknown model 'resnt'; did you mean 'resnet'"),
        (
            "layers/cnn",
            {"grid": (4, 8, 8), "periodic": (True, False, False)},
            "first axis as channels, which cannot close",
        ),
        ("layers/cnn", {"grid": (4, 8, 8), "widhts": (4,)}, "no option 'widhts'; did you mean 'widths'"),
        ("cnn", {"grid": (40, 0)}, "grid of positive sizes"),
        ("cnn", {"periodic": (True,)}, "one flag per axis"),
        ("cnn", {"n_classes": 1}, "at least 1 channel and 2 classes"),
    ],
)
def test_wrong_names_and_values_say_so(name, options, words):
    arguments = {"in_channels": 3, "n_classes": 2, "grid": (40, 40), **options}
    with pytest.raises(ConfigError, match=words):
        create_model(name, **arguments)


def test_a_name_is_taken_once_and_builders_are_checked():
    with pytest.raises(ConfigError, match="two models are called 'cnn'"):

        @register_model("cnn")
        def _other(shape):
            raise AssertionError(shape)

    with pytest.raises(ConfigError, match="lacks the argument 'shape'"):

        @register_model("new")
        def _new(*, in_channels):
            raise AssertionError(in_channels)

    with pytest.raises(ConfigError, match="option 'depth' of the model 'new' needs a default"):

        @register_model("new")
        def _newer(shape, *, depth):
            raise AssertionError(shape, depth)
