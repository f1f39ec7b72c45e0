"""The CPU's way to find neighbours and to lay pairs out: compiled loops, which give what the array operations give.

Shapes: K kernel offsets in C order, N input sites, M output sites, P pairs, d spatial dimensions.
"""

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from hepcnn.sparse.window import Window

NO_SITE = np.iinfo(np.int64).max


def find_neighbours(
    coords: NDArray[np.int32], outputs: NDArray[np.int32] | None, window: Window, shape: Sequence[int]
) -> NDArray[np.int32]:
    """(K, M) int32: the row of ``coords`` that each output meets under each offset, or -1; see `hepcnn.sparse.search`.

    Sites and queries are numbered alike and both gone through in order, once for each run of neighbouring offsets; only
    sites that come unsorted are sorted first. Rows whose image is negative are no sites: they meet nothing and nothing
    meets them. The window must not have periodic axes: there queries do not come in the order of their outputs.
    """
    sizes = np.array([size + 2 * p for size, p in zip(shape, window.padding, strict=True)], np.int64)
    strides = np.array([*np.cumprod(sizes[:0:-1])[::-1], 1], np.int64)
    steps = np.indices(window.kernel_size).reshape(len(sizes), -1).T * np.array(window.dilation)
    corner = int(np.array(window.padding) @ strides)
    keys = _number(coords, sizes, np.ones_like(sizes), corner, NO_SITE)
    order = _order(keys)
    ordered = np.append(keys[order], NO_SITE)
    table = np.full((window.volume, len(coords) if outputs is None else len(outputs)), -1, np.int32)
    run = window.kernel_size[-1] if window.dilation[-1] == 1 else 1
    if outputs is None:
        deltas = (steps @ strides - corner)[: window.volume // 2]
        _merge(ordered, order, ordered[:-1], order, deltas, run, table, True)
    else:
        asked = _number(outputs, sizes, np.array(window.stride), 0, NO_SITE)
        ask_order = _order(asked)
        _merge(ordered, order, asked[ask_order], ask_order, steps @ strides, run, table, False)
    return table


def find_outputs(
    coords: NDArray[np.int32], window: Window, shape: Sequence[int], out_shape: Sequence[int], cells: int
) -> NDArray[np.int64]:
    """(M,) int64: the flat numbers, rising, of the output sites of a strided layer; see `hepcnn.sparse.outputs`."""
    steps = np.indices(window.kernel_size).reshape(len(shape), -1).T * np.array(window.dilation)
    hit = np.zeros(cells, np.bool_)
    grids = [np.array(numbers, np.int64) for numbers in (shape, out_shape, window.stride, window.periodic)]
    _hit(coords, np.ascontiguousarray(np.array(window.padding) - steps, np.int64), *grids, hit)
    return np.flatnonzero(hit)


def lay_out(
    table: NDArray[np.int32], groups: list[tuple[int, int]], heights: list[list[int]], height: int, centre: int
) -> tuple[NDArray[Any], ...]:
    """Fill the arrays of a `hepcnn.sparse.layout.PairLayout`.

    Parameters
    ----------
    table
        (K, M) input rows, or -1.
    groups
        The ranges of offsets that make up each group.
    heights
        For each group the blocks of each of its offsets; their sum is what the group has.
    height
        Rows in a block.
    centre
        The offset that is left out, or -1.

    Returns
    -------
    tuple of arrays
        ``sources, targets, padding, bags, ends``, and the padding and pairs in each group, (G, 2).
    """
    slots = height * sum(sum(tall) for tall in heights)
    sources, targets = np.zeros(slots, np.int32), np.zeros(slots, np.int32)
    padding, bags = np.empty(slots, np.int32), np.empty(slots, np.int32)
    ends = np.empty((len(groups), table.shape[1] + 1), np.int32)
    found = np.zeros((len(groups), 2), np.int64)
    slot = free = pairs = 0
    for number, ((first, last), tall) in enumerate(zip(groups, heights, strict=True)):
        size = height * sum(tall)
        starts = np.cumsum([0, *tall], dtype=np.int64) * height
        n_free, n_pairs = _group(
            table, first, last, centre, starts, sources[slot : slot + size], targets[slot : slot + size],
            padding[free:], bags[pairs:], ends[number],
        )  # fmt: skip
        found[number] = n_free, n_pairs
        slot, free, pairs = slot + size, free + n_free, pairs + n_pairs
    return sources, targets, padding[:free].copy(), bags[:pairs].copy(), ends, found


def count_pairs(table: NDArray[np.int32], centre: int) -> list[int]:
    """Pairs of each offset; 0 for ``centre``."""
    counts: list[int] = _count(table).tolist()
    if centre >= 0:
        counts[centre] = 0
    return counts


def _order(keys: NDArray[np.int64]) -> NDArray[np.int32]:
    """The permutation that sorts keys; most come sorted, as strided layers and files leave them."""
    return (
        np.arange(len(keys), dtype=np.int32)
        if (keys[1:] >= keys[:-1]).all()
        else keys.argsort(kind="stable").astype(np.int32)
    )


def _number_cells(
    coords: Any, sizes: Any, stride: Any, corner: Any, no_site: Any
) -> Any:  # pragma: no cover - compiled
    """(N,) the number of each site on a grid of ``sizes``, ``corner`` cells on; ``no_site`` for padding."""
    keys = np.empty(coords.shape[0], np.int64)
    for n in range(coords.shape[0]):
        key = np.int64(coords[n, 0])
        for axis in range(len(sizes)):
            key = key * sizes[axis] + coords[n, 1 + axis] * stride[axis]
        keys[n] = no_site if coords[n, 0] < 0 else key + corner
    return keys


def _merge_runs(
    ordered: Any, order: Any, asked: Any, ask_order: Any, deltas: Any, run: int, table: Any, mirrored: bool
) -> None:  # pragma: no cover - compiled
    """Walk through sites and queries together, for every ``run`` offsets that ask for consecutive cells.

    ``ordered`` (N+1,) ends with a key that no query reaches. With ``mirrored``, the offset -o maps b to a wherever o
    maps a to b, and each site meets itself.
    """
    volume = table.shape[0]
    end = ordered[-1]
    for first in range(0, len(deltas), run):
        steps = min(run, len(deltas) - first)
        place = 0
        for i in range(len(asked)):
            if asked[i] == end:
                break
            query = asked[i] + deltas[first]
            while ordered[place] < query:
                place += 1
            at = place
            for step in range(steps):
                # Where a cell is active, the next one can only be the next in order.
                if ordered[at] == query + step:
                    table[first + step, ask_order[i]] = order[at]
                    if mirrored:
                        table[volume - 1 - first - step, order[at]] = ask_order[i]
                    at += 1
    if mirrored:
        for i in range(len(asked)):
            if asked[i] == end:
                break
            table[volume // 2, ask_order[i]] = ask_order[i]


def _hit_outputs(
    coords: Any, shifts: Any, shape: Any, out_shape: Any, stride: Any, periodic: Any, hit: Any
) -> None:  # pragma: no cover - compiled
    """Mark the output cells that each input lies in: under each of the ``shifts`` (K, d) at most one."""
    for n in range(coords.shape[0]):
        if coords[n, 0] < 0:
            continue
        for k in range(shifts.shape[0]):
            key = np.int64(coords[n, 0])
            inside = True
            for axis in range(shifts.shape[1]):
                start = coords[n, 1 + axis] + shifts[k, axis]
                if periodic[axis]:
                    start %= shape[axis]
                at = start // stride[axis]
                if start != at * stride[axis] or at < 0 or at >= out_shape[axis]:
                    inside = False
                    break
                key = key * out_shape[axis] + at
            if inside:
                hit[key] = True


def _fill_group(
    table: Any,
    first: int,
    last: int,
    centre: int,
    starts: Any,
    sources: Any,
    targets: Any,
    padding: Any,
    bags: Any,
    ends: Any,
) -> Any:  # pragma: no cover - compiled
    """One group of offsets, output by output, then offset by offset: the order in which an output sums."""
    place = starts.copy()
    pairs = 0
    for m in range(table.shape[1]):
        ends[m] = pairs
        for k in range(first, last):
            row = table[k, m]
            if row >= 0 and k != centre:
                slot = place[k - first]
                place[k - first] = slot + 1
                sources[slot] = row
                targets[slot] = m
                bags[pairs] = slot
                pairs += 1
    ends[table.shape[1]] = pairs
    free = 0
    for k in range(last - first):
        for slot in range(place[k], starts[k + 1]):
            padding[free] = slot
            free += 1
    return free, pairs


def _count_met(table: Any) -> Any:  # pragma: no cover - compiled
    counts = np.zeros(table.shape[0], np.int64)
    for k in range(table.shape[0]):
        met = 0
        for m in range(table.shape[1]):
            met += table[k, m] >= 0
        counts[k] = met
    return counts


_number: Any = numba.njit(nogil=True, cache=True)(_number_cells)
_merge: Any = numba.njit(nogil=True, cache=True)(_merge_runs)
_hit: Any = numba.njit(nogil=True, cache=True)(_hit_outputs)
_group: Any = numba.njit(nogil=True, cache=True)(_fill_group)
_count: Any = numba.njit(nogil=True, cache=True)(_count_met)
