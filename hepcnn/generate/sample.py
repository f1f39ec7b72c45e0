"""A sample in the making: which chunks it still needs, and the blocks of columns of those it has."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from hepcnn.errors import EmptySampleError, HepcnnError
from hepcnn.generate.card import DetectorCard
from hepcnn.generate.chunk import CUTS, ChunkResult
from hepcnn.generate.parts import PartStore
from hepcnn.generate.settings import JetSettings
from hepcnn.generate.workers import WorkerPool

JETS_PER_BLOCK = 10_000
Progress = Callable[[int, int], None]
Block = dict[str, npt.NDArray[np.generic] | ak.Array]


class Sample:
    """The first n_jets jets of the endless row of chunks that process, seed and settings define.

    Parameters
    ----------
    process, n_jets, seed, settings, card
        What to make.
    store
        Where finished chunks are.
    progress
        Called with the number of jets there and the number wanted.
    """

    def __init__(
        self,
        process: str,
        n_jets: int,
        seed: int,
        *,
        settings: JetSettings,
        card: DetectorCard,
        store: PartStore[ChunkResult],
        progress: Progress | None = None,
    ) -> None:
        self.process, self.n_jets, self.seed, self.settings = process, n_jets, seed, settings
        self._card, self._store = card, store
        self._progress = progress or (lambda _done, _wanted: None)
        self._finished: dict[int, int] = {}
        self.n_reused = 0

    def complete(self, workers: int) -> int:
        """Make what is missing with so many processes; returns the number of chunks the sample takes.

        Raises
        ------
        EmptySampleError
            When chunk after chunk is empty.
        """
        for chunk in self._store.list_chunks():
            if self._whole() is None and self._read_jets(chunk) is not None:
                self.n_reused += 1
        self._report()
        n_chunks = self._whole()
        if n_chunks is not None:
            return n_chunks
        with WorkerPool(workers) as pool:
            while (n_chunks := self._whole()) is None:
                self._submit(pool)
                for chunk in pool.wait():
                    if self._read_jets(chunk) is None:
                        raise HepcnnError(f"{self._store.path(chunk)}: the part just written cannot be read")
                self._report()
        return n_chunks

    def read_chunks(self, n_chunks: int) -> Iterator[ChunkResult]:
        """The chunks of the sample in their order."""
        for chunk in range(n_chunks):
            result = self._store.read(chunk)
            if result is None:
                raise HepcnnError(f"{self._store.path(chunk)}: this part is gone or damaged; start again to remake it")
            yield result

    def blocks(self, n_chunks: int) -> Iterator[Block]:
        """Blocks of columns, n_jets entries in all."""
        waiting: list[ChunkResult] = []
        n_waiting = n_written = 0
        for result in self.read_chunks(n_chunks):
            waiting.append(result)
            n_waiting += result.n_jets
            if n_waiting >= JETS_PER_BLOCK or n_written + n_waiting >= self.n_jets:
                n_block = min(n_waiting, self.n_jets - n_written)
                yield make_block(waiting, n_block)
                n_written += n_block
                waiting, n_waiting = [], 0

    def _whole(self) -> int | None:
        """Chunks needed, once all of them are there."""
        n_jets = n_events = 0
        for chunk in range(len(self._finished) + 1):
            if n_jets >= self.n_jets:
                return chunk
            if chunk not in self._finished:
                break
            n_jets += self._finished[chunk]
            n_events += self.settings.events_per_chunk
            if not n_jets and n_events >= self.settings.give_up_after_events:
                raise EmptySampleError(
                    f"process '{self.process}': not one jet passed in {n_events} events: pT {self.settings.pt_min:g} "
                    f"to {self.settings.pt_max:g} GeV, |eta| < {self.settings.abs_eta_max:g}; do pt_hat_min and "
                    "pt_hat_max fit this window?"
                )
        return None

    def _next_missing(self, busy: tuple[int, ...] = ()) -> int:
        return next(n for n in range(len(self._finished) + len(busy) + 1) if n not in self._finished and n not in busy)

    def _read_jets(self, chunk: int) -> int | None:
        result = self._store.read(chunk)
        if result is None:
            return None
        self._finished[chunk] = result.n_jets
        return result.n_jets

    def _submit(self, pool: WorkerPool) -> None:
        """Keep workers busy, but not beyond what is expected to be needed."""
        while pool.n_idle:
            busy = tuple(pool.running)
            have = sum(self._finished.values())
            expected = have * (1 + len(busy) / len(self._finished)) if self._finished else 0.0
            if busy and expected >= self.n_jets:
                return
            chunk = self._next_missing(busy)
            pool.submit(self._job(chunk))

    def _job(self, chunk: int) -> dict[str, Any]:
        return {
            "chunk": chunk,
            "process": self.process,
            "seed": self.seed,
            "settings": self.settings.model_dump(mode="json"),
            "card": self._card.model_dump(mode="json"),
            "path": str(Path(self._store.path(chunk)).absolute()),
        }

    def _report(self) -> None:
        self._progress(min(sum(self._finished.values()), self.n_jets), self.n_jets)


def make_block(results: list[ChunkResult], n_jets: int) -> Block:
    """Columns of the first n_jets jets of some chunks: per jet (n_jets,), per constituent (n_jets, var)."""
    counts = np.concatenate([result.counts for result in results])[:n_jets]
    n_parts = int(counts.sum())
    block: Block = {
        name: ak.unflatten(np.concatenate([result.parts[name] for result in results])[:n_parts], counts)
        for name in results[0].parts
    }
    for name in results[0].jets:
        block[name] = np.concatenate([result.jets[name] for result in results])[:n_jets]
    return block


def add_up(results: Iterator[ChunkResult]) -> tuple[dict[str, int], float, float]:
    """Cutflow, cross section and its error (pb) of chunks, taken as repeated measurements of one cross section."""
    cutflow, sections, errors = dict.fromkeys(CUTS, 0), [], []
    for result in results:
        cutflow = {cut: n + result.cutflow[cut] for cut, n in cutflow.items()}
        sections.append(result.cross_section_pb)
        errors.append(result.cross_section_err_pb)
    return cutflow, float(np.mean(sections)), float(np.sqrt(np.sum(np.square(errors))) / len(errors))
