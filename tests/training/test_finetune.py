"""Starting from other weights: what is copied, what is held, how fast the rest learns."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hepcnn.config import TrainingConfig
from hepcnn.data.normalisation import Normalisation
from hepcnn.data.sources import DeviceDataset
from hepcnn.errors import BundleError, ConfigError
from hepcnn.models.registry import create_model
from hepcnn.training.finetune import copy_weights, hold_stages, list_stages, make_param_groups
from hepcnn.training.loop import make_fabric, train_network
from hepcnn.training.network import TaggerNetwork
from tests.conftest import SilentListener
from tests.toy import make_images

GRID = (12, 12)
CONFIG = TrainingConfig(epochs=2, batch_size=32, learning_rate=0.01, jet_features=["mass"], device="cpu")
SMALL: dict[str, Any] = {"stem": 4, "widths": (4, 6), "depth": 1, "hidden": 8}


def make_network(*, seed: int = 1, scale: float = 1.0, n_classes: int = 2, **options: Any) -> TaggerNetwork:
    torch.manual_seed(seed)
    options = SMALL | options
    model = create_model("cnn", in_channels=1, n_classes=n_classes, grid=GRID, n_jet_features=1, **options)
    return TaggerNetwork(model, Normalisation((scale,), 0.5, ("mass",), (scale,), (1.0,)))


def state_of(network: TaggerNetwork) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def train(network: TaggerNetwork, folder: Path, *, listener: Any = None, **options: Any) -> TaggerNetwork:
    dataset = make_images(96, seed=1, shape=GRID)
    data = DeviceDataset(dataset, feature_names=("mass",), device=torch.device("cpu"))
    train_network(
        network,
        data,
        data,
        config=CONFIG,
        fabric=make_fabric(CONFIG),
        seed=5,
        checkpoint=folder / "checkpoint.pt",
        fingerprint="a",
        validate=lambda score, label: {"val_auc": float(((score[:, 1] > 0.5) == label).mean())},
        listener=listener or SilentListener(),
        **options,
    )
    return network


@pytest.mark.parametrize("name", ["cnn", "resnet", "sparse", "sparse_resnet"])
def test_stages_are_in_the_order_in_which_images_pass_them(name: str) -> None:
    model = create_model(name, in_channels=2, n_classes=2, grid=(16, 16)).eval()
    stages, passed = list_stages(model), []
    for number, (_, stage) in enumerate(stages):
        stage.register_forward_hook(lambda *_, number=number: passed.append(number))
    with torch.no_grad():
        model(torch.rand(2, 2, 16, 16))
    assert list(dict.fromkeys(passed)) == list(range(len(stages)))
    assert len(stages) > 1
    head = sum(p.numel() for p in model.head.parameters())
    in_stages = sum(p.numel() for _, stage in stages for p in stage.parameters())
    assert head + in_stages == sum(p.numel() for p in model.parameters())


def test_all_is_copied_or_all_but_the_head() -> None:
    source, kept, replaced = make_network(seed=1, scale=3.0), make_network(seed=2), make_network(seed=2)
    assert copy_weights(kept, source.state_dict(), replace_head=False, where="here") == []
    assert all(torch.equal(tensor, kept.state_dict()[name]) for name, tensor in source.state_dict().items())
    before = state_of(replaced)
    fresh = copy_weights(replaced, source.state_dict(), replace_head=True, where="here")
    for name, tensor in replaced.state_dict().items():
        assert torch.equal(tensor, (before if name in fresh else source.state_dict())[name]), name
    assert {name for name in fresh if not name.startswith("model.head.")} == {"feature_mean", "feature_std"}
    assert float(replaced.channel_scale) == 3


def test_other_classes_take_a_new_head_only() -> None:
    source, network = make_network(n_classes=2), make_network(seed=2, n_classes=5)
    copy_weights(network, source.state_dict(), replace_head=True, where="here")
    with pytest.raises(BundleError, match=r"model\.head\.classify\.3\.bias is \(2,\), here \(5,\)"):
        copy_weights(network, source.state_dict(), replace_head=False, where="here")


def test_weights_of_the_model_alone_leave_the_scales() -> None:
    source, network = make_network(seed=1, scale=3.0), make_network(seed=2)
    fresh = copy_weights(network, source.model.state_dict(), replace_head=False, where="here")
    assert fresh == ["channel_scale", "feature_mean", "feature_std"]
    assert float(network.channel_scale) == 1
    assert torch.equal(network.model.head.classify[0].weight, source.model.head.classify[0].weight)


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({"stem": 8}, {}, r"model\.trunk\.0\.0\.weight is \(4, 1, 5, 5\), here \(8, 1, 5, 5\)"),
        ({"depth": 2}, {}, r"it lacks model\.trunk\."),
        ({}, {"model.tail.weight": torch.zeros(1)}, r"the network has no model\.tail\.weight"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_nothing_changes(
    options: dict[str, Any], change: dict[str, Tensor], message: str
) -> None:
    network = make_network(seed=2, **options)
    before = state_of(network)
    with pytest.raises(BundleError, match=rf"here\.safetensors: these weights do not fit .*{message}"):
        copy_weights(network, make_network().state_dict() | change, replace_head=True, where="here.safetensors")
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in before.items())


def changed_stages(before: dict[str, Tensor], network: TaggerNetwork) -> list[bool]:
    """Whether anything in a stage changed, running means included."""
    after = network.state_dict()
    return [
        any(not torch.equal(before[key], after[key]) for key in before if key.startswith(f"model.{name}."))
        for name, _ in list_stages(network.model)
    ]


@pytest.mark.parametrize(("freeze", "moving"), [(0, [1, 1, 1]), (2, [0, 0, 1]), ("trunk", [0, 0, 0])])
def test_frozen_stages_stay_to_the_bit(tmp_path: Path, freeze: Any, moving: list[int]) -> None:
    network = make_network()
    before = state_of(network)
    hold_stages(network, 3 if freeze == 0 else 0)  # what was held before is let go
    hold_stages(network, freeze)
    train(network, tmp_path)
    assert changed_stages(before, network) == [bool(flag) for flag in moving]
    assert not torch.equal(before["model.head.classify.3.weight"], network.model.head.classify[3].weight)


def test_more_stages_than_there_are_cannot_be_frozen() -> None:
    with pytest.raises(ConfigError, match=r"freeze: 9 stages, but the trunk has 3: trunk\.0, trunk\.2, trunk\.4"):
        hold_stages(make_network(), 9)


def test_rates_fall_towards_the_input_and_each_parameter_has_one() -> None:
    network = make_network()
    groups = make_param_groups(learning_rate=0.1, weight_decay=0.01, layer_decay=0.5)(network)
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(rate) == len(list(network.parameters()))
    expected = {"trunk.0": 0.0125, "trunk.2": 0.025, "trunk.4": 0.05, "head": 0.1}
    for name, parameter in network.model.named_parameters():
        (prefix,) = [prefix for prefix in expected if name.startswith(prefix)]
        assert rate[id(parameter)] == pytest.approx(expected[prefix])
        assert decay[id(parameter)] == (0.01 if parameter.ndim > 1 else 0)


def test_a_rate_of_nearly_nothing_leaves_the_first_stage_where_it_was(tmp_path: Path) -> None:
    network = make_network()
    before = state_of(network)
    groups = make_param_groups(learning_rate=0.01, weight_decay=0.0, layer_decay=1e-4)
    train(network, tmp_path, param_groups=groups)
    moved = [
        float((before[f"model.{name}.0.weight"] - stage[0].weight).abs().max().detach())
        for name, stage in list_stages(network.model)
    ]
    assert moved[0] < 1e-9 < moved[2] < 1e-4
