"""Jets on one device, from which batches are cut and made dense there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepcnn.data.batches import Batch
from hepcnn.data.buffers import BufferPool
from hepcnn.data.compiled import fill_dense, gather_coords, gather_pixels, offsets_after
from hepcnn.errors import InputError
from hepcnn.sparse import SparseTensor

_dense_batches = BufferPool()
NUMBERS = ("jet_features", "label", "weight", "mass", "number", "energy")


@dataclass(frozen=True)
class JetTable:
    """Sparse pixels and numbers of N jets.

    ``shape`` are the grid's axes; ``indptr`` (N+1,) stays in host memory; ``index`` (n,) and ``value`` (n, C),
    ``jet_features`` (N, F), ``label`` and ``weight`` (N,) are on the device. So are ``mass``, ``number`` and
    ``energy`` (N,), if they are known.
    """

    shape: tuple[int, ...]
    indptr: NDArray[np.int64]
    index: Tensor
    value: Tensor
    jet_features: Tensor
    label: Tensor
    weight: Tensor
    mass: Tensor | None = None
    number: Tensor | None = None
    energy: Tensor | None = None

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def device(self) -> torch.device:
        """Where the pixels are."""
        return self.value.device

    @classmethod
    def from_arrays(cls, shape: tuple[int, ...], indptr: NDArray[np.int64], *arrays: NDArray[Any]) -> Self:
        """In host memory, which the arrays (index, value, jet_features, label, weight, mass, number, energy) share."""
        return cls(shape, indptr, *[torch.from_numpy(np.ascontiguousarray(array)) for array in arrays])

    def to(self, device: torch.device, *, pinned: bool = False) -> "JetTable":
        """The same jets on another device; through pinned memory the copy need not be waited for."""
        if device == self.device or device.type == "cpu":
            return self

        def move(tensor: Tensor) -> Tensor:
            return (tensor.pin_memory() if pinned else tensor).to(device, non_blocking=pinned)

        # CUDA knows few operations on unsigned whole numbers.
        pixels = move(self.index.to(torch.int32)), move(self.value)
        return JetTable(self.shape, self.indptr, *pixels, **self._apply_to_numbers(move))

    def _apply_to_numbers(self, function: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """What is known of jets beside pixels, by name, each changed by a function."""
        known = {name: getattr(self, name) for name in NUMBERS}
        return {name: function(values) for name, values in known.items() if values is not None}

    def batch(self, jets: NDArray[np.int64], *, sparse: bool) -> Batch:
        """The jets with these numbers (B,), in this order, dense or sparse.

        Raises
        ------
        InputError
            When there is no jet of a number.
        """
        jets = np.ascontiguousarray(jets, dtype=np.int64)
        if len(jets) and not 0 <= int(jets.min()) <= int(jets.max()) < len(self):
            raise InputError(f"jets {jets.min()} to {jets.max()} were asked for, there are {len(self)}")
        images: Tensor | SparseTensor
        if self.device.type == "cpu":
            images = self._sparse_on_cpu(jets) if sparse else self._dense_on_cpu(jets)
        else:
            images = self._batch_on_device(jets, sparse=sparse)
        chosen = torch.from_numpy(jets).to(self.device)
        return Batch(images, **self._apply_to_numbers(lambda values: values[chosen]))

    def select(self, jets: NDArray[np.int64]) -> "JetTable":
        """The jets with these numbers, in this order, as a table of their own."""
        chosen = torch.from_numpy(np.ascontiguousarray(jets)).to(self.device)
        numbers = self._apply_to_numbers(lambda values: values[chosen])
        if self.device.type == "cpu":
            ends, index, value = gather_pixels(jets, self.indptr, self.index.numpy(), self.value.numpy())
            return JetTable(self.shape, ends, torch.from_numpy(index), torch.from_numpy(value), **numbers)
        ends, _, take = self._find_pixels(jets)
        return JetTable(self.shape, ends, self.index[take], self.value[take], **numbers)

    @classmethod
    def join(cls, tables: "list[JetTable]") -> "JetTable":
        """Tables of one device and grid, one after the other."""
        counts = np.concatenate([np.diff(table.indptr) for table in tables])
        names = [name for name in ("index", "value", *NUMBERS) if getattr(tables[0], name) is not None]
        joined = {name: torch.cat([getattr(table, name) for table in tables]) for name in names}
        return cls(tables[0].shape, offsets_after(counts), **joined)

    def _dense_on_cpu(self, jets: NDArray[np.int64]) -> Tensor:
        # Channels last in memory, as the pixels are stored: what convolutions like best.
        flat = _dense_batches.take(len(jets), int(np.prod(self.shape)), self.value.shape[1])
        fill_dense(
            flat.numpy(), jets, self.indptr, self.index.numpy(), self.value.numpy(), threads=torch.get_num_threads()
        )
        return flat.view(len(jets), *self.shape, -1).movedim(-1, 1)

    def _sparse_on_cpu(self, jets: NDArray[np.int64]) -> SparseTensor:
        coords, value = gather_coords(
            jets, self.indptr, self.index.numpy(), self.value.numpy(), self.shape, threads=torch.get_num_threads()
        )
        return SparseTensor.trusted(torch.from_numpy(coords), torch.from_numpy(value), self.shape, len(jets))

    def _find_pixels(self, jets: NDArray[np.int64]) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        """Where the jets' pixels end, and of each pixel its row in the batch and its place in the table."""
        starts = self.indptr[jets]
        ends = offsets_after(self.indptr[jets + 1] - starts)
        # One copy to the device, and sizes known beforehand, so that nothing waits for the device.
        known = torch.from_numpy(np.stack([np.diff(ends), starts - ends[:-1]])).to(self.device)
        n = int(ends[-1])
        rows = torch.arange(len(jets), device=self.device)
        row = torch.repeat_interleave(rows, known[0], output_size=n)
        return ends, row, torch.arange(n, device=self.device) + known[1].index_select(0, row)

    def _batch_on_device(self, jets: NDArray[np.int64], *, sparse: bool) -> Tensor | SparseTensor:
        _, row, take = self._find_pixels(jets)
        pixel, value = self.index.index_select(0, take).long(), self.value.index_select(0, take)
        if sparse:
            columns = [row]
            strides = np.cumprod([1, *self.shape[:0:-1]])[::-1].tolist()
            columns += [pixel // step % size for step, size in zip(strides, self.shape, strict=True)]
            return SparseTensor.trusted(torch.stack(columns, 1).to(torch.int32), value, self.shape, len(jets))
        n_pixels = int(np.prod(self.shape))
        flat = value.new_zeros(len(jets) * n_pixels, value.shape[1])
        flat.index_copy_(0, row * n_pixels + pixel, value)
        return flat.view(len(jets), *self.shape, -1).movedim(-1, 1)
