"""What a training asks of its jets: batches, in an order that depends on seed and epoch alone."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hepcnn.sparse import SparseTensor


@dataclass(frozen=True)
class Batch:
    """``images`` (B, C, and the axes of the grid) or a `SparseTensor`; ``jet_features`` (B, F); ``label`` and
    ``weight`` (B,). ``mass`` (B,) in GeV, and ``number`` (B,), the places of the jets in their split, where known."""

    images: Tensor | SparseTensor
    jet_features: Tensor
    label: Tensor
    weight: Tensor
    mass: Tensor | None = None
    number: Tensor | None = None


class JetSource(Protocol):
    """Jets of one split, wherever their pixels are: on the training device, in memory, or on disk.

    ``label`` (N,) are those of all jets, in their own order.
    """

    n_jets: int
    label: NDArray[np.int64]

    def epoch(self, *, seed: int, epoch: int, batch_size: int, sparse: bool, first_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from one of them on: every jet once, in an order that seed and epoch decide."""
        ...

    def in_order(self, batch_size: int, *, sparse: bool) -> Iterator[Batch]:
        """All jets in their own order."""
        ...


def batch_starts(n_jets: int, batch_size: int) -> list[int]:
    """Where batches begin; a last one of a single jet joins the one before: batch normalisation needs two."""
    starts = list(range(0, n_jets, batch_size))
    if len(starts) > 1 and n_jets - starts[-1] == 1:
        starts.pop()
    return starts


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
