"""The loop: it learns, it resumes to the bit, it stops when asked and when the loss is no number."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepcnn.data.batches import Batch, JetSource, batch_starts
from hepcnn.data.dataset import read_columns
from hepcnn.data.sources import HostDataset, StreamDataset
from hepcnn.errors import TrainingError
from hepcnn.training.checkpoint import read_checkpoint
from hepcnn.training.fabric import make_fabric
from hepcnn.training.network import ScoringNetwork
from hepcnn.training.optim import constant, cosine, one_cycle
from hepcnn.training.score import score_network, weighted_loss
from hepcnn.training.signals import StopRequest
from tests.toy import make_images, write_images
from tests.training.toy_training import CONFIG, GRID, Silent, make_data, make_toy_network, train


@pytest.mark.parametrize("name", ["cnn", "sparse"])
def test_it_learns(tmp_path: Path, name: str) -> None:
    _, state = train(tmp_path, name=name)
    losses = [record["train_loss"] for record in state.history]
    assert [record["epoch"] for record in state.history] == [1, 2, 3]
    assert losses[-1] < 0.8 * losses[0]


def make_source(mode: str, folder: Path) -> JetSource:
    """The jets of `make_data`, in memory or in files."""
    dataset, device = make_images(256, seed=1, shape=GRID), torch.device("cpu")
    if mode == "device":
        return make_data(1)
    if mode == "host":
        return HostDataset(dataset, feature_names=("mass",), device=device, block=100)
    files = [folder / "a.h5", folder / "b.h5"]
    folder.mkdir(exist_ok=True)
    write_images(dataset, *files)
    columns, pixels = read_columns(files)
    jets = np.arange(len(columns))
    return StreamDataset(pixels, columns, jets, feature_names=("mass",), device=device, block=24, pool=4)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("cnn", "device"), ("sparse", "device"), ("sparse", "host"), ("cnn", "stream"), ("sparse", "stream")],
)
@pytest.mark.parametrize("stop_at", [4, 7])
def test_a_stopped_training_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, name: str, mode: str, stop_at: int
) -> None:
    expected, expected_state = train(tmp_path / "whole", name=name, train=make_source(mode, tmp_path / "images"))
    ask = Silent(at=stop_at, action=lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(StopRequest, match="the same command goes on"):
        train(tmp_path / "stopped", name=name, listener=ask, train=make_source(mode, tmp_path / "images"))
    rest = Silent()
    source = make_source(mode, tmp_path / "images")
    found, state = train(tmp_path / "stopped", name=name, listener=rest, train=source)
    assert ask.steps + rest.steps == 12
    for key, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[key]), key
    kept = "train_loss", "val_loss", "val_auc"
    assert [[r[k] for k in kept] for r in state.history] == [[r[k] for k in kept] for r in expected_state.history]


def test_a_training_from_memory_ends_with_the_weights_of_one_on_the_device(tmp_path: Path) -> None:
    (one, state), (other, other_state) = (
        train(tmp_path / mode, train=make_source(mode, tmp_path)) for mode in ("device", "host")
    )
    for key, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
    assert [r["val_loss"] for r in state.history] == [r["val_loss"] for r in other_state.history]


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    train(tmp_path)
    again = Silent()
    train(tmp_path, listener=again)
    assert again.steps == 0


def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path) -> None:
    train(tmp_path)
    anew = Silent()
    train(tmp_path, listener=anew, fingerprint="b")
    assert anew.steps == 12


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors: this checkpoint is damaged"):
        train(tmp_path)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    data = make_data(1)

    def poison() -> None:
        data.table.value[:] = float("nan")

    message = r"the loss is nan in epoch 2, batch 2: inputs that are not finite have the jets \d+ \(entry \d+\), "
    with pytest.raises(TrainingError, match=message):
        train(
            tmp_path,
            train=data,
            listener=Silent(at=5, action=poison),
            name_jets=lambda jets: [f"entry {jet}" for jet in jets],
        )
    state = read_checkpoint(tmp_path / "checkpoint.safetensors", fingerprint="a")
    assert state is not None
    assert state["state"]["epoch"] == 1
    assert all(torch.isfinite(value).all() for value in state["learner"]["network"].values())


@pytest.mark.parametrize("shape", [one_cycle, cosine])
@pytest.mark.parametrize("warmup", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("n_steps", [1, 2, 4, 5, 12, 1000])
def test_the_rate_rises_and_falls_whatever_the_number_of_steps(n_steps: int, warmup: float, shape: Any) -> None:
    rates = [shape(step, n_steps=n_steps, warmup=warmup) for step in range(n_steps + 2)]
    top = int(np.argmax(rates))
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(1e-4)
    assert abs(top - warmup * n_steps) <= 1


def test_a_constant_rate_warms_up_in_a_straight_line() -> None:
    rates = [constant(step, n_steps=40, warmup=0.25) for step in range(40)]
    assert np.diff(rates[:11]) == pytest.approx(1 / 11)
    assert rates[10:] == [1.0] * 30


@pytest.mark.parametrize("n_jets", [65, 129])
def test_a_last_batch_of_one_jet_joins_the_one_before(tmp_path: Path, n_jets: int) -> None:
    _, state = train(tmp_path, train=make_data(1, n_jets), config=CONFIG.model_copy(update={"epochs": 1}))
    assert len(state.history) == 1
    assert batch_starts(n_jets, 64) == list(range(0, n_jets - 1, 64))


def test_cuda_is_refused_where_there_is_none() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(TrainingError, match="torch sees no CUDA device"):
        make_fabric(CONFIG.model_copy(update={"device": "cuda"}))


@pytest.mark.parametrize("name", ["cnn", "resnet", "sparse"])
def test_sparse_and_dense_images_score_alike(name: str) -> None:
    network = ScoringNetwork(make_toy_network(name)).eval()
    data = make_data(3)
    dense, loss = score_network(network.network, data, batch_size=50, sparse=False)
    sparse, sparse_loss = score_network(network.network, data, batch_size=37, sparse=True)
    assert dense == pytest.approx(sparse, abs=1e-5)
    assert loss == pytest.approx(sparse_loss, rel=1e-4)
    assert dense.sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_weights_weigh() -> None:
    """A jet of weight two counts like two jets; one of weight zero not at all."""

    logits, label = torch.randn(3, 2), torch.tensor([0, 1, 1])
    batch = Batch(torch.zeros(0), torch.zeros(0), label, torch.tensor([2.0, 1.0, 0.0]))
    expected = torch.nn.functional.cross_entropy(logits[[0, 0, 1]], label[[0, 0, 1]])
    assert float(weighted_loss(logits, batch)) == pytest.approx(float(expected), rel=1e-5)
    nothing = Batch(torch.zeros(0), torch.zeros(0), label, torch.zeros(3))
    assert float(weighted_loss(logits, nothing)) == 0
