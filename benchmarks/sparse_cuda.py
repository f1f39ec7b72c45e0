"""The CUDA part of `benchmarks.sparse`: kernels, rivals, bandwidth and a training step, bfloat16, by device events.

It has not run yet: it was written where there was no GPU.
"""

import itertools
import statistics
from collections.abc import Callable
from functools import partial
from unittest import mock

import torch
from torch import nn

from benchmarks.sparse_cases import DENSE, LAYERS, Case
from hepcnn.errors import HepcnnError
from hepcnn.models import create_model
from hepcnn.sparse import SparseTensor, available_backends, use_backend
from hepcnn.sparse.backends import triton_backend
from hepcnn.sparse.kernel_map import map_sites

CASES = [
    (Case("2D", (40, 40), 256, 50, 64, 10, 3.1, 15), (torch.channels_last,)),
    (Case("2D", (40, 40), 4096, 50, 64, 10, 3.1, 15), (torch.channels_last,)),
    (Case("3D", (45, 16, 9), 1024, 300, 64, 100, 2.4, 25), (torch.contiguous_format, torch.channels_last_3d)),
    (Case("192", (192, 192, 192), 1, 5000, 64, 250, 2.25, 500), (torch.contiguous_format, torch.channels_last_3d)),
]


def device_ms(function: Callable[[], object], repeats: int = 30) -> float:
    """The median time between two events around a call, warm, in milliseconds."""
    for _ in range(5):
        function()
    times = []
    for _ in range(repeats):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        function()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return statistics.median(times)


def captured(step: Callable[[], object]) -> Callable[[], object]:
    """Capture a step that reads nothing back in a CUDA graph; the result replays it."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def copy_bandwidth() -> float:
    """Bytes read and written per second by a copy of 1 GiB."""
    source = torch.empty(2**28, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    return 2 * 2**30 / (1e-3 * device_ms(lambda: target.copy_(source)))


def measure_case(case: Case, layouts: tuple[torch.memory_format, ...], bandwidth: float) -> None:
    """Print a row for each backend."""
    coords = case.coords().cuda()
    layer = LAYERS[len(case.shape)](case.channels, case.channels, 3).cuda().bfloat16()
    features = torch.randn(len(coords), case.channels, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    dense_ms = min(_dense_ms(layer, coords, features.detach(), case, layout) for layout in layouts)
    table, least = 4 * layer.window.volume * len(coords), 4 * features.numel() + layer.weight.numel() * 2
    for name in [*(n for n in available_backends() if n != "dense"), "triton in a graph"]:
        layer.backend = name.split()[0]
        padded = name.endswith("graph")

        def entry(padded: bool = padded) -> SparseTensor:
            x = SparseTensor.trusted(coords, features, case.shape, case.batch)
            return x.pad() if padded else x

        known = entry()
        map_sites(known.sites, layer.window)[0].back()

        def step(x: SparseTensor | None = None, entry: Callable[[], SparseTensor] = entry) -> None:
            out = layer(entry() if x is None else x).features
            torch.autograd.grad(out, [features, *layer.parameters()], out.detach())

        prepare = captured if padded else (lambda function: function)
        try:
            with torch.no_grad():
                forward = device_ms(prepare(partial(layer, known)))
            cached = device_ms(prepare(partial(step, known)))
            whole = device_ms(prepare(step))
        except (HepcnnError, RuntimeError) as error:
            print(f"| {case.name} {case.batch} | {name} | failed: {str(error).splitlines()[0]} |")
            continue
        share = (least + table) / (1e-3 * forward) / bandwidth
        print(
            f"| {case.name} {case.batch} | {name} | {forward:.3f} | {cached:.3f} | {whole:.3f} | {dense_ms:.3f} "
            f"| {dense_ms / cached:.1f} | {case.goal:g} | {100 * share:.0f} % |",
            flush=True,
        )


def _dense_ms(layer: nn.Module, coords, features, case: Case, layout: torch.memory_format) -> float:
    image = SparseTensor.trusted(coords, features, case.shape, case.batch).to_dense()
    image = image.contiguous(memory_format=layout).requires_grad_()
    weight = layer.weight.detach().clone(memory_format=layout).requires_grad_()

    def step() -> None:
        out = DENSE[len(case.shape)](image, weight, layer.bias, padding=1)
        torch.autograd.grad(out, [image, weight, layer.bias], out.detach())

    return device_ms(step)


def measure_training(batch: int = 4096) -> None:
    """A training step of the sparse tagger against the compiled dense ResNet."""
    case = Case("2D", (40, 40), batch, 50, 5, 10, 3.1, 8)
    coords, label = case.coords().cuda(), torch.randint(0, 2, (batch,), device="cuda")
    features = torch.rand(len(coords), 5, device="cuda")
    image = SparseTensor.trusted(coords, features, case.shape, batch).to_dense()
    times = {}
    for name, way in (("sparse_resnet", "plain"), ("sparse_resnet", "graph"), ("resnet", "compiled")):
        model = create_model(name, in_channels=5, n_classes=2, grid=case.shape).cuda()
        network = torch.compile(model) if way == "compiled" else model
        optimiser = torch.optim.SGD(model.parameters(), lr=0.01)

        def step(network=network, optimiser=optimiser, name=name, padded=way == "graph") -> None:
            entry = SparseTensor.trusted(coords, features, case.shape, batch) if name == "sparse_resnet" else image
            optimiser.zero_grad(set_to_none=False)
            with torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False), use_backend("triton"):
                loss = nn.functional.cross_entropy(network(entry.pad() if padded else entry), label)
            loss.backward()
            optimiser.step()

        times[f"{name}, {way}"] = device_ms(captured(step) if way == "graph" else step)
    ratio = times["resnet, compiled"] / min(times["sparse_resnet, plain"], times["sparse_resnet, graph"])
    print(f"\ntraining step, batch {batch}, ms: {times}, ratio {ratio:.1f}, goal {case.goal:g}")


def measure_tiles() -> None:
    """Forward and backward with the map kept, by rows of a tile and warps: what `TILE_ROWS` and `WARPS` should be."""
    print("\n| case | rows of a tile | warps | forward + backward |\n| --- | ---: | ---: | ---: |")
    for case, _ in CASES:
        coords = case.coords().cuda()
        layer = LAYERS[len(case.shape)](case.channels, case.channels, 3, backend="triton").cuda().bfloat16()
        features = torch.randn(len(coords), case.channels, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        x = SparseTensor.trusted(coords, features, case.shape, case.batch)

        def step(layer=layer, x=x, features=features) -> None:
            out = layer(x).features
            torch.autograd.grad(out, [features, *layer.parameters()], out.detach())

        for rows, warps in itertools.product((32, 64, 128), (2, 4, 8)):
            with mock.patch.multiple(triton_backend, TILE_ROWS=rows, WARPS=warps):
                print(f"| {case.name} {case.batch} | {rows} | {warps} | {device_ms(step):.3f} |", flush=True)


def measure_cuda() -> None:
    """Measure and print everything."""
    bandwidth = copy_bandwidth()
    print(f"\n{torch.cuda.get_device_name()}, bfloat16, copy {bandwidth / 1e12:.2f} TB/s; times in ms\n")
    print("| case | backend | forward | + backward, map kept | with map | dense | ratio | goal | of copy bandwidth |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for case, layouts in CASES:
        measure_case(case, layouts, bandwidth)
    measure_training()
    measure_tiles()
