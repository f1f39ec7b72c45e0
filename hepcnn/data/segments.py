"""Batches from parts of a sample that come one after the other, the next of which is made meanwhile."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hepcnn.data.batches import Batch
from hepcnn.data.table import JetTable

Made = TypeVar("Made")


@dataclass(frozen=True)
class Segment:
    """Jets that are at hand, and the order in which they are wanted."""

    table: JetTable
    order: NDArray[np.int64]


def cut_batches(segments: Iterator[Segment], sizes: Iterable[int], *, sparse: bool) -> Iterator[Batch]:
    """Batches of so many consecutive jets each, over the borders of segments."""
    segment, used = None, 0
    for missing in sizes:
        pieces: list[tuple[JetTable, NDArray[np.int64]]] = []
        while missing:
            if segment is None or used == len(segment.order):
                segment, used = next(segments), 0
            jets = segment.order[used : used + missing]
            pieces.append((segment.table, jets))
            used += len(jets)
            missing -= len(jets)
        if not pieces:
            segment = segment or next(segments)
            pieces.append((segment.table, np.zeros(0, np.int64)))
        batch = _join(pieces, sparse=sparse)
        # While the batch is used, a part that is used up shall not stay in memory.
        pieces.clear()
        yield batch


def _join(pieces: list[tuple[JetTable, NDArray[np.int64]]], *, sparse: bool) -> Batch:
    if len(pieces) == 1:
        return pieces[0][0].batch(pieces[0][1], sparse=sparse)
    joined = JetTable.join([table.select(jets) for table, jets in pieces])
    return joined.batch(np.arange(len(joined)), sparse=sparse)


def prefetch(tasks: Iterable[Callable[[], Made]]) -> Iterator[Made]:
    """The results of tasks, in order; while one is used, a thread works on the next."""
    with ThreadPoolExecutor(1, thread_name_prefix="hepcnn-prefetch") as worker:
        ahead: deque[Future[Made]] = deque()
        for task in tasks:
            ahead.append(worker.submit(task))
            if len(ahead) > 1:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
