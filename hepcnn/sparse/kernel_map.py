"""Which input site meets which output site under which weight of a kernel.

Shapes: K kernel offsets in C order, N input sites, M output sites, P pairs, d spatial dimensions.
"""

import itertools
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from hepcnn.errors import ConfigError
from hepcnn.sparse.tensor import Sites

GRID_BUDGET_BYTES = 256 * 1024**2


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution or pooling; everything is a tuple with one entry per axis.

    Attributes
    ----------
    kernel_size, stride, padding, dilation
        As in ``torch.nn.ConvNd``.
    periodic
        Axes that close into a circle, like phi: padding there repeats the other end.
    submanifold
        Whether output sites are the input sites (stride 1, "same" padding).
    """

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    periodic: tuple[bool, ...]
    submanifold: bool = False

    @property
    def volume(self) -> int:
        """K, the number of offsets."""
        return math.prod(self.kernel_size)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Cells per axis after the window slid over ``shape``.

        Raises
        ------
        ConfigError
            When the window does not fit, or a periodic axis is shorter than its padding.
        """
        spans = [d * (k - 1) + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        out = tuple(
            (size + 2 * p - span) // s + 1
            for size, p, span, s in zip(shape, self.padding, spans, self.stride, strict=True)
        )
        if min(out) < 1:
            raise ConfigError(f"a window of {spans} cells with padding {self.padding} does not fit the grid {shape}")
        if any(wrap and p > size for wrap, p, size in zip(self.periodic, self.padding, shape, strict=True)):
            raise ConfigError(f"padding {self.padding} is longer than a periodic axis of the grid {shape}")
        return out


@dataclass(frozen=True)
class KernelMap:
    """All pairs of input and output sites, grouped by kernel offset.

    Within one offset no input and no output appears twice, so that sums over pairs, taken offset by offset, never
    write to one row from two places: this is what makes every result the same to the bit for any number of threads.

    Attributes
    ----------
    window
        The geometry it was built for.
    in_rows, out_rows
        (P,) int64, sorted by offset. Without the pairs of the centre where ``centre`` is set.
    sizes
        K pair counts.
    centre
        The offset that maps each site to itself (submanifold), or None.
    inputs, outputs
        The coordinates (N, 1+d) and (M, 1+d), int32.
    in_shape, out_shape, batch_size
        The grids they live on.
    """

    window: Window
    in_rows: Tensor
    out_rows: Tensor
    sizes: tuple[int, ...]
    centre: int | None
    inputs: Tensor
    outputs: Tensor
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    batch_size: int
    slices: tuple[tuple[int, int, int], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ends = list(itertools.accumulate(self.sizes))
        slices = tuple((k, end - size, end) for k, (size, end) in enumerate(zip(self.sizes, ends, strict=True)) if size)
        object.__setattr__(self, "slices", slices)

    def table(self) -> Tensor:
        """(K, M) int32: the input row that output m meets under offset k, or -1."""
        n_out = self.outputs.shape[0]
        table = self.in_rows.new_full((self.window.volume, n_out), -1, dtype=torch.int32)
        for k, start, end in self.slices:
            table[k, self.out_rows[start:end]] = self.in_rows[start:end].int()
        if self.centre is not None:
            table[self.centre] = torch.arange(n_out, dtype=torch.int32, device=table.device)
        return table


def map_sites(sites: Sites, window: Window, *, grid_budget: int | None = None) -> tuple[KernelMap, Sites]:
    """Find or build the kernel map of a window on a set of sites.

    Parameters
    ----------
    sites
        The input sites; they remember the result.
    window
        The geometry.
    grid_budget
        The bytes that an index grid may take before sorting replaces it; `GRID_BUDGET_BYTES` if None. Both ways give
        identical maps.

    Returns
    -------
    KernelMap
        The pairs.
    Sites
        The output sites: the input's own for a submanifold window, else every site whose window holds an active
        input, in C order. No active input gives no output.
    """
    budget = GRID_BUDGET_BYTES if grid_budget is None else grid_budget
    key = (window, grid_budget)
    if key not in sites.maps:
        outputs = None if window.submanifold else _output_sites(sites, window, budget)
        # The entry must not point back at its own sites: a reference cycle would keep device memory until a collection.
        sites.maps[key] = (_build_map(sites, window, sites if outputs is None else outputs, budget), outputs)
    found, outputs = sites.maps[key]
    return found, sites if outputs is None else outputs


def _build_map(sites: Sites, window: Window, outputs: Sites, budget: int) -> KernelMap:
    volume = window.volume
    if window.submanifold:
        window.output_shape(sites.spatial_shape)
        centre = volume // 2
        keys, cells, queries = _keys(sites, sites, window)
        half = _look_up(keys, queries[:centre], cells, budget)
        rows_in, rows_out, sizes = _pairs(half)
        # The offset -o maps b to a wherever o maps a to b: the second half is the first one mirrored.
        parts = list(zip(torch.split(rows_in, sizes), torch.split(rows_out, sizes), strict=True))
        rows_in, rows_out = (
            torch.cat([rows_in, *[p[1] for p in reversed(parts)]]),
            torch.cat([rows_out, *[p[0] for p in reversed(parts)]]),
        )
        sizes = [*sizes, 0, *reversed(sizes)]
    else:
        centre = None
        keys, cells, queries = _keys(sites, outputs, window)
        rows_in, rows_out, sizes = _pairs(_look_up(keys, queries, cells, budget))
    grids = (sites.spatial_shape, outputs.spatial_shape, sites.batch_size)
    return KernelMap(window, rows_in, rows_out, tuple(sizes), centre, sites.coords, outputs.coords, *grids)


def _keys(sites: Sites, outputs: Sites, window: Window) -> tuple[Tensor, int, Tensor]:
    """Number the cells of the grid with a halo of padding; number the sites, and what each output asks for.

    Returns (N,) keys of the sites, the number of cells, and (K, M) keys of the queries.
    """
    halo = [0 if wrap else p for wrap, p in zip(window.periodic, window.padding, strict=True)]
    sizes = [size + 2 * h for size, h in zip(sites.spatial_shape, halo, strict=True)]
    cells = sites.batch_size * math.prod(sizes)
    if cells >= 2**63:
        raise ConfigError(f"{sites.batch_size} grids of {sizes} cells are more than int64 can number")
    columns, asked = sites.coords.long().unbind(1), outputs.coords.long().unbind(1)
    keys, queries = columns[0], asked[0].unsqueeze(0)
    for axis, size in enumerate(sizes):
        keys = keys * size + columns[1 + axis] + halo[axis]
        steps = torch.arange(window.kernel_size[axis], device=keys.device) * window.dilation[axis]
        at = asked[1 + axis] * window.stride[axis] + (steps.unsqueeze(1) + halo[axis] - window.padding[axis])
        if window.periodic[axis]:
            at = at.remainder(size)
        queries = (queries.unsqueeze(1) * size + at).flatten(0, 1)
    return keys, cells, queries


def _look_up(keys: Tensor, queries: Tensor, cells: int, budget: int) -> Tensor:
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
    place = torch.searchsorted(ordered, queries).clamp_(max=n - 1)
    return torch.where(ordered[place] == queries, order[place].int(), -1)


def _pairs(table: Tensor) -> tuple[Tensor, Tensor, list[int]]:
    """Input rows, output rows and counts of a (K, M) table."""
    volume, n_out = table.shape
    flat = table.flatten()
    hits = (flat >= 0).nonzero().squeeze(1)
    offset = hits.div(max(n_out, 1), rounding_mode="floor")
    sizes = torch.bincount(offset, minlength=volume).tolist()
    return flat.index_select(0, hits).long(), hits - offset * n_out, sizes


def _output_sites(sites: Sites, window: Window, budget: int) -> Sites:
    shape = window.output_shape(sites.spatial_shape)
    # One more cell per axis takes every window position that falls outside or between strides.
    sizes = [size + 1 for size in shape]
    columns = sites.coords.long().unbind(1)
    keys = columns[0].unsqueeze(0)
    for axis, size in enumerate(shape):
        steps = torch.arange(window.kernel_size[axis], device=keys.device) * window.dilation[axis]
        start = columns[1 + axis] + (window.padding[axis] - steps.unsqueeze(1))
        if window.periodic[axis]:
            # Padding repeats the other end: a site is seen where it is, and one turn before and after.
            turn = sites.spatial_shape[axis]
            start = torch.cat([start - turn, start, start + turn])
        at = start.div(window.stride[axis], rounding_mode="floor")
        inside = (start == at * window.stride[axis]) & (at >= 0) & (at < size)
        keys = (keys.unsqueeze(1) * sizes[axis] + torch.where(inside, at, size)).flatten(0, 1)
    cells = sites.batch_size * math.prod(sizes)
    if cells <= budget:
        hit = torch.zeros(cells, dtype=torch.bool, device=keys.device)
        hit[keys.flatten()] = True
        found = hit.nonzero().squeeze(1)
    else:
        found = torch.unique(keys.flatten())
    out = []
    for size in reversed(sizes):
        out.append(found.remainder(size))
        found = found.div(size, rounding_mode="floor")
    coords = torch.stack([found, *reversed(out)], dim=1).int()
    limits = torch.tensor([sites.batch_size, *shape], device=coords.device)
    return Sites(coords[(coords < limits).all(dim=1)].contiguous(), shape, sites.batch_size)
