"""`torch.compile` takes each layer whole, and once for all batches; no buffer grows beyond four times the features."""

import pytest
import torch
from sparse_oracle import random_sites
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from hepcnn import sparse
from hepcnn.sparse import SparseTensor

LAYERS = {
    "submanifold": lambda: sparse.SubmanifoldConv2d(4, 6, 3),
    "periodic": lambda: sparse.SubmanifoldConv2d(4, 6, 3, periodic=True),
    "strided": lambda: sparse.SparseConv2d(4, 6, 3, 2, 1),
    "batch norm": lambda: sparse.SparseBatchNorm(4),
    "layer norm": lambda: sparse.SparseLayerNorm(4),
    "activation": lambda: sparse.SparseActivation(nn.GELU()),
    "max pool": lambda: sparse.SparseMaxPool(3, 2, 1),
    "average pool": lambda: sparse.SparseAvgPool(2),
    "global sum": lambda: sparse.GlobalSumPool(),
    "global average": lambda: sparse.GlobalAvgPool(),
    "global maximum": lambda: sparse.GlobalMaxPool(),
    "to dense": lambda: sparse.ToDense(),
}


def make(n, channels=4, seed=0):
    coords = random_sites((9, 7), 3, n, seed=seed)
    features = torch.randn(len(coords), channels, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    return SparseTensor(coords, features, (9, 7), 3)


def run(layer, *inputs):
    """The result and all gradients of a layer."""
    out = layer(*inputs)
    values = out.features if isinstance(out, SparseTensor) else out
    return values, *torch.autograd.grad(values.square().sum(), [inputs[0].features, *layer.parameters()])


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_compiles_without_graph_breaks(name, backend):
    torch._dynamo.reset()
    torch.manual_seed(0)
    layer = LAYERS[name]()
    graphs = CompileCounterWithBackend(backend)
    compiled = torch.compile(layer, fullgraph=True, backend=graphs, dynamic=True)
    for seed, n in enumerate((8, 11, 14, 9, 17)):
        expected = run(layer, make(n, seed=seed))
        for got, want in zip(run(compiled, make(n, seed=seed)), expected, strict=True):
            torch.testing.assert_close(got, want)
    # Once, or once more where a norm specialises on a size: not for every batch.
    assert graphs.frame_count <= 2


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_the_way_back_compiles_too(backend):
    torch._dynamo.reset()
    torch.manual_seed(0)
    down, up = sparse.SparseConv2d(4, 6, 3, 2, 1), sparse.SparseInverseConv2d(6, 4, 3, 2, 1)
    compiled = torch.compile(up, fullgraph=True, backend=backend, dynamic=True)
    for n in (8, 11):
        x = make(n, seed=n)
        small = down(x)
        small = small.replace(small.features.detach().requires_grad_())
        for got, want in zip(run(compiled, small, x), run(up, small, x), strict=True):
            torch.testing.assert_close(got, want)


def largest_buffer(function):
    """The bytes of the largest allocation that a function makes, inside operations too."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        function()
    return max(event.nbytes() for event in profile.profiler.kineto_results.events() if event.name() == "[memory]")


@pytest.mark.parametrize("channels", [16, 32, 160])
@pytest.mark.parametrize(("shape", "batch_size", "n"), [((40, 40), 64, 50), ((24, 16, 9), 8, 400)])
def test_no_buffer_is_larger_than_four_times_the_features(shape, batch_size, n, channels):
    coords = random_sites(shape, batch_size, n)
    layer = getattr(sparse, f"SubmanifoldConv{len(shape)}d")(channels, channels, 3)
    features = torch.randn(len(coords), channels, requires_grad=True)
    x = SparseTensor.trusted(coords, features, shape, batch_size)
    assert largest_buffer(lambda: torch.empty(12345)) >= 4 * 12345
    seen = largest_buffer(lambda: layer(x).features.sum().backward())
    assert seen <= max(4 * features.untyped_storage().nbytes(), layer.weight.untyped_storage().nbytes())
