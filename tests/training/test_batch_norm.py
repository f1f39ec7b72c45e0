"""Batch normalisation is as precise with channels last in memory as in double precision."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from hepcnn.data.batches import Rows
from hepcnn.training.batch_norm import Measured, folded_batch_norm, measure, needs_folding, normalise_by
from hepcnn.training.synchronise import one_batch


def normalise(function: Any, values: Tensor, dtype: torch.dtype, *, affine: bool = True) -> dict[str, Tensor]:
    """What a layer gives: values, running statistics, and gradients of a sum with weights that differ."""
    channels = values.shape[1]
    leaf = values.to(dtype).detach().requires_grad_()
    of_layer = torch.float64 if dtype == torch.float64 else torch.float32
    running = {"mean": torch.zeros(channels, dtype=of_layer), "var": torch.ones(channels, dtype=of_layer)}
    parameters = [torch.linspace(0.5, 1.5, channels, dtype=of_layer), torch.linspace(-1, 1, channels, dtype=of_layer)]
    leaves = [parameter.requires_grad_() for parameter in parameters] if affine else [None, None]
    done = function(leaf, running["mean"], running["var"], *leaves, training=True, momentum=0.3, eps=1e-5)
    weights = torch.cos(torch.arange(done.numel())).bfloat16().view(done.shape).to(dtype)
    done.backward(weights)
    gradients = {f"gradient {k}": p.grad for k, p in enumerate(leaves) if p is not None and p.grad is not None}
    assert leaf.grad is not None
    return {"values": done.detach(), "gradient": leaf.grad, **gradients, **running}


def make_values(shape: tuple[int, ...], *, seed: int = 1, mean: float = 0.3) -> Tensor:
    """Values (N, C, ...), channels last in memory, as after a layer: many small, some large."""
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=random, dtype=torch.float64).relu() + mean
    return values.movedim(1, -1).contiguous().movedim(-1, 1)


def size_of(name: str, value: Tensor) -> float:
    """How large a number is, or what it is the small rest of: those by parameters are sums of both signs."""
    return max(float(value.abs().max()), 20.0 if name.startswith("gradient ") else 1.0)


@pytest.mark.parametrize("shape", [(250, 3, 40, 40), (300, 2, 5, 7), (5000, 3), (40, 2, 6, 5, 3)])
@pytest.mark.parametrize("affine", [True, False])
def test_sums_are_those_of_double_precision(shape: tuple[int, ...], affine: bool) -> None:
    values = make_values(shape)
    exact = normalise(functional.batch_norm, values, torch.float64, affine=affine)
    found = normalise(folded_batch_norm, values, torch.float32, affine=affine)
    assert found.keys() == exact.keys()
    for name, value in exact.items():
        assert float((found[name] - value).abs().max()) < 1e-5 * size_of(name, value), name
    assert found["values"].movedim(1, -1).is_contiguous()


def test_this_is_needed() -> None:
    """Torch's own sums lose more than a thousandth here; when they no longer do, the module can go."""
    values = make_values((250, 3, 40, 40))
    exact = normalise(functional.batch_norm, values, torch.float64)
    found = normalise(functional.batch_norm, values, torch.float32)
    assert float((found["values"] - exact["values"]).abs().max()) > 1e-3


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(257, 1300),
    channels=st.integers(1, 5),
    mean=st.sampled_from([0.0, 1.0, 30.0]),
    seed=st.integers(0, 99),
)
def test_any_number_of_values_is_folded(n: int, channels: int, mean: float, seed: int) -> None:
    values = make_values((n, channels), seed=seed, mean=mean)
    exact = normalise(functional.batch_norm, values, torch.float64)
    found = normalise(folded_batch_norm, values, torch.float32)
    for name, value in exact.items():
        assert float((found[name] - value).abs().max()) < 3e-6 * (1 + mean) * size_of(name, value), name


def test_half_precision_keeps_single_precision_statistics() -> None:
    values = make_values((250, 3, 20, 20)).bfloat16()
    exact = normalise(functional.batch_norm, values, torch.float64)
    found = normalise(folded_batch_norm, values, torch.bfloat16)
    assert found["values"].dtype == torch.bfloat16
    for name in ("mean", "var"):
        torch.testing.assert_close(found[name].double(), exact[name], rtol=1e-5, atol=1e-5)
    for name in ("values", "gradient", "gradient 0", "gradient 1"):
        assert float((found[name].double() - exact[name]).abs().max()) < 0.02 * size_of(name, exact[name]), name


def test_what_torch_does_well_is_left_to_torch() -> None:
    maps = torch.rand(50, 3, 12, 12)
    assert not needs_folding(maps)
    assert needs_folding(maps.contiguous(memory_format=torch.channels_last))
    assert not needs_folding(torch.rand(200, 3))
    assert not needs_folding(torch.rand(2000, 3, dtype=torch.float64))
    layer = nn.BatchNorm2d(3)
    layer.eval()
    last = maps.contiguous(memory_format=torch.channels_last)
    with one_batch(layer, rows=Rows(0, 50, 50), world=1, fold=True):
        found = layer(last)
    assert torch.equal(found, layer(last))


def test_the_loop_folds() -> None:
    layer = nn.BatchNorm2d(2)
    values = make_values((250, 2, 40, 40)).float()
    exact = normalise(functional.batch_norm, values, torch.float64, affine=False)
    with one_batch(layer, rows=Rows(0, 250, 250), world=1, fold=True):
        found = layer(values)
    assert float((found.detach() - exact["values"]).abs().max()) < 1e-5
    assert int(layer.num_batches_tracked) == 1


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(0, 700), min_size=1, max_size=3).filter(lambda counts: sum(counts) > 1),
    mean=st.sampled_from([0.0, 1.0, 100.0]),
    last=st.booleans(),
    seed=st.integers(0, 99),
)
def test_parts_are_normalised_as_the_whole(counts: list[int], mean: float, last: bool, seed: int) -> None:
    """As processes do it, each of which knows what all of them measured, and adds to what the gradients need."""
    values = make_values((sum(counts), 3, 2, 1), seed=seed, mean=mean).detach()
    weights = torch.cos(torch.arange(values.numel(), dtype=torch.float64)).view(values.shape)
    scale = torch.linspace(0.5, 1.5, 3, dtype=torch.float64).requires_grad_()
    whole = values.clone().requires_grad_()
    exact = functional.batch_norm(whole, None, None, scale, None, True, 0.1, 1e-5)
    exact.backward(weights)
    parts = [part if last else part.contiguous() for part in values.float().split(counts)]
    gathered = torch.stack([pack(measure(part)) for part in parts])
    sums: list[Tensor] = []  # of each part; added to in a first round, added up in a second

    def note(own: Tensor) -> Tensor:
        sums.append(own.clone())
        return own

    for adds in (note, lambda _: torch.stack(sums).sum(0)):
        leaves, of_layer = [part.clone().requires_grad_() for part in parts], scale.detach().float().requires_grad_()
        done = []
        for leaf, weight in zip(leaves, weights.float().split(counts), strict=True):
            joined = measure(leaf).joined(lambda _: gathered)
            done.append(normalise_by(leaf, joined, None, None, of_layer, momentum=0.1, eps=1e-5, add_up=adds))
            done[-1].backward(weight)
    found = {
        "values": torch.cat(done),
        "gradient": torch.cat([leaf.grad for leaf in leaves]),
        "gradient 0": of_layer.grad,
    }
    for name, wanted in (("values", exact), ("gradient", whole.grad), ("gradient 0", scale.grad)):
        assert isinstance(wanted, Tensor)
        value = wanted.detach()
        assert float((found[name].detach() - value).abs().max()) < 3e-6 * (1 + mean) * size_of(name, value), name


def pack(measured: Measured) -> Tensor:
    """What a process sends to the others."""
    return torch.cat([measured.count, measured.mean, measured.variance])
