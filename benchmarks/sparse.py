"""Sparse convolution against dense: ``python -m benchmarks.sparse [--threads 2] [--seconds 20]`` prints the tables.

CPU: forward and backward of one layer with the neighbour map built anew, and a whole training step of a tagger of
submanifold layers against the dense residual network of equal depth and width. Ratios are taken within one run, best of
many in turns. CUDA: `benchmarks.sparse_cuda`, where there is a GPU.
"""

import argparse

import torch
from torch import Tensor, nn

from benchmarks.sparse_cases import LAYERS, Case, best_of, dense_steps, sparse_step
from hepcnn.models import create_model
from hepcnn.models.resnet import ResidualBlock
from hepcnn.sparse import SparseTensor
from hepcnn.sparse.kernel_map import map_sites

CASES = [
    Case("A", (40, 40), 256, 50, 32, 10, 3.1, 30),
    Case("B", (45, 16, 9), 32, 300, 32, 100, 2.4, 14),
    Case("C", (192, 192, 192), 1, 5000, 16, 250, 2.25, 500),
]


def measure_layer(case: Case, seconds: float) -> str:
    """One row of the table."""
    torch.manual_seed(0)
    coords = case.coords()
    features = torch.randn(len(coords), case.channels)
    layer = LAYERS[len(case.shape)](case.channels, case.channels, 3)
    dense = dense_steps(layer, coords, features, case)
    sites = SparseTensor.trusted(coords, features, case.shape, case.batch).sites
    pairs = float((map_sites(sites, layer.window)[0].table >= 0).sum()) / len(coords)

    def build() -> None:
        found, _ = map_sites(SparseTensor.trusted(coords, features, case.shape, case.batch).sites, layer.window)
        found.layout()

    # The dense one takes seconds at 192^3: less often, and only in its better layout.
    large = case.sites / case.occupancy * case.batch > 5e6
    functions = [build, sparse_step(layer, coords, features, case), *(dense[1:] if large else dense)]
    for function in functions[:2]:
        function()
    best = best_of(functions[:2], seconds=seconds / 4) if large else [float("inf")] * 2
    times = best_of(functions, seconds=seconds, least=1 if large else 5)
    build_ms, sparse_ms = min(best[0], times[0]), min(best[1], times[1])
    dense_ms = min(times[2:])
    ratio = dense_ms / sparse_ms
    return (
        f"| {case.name}: {'x'.join(map(str, case.shape))}, batch {case.batch}, {case.sites} sites, C {case.channels} "
        f"| {100 * case.occupancy:.2f} % | {pairs:.2f} | {build_ms:.2f} | {sparse_ms:.2f} | {dense_ms:.1f} "
        f"| {ratio:.1f} | {case.goal:g} | {'yes' if ratio >= case.goal else 'NO'} |"
    )


class DenseTwin(nn.Module):
    """Ordinary layers as `sparse_resnet` has them: the same stem, blocks, widths and head, all dense."""

    def __init__(self, model: nn.Module, in_channels: int, widths: tuple[int, ...], depth: int) -> None:
        super().__init__()
        stem = nn.Conv2d(in_channels, widths[0], 5, padding=2, bias=False)
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(widths[0]), nn.ReLU()]
        width = widths[0]
        for level, after in enumerate(widths):
            for block in range(depth):
                layers.append(ResidualBlock(width, after, 2 if level and not block else 1))
                width = after
        self.trunk, self.head = nn.Sequential(*layers), model.head

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.head(self.trunk(images), None)
        return logits


def measure_training(widths: tuple[int, ...], sparse_levels: int, depth: int, goal: float, seconds: float) -> str:
    """A training step, optimiser included, of a sparse tagger and of its dense twin."""
    torch.manual_seed(0)
    case = CASES[0]
    coords = case.coords()
    features = torch.rand(len(coords), 5)
    label = torch.randint(0, 2, (case.batch,))
    options = {"widths": widths, "sparse_levels": sparse_levels, "depth": depth, "dilation": 1, "pool": "average"}
    model = create_model("sparse_resnet", in_channels=5, n_classes=2, grid=case.shape, **options)
    twin = DenseTwin(
        create_model("sparse_resnet", in_channels=5, n_classes=2, grid=case.shape, **options), 5, widths, depth
    )
    twin = twin.to(memory_format=torch.channels_last)
    image = SparseTensor.trusted(coords, features, case.shape, case.batch).to_dense()

    def make_step(network: nn.Module, sparse: bool):
        optimiser = torch.optim.SGD(network.parameters(), lr=0.01)

        def step() -> None:
            entry = SparseTensor.trusted(coords, features, case.shape, case.batch) if sparse else image
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(entry), label).backward()
            optimiser.step()

        return step

    sparse_ms, dense_ms = best_of([make_step(model, True), make_step(twin, False)], seconds=seconds)
    ratio = dense_ms / sparse_ms
    return (
        f"| widths {', '.join(map(str, widths))}, blocks a level {depth}, sparse levels {sparse_levels} "
        f"| {sparse_ms:.1f} | {dense_ms:.1f} | {ratio:.1f} | {goal:g} | {'yes' if ratio >= goal else 'NO'} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20, help="for each row")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"CPU, {arguments.threads} threads, torch {torch.__version__}, float32, 3 cells an axis; times in ms\n")
    print("| layer, forward + backward | active | pairs/site | map | sparse with map | dense | ratio | goal | met |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for case in CASES:
        print(measure_layer(case, arguments.seconds), flush=True)
    print("\n| training step at A | sparse | dense | ratio | goal | met |\n| --- | ---: | ---: | ---: | ---: | --- |")
    for widths, sparse_levels, depth in (((32,), 1, 2), ((32, 48, 64, 96), 2, 1)):
        print(measure_training(widths, sparse_levels, depth, 15, arguments.seconds), flush=True)
    if torch.cuda.is_available():
        from benchmarks.sparse_cuda import measure_cuda

        measure_cuda()
    else:
        print("\nCUDA: not run, there is no GPU here.")


if __name__ == "__main__":
    main()
