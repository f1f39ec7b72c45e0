"""One shared test for every registered model, and what the registry refuses."""

import numpy as np
import pytest
import torch
from torch import nn

from hepcnn.errors import ConfigError, InputError
from hepcnn.models import create_model, describe_model, list_models, model_options, register_model
from hepcnn.models.base import JetTagger
from hepcnn.models.describe import nominal_images, receptive_field
from hepcnn.sparse import SparseTensor

SMALL = {
    "cnn": {"stem": 4, "widths": (6, 8), "depth": 1},
    "resnet": {"widths": (4, 6, 8)},
    "resnet18": {},
    "sparse": {"sparse_widths": (4, 6), "widths": (6, 8, 8)},
    "sparse_resnet": {"widths": (4, 6, 8, 8)},
}
MODELS = list_models()


def make_images(n, channels=3, grid=(40, 40), seed=0):
    """Sparse, non-negative, heavy-tailed images; the last one is empty."""
    generator = torch.Generator().manual_seed(seed)
    active = torch.rand(n, 1, *grid, generator=generator) < 0.04
    images = torch.rand(n, channels, *grid, generator=generator).exp().sub(1) * active
    images[-1] = 0
    return images


def build(name, grid=(40, 40), n_jet_features=0, **options):
    torch.manual_seed(1)
    options = {**SMALL.get(name, {}), **options}
    return create_model(name, in_channels=3, n_classes=2, grid=grid, n_jet_features=n_jet_features, **options)


@pytest.mark.parametrize("name", MODELS)
class TestEveryModel:
    @pytest.mark.parametrize("grid", [(40, 40), (37, 37), (24, 24), (33, 40)])
    def test_forward_and_backward_on_any_grid(self, name, grid):
        model, images = build(name, grid), make_images(4, grid=grid)
        logits = model(SparseTensor.from_dense(images) if model.input_format == "sparse" else images)
        assert logits.shape == (4, 2)
        nn.functional.cross_entropy(logits, torch.tensor([0, 1, 0, 1])).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())

    @pytest.mark.parametrize("grid", [(40, 40), (33, 37)])
    def test_dense_and_sparse_input_give_the_same(self, name, grid):
        model, images = build(name, grid).eval(), make_images(4, grid=grid)
        with torch.no_grad():
            torch.testing.assert_close(model(SparseTensor.from_dense(images)), model(images), rtol=1e-6, atol=1e-6)

    def test_dense_and_sparse_input_train_the_same(self, name):
        if name == "resnet18":
            pytest.skip("it densifies: nothing to compare")
        images, losses = make_images(8), []
        for entry in (images, SparseTensor.from_dense(images)):
            model = build(name, dropout=0.0).double()
            loss = model(entry.to(torch.float64)).square().sum()
            loss.backward()
            losses.append([loss, *[p.grad for p in model.parameters()], *model.buffers()])
        for one, other in zip(*losses, strict=True):
            torch.testing.assert_close(one, other)

    def test_state_round_trip(self, name):
        model, images = build(name).eval(), make_images(3)
        torch.manual_seed(2)
        other = create_model(name, in_channels=3, n_classes=2, grid=(40, 40), **SMALL.get(name, {})).eval()
        other.load_state_dict(model.state_dict())
        with torch.no_grad():
            assert torch.equal(other(images), model(images))
        assert all(value.is_contiguous() for value in model.state_dict().values())

    def test_same_seed_same_weights(self, name):
        one, other = build(name).state_dict(), build(name).state_dict()
        assert all(torch.equal(one[key], other[key]) for key in one)

    def test_jet_features_join_and_matter(self, name):
        model, images = build(name, n_jet_features=2).eval(), make_images(3)
        with torch.no_grad():
            one, other = model(images, torch.zeros(3, 2)), model(images, torch.ones(3, 2))
        assert not torch.equal(one, other)
        for wrong in (None, torch.zeros(3, 3), torch.zeros(3)):
            with pytest.raises(InputError, match=r"jet features of \(jets, 2\)"):
                model(images, wrong)

    def test_a_model_without_jet_features_refuses_them(self, name):
        model = build(name).eval()
        with pytest.raises(InputError, match="takes no jet features"):
            model(make_images(2), torch.zeros(2, 4))
        with torch.no_grad():
            assert model(make_images(2), torch.zeros(2, 0)).shape == (2, 2)

    def test_wrong_images_are_refused(self, name):
        model = build(name)
        for images in (make_images(2, channels=4), make_images(2, grid=(40, 39)), torch.zeros(3, 40, 40)):
            with pytest.raises(InputError, match=r"takes images of \(3, 40, 40\)"):
                model(images)

    def test_empty_images_and_no_images(self, name):
        model = build(name).eval()
        empty = SparseTensor(torch.zeros(0, 3, dtype=torch.int32), torch.zeros(0, 3), (40, 40), 2)
        with torch.no_grad():
            assert model(empty).isfinite().all()
            assert model(torch.zeros(0, 3, 40, 40)).shape == (0, 2)

    def test_describe(self, name):
        model = build(name, n_jet_features=1).train()
        told = describe_model(model, (40, 40), 3)
        assert told["parameters"] == sum(p.numel() for p in model.parameters())
        assert told["flops"] > 2 * told["parameters"] * 0.5
        assert told["input_format"] in ("dense", "sparse")
        assert model.training

    def test_receptive_field_is_the_support_of_the_gradient(self, name):
        size = 145
        model = build(name).eval()
        with torch.no_grad():
            for module in model.modules():
                for key, parameter in module.named_parameters(recurse=False):
                    # Positive everywhere: nothing cancels, no ReLU closes, and no zero-initialised branch is shut.
                    parameter.fill_(0.0 if key == "bias" else 0.05)
        field, _ = receptive_field(model, nominal_images(1, 3, (40, 40)))
        # A slope, since a maximum over equal values would follow one of them only.
        image = torch.linspace(1, 1.5, size * size).view(1, 1, size, size).repeat(1, 3, 1, 1)
        seen = torch.zeros(size, size, dtype=torch.bool)
        for slope in (image, image.flip(2), image.flip(3), image.flip(2, 3)):
            entry = slope.clone().requires_grad_()
            maps = model.features(entry)
            maps[0, :, maps.shape[2] // 2, maps.shape[3] // 2].sum().backward()
            seen |= entry.grad[0].abs().sum(0) > 0
        rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
        assert (int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1) == field

    def test_onnx_export_gives_the_same_logits(self, name, tmp_path):
        if name == "resnet18":
            pytest.skip("as resnet, and slow to export")
        runtime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        model = build(name, grid=(33, 40), n_jet_features=2).eval()
        batch = torch.export.Dim("batch")
        torch.onnx.export(
            model,
            (make_images(3, grid=(33, 40)), torch.randn(3, 2)),
            tmp_path / "model.onnx",
            input_names=["images", "jet_features"],
            output_names=["logits"],
            dynamic_shapes=({0: batch}, {0: batch}),
            dynamo=True,
            opset_version=18,
            verbose=False,
        )
        session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
        for n in (1, 5):
            images, jets = make_images(n, grid=(33, 40), seed=n), torch.randn(n, 2)
            (got,) = session.run(None, {"images": images.numpy(), "jet_features": jets.numpy()})
            with torch.no_grad():
                expected = model(SparseTensor.from_dense(images), jets)
            np.testing.assert_allclose(got, expected.numpy(), atol=1e-5)

    def test_options_have_defaults(self, name):
        assert {"dropout", "hidden", "pool"} <= set(model_options(name))


@pytest.mark.parametrize("name", ["cnn", "resnet", "sparse", "sparse_resnet"])
def test_average_pooling_and_depth(name):
    assert build(name, pool="average", depth=2)(make_images(4)).shape == (4, 2)


def test_flops_of_sparse_layers_count_active_pixels_only():
    options = {"sparse_widths": (4,), "kernel_size": 1, "widths": (4,)}
    model = build("sparse", **options)
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


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("resnt", {}, "unknown model 'resnt'; did you mean 'resnet'"),
        ("cnn", {"widhts": (4,)}, "no option 'widhts'; did you mean 'widths'"),
        ("cnn", {"widths": ()}, "widths must be positive integers"),
        ("cnn", {"widths": (4, "8")}, "widths must be positive integers"),
        ("cnn", {"stem": "wide"}, "'cnn' cannot be built"),
        ("cnn", {"dropout": 2.0}, "'cnn' cannot be built"),
        ("cnn", {"pool": "max"}, "pool must be 'flatten' or 'average'"),
        ("sparse", {"kernel_size": 4}, "must be odd"),
        ("sparse_resnet", {"sparse_levels": 5}, "must lie from 1 to the 4 levels"),
        ("sparse_resnet", {"depth": 0}, "depth must be at least 1"),
        ("cnn", {"grid": (40,)}, r"images of two axes, this grid has 1: \(40,\)\. Networks over two axes are cnn"),
        ("cnn", {"grid": (2, 16, 16)}, r"this grid has 3: .*SubmanifoldConv3d"),
        ("cnn", {"grid": (40, 0)}, "grid of positive sizes"),
        ("cnn", {"periodic": (True,)}, "one flag per axis"),
        ("cnn", {"grid": (40, 1), "periodic": (False, True)}, "'cnn' cannot be built"),
        ("cnn", {"n_classes": 1}, "at least 1 channel and 2 classes"),
    ],
)
def test_wrong_names_and_values_say_so(name, options, words):
    arguments = {"in_channels": 3, "n_classes": 2, "grid": (40, 40), **options}
    with pytest.raises(ConfigError, match=words):
        create_model(name, **arguments)


def test_a_name_is_taken_once():
    with pytest.raises(ConfigError, match="two models are called 'cnn'"):

        @register_model("cnn")
        def _other(*, in_channels, n_classes, grid, n_jet_features=0):
            raise AssertionError((in_channels, n_classes, grid, n_jet_features))

    with pytest.raises(ConfigError, match="lacks the arguments grid"):

        @register_model("new")
        def _new(*, in_channels, n_classes, n_jet_features=0):
            raise AssertionError((in_channels, n_classes, n_jet_features))
