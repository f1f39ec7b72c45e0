"""What the benchmarks of sparse convolution share: clustered coordinates, layers, and how a time is taken."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hepcnn.sparse import SparseTensor, SubmanifoldConv2d, SubmanifoldConv3d
from hepcnn.sparse.conv import SparseConvNd

LAYERS = {2: SubmanifoldConv2d, 3: SubmanifoldConv3d}
DENSE = {2: functional.conv2d, 3: functional.conv3d}
LAYOUTS = {2: (torch.contiguous_format, torch.channels_last), 3: (torch.contiguous_format, torch.channels_last_3d)}


@dataclass(frozen=True)
class Case:
    """``sites`` active cells in each of ``batch`` grids, in clusters; ``goal`` is the ratio of dense to sparse time.

    Clusters of about ``cluster`` sites have the standard deviation ``spread``, in cells.
    """

    name: str
    shape: tuple[int, ...]
    batch: int
    sites: int
    channels: int
    cluster: int
    spread: float
    goal: float

    def coords(self, seed: int = 0) -> Tensor:
        """(N, 1+d) int32, sorted by image."""
        generator = torch.Generator().manual_seed(seed)
        size = torch.tensor(self.shape)
        rows = []
        for image in range(self.batch):
            n_clusters = max(1, self.sites // self.cluster)
            centres = size * (0.5 + 0.18 * torch.randn(n_clusters, len(self.shape), generator=generator))
            found = torch.empty(0, len(self.shape), dtype=torch.int64)
            while len(found) < self.sites:
                which = torch.randint(n_clusters, (2 * self.sites,), generator=generator)
                noise = torch.randn(2 * self.sites, len(self.shape), generator=generator) * self.spread
                cells = (centres[which] + noise).round().long()
                cells = cells[((cells >= 0) & (cells < size)).all(dim=1)]
                found = torch.cat([found, cells]).unique(dim=0)
            found = found[torch.randperm(len(found), generator=generator)[: self.sites]]
            found = found[_numbers(found, self.shape).argsort()]
            rows.append(torch.cat([torch.full((self.sites, 1), image), found], dim=1))
        return torch.cat(rows).int()

    @property
    def occupancy(self) -> float:
        """The share of active cells."""
        return self.sites / math.prod(self.shape)


def _numbers(cells: Tensor, shape: tuple[int, ...]) -> Tensor:
    flat = cells[:, 0]
    for axis in range(1, len(shape)):
        flat = flat * shape[axis] + cells[:, axis]
    return flat


def sparse_step(layer: SparseConvNd, coords: Tensor, features: Tensor, case: Case) -> Callable[[], None]:
    """Forward and backward with the neighbour map built anew."""

    def step() -> None:
        x = features.detach().requires_grad_()
        out = layer(SparseTensor.trusted(coords, x, case.shape, case.batch)).features
        torch.autograd.grad(out, [x, *layer.parameters()], out.detach())

    return step


def dense_steps(layer: SparseConvNd, coords: Tensor, features: Tensor, case: Case) -> list[Callable[[], None]]:
    """Forward and backward of the dense convolution, in each memory layout."""
    conv, steps = DENSE[len(case.shape)], []
    for layout in LAYOUTS[len(case.shape)]:
        image = (
            SparseTensor.trusted(coords, features, case.shape, case.batch).to_dense().contiguous(memory_format=layout)
        )
        weight = layer.weight.detach().clone(memory_format=layout).requires_grad_()

        def step(image: Tensor = image, weight: Tensor = weight) -> None:
            x = image.detach().requires_grad_()
            out = conv(x, weight, layer.bias, padding=1)
            torch.autograd.grad(out, [x, weight, layer.bias], out.detach())

        steps.append(step)
    return steps


def best_of(functions: list[Callable[[], None]], *, seconds: float, least: int = 3) -> list[float]:
    """The best time of each function in milliseconds, taken in turns, so that a busy moment strikes all alike."""
    best = [math.inf] * len(functions)
    started, rounds = time.perf_counter(), 0
    while rounds < least or time.perf_counter() - started < seconds:
        for number, function in enumerate(functions):
            before = time.perf_counter()
            function()
            best[number] = min(best[number], 1e3 * (time.perf_counter() - before))
        rounds += 1
    return best
