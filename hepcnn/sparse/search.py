"""Look sites up: the operation that finds neighbours, opaque to compilers.

Shapes: K kernel offsets in C order, N input sites, M output sites, d spatial dimensions.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from hepcnn.errors import ConfigError
from hepcnn.sparse import compiled
from hepcnn.sparse.window import Window

# An index grid is the faster way to look sites up; beyond so many bytes a site, sorting takes its place.
GRID_BYTES_PER_SITE = 256
GRID_BYTES_ALWAYS = 1024**2


def grid_budget_of(n_sites: int) -> int:
    """The bytes that an index grid may take: some for each site, but not less than what costs nothing."""
    return max(GRID_BYTES_ALWAYS, GRID_BYTES_PER_SITE * n_sites)


@torch.library.custom_op("hepcnn::find_neighbours", mutates_args=())
def find_neighbours(
    coords: Tensor,
    outputs: Tensor | None,
    window: list[int],
    shape: list[int],
    batch_size: int,
    budget: int,
    padded: bool,
) -> Tensor:
    """(K, M) int32: the row of ``coords`` that each output meets under each offset, or -1.

    Parameters
    ----------
    coords
        (N, 1+d) int32.
    outputs
        (M, 1+d) int32; None for those of the input (submanifold).
    window
        `Window.numbers`.
    shape, batch_size
        The grids of the input.
    budget
        The bytes that an index grid may take; -1 for `grid_budget_of` the sites, or a compiled loop on the CPU.
    padded
        Whether rows may be no sites, with the image -1.
    """
    geometry, n = Window.from_numbers(window), coords.shape[0]
    if budget < 0 and coords.device.type == "cpu" and not any(geometry.periodic):
        count_cells(batch_size, [size + 2 * p for size, p in zip(shape, geometry.padding, strict=True)])
        asked = None if outputs is None else outputs.numpy()
        return torch.from_numpy(compiled.find_neighbours(coords.numpy(), asked, geometry, shape))
    budget = grid_budget_of(n) if budget < 0 else budget
    if outputs is not None:
        keys, cells, queries = _keys(coords, outputs, geometry, shape, batch_size, padded=padded)
        return _look_up(keys, queries, cells, budget, run=_run(geometry))
    keys, cells, queries = _keys(coords, coords, geometry, shape, batch_size, padded=padded)
    # The offset -o maps b to a wherever o maps a to b: the second half is the first one mirrored.
    half = _look_up(keys, queries[: geometry.volume // 2], cells, budget, run=_run(geometry))
    here = torch.arange(n, dtype=torch.int32, device=keys.device).unsqueeze(0)
    if padded:
        here = torch.where(coords[:, 0] < 0, -1, here)
    return torch.cat([half, here, transpose_table(half, n).flip(0)])


@find_neighbours.register_fake
def _(
    coords: Tensor,
    outputs: Tensor | None,
    window: list[int],
    shape: list[int],
    batch_size: int,
    budget: int,
    padded: bool,
) -> Tensor:
    del shape, batch_size, budget, padded
    rows = coords.shape[0] if outputs is None else outputs.shape[0]
    return coords.new_empty(Window.from_numbers(window).volume, rows)


def transpose_table(table: Tensor, n_in: int) -> Tensor:
    """Turn a (K, M) table of input rows into the (K, ``n_in``) table of output rows."""
    volume, n_out = table.shape
    # One more column takes what meets nothing.
    back = torch.full((volume, n_in + 1), -1, dtype=torch.int32, device=table.device)
    rows = torch.arange(n_out, dtype=torch.int32, device=table.device).expand(volume, -1)
    back.scatter_(1, torch.where(table < 0, n_in, table).long(), rows)
    return back[:, :n_in].contiguous()


def _keys(
    coords: Tensor, outputs: Tensor, window: Window, shape: list[int], batch_size: int, *, padded: bool
) -> tuple[Tensor, int, Tensor]:
    """Number the cells of the grid with a halo of padding; number the sites, and what each output asks for.

    Returns (N,) keys of the sites, the number of cells, and (K, M) keys of the queries. Rows that are no sites get the
    key after the last cell, and ask for the one after that.
    """
    halo = [0 if wrap else p for wrap, p in zip(window.periodic, window.padding, strict=True)]
    sizes = [size + 2 * h for size, h in zip(shape, halo, strict=True)]
    cells = count_cells(batch_size, sizes)
    columns, asked = coords.long().unbind(1), outputs.long().unbind(1)
    keys, queries = columns[0], asked[0].unsqueeze(0)
    for axis, size in enumerate(sizes):
        keys = keys * size + columns[1 + axis] + halo[axis]
        steps = torch.arange(window.kernel_size[axis], device=keys.device) * window.dilation[axis]
        at = asked[1 + axis] * window.stride[axis] + (steps.unsqueeze(1) + halo[axis] - window.padding[axis])
        if window.periodic[axis]:
            at = at.remainder(size)
        queries = (queries.unsqueeze(1) * size + at).flatten(0, 1)
    if padded:
        keys = torch.where(columns[0] < 0, cells, keys)
        queries = torch.where(asked[0] < 0, cells + 1, queries)
    return keys, cells, queries


def _run(window: Window) -> int:
    """How many consecutive offsets ask for consecutive cells: those along the last axis."""
    return 1 if window.periodic[-1] or window.dilation[-1] != 1 else window.kernel_size[-1]


def _look_up(keys: Tensor, queries: Tensor, cells: int, budget: int, *, run: int) -> Tensor:
    """The row of each queried key, or -1; (K, M) int32."""
    n = keys.shape[0]
    if n == 0 or queries.numel() == 0:
        return torch.full(queries.shape, -1, dtype=torch.int32, device=keys.device)
    rows = torch.arange(n, dtype=torch.int32, device=keys.device)
    if cells * 4 <= budget:
        # Two more cells: where padding is put, and what padding asks for.
        grid = torch.full((cells + 2,), -1, dtype=torch.int32, device=keys.device)
        grid[keys] = rows
        return grid.index_select(0, queries.flatten()).view(queries.shape)
    ordered, order = keys.sort()
    # The key after the last, and the row of what is not found.
    ordered, order = (
        torch.cat([ordered, ordered.new_full((1,), cells)]),
        torch.cat([order.int(), rows.new_full((1,), -1)]),
    )
    starts = queries[::run].contiguous()
    place = torch.searchsorted(ordered, starts, out_int32=True).flatten().clamp_(max=n)
    table = torch.empty(len(starts), run, queries.shape[1], dtype=torch.int32, device=keys.device)
    for step in range(run):
        # Where a cell is active, the next one can only be the next in order.
        found = ordered.index_select(0, place) == starts.flatten() + step
        table[:, step] = torch.where(found, order.index_select(0, place), -1).view(starts.shape)
        place = (place + found.int()).clamp_(max=n)
    return table.flatten(0, 1)[: queries.shape[0]].contiguous()


def count_cells(batch_size: int, sizes: Sequence[int]) -> int:
    """Cells in a batch of grids; a `ConfigError` where int64 cannot number them."""
    cells = batch_size * math.prod(sizes)
    if cells >= 2**63:
        raise ConfigError(f"{batch_size} grids of {list(sizes)} cells are more than int64 can number")
    return cells
