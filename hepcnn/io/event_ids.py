"""Numbers that identify events, whatever the file they stand in."""

import numpy as np
from numpy.typing import NDArray

from hepcnn.io.columns import Block, Counts, Float

Ids = NDArray[np.uint64]


def _mix(state: Ids) -> Ids:
    """The output function of SplitMix64 (doi:10.1145/2714064.2660195)."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(state ^ (state >> np.uint64(31)), dtype=np.uint64)


def ids_from_keys(block: Block, keys: list[str]) -> Ids:
    """Mix the columns that identify an event, run and event number for instance, (n,)."""
    mixed = np.zeros(block.n, dtype=np.uint64)
    for key in keys:
        mixed = _mix(mixed ^ block.per_entry(key).astype(np.int64).astype(np.uint64))
    return mixed


def ids_from_content(n_jets: Counts, columns: list[Float]) -> Ids:
    """For files without such columns: mix what the event's jets are, (n,).

    Parameters
    ----------
    n_jets
        Jets of each event, (n,).
    columns
        Numbers of each jet, (n_jets,): pT, eta and phi.

    Notes
    -----
    The same events in another file, in another order, under another name have the same ids. Events without a jet have
    0: no jet asks for it.
    """
    mixed = np.zeros(int(n_jets.sum()), dtype=np.uint64)
    for column in columns:
        mixed = _mix(mixed ^ np.ascontiguousarray(column, dtype=np.float64).view(np.uint64))
    # Within an event the sum, which does not ask for the order of the jets; unsigned sums wrap.
    edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(n_jets)])
    totals = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)])
    return np.asarray(totals[edges[1:]] - totals[edges[:-1]], dtype=np.uint64)
