"""A small training that tests, and the processes they start, run alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hepcnn.config import TrainingConfig
from hepcnn.data.normalisation import Normalisation
from hepcnn.data.sources import DeviceDataset
from hepcnn.models.registry import create_model
from hepcnn.training.fabric import make_fabric
from hepcnn.training.loop import train_network
from hepcnn.training.network import TaggerNetwork
from hepcnn.training.state import TrainingState
from tests.toy import make_images

GRID = (12, 12)
CONFIG = TrainingConfig(epochs=3, batch_size=64, learning_rate=0.01, jet_features=["mass"], device="cpu")
NORMALISATION = Normalisation((1.0,), 0.5, ("mass",), (0.0,), (1.0,))


class Silent:
    """A listener that can act at a step."""

    def __init__(self, at: int = -1, action: Any = None) -> None:
        self.at, self.action, self.steps, self.records = at, action, 0, []

    def on_step(self, **_: Any) -> None:
        self.steps += 1
        if self.steps == self.at:
            self.action()

    def on_epoch(self, record: dict[str, float]) -> None:
        self.records.append(record)


def make_data(seed: int, n_jets: int = 256, *, grid: tuple[int, ...] = GRID) -> DeviceDataset:
    """Jets of few or many bright pixels."""
    dataset = make_images(n_jets, seed=seed, shape=grid)
    return DeviceDataset(dataset, feature_names=("mass",), device=torch.device("cpu"))


def make_toy_network(name: str = "cnn", *, grid: tuple[int, ...] = GRID, **options: Any) -> TaggerNetwork:
    """A network whose weights are always the same at first."""
    torch.manual_seed(1)
    model = create_model(name, in_channels=1, n_classes=2, grid=grid, n_jet_features=1, **options)
    return TaggerNetwork(model, NORMALISATION)


def train(
    folder: Path,
    *,
    name: str = "cnn",
    listener: Any = None,
    config: TrainingConfig = CONFIG,
    network: TaggerNetwork | None = None,
    validate: Callable[..., Any] | None = None,
    **changed: Any,
) -> tuple[TaggerNetwork, TrainingState]:
    """Train a network of this name on toy jets."""
    network = network or make_toy_network(name)
    options = {"train": make_data(1), "val": make_data(2, 100), "fingerprint": "a"} | changed
    state = train_network(
        network,
        options.pop("train"),
        options.pop("val"),
        config=config,
        fabric=make_fabric(config),
        seed=5,
        checkpoint=folder / "checkpoint.safetensors",
        validate=validate or (lambda score, label: {"val_auc": float(((score[:, 1] > 0.5) == label).mean())}),
        listener=listener or Silent(),
        **options,
    )
    return network, state
