"""What a training asks of its jets: batches, in an order that depends on seed and epoch alone."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hepcnn.sparse import SparseTensor

Share = tuple[int, int]
"""The number of a process, from 0, and how many there are: each gets its part of every batch."""
WHOLE: Share = (0, 1)


@dataclass(frozen=True)
class Rows:
    """The jets of a batch that a process has: ``here`` consecutive ones from ``start`` on, of ``total``.

    What is drawn at random for jets is drawn for all ``total``, and a process takes its rows: so the number of
    processes changes nothing.
    """

    start: int
    here: int
    total: int

    def of(self, drawn: Tensor, *, axis: int = 0) -> Tensor:
        """The part for this process's jets of what was drawn for all."""
        return drawn.narrow(axis, self.start, self.here)


@dataclass(frozen=True)
class Batch:
    """``images`` (B, C, and the axes of the grid) or a `SparseTensor`; ``jet_features`` (B, F); ``label`` and
    ``weight`` (B,). ``mass`` (B,) in GeV, ``number`` (B,), the places of the jets in their split, and ``energy`` (B,),
    the true one in GeV, where known."""

    images: Tensor | SparseTensor
    jet_features: Tensor
    label: Tensor
    weight: Tensor
    mass: Tensor | None = None
    number: Tensor | None = None
    energy: Tensor | None = None


class JetSource(Protocol):
    """Jets of one split, wherever their pixels are: on the training device, in memory, or on disk.

    ``label`` (N,) are those of all jets, in their own order.
    """

    n_jets: int
    label: NDArray[np.int64]

    def epoch(
        self,
        *,
        seed: int,
        epoch: int,
        batch_size: int,
        sparse: bool,
        first_step: int = 0,
        parts: int = 1,
        share: Share = WHOLE,
    ) -> Iterator[Batch]:
        """The batches of an epoch from one of them on: every jet once, in an order that seed and epoch decide.

        Each comes in so many ``parts`` (see `count_parts`), and of each part a process gets its ``share``.
        """
        ...

    def in_order(self, batch_size: int, *, sparse: bool, share: Share = WHOLE) -> Iterator[Batch]:
        """All jets in their own order."""
        ...


def batch_starts(n_jets: int, batch_size: int) -> list[int]:
    """Where batches begin; a last one of a single jet joins the one before: batch normalisation needs two."""
    starts = list(range(0, n_jets, batch_size))
    if len(starts) > 1 and n_jets - starts[-1] == 1:
        starts.pop()
    return starts


def batch_sizes(n_jets: int, batch_size: int) -> NDArray[np.int64]:
    """Jets in each batch, cut at `batch_starts`."""
    return np.diff([*batch_starts(n_jets, batch_size), n_jets]).astype(np.int64)


def count_parts(n_jets: int, parts: int) -> int:
    """How many parts a batch of ``n_jets`` is taken in, when ``parts`` are wished: each has at least two jets."""
    return max(1, min(parts, n_jets // 2))


def split_evenly(n_jets: int, pieces: int) -> list[int]:
    """Sizes of pieces that differ by one jet at most, the larger ones first."""
    return [n_jets // pieces + (piece < n_jets % pieces) for piece in range(pieces)]


def cut_epoch(
    n_jets: int, batch_size: int, *, first_step: int = 0, parts: int = 1, share: Share = WHOLE
) -> tuple[NDArray[np.int64], list[int]]:
    """Which places of an epoch's order a process gets, and how many of them each part of a batch has.

    Parameters
    ----------
    n_jets, batch_size
        Jets of the epoch and of each batch, over all processes.
    first_step
        The batch to begin with.
    parts
        Parts of a batch, of about equal size.
    share
        Of each part, the piece of this process: consecutive jets, pieces differ by one jet at most. A piece is empty
        where a part has fewer jets than there are processes.

    Returns
    -------
    positions
        Rising.
    sizes
        Of the pieces, in order; they add up to the number of positions.
    """
    rank, world = share
    sizes = batch_sizes(n_jets, batch_size)
    start = int(sizes[:first_step].sum())
    if parts == world == 1:
        return np.arange(start, n_jets), sizes[first_step:].tolist()
    positions, counts = [np.zeros(0, np.int64)], []
    for size in sizes[first_step:].tolist():
        for part in split_evenly(size, count_parts(size, parts)):
            pieces = split_evenly(part, world)
            mine = start + sum(pieces[:rank])
            positions.append(np.arange(mine, mine + pieces[rank]))
            counts.append(pieces[rank])
            start += part
    return np.concatenate(positions), counts


def epoch_order(n_jets: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch sees its jets, (N,): a function of seed and epoch, so that a run can resume."""
    return np.random.default_rng([seed, epoch]).permutation(n_jets)


def block_order(
    counts: NDArray[np.integer[Any]], *, pool: int, seed: int, epoch: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The order of an epoch whose jets come in blocks: blocks are permuted, and jets shuffled within a pool of blocks.

    The sample is cut into as many stretches as a pool has blocks, and a pool draws one block of each: files come one
    after the other, often one a class, and every pool shall hold all of them.

    Parameters
    ----------
    counts
        Jets in each block, (n_blocks,).
    pool
        Blocks shuffled together.
    seed, epoch
        What the order is a function of, beside the counts.

    Yields
    ------
    tuple of two arrays
        Of each pool the numbers of its blocks, rising, and the order of its jets, which are numbered through these
        blocks. Together every jet comes once.
    """
    random = np.random.default_rng([seed, epoch])
    edges = np.linspace(0, len(counts), pool + 1).astype(np.int64)
    stretches = [start + random.permutation(stop - start) for start, stop in itertools.pairwise(edges)]
    for number in range(max(len(stretch) for stretch in stretches)):
        chosen = np.array([stretch[number] for stretch in stretches if number < len(stretch)], dtype=np.int64)
        # A generator of its own, so that a pool's order is known without drawing those before it.
        shuffle = np.random.default_rng([seed, epoch, number])
        yield chosen, shuffle.permutation(int(counts[chosen].sum()))
