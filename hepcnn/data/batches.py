"""Batches for a network: sparse pixels live on the training device and are made dense there."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepcnn.data.dataset import ImageDataset
from hepcnn.sparse import SparseTensor


@dataclass(frozen=True)
class Batch:
    """``images`` (B, C, n_eta, n_phi) or a `SparseTensor`; ``jet_features`` (B, F); ``label`` and ``weight`` (B,)."""

    images: Tensor | SparseTensor
    jet_features: Tensor
    label: Tensor
    weight: Tensor


class DeviceDataset:
    """A data set's pixels as tensors on one device, cut into batches there, without worker processes."""

    def __init__(self, dataset: ImageDataset, *, feature_names: tuple[str, ...], device: torch.device) -> None:
        self.shape = dataset.shape
        self.n_jets = len(dataset)
        self.device = device
        self.indptr = torch.from_numpy(dataset.indptr).to(device)
        self.index = torch.from_numpy(dataset.index.astype(np.int64)).to(device)
        self.value = torch.from_numpy(dataset.value).to(device)
        self.label = torch.from_numpy(dataset.label).to(device)
        self.weight = torch.from_numpy(dataset.weight).to(device)
        self.jet_features = torch.from_numpy(dataset.stack_features(feature_names)).to(device)

    def batch(self, jets: Tensor, *, sparse: bool) -> Batch:
        """The jets with these numbers (B,), in this order, dense or sparse."""
        counts = self.indptr[jets + 1] - self.indptr[jets]
        ends = torch.cumsum(counts, 0)
        row = torch.repeat_interleave(torch.arange(len(jets), device=self.device), counts)
        take = torch.arange(len(row), device=self.device) - (ends - counts)[row] + self.indptr[jets][row]
        pixel, value = self.index[take], self.value[take]
        images = self._sparse(row, pixel, value, len(jets)) if sparse else self._dense(row, pixel, value, len(jets))
        return Batch(images, self.jet_features[jets], self.label[jets], self.weight[jets])

    def _dense(self, row: Tensor, pixel: Tensor, value: Tensor, n_jets: int) -> Tensor:
        n_channels, n_pixels = value.shape[1], self.shape[0] * self.shape[1]
        flat = value.new_zeros(n_jets * n_pixels, n_channels)
        flat[row * n_pixels + pixel] = value
        # Channels last in memory, as the pixels are stored: what convolutions like best.
        return flat.view(n_jets, *self.shape, n_channels).permute(0, 3, 1, 2)

    def _sparse(self, row: Tensor, pixel: Tensor, value: Tensor, n_jets: int) -> SparseTensor:
        n_phi = self.shape[1]
        coords = torch.stack([row, pixel // n_phi, pixel % n_phi], dim=1).to(torch.int32)
        return SparseTensor.trusted(coords, value, self.shape, n_jets)

    def batches(self, order: Tensor, batch_size: int, *, sparse: bool) -> Iterator[Batch]:
        """Batches of consecutive numbers of ``order``, cut at `batch_starts`."""
        starts = [*batch_starts(len(order), batch_size), len(order)]
        for start, stop in itertools.pairwise(starts):
            yield self.batch(order[start:stop], sparse=sparse)


def batch_starts(n_jets: int, batch_size: int) -> list[int]:
    """Where batches begin; a last one of a single jet joins the one before: batch normalisation needs two."""
    starts = list(range(0, n_jets, batch_size))
    if len(starts) > 1 and n_jets - starts[-1] == 1:
        starts.pop()
    return starts


def epoch_order(n_jets: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch sees its jets, (N,): a function of seed and epoch, so that a run can resume."""
    return np.random.default_rng([seed, epoch]).permutation(n_jets)
