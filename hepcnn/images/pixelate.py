"""Constituents → pixels: the only place where energy is put into an image."""

from collections.abc import Sequence
from dataclasses import dataclass

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.images.channels import CHANNELS
from hepcnn.images.grids import WindowGrid
from hepcnn.images.preprocess import FlatJets, Step, apply_preprocessing


@dataclass(frozen=True)
class Pixels:
    """Sparse images of many jets.

    Pixels of jet j are ``indptr[j]:indptr[j+1]``; ``index`` (nnz,) is the flat pixel number, rising within a jet;
    ``value`` (nnz, C) float32. Pixels whose channels are all zero are not held.
    """

    indptr: NDArray[np.int64]
    index: NDArray[np.uint32]
    value: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def select(self, start: int, stop: int) -> "Pixels":
        """The jets ``start`` to ``stop``, the latter excluded."""
        first, last = self.indptr[start], self.indptr[stop]
        return Pixels(self.indptr[start : stop + 1] - first, self.index[first:last], self.value[first:last])

    def to_dense(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Dense images (N, C, n_eta, n_phi)."""
        n_channels = self.value.shape[1]
        images = np.zeros((len(self), n_channels, shape[0] * shape[1]), dtype=np.float32)
        jet = np.repeat(np.arange(len(self)), np.diff(self.indptr))
        images[jet, :, self.index] = self.value
        return images.reshape(len(self), n_channels, *shape)


def make_pixels(constituents: ak.Array, *, grid: WindowGrid, channels: Sequence[str], steps: Sequence[Step]) -> Pixels:
    """Make sparse images of jets.

    Parameters
    ----------
    constituents
        (n_jets, var) of records with ``pt, eta, phi`` and what the channels need, GeV and radians. Not changed.
    grid
        The window.
    channels
        Names from `hepcnn.images.channels.CHANNELS`.
    steps
        From `hepcnn.images.preprocess.check_steps`.

    Returns
    -------
    Pixels
        One image a jet, in order. A jet without constituents in the window has no pixels. The sum of a channel over a
        jet's pixels equals the sum over its constituents inside the window.
    """
    jets = apply_preprocessing(constituents, steps)
    pixel, inside = grid.find_pixels(jets.deta, jets.dphi)
    return _sum_into_pixels(jets, pixel, inside, grid.n_pixels, channels)


def _sum_into_pixels(
    jets: FlatJets, pixel: NDArray[np.int64], inside: NDArray[np.bool_], n_pixels: int, channels: Sequence[str]
) -> Pixels:
    jet = jets.jet[inside]
    cells, place = np.unique(jet * n_pixels + pixel[inside], return_inverse=True)
    value = np.empty((len(cells), len(channels)), dtype=np.float32)
    fields = {name: values[inside] for name, values in jets.fields.items()}
    for column, name in enumerate(channels):
        channel = CHANNELS[name]
        weights = channel.value(fields)
        if channel.scales_with_pt:
            weights = weights / jets.scale[jet]
        value[:, column] = np.bincount(place, weights=weights, minlength=len(cells))
    active = (value != 0).any(axis=1)
    cells, value = cells[active], value[active]
    counts = np.bincount(cells // n_pixels, minlength=jets.n_jets)
    indptr = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    return Pixels(indptr, (cells % n_pixels).astype(np.uint32), value)
