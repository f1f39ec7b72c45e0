"""Losses against torch's, torchvision's and formulas written the long way; the penalty against what it must be."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from hepcnn.config import LossConfig
from hepcnn.data.batches import Batch
from hepcnn.errors import ConfigError, TrainingError
from hepcnn.training.loop import weighted_loss
from hepcnn.training.losses import distance_correlation, focal_losses, make_loss

NAMES = ("qcd", "top", "w")


def make_batch(n_jets: int = 40, *, n_classes: int = 3, seed: int = 1) -> tuple[torch.Tensor, Batch]:
    """Random logits, labels, weights and masses."""
    random = torch.Generator().manual_seed(seed)
    label = torch.randint(n_classes, (n_jets,), generator=random)
    weight, mass = torch.rand(n_jets, generator=random) + 0.1, 100 * torch.rand(n_jets, generator=random)
    logits = torch.randn(n_jets, n_classes, generator=random)
    return logits, Batch(torch.zeros(0), torch.zeros(0), label, weight, mass)


def slow_distance_correlation(x: NDArray[np.float64], y: NDArray[np.float64], w: NDArray[np.float64]) -> float:
    """The three sums of distances of arXiv:0803.4101, one pair or triple after the other."""
    w = w / w.sum()

    def covariance(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        n = range(len(x))
        products = sum(w[j] * w[k] * abs(x[j] - x[k]) * abs(y[j] - y[k]) for j in n for k in n)
        means = [sum(w[j] * w[k] * abs(v[j] - v[k]) for j in n for k in n) for v in (x, y)]
        triples = sum(w[i] * w[j] * w[k] * abs(x[i] - x[j]) * abs(y[i] - y[k]) for i in n for j in n for k in n)
        return float(products + means[0] * means[1] - 2 * triples)

    return covariance(x, y) / math.sqrt(covariance(x, x) * covariance(y, y))


def test_the_plain_loss_is_the_loops() -> None:
    logits, batch = make_batch()
    loss = make_loss(LossConfig(), class_names=NAMES, background="qcd")
    assert torch.equal(loss(logits, batch), weighted_loss(logits, batch))
    nothing = Batch(batch.images, batch.jet_features, batch.label, torch.zeros(40), batch.mass)
    every = LossConfig(kind="focal", label_smoothing=0.1, class_weights={"w": 2}, disco=1)
    assert float(make_loss(every, class_names=NAMES, background="qcd")(logits, nothing)) == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_factors_and_smoothing_are_torchs(smoothing: float) -> None:
    logits, batch = make_batch()
    factors = torch.tensor([1.0, 3.0, 0.5])
    config = LossConfig(label_smoothing=smoothing, class_weights={"top": 3, "w": 0.5})
    found = make_loss(config, class_names=NAMES, background="qcd")(logits, batch)
    each = functional.cross_entropy(logits, batch.label, reduction="none", label_smoothing=smoothing)
    weight = batch.weight * factors[batch.label]
    assert float(found) == pytest.approx(float((weight * each).sum() / weight.sum()), rel=1e-6)
    ones = Batch(batch.images, batch.jet_features, batch.label, torch.ones(40))
    if not smoothing:
        expected = functional.cross_entropy(logits, batch.label, weight=factors)
        found = make_loss(config, class_names=NAMES, background="qcd")(logits, ones)
        assert float(found) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_focal_loss_of_two_classes_is_torchvisions(gamma: float) -> None:
    logits, batch = make_batch(n_classes=2)
    expected = sigmoid_focal_loss(logits[:, 1] - logits[:, 0], batch.label.float(), alpha=-1, gamma=gamma)
    assert torch.allclose(focal_losses(logits, batch.label, gamma=gamma), expected, rtol=1e-5)


def test_focal_losses_join_cross_entropy_and_survive_certainty() -> None:
    logits, batch = make_batch()
    near = focal_losses(logits, batch.label, gamma=1e-7, label_smoothing=0.2)
    assert torch.allclose(near, focal_losses(logits, batch.label, label_smoothing=0.2), rtol=1e-5)
    certain = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    losses = focal_losses(certain, torch.tensor([0, 0]), gamma=0.5)
    losses.sum().backward()
    assert losses.tolist() == pytest.approx([0.0, 200.0])
    assert torch.isfinite(certain.grad).all()  # type: ignore[arg-type]


def test_focal_gradients() -> None:
    logits, batch = make_batch(6)
    wide = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: focal_losses(x, batch.label, gamma=1.5, label_smoothing=0.1), wide)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_distance_correlation_is_that_of_the_slow_formula(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, w = random.normal(size=14), random.uniform(0.1, 2, 14)
    y = x**2 + random.normal(size=14)
    found = distance_correlation(*(torch.from_numpy(values) for values in (x, y, w)))
    assert float(found) == pytest.approx(slow_distance_correlation(x, y, w), rel=1e-9)


def test_the_distance_correlation_of_a_line_is_one_and_of_independent_variables_falls_to_zero() -> None:
    random = torch.Generator().manual_seed(3)
    x, y = torch.randn(2, 2000, generator=random, dtype=torch.float64)
    ones = torch.ones(2000, dtype=torch.float64)
    assert float(distance_correlation(x, 5 - 3 * x, ones)) == pytest.approx(1, rel=1e-9)
    assert 0 < float(distance_correlation(x, y, ones)) < 5 / 2000
    assert float(distance_correlation(x, x**2, ones)) > 0.1  # uncorrelated, but not independent
    # x and y on the corners of a square: independent exactly.
    corners = torch.tensor([[0.0, 0, 1, 1], [0, 1, 0, 1]], dtype=torch.float64)
    assert float(distance_correlation(corners[0], corners[1], ones[:4])) == pytest.approx(0, abs=1e-15)


def test_the_distance_correlation_of_a_normal_pair_is_the_known_one() -> None:
    """Of a bivariate normal with correlation r: arXiv:0803.4101, theorem 7."""
    r, n = 0.6, 3000
    random = torch.Generator().manual_seed(4)
    x, z = torch.randn(2, n, generator=random, dtype=torch.float64)
    y = r * x + math.sqrt(1 - r * r) * z
    top = r * math.asin(r) + math.sqrt(1 - r * r) - r * math.asin(r / 2) - math.sqrt(4 - r * r) + 1
    expected = top / (1 + math.pi / 3 - math.sqrt(3))
    assert float(distance_correlation(x, y, torch.ones_like(x))) == pytest.approx(expected, rel=0.05)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 300), st.integers(0, 3)), min_size=2, max_size=12))
def test_a_jet_of_weight_two_is_two_jets(jets: list[tuple[float, float, int]]) -> None:
    x, y, counts = (torch.tensor(column, dtype=torch.float64) for column in zip(*jets, strict=True))
    repeats = counts.long()
    weighted = distance_correlation(x, y, counts)
    repeated = distance_correlation(
        x.repeat_interleave(repeats), y.repeat_interleave(repeats), torch.ones(int(repeats.sum()), dtype=torch.float64)
    )
    assert -1e-9 <= float(weighted) <= 1 + 1e-9
    assert float(weighted) == pytest.approx(float(repeated), abs=1e-6)


@pytest.mark.parametrize("weight", [[0.0, 0, 0], [1.0, 0, 0], [-1.0, 1, -2]])
def test_fewer_than_two_jets_have_no_penalty_and_no_gradient(weight: list[float]) -> None:
    x = torch.tensor([1.0, 2, 3], requires_grad=True)
    found = distance_correlation(x, torch.tensor([5.0, 3, 1]), torch.tensor(weight))
    found.backward()
    assert float(found) == 0
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 0]
    constant = distance_correlation(x, torch.full((3,), 80.4), torch.ones(3))
    assert float(constant) == 0


def test_the_distance_correlation_has_the_right_gradient() -> None:
    random = torch.Generator().manual_seed(5)
    x, y = torch.randn(2, 8, generator=random, dtype=torch.float64)
    weight = torch.rand(8, generator=random, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: distance_correlation(x, y, weight), x.requires_grad_())


def test_the_penalty_is_of_background_jets_and_a_mean_over_signals() -> None:
    logits, batch = make_batch(60)
    assert batch.mass is not None
    plain, penalised = (
        make_loss(LossConfig(disco=strength), class_names=NAMES, background="top")(logits, batch)
        for strength in (0.0, 3.0)
    )
    kept = batch.label == 1
    p = torch.softmax(logits, 1)[kept].double().numpy()
    mass, weight = batch.mass[kept].double().numpy(), batch.weight[kept].double().numpy()
    each = [slow_distance_correlation(p[:, k] / (p[:, k] + p[:, 1]), mass, weight) for k in (0, 2)]
    assert float(penalised - plain) == pytest.approx(3 * np.mean(each), rel=1e-4)


def test_following_the_penalty_takes_the_mass_out_of_the_score() -> None:
    random = torch.Generator().manual_seed(6)
    mass, other = 100 * torch.rand(300, generator=random), torch.randn(300, generator=random)
    batch = Batch(torch.zeros(0), torch.zeros(0), torch.zeros(300, dtype=torch.long), torch.ones(300), mass)
    slope = torch.tensor([0.02, 1.0], requires_grad=True)
    optimizer = torch.optim.Adam([slope], lr=1e-3)
    loss = make_loss(LossConfig(disco=1.0), class_names=("qcd", "top"), background="qcd")
    before = float(slope[0])
    for _ in range(40):
        score = slope[0] * (mass - 50) + slope[1].detach() * other
        value = loss(torch.stack([torch.zeros(300), score], dim=1), batch) - functional.softplus(score).mean()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert abs(float(slope[0])) < 0.2 * before


def test_half_precision_logits_give_a_penalty_in_single() -> None:
    logits, batch = make_batch()
    loss = make_loss(LossConfig(disco=1.0), class_names=NAMES, background="qcd")
    assert float(loss(logits.bfloat16(), batch)) == pytest.approx(float(loss(logits, batch)), rel=0.02)


def test_wrong_names_and_missing_masses_are_named() -> None:
    with pytest.raises(ConfigError, match="no class 'tob'; did you mean 'top'"):
        make_loss(LossConfig(class_weights={"tob": 1}), class_names=NAMES, background="qcd")
    logits, batch = make_batch()
    without = Batch(batch.images, batch.jet_features, batch.label, batch.weight)
    with pytest.raises(TrainingError, match="disco needs the jets' masses"):
        make_loss(LossConfig(disco=1.0), class_names=NAMES, background="qcd")(logits, without)


@pytest.mark.parametrize(("disco", "low", "high"), [(0.0, 0.2, 1.0), (5.0, 0.0, 0.02)])
def test_a_network_learns_scores_that_do_not_follow_the_mass(disco: float, low: float, high: float) -> None:
    """Two pixels: one shows the mass, which tells the classes apart well, one another number that tells less."""
    random = torch.Generator().manual_seed(9)
    label = torch.randint(2, (1024,), generator=random)
    noise = torch.randn(2, 1024, generator=random)
    mass, other = 80 + 20 * noise[0] + 30 * label, 1.5 * label + noise[1]
    pixels = torch.stack([(mass - 95) / 30, other], dim=1)
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    loss = make_loss(LossConfig(disco=disco), class_names=("qcd", "w"), background="qcd")
    for start in 40 * [0, 256, 512, 768]:
        jets = slice(start, start + 256)
        batch = Batch(torch.zeros(0), torch.zeros(0), label[jets], torch.ones(256), mass[jets])
        optimizer.zero_grad()
        loss(network(pixels[jets]), batch).backward()
        optimizer.step()
    score = torch.softmax(network(pixels), 1)[:, 1].detach()
    background = label == 0
    ones = torch.ones(int(background.sum()))
    assert low < float(distance_correlation(score[background], mass[background], ones)) < high
    # It still tells the classes apart, by the other number.
    ranks = score.argsort().argsort().double()
    n_signal, n_background = int(label.sum()), int(background.sum())
    auc = (float(ranks[label == 1].sum()) - n_signal * (n_signal - 1) / 2) / (n_signal * n_background)
    assert auc > 0.85
