"""Where a strided layer is active: every site whose window holds an active input. Opaque to compilers.

Shapes: K kernel offsets in C order, N input sites, M output sites, d spatial dimensions.
"""

import math

import torch
from torch import Tensor

from hepcnn.sparse import compiled
from hepcnn.sparse.search import count_cells, grid_budget_of
from hepcnn.sparse.window import Window


@torch.library.custom_op("hepcnn::find_outputs", mutates_args=())
def find_outputs(
    coords: Tensor, window: list[int], shape: list[int], out_shape: list[int], batch_size: int, budget: int, most: int
) -> Tensor:
    """(M, 1+d) int32: the active sites of the output grid, in C order.

    Parameters
    ----------
    coords
        (N, 1+d) int32.
    window
        `Window.numbers`.
    shape, out_shape, batch_size
        The grids of input and output.
    budget
        The bytes that a grid of hits may take; -1 for `grid_budget_of` the sites, and a compiled loop on the CPU.
    most
        -1, or, where coordinates may be padded, the rows of the result, padded too (`most_outputs`): its shape then
        does not depend on what the device holds.
    """
    geometry, cells = Window.from_numbers(window), count_cells(batch_size, out_shape)
    on_cpu = budget < 0 and coords.device.type == "cpu"
    budget = grid_budget_of(coords.shape[0]) if budget < 0 else budget
    if on_cpu and cells <= budget:
        found = compiled.find_outputs(coords.numpy(), geometry, shape, out_shape, cells)
        return _spread(_fill_up(torch.from_numpy(found), most), out_shape)
    keys = _output_keys(coords, geometry, shape, out_shape, cells)
    if most >= 0:
        return _spread(_distinct_padded(keys, cells, budget, most), out_shape)
    if cells <= budget:
        # One more cell takes what is nowhere.
        hit = torch.zeros(cells + 1, dtype=torch.bool, device=keys.device)
        hit[keys] = True
        return _spread(hit[:cells].nonzero().squeeze(1), out_shape)
    found = torch.unique(keys)
    return _spread(found[found < cells], out_shape)


@find_outputs.register_fake
def _(
    coords: Tensor, window: list[int], shape: list[int], out_shape: list[int], batch_size: int, budget: int, most: int
) -> Tensor:
    del window, shape, out_shape, batch_size, budget
    rows = torch.library.get_ctx().new_dynamic_size() if most < 0 else most
    return coords.new_empty(rows, coords.shape[1])


def most_outputs(n_sites: int, window: Window, out_shape: tuple[int, ...], batch_size: int) -> int:
    """The most output sites that ``n_sites`` can have: never more than cells, nor than windows that a site lies in."""
    windows = 1
    for kernel, stride, dilation in zip(window.kernel_size, window.stride, window.dilation, strict=True):
        # Windows begin at multiples of the stride: of the kernel's steps those that share a remainder.
        repeat = stride // math.gcd(stride, dilation)
        windows *= -(-kernel // repeat)
    return min(n_sites * windows, batch_size * math.prod(out_shape))


def _output_keys(coords: Tensor, window: Window, shape: list[int], out_shape: list[int], cells: int) -> Tensor:
    """(K N,) the flat number of each output site that an input lies in under each offset, or ``cells``."""
    columns = coords.long().unbind(1)
    keys, known = columns[0].unsqueeze(0), (columns[0] >= 0).unsqueeze(0)
    for axis, size in enumerate(out_shape):
        steps = torch.arange(window.kernel_size[axis], device=keys.device) * window.dilation[axis]
        start = columns[1 + axis] + (window.padding[axis] - steps.unsqueeze(1))
        if window.periodic[axis]:
            start = start.remainder(shape[axis])
        at = start.div(window.stride[axis], rounding_mode="floor")
        inside = (start == at * window.stride[axis]) & (at >= 0) & (at < size)
        keys = (keys.unsqueeze(1) * size + at).flatten(0, 1)
        known = (known.unsqueeze(1) & inside).flatten(0, 1)
    return torch.where(known, keys, cells).flatten()


def _distinct_padded(keys: Tensor, cells: int, budget: int, most: int) -> Tensor:
    """(``most``,) the distinct keys below ``cells``, rising, then -1; nothing is asked of the device."""
    if cells <= budget:
        hit = torch.zeros(cells + 1, dtype=torch.bool, device=keys.device).index_fill_(0, keys, True)
        hit, named = hit[:cells], torch.arange(cells, device=keys.device)
    else:
        named = keys.sort().values
        hit = named < cells
        hit[1:] &= named[1:] != named[:-1]
    # One more row takes what is not hit.
    place = torch.where(hit, hit.cumsum(0) - 1, most)
    return torch.full((most + 1,), -1, device=keys.device).scatter_(0, place, named)[:most]


def _fill_up(found: Tensor, most: int) -> Tensor:
    return found if most < 0 else torch.cat([found, found.new_full((most - len(found),), -1)])


def _spread(found: Tensor, out_shape: list[int]) -> Tensor:
    """(M, 1+d) int32 coordinates of flat numbers; -1 gives a row whose image is -1."""
    axes = []
    for size in reversed(out_shape):
        axes.append(found.remainder(size))
        found = found.div(size, rounding_mode="floor")
    return torch.stack([found, *reversed(axes)], dim=1).int()
