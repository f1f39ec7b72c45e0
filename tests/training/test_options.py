"""What a training may be told: each option does what it says, and a stop changes none of it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hepcnn.config import EarlyStoppingConfig, TrainingConfig, parse_model
from hepcnn.data.batches import Batch, JetSource, Rows
from hepcnn.errors import ConfigError, TrainingError
from hepcnn.training import loop
from hepcnn.training.batch_size import choose_batch_size, find_largest
from hepcnn.training.checkpoint import previous_checkpoint, read_checkpoint, write_checkpoint
from hepcnn.training.fabric import compile_network, make_fabric
from hepcnn.training.find_rate import suggest_rate, try_rates
from hepcnn.training.signals import StopRequest, run_again_when_preempted
from tests.training.toy_training import CONFIG, Silent, make_data, train


class TinyNetwork(nn.Module):
    """Two layers, without batch normalisation, that can run out of memory."""

    takes_sparse = False

    def __init__(self, *, dropout: float = 0.0, memory: int = 10_000) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = nn.Conv2d(1, 4, 5, stride=3), nn.Linear(36, 2)
        self.drop, self.memory = nn.Dropout(dropout), memory

    def forward(self, images: Tensor, _: Tensor) -> Tensor:
        if self.training and len(images) > self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory")
        logits: Tensor = self.second(self.drop(self.first(images).relu().flatten(1)))
        return logits


def configure(**changed: Any) -> TrainingConfig:
    return parse_model(TrainingConfig, CONFIG.model_dump() | changed, where="test")


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def add_noise(batch: Batch, random: torch.Generator, rows: Rows | None = None) -> Batch:
    """Of one process, whose rows are all there are."""
    assert rows is not None
    noise = rows.of(torch.rand(rows.total, generator=random))
    return Batch(**(vars(batch) | {"images": batch.images * (1 + noise[:, None, None, None])}))


RICH = {"ema": 0.9, "keep_best": True, "early_stopping": {"patience": 2, "metric": "val_loss"}, "checkpoint_steps": 2}


@pytest.mark.parametrize(
    "options",
    [
        RICH | {"optimizer": "adamw", "precision": "fp16"},
        RICH | {"optimizer": "sgd", "schedule": "cosine", "accumulate": 3},
        RICH | {"optimizer": "lion", "learning_rate": 1e-3, "schedule": "constant", "precision": "bf16"},
        RICH | {"channels_last": False, "clip_norm": 0},
    ],
    ids=["adamw", "sgd", "lion", "contiguous"],
)
def test_a_stop_changes_nothing_whatever_the_options(tmp_path: Path, options: dict[str, Any]) -> None:
    config = configure(**options)

    def go(folder: str, listener: Any = None) -> Any:
        network = TinyNetwork(dropout=0.3)
        return train(tmp_path / folder, network=network, config=config, augment=add_noise, listener=listener)

    expected, state = go("whole")
    for number, kind in ((3, signal.SIGUSR1), (4, signal.SIGINT)):
        with pytest.raises(StopRequest) as stop:
            go("stopped", Silent(at=number, action=lambda kind=kind: os.kill(os.getpid(), kind)))
        assert stop.value.exit_code == {signal.SIGUSR1: 75, signal.SIGINT: 1}[kind]
    found, resumed = go("stopped")
    assert_same(expected.state_dict(), found.state_dict())
    assert [r["val_loss"] for r in state.history] == [r["val_loss"] for r in resumed.history]
    assert state.best_epoch == resumed.best_epoch


def test_a_host_that_is_a_step_ahead_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is with a GPU."""
    config = configure(ema=0.9, checkpoint_steps=3)
    expected, state = train(tmp_path / "whole", network=TinyNetwork(dropout=0.3), config=config)
    monkeypatch.setitem(loop.LAGS, "cpu", 1)
    for number in (1, 4):
        ask = Silent(at=number, action=lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(StopRequest):
            train(tmp_path / "stopped", network=TinyNetwork(dropout=0.3), config=config, listener=ask)
    found, resumed = train(tmp_path / "stopped", network=TinyNetwork(dropout=0.3), config=config)
    assert_same(expected.state_dict(), found.state_dict())
    assert [r["train_loss"] for r in state.history] == [r["train_loss"] for r in resumed.history]
    data = make_data(1)
    data.table.value[:] = float("nan")
    with pytest.raises(TrainingError, match="the loss is nan in epoch 1, batch 1: inputs that are not finite have"):
        train(tmp_path / "nan", network=TinyNetwork(), train=data)


def test_a_stop_while_an_epoch_validates_lets_it_be_validated_again(tmp_path: Path) -> None:
    class Interrupted:
        """Asks for a stop after the first validation batch."""

        def __init__(self) -> None:
            self.source: JetSource = make_data(2, 600)
            self.n_jets, self.label, self.given = self.source.n_jets, self.source.label, 0

        def in_order(self, batch_size: int, **options: Any) -> Iterator[Batch]:
            for batch in self.source.in_order(batch_size, **options):
                yield batch
                self.given += 1
                os.kill(os.getpid(), signal.SIGTERM)

    expected, state = train(tmp_path / "whole", network=TinyNetwork(), val=make_data(2, 600))
    val = Interrupted()
    with pytest.raises(StopRequest, match="in epoch 1"):
        train(tmp_path / "stopped", network=TinyNetwork(), val=val)
    assert val.given == 1, "the batch during which it was asked is the last"
    found, resumed = train(tmp_path / "stopped", network=TinyNetwork(), val=make_data(2, 600))
    assert_same(expected.state_dict(), found.state_dict())
    assert [r["val_loss"] for r in state.history] == [r["val_loss"] for r in resumed.history]


def test_a_batch_in_parts_is_the_whole_batch(tmp_path: Path) -> None:
    data = make_data(1)
    data.table.weight[::3] = 4.0
    (one, state), (other, other_state) = (
        train(tmp_path / str(n), network=TinyNetwork(), train=data, config=configure(accumulate=n)) for n in (1, 3)
    )
    for name, value in one.state_dict().items():
        assert value.numpy() == pytest.approx(other.state_dict()[name].numpy(), abs=1e-6)
    assert state.history[-1]["train_loss"] == pytest.approx(other_state.history[-1]["train_loss"], rel=1e-6)


def test_the_running_average_is_shipped(tmp_path: Path) -> None:
    """Computed anew from the weights after every step, with the decay of the first steps that timm documents."""
    network, seen = TinyNetwork(), list[dict[str, Tensor]]()

    class Watching(Silent):
        def on_step(self, **_: Any) -> None:
            seen.append(weights(network))

    train(tmp_path, network=network, config=configure(ema=0.7), listener=Watching())
    average = seen[0]
    for step, now in enumerate(seen[1:], 1):
        decay = min(0.7, 1 - (1 + step) ** (-2 / 3))
        average = {name: decay * average[name] + (1 - decay) * value for name, value in now.items()}
    for name, value in network.state_dict().items():
        assert value.numpy() == pytest.approx(average[name].numpy(), abs=1e-6)


def scripted(values: list[float]) -> Any:
    rest = iter(values)
    return lambda *_: {"val_auc": next(rest)}


def test_the_best_epoch_is_shipped_and_the_last_is_gone_on_from(tmp_path: Path) -> None:
    network, after = TinyNetwork(), list[dict[str, Tensor]]()

    class Watching(Silent):
        def on_epoch(self, _: dict[str, float]) -> None:
            after.append(weights(network))

    values, config = scripted([0.6, 0.9, float("nan"), 0.7]), configure(epochs=4, keep_best=True)
    _, state = train(tmp_path, network=network, config=config, validate=values, listener=Watching())
    assert (state.best_epoch, state.best_value) == (2, 0.9)
    assert_same(after[1], network.state_dict())
    saved = read_checkpoint(tmp_path / "checkpoint.safetensors", fingerprint="a")
    assert saved is not None
    assert_same(after[3], saved["learner"]["network"])


@pytest.mark.parametrize(
    ("values", "stopping", "epochs"),
    [
        ([0.5, 0.6, 0.6, 0.6, 0.9], {"patience": 2}, 4),
        ([0.5, 0.55, 0.59, 0.8, 0.9], {"patience": 2, "min_delta": 0.1}, 3),
        ([0.5, 0.4, 0.3, 0.4, 0.5], {"patience": 1, "mode": "min"}, 4),
        ([0.5, 0.6, 0.7, 0.8, 0.9], {"patience": 1}, 5),
    ],
)
def test_a_training_ends_when_it_no_longer_improves(
    tmp_path: Path, values: list[float], stopping: dict[str, Any], epochs: int
) -> None:
    config = configure(epochs=5, early_stopping=stopping)
    _, state = train(tmp_path, network=TinyNetwork(), config=config, validate=scripted(values))
    assert len(state.history) == epochs
    again = Silent()
    train(tmp_path, network=TinyNetwork(), config=config, validate=scripted(values), listener=again)
    assert again.steps == 0


def test_a_metric_that_is_not_measured_is_named(tmp_path: Path) -> None:
    config = configure(early_stopping={"metric": "val_rejection"})
    with pytest.raises(TrainingError, match="no 'val_rejection' is measured"):
        train(tmp_path, network=TinyNetwork(), config=config)
    with pytest.raises(ConfigError, match=r"early_stopping\.metric: Input should be 'val_auc'"):
        configure(early_stopping={"metric": "val_acu"})
    assert EarlyStoppingConfig(metric="val_loss").sign == -1


@pytest.mark.parametrize("options", [{}, {"ema": 0.5}, {"optimizer": "sgd"}])
def test_frozen_parameters_and_their_statistics_stay(tmp_path: Path, options: dict[str, Any]) -> None:
    from tests.training.toy_training import make_toy_network

    network = make_toy_network("cnn")
    for parameter in network.model.trunk.parameters():
        parameter.requires_grad_(False)
    before = weights(network)
    train(tmp_path, network=network, config=configure(epochs=1, **options))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]) == (".trunk." in name or "model" not in name), name
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(TrainingError, match="all are frozen"):
        train(tmp_path / "all", network=network)


def test_groups_of_parameters_learn_at_rates_of_their_own(tmp_path: Path) -> None:
    network = TinyNetwork()
    before = weights(network)

    def group(network: nn.Module) -> list[dict[str, Any]]:
        return [{"params": network.first.parameters(), "lr": 0.0}, {"params": network.second.parameters()}]

    train(tmp_path, network=network, param_groups=group)
    assert torch.equal(network.first.weight, before["first.weight"])
    assert not torch.equal(network.second.weight, before["second.weight"])


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    path, told = tmp_path / "checkpoint.safetensors", list[str]()
    for number in (1, 2):
        write_checkpoint(path, {"fingerprint": "a", "x": (torch.ones(3), {7: [number, None]})})
    found = read_checkpoint(path, fingerprint="a")
    assert found is not None
    assert found["x"][1] == {7: [2, None]}
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    before = read_checkpoint(path, fingerprint="a", say=told.append)
    assert before is not None
    assert before["x"][1] == {7: [1, None]}
    assert "damaged (its checksum is another); going on from the one before" in told[0]
    previous_checkpoint(path).unlink()
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors: this checkpoint is damaged .*; delete it"):
        read_checkpoint(path, fingerprint="a")


def test_a_kill_between_two_names_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    write_checkpoint(path, {"fingerprint": "a"})
    path.rename(previous_checkpoint(path))
    assert read_checkpoint(path, fingerprint="a") == {"fingerprint": "a"}
    assert read_checkpoint(path, fingerprint="b") is None


@given(st.integers(0, 5000), st.integers(2, 5000))
def test_the_largest_batch_is_found(limit: int, most: int) -> None:
    def fits(n_jets: int) -> None:
        if n_jets > limit:
            raise torch.OutOfMemoryError

    found, best = find_largest(fits, most=most), min(limit, most)
    assert found <= best
    assert found >= (8 * best / 9 - 1 if best > 1 else 0)


def test_memory_that_runs_out_is_explained(tmp_path: Path) -> None:
    message = r"out of GPU memory with batches of 64 jets; the largest batch that fitted has 4\d: .*accumulate: 2"
    with pytest.raises(TrainingError, match=message):
        train(tmp_path, network=TinyNetwork(memory=45))
    told = list[str]()
    config = configure(batch_size="auto", epochs=1)
    _, state = train(tmp_path, network=TinyNetwork(), config=config, say=told.append)
    assert state.batch_size == 256
    assert "the default: on a CPU" in told[0]


def test_an_automatic_batch_size_fits_the_gpu() -> None:
    def fits(n_jets: int) -> None:
        if n_jets > 1000:
            raise torch.OutOfMemoryError

    told, options = list[str](), {"device": torch.device("cuda"), "n_jets": 100_000}
    assert 880 <= choose_batch_size(fits, **options, world=1, say=told.append) <= 1000
    assert "the largest that fits" in told[0]
    with pytest.raises(TrainingError, match="'auto' is for one process, here are 4"):
        choose_batch_size(fits, **options, world=4, say=told.append)


def test_compilation_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(TrainingError, match=r"needs a C\+\+ compiler, and g\+\+ or clang\+\+ or c\+\+ is not on PATH"):
        compile_network(TinyNetwork(), sparse=False)


def test_the_suggested_rate_is_a_tenth_of_that_with_the_least_loss() -> None:
    rates = np.logspace(-6, 1, 141)
    averages = 0.7 - 0.3 / (1 + np.exp(-4 * (np.log10(rates) + 2.5))) + 0.2 * rates
    averages[0] = 0.0  # of one batch, it says nothing
    steps = np.log10(suggest_rate(rates, averages)) - np.log10(rates[20 + np.argmin(averages[20:])])
    assert steps == pytest.approx(-1)


def test_rates_are_tried_until_the_loss_explodes() -> None:
    config = configure(optimizer="sgd", clip_norm=0)
    found = try_rates(TinyNetwork(), make_data(1), config=config, fabric=make_fabric(config), seed=1)
    assert found.averages[-1] > 1.3 * found.averages.min(), "no network stands a rate of 10"
    assert 1e-3 < found.suggestion < 1
    assert found.to_dict().keys() == {"learning_rate", "loss", "average", "suggestion"}


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGUSR1])
def test_a_batch_system_is_answered_outside_the_loop_too(kind: signal.Signals) -> None:
    before = signal.getsignal(kind)
    with pytest.raises(StopRequest, match=f"stopped by {kind.name}; the same command goes on") as stop:  # noqa: SIM117
        with run_again_when_preempted():
            os.kill(os.getpid(), kind)
    assert stop.value.exit_code == 75
    assert signal.getsignal(kind) == before
