"""Padded batches: rows that are no sites change nothing, and nothing asks the device how many sites there are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_oracle import random_sites
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from hepcnn import sparse
from hepcnn.errors import InputError
from hepcnn.models import create_model
from hepcnn.sparse import SparseTensor, bucket_rows, use_backend
from hepcnn.sparse.kernel_map import map_sites
from hepcnn.sparse.outputs import find_outputs, most_outputs
from hepcnn.sparse.search import find_neighbours
from hepcnn.sparse.window import Window

TOLERANCE = {"rtol": 1e-10, "atol": 1e-11}
LAYERS = {
    "submanifold": lambda: sparse.SubmanifoldConv2d(4, 6, 3),
    "periodic": lambda: sparse.SubmanifoldConv2d(4, 6, 3, dilation=2, periodic=(False, True)),
    "strided": lambda: sparse.SparseConv2d(4, 6, 3, 2, 1),
    "strided periodic": lambda: sparse.SparseConv2d(4, 6, 3, (1, 2), 1, periodic=(False, True)),
    "batch norm": lambda: sparse.SparseBatchNorm(4),
    "batch norm, cumulative": lambda: sparse.SparseBatchNorm(4, momentum=None),
    "batch norm, not affine": lambda: sparse.SparseBatchNorm(4, affine=False),
    "layer norm": lambda: sparse.SparseLayerNorm(4),
    "sigmoid": lambda: sparse.SparseActivation(nn.Sigmoid()),
    "max pool": lambda: sparse.SparseMaxPool(3, 2, 1),
    "average pool": lambda: sparse.SparseAvgPool(3, 2, 1),
    "global sum": lambda: sparse.GlobalSumPool(),
    "global average": lambda: sparse.GlobalAvgPool(),
    "global maximum": lambda: sparse.GlobalMaxPool(),
    "to dense": lambda: sparse.ToDense(),
}
SHAPE, N_IMAGES = (9, 8), 4


def make(n=9, seed=0, channels=4, skip=2):
    """Sites in random order; one image has none."""
    coords = random_sites(SHAPE, N_IMAGES, n, seed=seed, skip=skip)
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(coords), channels, dtype=torch.float64, generator=generator).requires_grad_()
    return SparseTensor(coords, features, SHAPE, N_IMAGES)


def compare(layer, x, rows, *inputs):
    """Values on the sites, gradients and buffers of a layer, padded and not; what is padding stays zero."""
    results = []
    for padded in (False, True):
        torch.manual_seed(0)
        module = layer().double()
        leaf = x.features.detach().clone().requires_grad_()
        entry = x.replace(leaf)
        out = module(entry.pad(rows) if padded else entry, *inputs)
        if isinstance(out, SparseTensor):
            if padded:
                real = out.sites.real()[:, 0]
                assert len(out.sites) >= int(real.sum())
                assert not out.features[~real].any()
                assert not (real[1:] & ~real[:-1]).any()
                out = out.unpad()
            found, coords = out.features, out.coords
        else:
            found, coords = out, torch.empty(0)
        grad = torch.randn(found.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        grads = torch.autograd.grad(found, [leaf, *module.parameters()], grad)
        results.append([coords, found, *grads, *module.buffers()])
    for plain, padded in zip(*results, strict=True):
        torch.testing.assert_close(padded, plain, **TOLERANCE)


@pytest.mark.parametrize("backend", ["torch", "dense"])
@pytest.mark.parametrize("name", LAYERS)
def test_padding_changes_nothing(name, backend):
    with use_backend(backend):
        compare(LAYERS[name], make(), 64)


def test_the_way_back_ignores_padding():
    x, down = make(), sparse.SparseConv2d(4, 6, 3, 2, 1).double()
    values = []
    for entry in (x, x.pad(50)):
        torch.manual_seed(0)
        up = sparse.SparseInverseConv2d(6, 4, 3, 2, 1).double()
        out = up(down(entry), entry)
        assert not out.features[len(x.sites) :].any()
        values.append(out.features[: len(x.sites)])
    torch.testing.assert_close(values[1], values[0], **TOLERANCE)


@pytest.mark.parametrize("n", [0, 1])
def test_norms_of_next_to_nothing(n):
    """Fewer than two sites have no variance: the running statistics serve, and stay."""
    coords = torch.tensor([[1, 2, 3]], dtype=torch.int32)[:n]
    features = torch.full((n, 4), 3.0, dtype=torch.float64).requires_grad_()
    compare(LAYERS["batch norm"], SparseTensor(coords, features, SHAPE, N_IMAGES), 8)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from([(11,), (9, 6), (5, 4, 6)]),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    padding=st.integers(0, 2),
    n=st.integers(0, 12),
    extra=st.integers(0, 30),
    seed=st.integers(0, 99),
)
def test_every_search_finds_the_same(shape, kernel, stride, dilation, padding, n, extra, seed):
    """Compiled loops, an index grid and sorting, padded and not; the bound on output sites holds."""
    d = len(shape)
    window = Window((kernel,) * d, (stride,) * d, (padding,) * d, (dilation,) * d, (False,) * d)
    if any(span > size + 2 * padding for span, size in zip(window.spans, shape, strict=True)):
        return
    coords = random_sites(shape, 3, n, seed=seed, skip=1)
    out_shape = window.output_shape(shape)
    padded = torch.nn.functional.pad(coords, (0, 0, 0, extra), value=-1)
    most = most_outputs(len(padded), window, out_shape, 3)
    grids = window.numbers(), list(shape)
    found, tables = [], []
    for budget in (-1, 2**30, 0):
        outputs = find_outputs(coords, *grids, list(out_shape), 3, budget, -1)
        more = find_outputs(padded, *grids, list(out_shape), 3, budget, most)
        assert len(more) == most
        assert torch.equal(more[: len(outputs)], outputs)
        assert (more[len(outputs) :, 0] == -1).all()
        table = find_neighbours(coords, outputs, *grids, 3, budget, False)
        wide = find_neighbours(padded, more, *grids, 3, budget, True)
        assert torch.equal(wide[:, : len(outputs)], table)
        assert (wide[:, len(outputs) :] == -1).all()
        found.append(outputs)
        tables.append(table)
    for outputs, table in zip(found, tables, strict=True):
        assert torch.equal(outputs, found[0])
        assert torch.equal(table, tables[0])


@pytest.mark.parametrize("periodic", [False, True])
def test_submanifold_searches_agree_on_padded_sites(periodic):
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (False, periodic), submanifold=True)
    for seed in range(4):
        plain = make(seed=seed)
        x = plain.pad(70)
        tables = [map_sites(x.pad(70).sites, window, grid_budget=budget)[0].table for budget in (None, 2**30, 0)]
        expected = map_sites(plain.sites, window)[0].table
        for table in tables:
            assert torch.equal(table[:, : len(plain.sites)], expected)
            assert (table[:, len(plain.sites) :] == -1).all()


def train_step(model, optimiser, entry, label):
    loss = nn.functional.cross_entropy(model(entry), label)
    loss.backward()
    optimiser.step()
    return loss


@pytest.mark.parametrize("name", ["sparse", "sparse_resnet"])
def test_a_training_step_is_the_same_on_padded_batches(name):
    results = []
    for rows in (None, 100):
        torch.manual_seed(0)
        model = create_model(name, in_channels=4, n_classes=2, grid=SHAPE, dropout=0.0).double()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for seed in range(2):
            x = make(seed=seed)
            loss = train_step(model, optimiser, x if rows is None else x.pad(rows), torch.tensor([0, 1, 0, 1]))
        results.append([loss, *model.state_dict().values()])
    for plain, padded in zip(*results, strict=True):
        torch.testing.assert_close(padded, plain, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_shapes_do_not_depend_on_values(device):
    """What the operations do inside runs on tensors without values: nothing is read back, no shape is found out."""
    window = Window((3, 3), (2, 2), (1, 1), (1, 1), (False, True))
    same = Window((3, 3), (1, 1), (1, 1), (1, 1), (False, True), submanifold=True)
    geometry = window.numbers(), list(SHAPE)
    for budget in (2**30, 0):
        with FakeTensorMode():
            coords = torch.empty(64, 3, dtype=torch.int32, device=device)
            # The functions behind the operations: not the shapes that these declare.
            outputs = find_outputs._init_fn(coords, *geometry, list(window.output_shape(SHAPE)), N_IMAGES, budget, 80)
            table = find_neighbours._init_fn(coords, outputs, *geometry, N_IMAGES, budget, True)
            own = find_neighbours._init_fn(coords, None, same.numbers(), list(SHAPE), N_IMAGES, budget, True)
        assert outputs.shape == (80, 3)
        assert table.shape == (9, 80)
        assert own.shape == (9, 64)


def test_a_padded_step_reads_nothing_back():
    """Forward, backward and optimiser of the mixed network, with Triton's operations, on tensors without values."""
    pytest.importorskip("triton")
    from hepcnn.sparse.backends import triton_backend

    model = create_model("sparse_resnet", in_channels=4, n_classes=2, grid=SHAPE)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    with FakeTensorMode(allow_non_fake_inputs=True), use_backend("dense"):
        coords, features = torch.empty(64, 3, dtype=torch.int32), torch.empty(64, 4)
        plain = SparseTensor.trusted(coords, features, SHAPE, N_IMAGES)
        loss = train_step(model, optimiser, plain.pad(96), torch.zeros(N_IMAGES, dtype=torch.int64))
        assert loss.shape == ()
        out = triton_backend.convolve_table(features, torch.empty(9, 4, 6), None, torch.empty(9, 96, dtype=torch.int32))
        assert out.shape == (96, 6)


@pytest.mark.parametrize(("n", "rows"), [(0, 64), (64, 64), (65, 72), (128, 128), (129, 144), (12800, 13312)])
def test_buckets(n, rows):
    assert bucket_rows(n) == rows


@given(n=st.integers(64, 10**7))
def test_buckets_are_near_and_few(n):
    rows = bucket_rows(n)
    assert n <= rows <= 1.125 * n + 8
    assert bucket_rows(rows) == rows


def test_padding_to_fewer_rows_is_refused():
    with pytest.raises(InputError, match="27 sites cannot be padded to 26 rows"):
        make().pad(26)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_training_step_is_captured_in_a_graph():
    """Captured once and replayed on another batch, the step gives what it gives without a graph."""
    with use_backend("triton"):
        torch.manual_seed(0)
        model = create_model("sparse_resnet", in_channels=4, n_classes=2, grid=SHAPE, dropout=0.0).cuda()
        start = {key: value.clone() for key, value in model.state_dict().items()}
        batches = [make(seed=seed).to("cuda", torch.float32).pad(64) for seed in range(3)]
        label = torch.tensor([0, 1, 0, 1], device="cuda")
        coords, features = batches[0].coords.clone(), batches[0].features.detach().clone()

        def step():
            sites = sparse.tensor.Sites(coords, SHAPE, N_IMAGES, padded=True)
            loss = nn.functional.cross_entropy(model(SparseTensor.on_sites(sites, features)), label)
            grads = torch.autograd.grad(loss, list(model.parameters()))
            with torch.no_grad():
                for parameter, grad in zip(model.parameters(), grads, strict=True):
                    parameter.sub_(0.1 * grad)

        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.set_sync_debug_mode("error")
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        results = []
        for replayed in (True, False):
            model.load_state_dict(start)
            for batch in batches:
                coords.copy_(batch.coords)
                features.copy_(batch.features.detach())
                graph.replay() if replayed else step()
            results.append([value.clone() for value in model.state_dict().values()])
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
