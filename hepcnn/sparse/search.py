"""Look sites up: the operations that find neighbours and the sites of a strided layer, opaque to compilers.

Shapes: K kernel offsets in C order, N input sites, M output sites, d spatial dimensions.
"""

import math

import torch
from torch import Tensor

from hepcnn.errors import ConfigError
from hepcnn.sparse.window import Window

# An index grid is the faster way to look sites up; beyond so many bytes a site, sorting takes its place.
GRID_BYTES_PER_SITE = 256
GRID_BYTES_ALWAYS = 1024**2


def grid_budget_of(n_sites: int) -> int:
    """The bytes that an index grid may take: some for each site, but not less than what costs nothing."""
    return max(GRID_BYTES_ALWAYS, GRID_BYTES_PER_SITE * n_sites)


@torch.library.custom_op("hepcnn::find_neighbours", mutates_args=())
def find_neighbours(
    coords: Tensor, outputs: Tensor | None, window: list[int], shape: list[int], batch_size: int, budget: int
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
        The bytes that an index grid may take; -1 for `grid_budget_of` the sites.
    """
    geometry, n = Window.from_numbers(window), coords.shape[0]
    budget = grid_budget_of(n) if budget < 0 else budget
    if outputs is not None:
        keys, cells, queries = _keys(coords, outputs, geometry, shape, batch_size)
        return _look_up(keys, queries, cells, budget, run=_run(geometry))
    keys, cells, queries = _keys(coords, coords, geometry, shape, batch_size)
    # The offset -o maps b to a wherever o maps a to b: the second half is the first one mirrored.
    half = _look_up(keys, queries[: geometry.volume // 2], cells, budget, run=_run(geometry))
    here = torch.arange(n, dtype=torch.int32, device=keys.device).unsqueeze(0)
    return torch.cat([half, here, transpose_table(half, n).flip(0)])


@find_neighbours.register_fake
def _(
    coords: Tensor, outputs: Tensor | None, window: list[int], shape: list[int], batch_size: int, budget: int
) -> Tensor:
    del shape, batch_size, budget
    rows = coords.shape[0] if outputs is None else outputs.shape[0]
    return coords.new_empty(Window.from_numbers(window).volume, rows)


@torch.library.custom_op("hepcnn::find_outputs", mutates_args=())
def find_outputs(
    coords: Tensor, window: list[int], shape: list[int], out_shape: list[int], batch_size: int, budget: int
) -> Tensor:
    """(M, 1+d) int32: every site whose window holds one of ``coords``, in C order; arguments as `find_neighbours`."""
    geometry = Window.from_numbers(window)
    budget = grid_budget_of(coords.shape[0]) if budget < 0 else budget
    # One more cell per axis takes every window position that falls outside or between strides.
    sizes = [size + 1 for size in out_shape]
    columns = coords.long().unbind(1)
    keys = columns[0].unsqueeze(0)
    for axis, size in enumerate(out_shape):
        steps = torch.arange(geometry.kernel_size[axis], device=keys.device) * geometry.dilation[axis]
        start = columns[1 + axis] + (geometry.padding[axis] - steps.unsqueeze(1))
        if geometry.periodic[axis]:
            start = start.remainder(shape[axis])
        at = start.div(geometry.stride[axis], rounding_mode="floor")
        inside = (start == at * geometry.stride[axis]) & (at >= 0) & (at < size)
        keys = (keys.unsqueeze(1) * sizes[axis] + torch.where(inside, at, size)).flatten(0, 1)
    cells = _count_cells(batch_size, sizes)
    if cells <= budget:
        hit = torch.zeros(cells, dtype=torch.bool, device=keys.device)
        hit[keys.flatten()] = True
        found = hit.nonzero().squeeze(1)
    else:
        found = torch.unique(keys.flatten())
    axes = []
    for size in reversed(sizes):
        axes.append(found.remainder(size))
        found = found.div(size, rounding_mode="floor")
    found_coords = torch.stack([found, *reversed(axes)], dim=1).int()
    limits = torch.tensor([batch_size, *out_shape], device=found_coords.device)
    return found_coords[(found_coords < limits).all(dim=1)]


@find_outputs.register_fake
def _(
    coords: Tensor, window: list[int], shape: list[int], out_shape: list[int], batch_size: int, budget: int
) -> Tensor:
    del window, shape, out_shape, batch_size, budget
    return coords.new_empty(torch.library.get_ctx().new_dynamic_size(), coords.shape[1])


def transpose_table(table: Tensor, n_in: int) -> Tensor:
    """Turn a (K, M) table of input rows into the (K, ``n_in``) table of output rows."""
    volume, n_out = table.shape
    # One more column takes what meets nothing.
    back = torch.full((volume, n_in + 1), -1, dtype=torch.int32, device=table.device)
    rows = torch.arange(n_out, dtype=torch.int32, device=table.device).expand(volume, -1)
    back.scatter_(1, torch.where(table < 0, n_in, table).long(), rows)
    return back[:, :n_in].contiguous()


def _keys(
    coords: Tensor, outputs: Tensor, window: Window, shape: list[int], batch_size: int
) -> tuple[Tensor, int, Tensor]:
    """Number the cells of the grid with a halo of padding; number the sites, and what each output asks for.

    Returns (N,) keys of the sites, the number of cells, and (K, M) keys of the queries.
    """
    halo = [0 if wrap else p for wrap, p in zip(window.periodic, window.padding, strict=True)]
    sizes = [size + 2 * h for size, h in zip(shape, halo, strict=True)]
    cells = _count_cells(batch_size, sizes)
    columns, asked = coords.long().unbind(1), outputs.long().unbind(1)
    keys, queries = columns[0], asked[0].unsqueeze(0)
    for axis, size in enumerate(sizes):
        keys = keys * size + columns[1 + axis] + halo[axis]
        steps = torch.arange(window.kernel_size[axis], device=keys.device) * window.dilation[axis]
        at = asked[1 + axis] * window.stride[axis] + (steps.unsqueeze(1) + halo[axis] - window.padding[axis])
        if window.periodic[axis]:
            at = at.remainder(size)
        queries = (queries.unsqueeze(1) * size + at).flatten(0, 1)
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
        grid = torch.full((cells,), -1, dtype=torch.int32, device=keys.device)
        grid[keys] = rows
        return grid.index_select(0, queries.flatten()).view(queries.shape)
    ordered, order = keys.sort()
    # The key after the last, and the row of what is not found.
    ordered, order = (
        torch.cat([ordered, ordered.new_full((1,), cells)]),
        torch.cat([order.int(), rows.new_full((1,), -1)]),
    )
    starts = queries[::run].contiguous()
    place = torch.searchsorted(ordered, starts, out_int32=True).flatten()
    table = torch.empty(len(starts), run, queries.shape[1], dtype=torch.int32, device=keys.device)
    for step in range(run):
        # Where a cell is active, the next one can only be the next in order.
        found = ordered.index_select(0, place) == starts.flatten() + step
        table[:, step] = torch.where(found, order.index_select(0, place), -1).view(starts.shape)
        place = (place + found.int()).clamp_(max=n)
    return table.flatten(0, 1)[: queries.shape[0]].contiguous()


def _count_cells(batch_size: int, sizes: list[int]) -> int:
    cells = batch_size * math.prod(sizes)
    if cells >= 2**63:
        raise ConfigError(f"{batch_size} grids of {sizes} cells are more than int64 can number")
    return cells
