"""The energy's loss and outputs, against what is known of a Gaussian."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from hepcnn.config import EnergyLossConfig
from hepcnn.data.batches import Batch
from hepcnn.data.energy_scale import EnergyScale
from hepcnn.data.normalisation import Normalisation
from hepcnn.errors import TrainingError
from hepcnn.models.registry import create_model
from hepcnn.outputs import join_outputs, list_outputs, make_comparable, split_values
from hepcnn.sparse import SparseTensor
from hepcnn.training.energy import describe_outputs, energy_losses, make_task_loss, sum_energy
from hepcnn.training.network import TaggerNetwork, mean_of_members
from hepcnn.training.score import weighted_loss

NORMALISATION = Normalisation((1.0,), 0.5, ("pt",), (3.0,), (1.0,))


def batch_of(energy, **changed):
    n = len(energy)
    values = {"images": torch.zeros(0), "jet_features": torch.zeros(n, 0), "label": torch.arange(n) % 2}
    return Batch(**values | {"weight": torch.ones(n), "energy": energy} | changed)


def test_it_is_the_likelihood_of_a_gaussian_within_the_cut():
    truth, log_energy, log_sigma = torch.tensor([10.0, 20.0]), torch.tensor([2.2, 3.1]), torch.tensor([-1.0, -2.0])
    found = energy_losses(log_energy, log_sigma, truth)
    expected = -stats.norm.logpdf(truth.log().numpy(), log_energy.numpy(), log_sigma.exp().numpy()) - 0.5 * math.log(
        2 * math.pi
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_far_pulls_count_linearly_and_smoothly():
    pull = torch.linspace(0, 20, 400, dtype=torch.float64, requires_grad=True)
    losses = energy_losses(-pull, torch.zeros_like(pull), torch.ones_like(pull), huber=5.0)
    (gradient,) = torch.autograd.grad(losses.sum(), pull)
    assert torch.allclose(gradient, pull.clamp_max(5.0))
    inputs = [torch.tensor([0.3, 9.0], dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda m, s: energy_losses(m, s, torch.tensor([2.0, 1e6]).double()), inputs)


def test_its_minimum_is_the_true_mean_and_width():
    random = np.random.default_rng(1)
    truth = torch.from_numpy(np.exp(random.normal(3.0, 0.2, 20_000)))

    def mean_loss(parameters):
        m, s = (torch.full_like(truth, float(p)) for p in parameters)
        return float(energy_losses(m, s, truth).mean())

    best = optimize.minimize(mean_loss, [2.0, 0.0], method="Nelder-Mead").x
    logs = truth.log()
    np.testing.assert_allclose([best[0], math.exp(best[1])], [float(logs.mean()), float(logs.std())], rtol=2e-3)


def test_tails_do_not_decide_the_width():
    random = np.random.default_rng(2)
    logs = random.normal(0, 0.1, 5000)
    logs[:50] = 5.0
    truth = torch.from_numpy(np.exp(logs))
    widths = []
    for huber in (2.0, 1000.0):

        def mean_loss(log_sigma, huber=huber):
            return float(energy_losses(torch.zeros(5000), torch.full((5000,), log_sigma), truth, huber=huber).mean())

        found = optimize.minimize_scalar(mean_loss, bounds=(-5, 1), method="bounded")
        widths.append(math.exp(found.x))
    assert widths[0] < 0.2 < widths[1]


def test_tasks_add_up_and_weights_count():
    outputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    batch = batch_of(torch.arange(1.0, 7.0), weight=torch.tensor([1.0, 0, 2, 1, 1, 3]))
    alone = make_task_loss(None, EnergyLossConfig())(outputs[:, 2:], batch)
    losses = energy_losses(outputs[:, 2], outputs[:, 3], batch.energy)
    assert torch.isclose(alone, (losses * batch.weight).sum() / 8)
    both = make_task_loss(weighted_loss, EnergyLossConfig(weight=0.3))(outputs, batch)
    assert torch.isclose(both, weighted_loss(outputs[:, :2], batch) + 0.3 * alone)
    assert float(make_task_loss(None, EnergyLossConfig())(outputs, batch_of(batch.energy, weight=torch.zeros(6)))) == 0
    with pytest.raises(TrainingError, match="true energies"):
        make_task_loss(None, EnergyLossConfig())(outputs, replace(batch, energy=None))


def make_network(*, identity=True):
    torch.manual_seed(1)
    model = create_model("cnn", in_channels=1, n_classes=2, grid=(12, 12), n_jet_features=1, widths=(4, 4))
    scale = EnergyScale(channel=0, floor=0.1, offset=0.2, spread=0.3)
    return TaggerNetwork(model, NORMALISATION, energy=scale, identity=identity).eval()


def test_a_fresh_network_is_the_calibrated_sum():
    images = torch.rand(5, 1, 12, 12) * (torch.rand(5, 1, 12, 12) < 0.1)
    images[4] = 0
    for identity in (True, False):
        network = make_network(identity=identity)
        outputs = network(images, torch.full((5, 1), 20.0))
        assert outputs.shape == (5, 4 if identity else 2)
        expected = images.sum((1, 2, 3)).clamp_min(0.1) * math.exp(0.2)
        assert torch.allclose(outputs[:, -2].exp(), expected)
        assert torch.allclose(outputs[:, -1].exp(), torch.full((5,), 0.3))
        values = describe_outputs(outputs, network.tasks)
        assert torch.allclose(values[:, -1], 0.3 * expected)
        if identity:
            assert torch.allclose(values[:, :2].sum(1), torch.ones(5))


def test_heads_have_layers_of_their_own():
    network = make_network()
    shapes = [[tuple(p.shape) for p in head.parameters()] for head in (network.model.head, network.energy_head)]
    assert shapes[0] == shapes[1]
    outputs = network(torch.rand(3, 1, 12, 12), torch.rand(3, 1))
    outputs[:, -2:].sum().backward()
    assert not any(p.grad is not None and p.grad.any() for p in network.model.head.parameters())
    assert any(p.grad is not None and p.grad.any() for p in network.energy_head.parameters())


def test_sparse_and_dense_images_have_the_same_sum():
    images = torch.rand(3, 2, 4, 5, 6) * (torch.rand(3, 1, 4, 5, 6) < 0.2)
    images[1] = 0
    coords = (images != 0).any(1).nonzero()
    features = images.movedim(1, -1)[tuple(coords.T)]
    sparse = SparseTensor(coords.int(), features, (4, 5, 6), 3)
    assert torch.allclose(sum_energy(sparse, 1), sum_energy(images, 1))
    assert torch.allclose(sum_energy(images, 1), images[:, 1].sum((1, 2, 3)))


def test_an_ensembles_error_holds_the_spread_of_its_members():
    values = torch.tensor([[[0.5, 0.5, 10.0, 1.0]], [[0.7, 0.3, 14.0, 1.0]]])
    mean = mean_of_members(values, ("identity", "energy"))
    assert torch.allclose(mean, torch.tensor([[0.6, 0.4, 12.0, math.sqrt(1 + 4)]]))
    assert torch.allclose(mean_of_members(values, ("identity",)), values.mean(0))


def test_outputs_are_split_as_they_are_joined():
    tasks = ("identity", "energy")
    parts = [np.full((2, 3), 0.3, np.float32), np.array([5.0, 6.0], np.float32), np.array([1.0, np.nan], np.float32)]
    values = join_outputs(parts)
    assert list(split_values(values, tasks)) == list(list_outputs(tasks)) == ["score", "energy", "energy_err"]
    for part, found in zip(parts, split_values(values, tasks).values(), strict=True):
        np.testing.assert_array_equal(part, found)
    assert split_values(values[:, 3:], ("energy",))["score"].shape == (2, 0)
    np.testing.assert_allclose(make_comparable(values, tasks)[:, 3], np.log(parts[1]))
