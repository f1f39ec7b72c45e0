"""When sparse convolution pays: its time over the dense one's, by occupancy, channels and size of the grid.

``python -m benchmarks.sparse_occupancy -o docs/images/sparse_occupancy.png [--threads 1]`` prints and plots the ratio
for forward and backward of one submanifold layer of 3 cells an axis, neighbour map included, on sites drawn uniformly:
the case that has the fewest neighbours of all. Times are the best of many, taken in turns.
"""

import argparse
import math
from pathlib import Path

import matplotlib as mpl
import torch

from benchmarks.sparse_cases import LAYERS, Case, best_of, dense_steps, sparse_step

OCCUPANCIES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
GRIDS = (((40, 40), 64, 16), ((40, 40), 64, 64), ((128, 128), 8, 32), ((24, 24, 24), 8, 32))


def measure(shape: tuple[int, ...], batch: int, channels: int, occupancy: float, seconds: float) -> float:
    """Dense over sparse time."""
    cells = math.prod(shape)
    case = Case("", shape, batch, max(1, round(occupancy * cells)), channels, 0, 0, 0)
    flat = torch.cat([image * cells + torch.randperm(cells)[: case.sites].sort().values for image in range(batch)])
    columns = []
    for size in reversed(shape):
        columns.append(flat % size)
        flat = flat // size
    coords = torch.stack([flat, *reversed(columns)], dim=1).int()
    features = torch.randn(len(coords), channels)
    layer = LAYERS[len(shape)](channels, channels, 3)
    # Channels last, the better layout on CPU.
    times = best_of([sparse_step(layer, coords, features, case), dense_steps(layer, coords, features, case)[1]],
                    seconds=seconds)  # fmt: skip
    return times[1] / times[0]


def main() -> None:
    """Measure, print and plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1, help="for each point")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    print(
        f"| occupancy, % | {' | '.join(f'{100 * o:g}' for o in OCCUPANCIES)} |\n| ---{' | ---:' * len(OCCUPANCIES)} |"
    )
    for shape, batch, channels in GRIDS:
        ratios = [measure(shape, batch, channels, occupancy, arguments.seconds) for occupancy in OCCUPANCIES]
        label = f"{'×'.join(map(str, shape))}, C {channels}"
        print(f"| {label} | {' | '.join(f'{ratio:.2g}' for ratio in ratios)} |", flush=True)
        axes.plot([100 * o for o in OCCUPANCIES], ratios, marker="o", markersize=4, label=label)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="active sites, %", ylabel="dense time / sparse time")
    axes.legend(frameon=False)
    figure.savefig(arguments.output, dpi=150)


if __name__ == "__main__":
    main()
