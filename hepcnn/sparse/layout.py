"""Pairs of sites cut into equal blocks, so that a convolution is a few large operations.

The pairs of each kernel offset fill blocks of equal height, the last one with padding. Consecutive offsets make up a
group of at most `GROUP_SLOTS` times as many slots as there are rows: no buffer of gathered features is larger. A bag
lists, for one group and one output, the slots whose products it sums, in the order of offsets.

Shapes: K kernel offsets, M outputs, P pairs, G groups, T blocks, h the height of a block, T h slots.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hepcnn.sparse import compiled

MOST_BLOCK_ROWS = 64
LEAST_BLOCKS = 16
GROUP_SLOTS = 3


@dataclass(frozen=True)
class PairLayout:
    """All pairs of a kernel map, for one direction.

    Attributes
    ----------
    sources, targets
        (T h,) int32: the input and the output row in each slot; 0 in padding.
    offsets
        (T,) int32: the kernel offset of each block.
    padding
        The slots that hold no pair, int32, numbered within their group.
    bags
        (P,) int32: slots, numbered within their group, sorted by group, output and offset.
    ends
        (G, M+1) int32: where the bag of each output begins and ends, counted within the group.
    cuts
        (G+1, 3) int64 on the CPU: where each group begins among blocks, padding and bags.
    """

    sources: Tensor
    targets: Tensor
    offsets: Tensor
    padding: Tensor
    bags: Tensor
    ends: Tensor
    cuts: Tensor

    @classmethod
    def of(cls, table: Tensor, n_in: int, centre: int | None) -> "PairLayout":
        """Lay out a (K, M) table of input rows; without the offset ``centre``, where every site meets itself."""
        return cls(*lay_out(table, max(n_in, table.shape[1]), -1 if centre is None else centre))

    def tensors(self) -> list[Tensor]:
        """All fields, in order."""
        return [self.sources, self.targets, self.offsets, self.padding, self.bags, self.ends, self.cuts]


@torch.library.custom_op("hepcnn::lay_out", mutates_args=())
def lay_out(table: Tensor, rows: int, centre: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute the fields of a `PairLayout`; ``rows`` is what a group is measured by."""
    height = block_height(rows)
    on_cpu = table.device.type == "cpu"
    counts = compiled.count_pairs(table.numpy(), centre) if on_cpu else _met(table, centre).sum(1).tolist()
    groups = _groups(counts, height, GROUP_SLOTS * rows)
    heights = [_fill_up([-(-n // height) for n in counts[first:last]]) for first, last in groups]
    if not groups:
        empty = [table.new_empty(0) for _ in range(5)]
        return (*empty, table.new_zeros(0, table.shape[1] + 1), torch.zeros(1, 3, dtype=torch.int64))  # type: ignore[return-value]
    offsets = torch.from_numpy(
        np.concatenate(
            [np.repeat(np.arange(*group, dtype=np.int32), tall) for group, tall in zip(groups, heights, strict=True)]
        )
    )
    if on_cpu:
        *arrays, found = compiled.lay_out(table.numpy(), groups, heights, height, centre)
        sources, targets, padding, bags, ends = map(torch.from_numpy, arrays)
        sizes = torch.from_numpy(found)
    else:
        sources, targets, padding, bags, ends, sizes = _lay_out(table, _met(table, centre), groups, heights, height)
    blocks = torch.tensor([sum(tall) for tall in heights]).unsqueeze(1)
    cuts = functional.pad(torch.cat([blocks, sizes], dim=1).cumsum(0), (0, 0, 1, 0))
    return sources, targets, offsets.to(table.device), padding, bags, ends, cuts


@lay_out.register_fake
def _(table: Tensor, rows: int, centre: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    del rows, centre
    context = torch.library.get_ctx()
    slots, blocks, padding, pairs, groups = (context.new_dynamic_size() for _ in range(5))
    cuts = torch.empty(groups + 1, 3, dtype=torch.int64)
    ends = table.new_empty(groups, table.shape[1] + 1)
    return (
        table.new_empty(slots), table.new_empty(slots), table.new_empty(blocks), table.new_empty(padding),
        table.new_empty(pairs), ends, cuts,
    )  # fmt: skip


def block_height(rows: int) -> int:
    """Rows in a block. It depends on the number of sites alone: never on the number of threads."""
    return min(MOST_BLOCK_ROWS, max(4, -(-rows // (4 * LEAST_BLOCKS))))


def _groups(counts: list[int], height: int, slots: int) -> list[tuple[int, int]]:
    """Ranges of offsets that have pairs, of at most ``slots`` slots each where more than one offset is in."""
    groups: list[tuple[int, int]] = []
    used = 0
    for k, n in enumerate(counts):
        size = -(-n // height) * height
        if not size:
            continue
        if groups and used + size <= slots:
            groups[-1] = (groups[-1][0], k + 1)
            used += size
        else:
            groups.append((k, k + 1))
            used = size
    return groups


def _fill_up(heights: list[int]) -> list[int]:
    """At least `LEAST_BLOCKS` blocks: the last offset takes those that are missing."""
    return [*heights[:-1], heights[-1] + max(0, LEAST_BLOCKS - sum(heights))]


def _met(table: Tensor, centre: int) -> Tensor:
    met = table >= 0
    if centre >= 0:
        met[centre] = False
    return met


def _lay_out(
    table: Tensor, met: Tensor, groups: list[tuple[int, int]], heights: list[list[int]], height: int
) -> tuple[Tensor, ...]:
    """What `hepcnn.sparse.compiled.lay_out` does, as operations on whole arrays."""
    parts = []
    rank = met.cumsum(1, dtype=torch.int32)
    for (first, last), tall in zip(groups, heights, strict=True):
        parts.append(_group(table[first:last], met[first:last], rank[first:last], tall, height))
    sizes = torch.tensor([[len(part[2]), len(part[3])] for part in parts])
    joined = [torch.cat(column) for column in zip(*[part[:4] for part in parts], strict=True)]
    return (*joined, torch.stack([part[4] for part in parts]), sizes)


def _group(table: Tensor, met: Tensor, rank: Tensor, heights: list[int], height: int) -> list[Tensor]:
    """Sources, targets, padding, bags and ends of one group of offsets."""
    n_out, device = table.shape[1], table.device
    tall = torch.tensor(heights)
    first = ((tall.cumsum(0) - tall) * height).int().to(device)
    # Taken output by output, then offset by offset: this is the order in which an output sums.
    out, k = met.t().nonzero(as_tuple=True)
    cell = k * n_out + out
    bags = rank.flatten().index_select(0, cell) + (first - 1).index_select(0, k)
    sources = torch.zeros(sum(heights) * height, dtype=torch.int32, device=device)
    targets, free = torch.zeros_like(sources), torch.ones_like(sources, dtype=torch.bool)
    slots = bags.long()
    sources[slots] = table.flatten().index_select(0, cell)
    targets[slots] = out.int()
    free[slots] = False
    ends = torch.zeros(n_out + 1, dtype=torch.int32, device=device)
    torch.cumsum(met.sum(0), 0, dtype=torch.int32, out=ends[1:])
    return [sources, targets, free.nonzero().squeeze(1).int(), bags, ends]
