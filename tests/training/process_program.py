"""Trains toy networks as one of several processes; run by ``test_processes.py`` under torchrun.

``process_program.py FOLDER`` writes the weights of each case to ``FOLDER/<case>-<processes>.safetensors``.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from hepcnn.config import AugmentConfig
from hepcnn.data.batches import Batch
from hepcnn.grids import WindowGrid
from hepcnn.training.augment import make_augmentation
from hepcnn.training.fabric import make_fabric
from hepcnn.training.launch import count_processes
from tests.training.toy_training import CONFIG, GRID, make_data, make_toy_network, train


def distance_loss(logits: Tensor, batch: Batch) -> Tensor:
    """No sum over jets: it has the mean over the batch inside a square."""
    assert batch.mass is not None
    loss = torch.nn.functional.cross_entropy(logits, batch.label)
    return loss + (logits[:, 1] * batch.mass.log1p()).mean() ** 2


SHORT = CONFIG.model_copy(update={"epochs": 2, "batch_size": 60, "learning_rate": 0.003, "ema": 0.9})
SGD = SHORT.model_copy(update={"optimizer": "sgd", "learning_rate": 0.03})
AUGMENT = make_augmentation(
    AugmentConfig(
        flip=["deta"], rotate=0.5, shift=0.5, smear=0.3, drop=0.1, noise={"probability": 0.02, "energy": 0.5}
    ),
    grid=WindowGrid(n_eta=GRID[0], n_phi=GRID[1], half_width=0.8),
    channels=("pt",),
)
VOLUME = {"grid": (9, 6, 4), "widths": (6, 8)}
CASES: dict[str, dict[str, Any]] = {
    # Strides, since of two pixels that are equal but for rounding a max-pool may choose either, and AdamW's first steps
    # are as long for a gradient of 1e-9 as for any.
    "adamw": {"name": "cnn", "build": {"down": "stride"}, "config": SHORT},
    "sgd": {"name": "resnet", "config": SGD, "loss": distance_loss},
    "parts": {"name": "cnn", "config": SGD.model_copy(update={"accumulate": 2}), "augment": AUGMENT},
    "sparse": {"name": "sparse", "config": SGD, "augment": AUGMENT},
    "volumes": {"name": "resnet3d", "config": SGD.model_copy(update={"epochs": 1}), "build": VOLUME},
}


def train_cases(folder: Path) -> None:
    """Train them all and write their weights."""
    world = count_processes()[0]
    for case, options in CASES.items():
        # 121 jets: a last batch of 61, which no number of processes above one divides.
        build = options.get("build", {})
        network, grid = make_toy_network(options["name"], **build), build.get("grid", GRID)
        data, val = make_data(1, 121, grid=grid), make_data(2, 100, grid=grid)
        data.table.weight[::5] = 3.0
        how = {key: value for key, value in options.items() if key != "build"}
        network, state = train(folder / f"{case}-{world}", network=network, train=data, val=val, **how)
        if make_fabric(CONFIG).global_rank == 0:
            numbers = {key: torch.tensor([record[key] for record in state.history]) for key in ("val_loss", "val_auc")}
            save_file(network.state_dict() | numbers, folder / f"{case}-{world}.safetensors")


if __name__ == "__main__":
    train_cases(Path(sys.argv[1]))
