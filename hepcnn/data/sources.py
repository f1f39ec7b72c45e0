"""Where a split's pixels live while a network is trained: on its device, in host memory, or on disk.

All three give a batch as a function of the jets and of (seed, epoch, step) alone, so that training goes on to the bit
from any step. The first two see the jets in one order; on disk they come in blocks, which is another.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hepcnn.data.batches import WHOLE, Batch, Share, block_order, cut_epoch, epoch_order
from hepcnn.data.compiled import offsets_after
from hepcnn.data.dataset import ImageDataset, JetColumns
from hepcnn.data.pixel_files import PixelFiles, split_by_block
from hepcnn.data.segments import Segment, cut_batches, prefetch
from hepcnn.data.table import JetTable


class DeviceDataset:
    """A split whose pixels are all on the training device; batches are cut there."""

    def __init__(self, dataset: ImageDataset, *, feature_names: tuple[str, ...], device: torch.device) -> None:
        self.n_jets, self.label = len(dataset), dataset.label
        self.table = _host_table(dataset, feature_names).to(device)

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
        """See `hepcnn.data.batches.JetSource`."""
        positions, sizes = cut_epoch(self.n_jets, batch_size, first_step=first_step, parts=parts, share=share)
        order = epoch_order(self.n_jets, seed=seed, epoch=epoch)[positions]
        return cut_batches(iter([Segment(self.table, order)]), sizes, sparse=sparse)

    def in_order(self, batch_size: int, *, sparse: bool, share: Share = WHOLE) -> Iterator[Batch]:
        """See `hepcnn.data.batches.JetSource`."""
        positions, sizes = cut_epoch(self.n_jets, batch_size, share=share)
        return cut_batches(iter([Segment(self.table, positions)]), sizes, sparse=sparse)


class HostDataset:
    """A split in host memory. While a block of ``block`` jets trains, a thread gathers the next and copies it over."""

    def __init__(
        self, dataset: ImageDataset, *, feature_names: tuple[str, ...], device: torch.device, block: int
    ) -> None:
        self.n_jets, self.label = len(dataset), dataset.label
        self.table = _host_table(dataset, feature_names)
        self.device, self.block = device, block

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
        """See `hepcnn.data.batches.JetSource`."""
        positions, sizes = cut_epoch(self.n_jets, batch_size, first_step=first_step, parts=parts, share=share)
        return self._batches(epoch_order(self.n_jets, seed=seed, epoch=epoch)[positions], sizes, sparse=sparse)

    def in_order(self, batch_size: int, *, sparse: bool, share: Share = WHOLE) -> Iterator[Batch]:
        """See `hepcnn.data.batches.JetSource`."""
        return self._batches(*cut_epoch(self.n_jets, batch_size, share=share), sparse=sparse)

    def _batches(self, order: NDArray[np.int64], sizes: list[int], *, sparse: bool) -> Iterator[Batch]:
        def load(start: int) -> Segment:
            jets = order[start : start + self.block]
            return Segment(self.table.select(jets).to(self.device, pinned=True), np.arange(len(jets)))

        # One block at least, even of no jet: a process whose share is empty has empty batches.
        starts = range(0, max(len(order), 1), self.block)
        return cut_batches(prefetch(partial(load, start) for start in starts), sizes, sparse=sparse)


class StreamDataset:
    """A split on disk, read in blocks of ``block`` jets of the files, ``pool`` of which are shuffled together.

    While one pool trains, a thread reads the next: two pools and a block are in memory. Beside the pixels, what is
    known of the split's jets stays in memory (some 50 bytes a jet).

    Parameters
    ----------
    files
        The pixels of all jets.
    columns, jets
        What is known of the split's jets, and their numbers in the files, rising.
    feature_names
        Jet-level inputs.
    device
        Where batches go.
    block, pool
        Jets in a block, counted in the files whatever their split, and blocks in a pool.
    """

    def __init__(
        self,
        files: PixelFiles,
        columns: JetColumns,
        jets: NDArray[np.int64],
        *,
        feature_names: tuple[str, ...],
        device: torch.device,
        block: int,
        pool: int,
    ) -> None:
        self.n_jets, self.label = len(columns), columns.label
        self._files, self._jets, self._shape = files, jets, columns.shape
        self._counts = np.diff(columns.indptr).astype(np.int32)
        self._numbers = _jet_numbers(columns, feature_names)
        self._blocks = list(split_by_block(np.asarray(jets, np.int64), block))
        self._starts = offsets_after(np.array([len(part) for part in self._blocks], np.int64))
        self._device, self._pool = device, pool

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
        """See `hepcnn.data.batches.JetSource`."""
        pools = block_order(np.diff(self._starts), pool=self._pool, seed=seed, epoch=epoch)
        cut = cut_epoch(self.n_jets, batch_size, first_step=first_step, parts=parts, share=share)
        return self._batches(pools, *cut, sparse=sparse)

    def in_order(self, batch_size: int, *, sparse: bool, share: Share = WHOLE) -> Iterator[Batch]:
        """See `hepcnn.data.batches.JetSource`."""
        numbers = np.arange(len(self._blocks))
        parts = [numbers[k : k + self._pool] for k in range(0, len(numbers), self._pool)]
        pools = ((part, np.arange(self._starts[part[-1] + 1] - self._starts[part[0]])) for part in parts)
        return self._batches(pools, *cut_epoch(self.n_jets, batch_size, share=share), sparse=sparse)

    def _batches(
        self,
        pools: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]],
        positions: NDArray[np.int64],
        sizes: list[int],
        *,
        sparse: bool,
    ) -> Iterator[Batch]:
        def remaining() -> Iterator[Callable[[], Segment]]:
            done = 0
            for blocks, order in pools:
                first, last = np.searchsorted(positions, (done, done + len(order)))
                wanted = order[positions[first:last] - done]
                done += len(order)
                # Pools that were trained on before a stop are not read again.
                if len(wanted) or not len(positions):
                    yield partial(self._load, blocks, wanted)

        return cut_batches(prefetch(remaining()), sizes, sparse=sparse)

    def _load(self, blocks: NDArray[np.int64], order: NDArray[np.int64]) -> Segment:
        return Segment(self._read(blocks), order)

    def _read(self, blocks: NDArray[np.int64]) -> JetTable:
        rows = np.concatenate([np.arange(self._starts[block], self._starts[block + 1]) for block in blocks])
        ends = offsets_after(self._counts[rows])
        index = np.empty(ends[-1], self._files.index_dtype)
        value = np.empty((ends[-1], self._files.n_channels), np.float32)
        done = 0
        for block in blocks:
            jets = self._blocks[block]
            here = slice(int(ends[done]), int(ends[done + len(jets)]))
            self._files.gather(jets, out=(index[here], value[here]))
            done += len(jets)
        numbers = [column[rows] for column in self._numbers]
        return JetTable.from_arrays(self._shape, ends, index, value, *numbers).to(self._device, pinned=True)


def _host_table(dataset: ImageDataset, feature_names: tuple[str, ...]) -> JetTable:
    arrays = dataset.index, dataset.value, *_jet_numbers(dataset, feature_names)
    return JetTable.from_arrays(dataset.shape, dataset.indptr, *arrays)


def _jet_numbers(columns: JetColumns, feature_names: tuple[str, ...]) -> list[NDArray[Any]]:
    """Jet-level inputs, label, weight, mass in GeV, and place in the split of each jet; the true energy if known."""
    features, mass = columns.stack_features(feature_names), np.asarray(columns.jets["mass"], np.float32)
    known = [np.asarray(columns.truth["energy"], np.float32)] if "energy" in columns.truth else []
    return [features, columns.label, columns.weight, mass, np.arange(len(columns)), *known]
