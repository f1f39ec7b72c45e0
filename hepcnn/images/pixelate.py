"""Constituents → pixels: the only place where energy is put into an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hepcnn.config import GroomConfig
from hepcnn.constituents import Constituents
from hepcnn.images.channels import Channel, find_channel
from hepcnn.images.grids import Grid, find_pixels
from hepcnn.images.preprocess import Step, find_frame, groom_jets

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Pixels:
    """Sparse images of many jets.

    Pixels of jet j are ``indptr[j]:indptr[j+1]``; ``index`` (nnz,) is the flat pixel number, rising within a jet;
    ``value`` (nnz, C) float32. Pixels whose channels are all zero are not held. ``pt_inside`` (N,) is the scalar sum of
    pT of each jet's constituents inside the grid, in GeV, whatever the channels and before normalising, ``n_outside``
    (N,) how many are outside; both (0,) where they are not known, as of pixels that were read from a file.
    """

    indptr: NDArray[np.int64]
    index: NDArray[np.uint32]
    value: NDArray[np.float32]
    pt_inside: Float = field(default_factory=lambda: np.zeros(0))
    n_outside: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def select(self, start: int, stop: int) -> "Pixels":
        """The jets ``start`` to ``stop``, the latter excluded."""
        first, last = self.indptr[start], self.indptr[stop]
        indptr = self.indptr[start : stop + 1] - first
        pixels = self.index[first:last], self.value[first:last]
        return Pixels(indptr, *pixels, self.pt_inside[start:stop], self.n_outside[start:stop])

    def to_dense(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """Dense images (N, C, and the axes of the grid)."""
        n_channels = self.value.shape[1]
        images = np.zeros((len(self), n_channels, math.prod(shape)), dtype=np.float32)
        jet = np.repeat(np.arange(len(self)), np.diff(self.indptr))
        images[jet, :, self.index] = self.value
        return images.reshape(len(self), n_channels, *shape)


def make_pixels(
    constituents: Constituents,
    *,
    grid: Grid,
    channels: Sequence[str],
    steps: Sequence[Step],
    groom: GroomConfig | None = None,
    radius: float = 0.8,
) -> Pixels:
    """Make sparse images of jets.

    Parameters
    ----------
    constituents
        With ``pt, eta, phi`` and what grid and channels need, GeV and radians. Not changed.
    grid
        What the pixels are.
    channels
        Names that `hepcnn.images.channels.find_channel` knows.
    steps
        From `hepcnn.images.preprocess.check_steps`.
    groom, radius
        What soft drop is told where ``groom`` is among the steps: its parameters, and the radius of the jets.

    Returns
    -------
    Pixels
        One image a jet, in order. A jet without constituents inside the grid has no pixels, and neither has one with
        NaN in what its image is made of. The sum of a channel over a jet's pixels equals the sum over its constituents
        inside. Sums are taken in float64; they are the same to the bit whichever jets are made together.

    Raises
    ------
    MissingExtraError
        For grooming without FastJet.
    """
    if "groom" in steps:
        constituents = groom_jets(constituents, groom or GroomConfig(), radius=radius)
    maker = _Maker(constituents, grid, [find_channel(name) for name in channels], steps)
    for start, stop in constituents.blocks():
        maker.add(start, stop)
    return maker.finish()


class _Maker:
    """Images of one `Constituents`, made block by block into arrays for the most that there can be."""

    def __init__(
        self, constituents: Constituents, grid: Grid, channels: Sequence[Channel], steps: Sequence[Step]
    ) -> None:
        from hepcnn.images import compiled  # numba takes seconds to come

        self.compiled = compiled
        self.constituents, self.grid, self.channels, self.steps = constituents, grid, channels, steps
        n_jets, n = len(constituents), constituents.n
        needed = [name for channel in channels for name in channel.needs]
        self.needs = tuple(dict.fromkeys(["pt", "eta", "phi", *grid.needs, *needed]))
        self.n_kept = 0
        self.indptr = np.zeros(n_jets + 1, dtype=np.int64)
        # What is never written takes no memory.
        self.index = np.empty(n, dtype=np.uint32)
        self.value = np.empty((n, len(channels)), dtype=np.float32)
        self.pt_inside, self.n_outside = np.empty(n_jets), np.zeros(n_jets, dtype=np.int64)
        n_words = -(-grid.n_pixels // 64)
        self.marks = np.zeros(n_words, dtype=np.uint64), np.zeros(-(-n_words // 64), dtype=np.uint64)
        self.slot = np.empty(grid.n_pixels, dtype=np.int64)

        if grid.follows_jet:
            _ = constituents.momentum  # found once, for the blocks and for jet-level numbers

    def add(self, start: int, stop: int) -> None:
        """Make the images of some jets; call it for one range after the other."""
        jets = self._take(start, stop)
        points = find_frame(jets, self.steps) if self.grid.follows_jet else {}
        place = find_pixels(self.grid, {**jets.fields, **points})
        outside = place < 0
        if outside.any():
            self.n_outside[start:stop] = np.bincount(jets.jet[outside], minlength=len(jets))
        starts, index = np.zeros(len(jets) + 1, dtype=np.int64), np.empty(jets.n, dtype=np.uint32)
        pt, pt_inside = jets.fields["pt"], self.pt_inside[start:stop]
        self.compiled.list_pixels(jets.offsets, pt, place, *self.marks, self.slot, starts, index, pt_inside)
        sums = self._sum_channels(jets, place, int(starts[-1]))
        factor = self._find_factors(jets)
        self.n_kept = self.compiled.keep_filled(
            starts, index, sums, factor, self.indptr[start : stop + 1], self.index, self.value, self.n_kept
        )

    def _take(self, start: int, stop: int) -> Constituents:
        """Some jets with the fields that are used, as compiled loops take them."""
        jets = self.constituents.slice(start, stop, names=self.needs)
        if all(values.flags.c_contiguous and values.dtype == np.float64 for values in jets.fields.values()):
            return jets
        fields = {name: np.ascontiguousarray(values, dtype=np.float64) for name, values in jets.fields.items()}
        return Constituents(jets.offsets, fields)

    def _sum_channels(self, jets: Constituents, place: NDArray[np.int64], n_pixels: int) -> Float:
        """The channels of each pixel, (m, C), and a column more with its pT if a channel is a mean."""
        has_mean = any(channel.is_mean for channel in self.channels)
        sums = np.zeros((n_pixels, len(self.channels) + has_mean))
        fields = jets.fields
        transverse = any(channel.transverse for channel in self.channels)
        per_cosh = 1.0 / np.cosh(fields["eta"]) if transverse else np.empty(0)
        for column, channel in enumerate(self.channels):
            value = np.ones(jets.n) if channel.field is None else fields[channel.field]
            if channel.transverse:
                value = value * per_cosh
            if channel.is_mean:
                value = value * fields["pt"]
            if channel.among == "all":
                self.compiled.sum_all(value, place, sums, column)
            else:
                self.compiled.sum_some(value, fields["charge"], channel.among == "charged", place, sums, column)
        if has_mean:
            self.compiled.sum_all(fields["pt"], place, sums, len(self.channels))
            weight = np.where(sums[:, -1] > 0, sums[:, -1], 1.0)
            for column, channel in enumerate(self.channels):
                if channel.is_mean:
                    sums[:, column] /= weight
        return sums

    def _find_factors(self, jets: Constituents) -> Float:
        """What each channel of each jet is multiplied by, (N, C); NaN for a jet that NaN makes meaningless."""
        fields = jets.fields
        factor = np.ones((len(jets), len(self.channels)))
        if "normalise" in self.steps:
            total = jets.sum(fields["pt"])
            scaled = [channel.scales_with_pt for channel in self.channels]
            factor[:, scaled] = (1.0 / np.where(total > 0, total, 1.0))[:, np.newaxis]
        if not self.grid.follows_jet:
            # A frame passes NaN on to its whole jet; pixels of a detector do not know of each other.
            factor[np.isnan(jets.sum(fields["pt"] + fields["eta"] + fields["phi"]))] = np.nan
        return factor

    def finish(self) -> Pixels:
        """All images."""
        pixels = self.index[: self.n_kept], self.value[: self.n_kept]
        return Pixels(self.indptr, *pixels, self.pt_inside, self.n_outside)
