"""Images changed at random on the device: moved about, smeared, thinned out, and with noise.

All of it acts on the pixels that hold something, in the units of ``images.h5``, and is the same for dense and sparse
images.

Shapes: B jets of a batch, n pixels that hold something, C channels, (h, w) the grid.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Generator, Tensor

from hepcnn.config import AugmentConfig
from hepcnn.data.batches import Batch, Rows
from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.grids import Grid
from hepcnn.images.channels import find_channel
from hepcnn.sparse import SparseTensor
from hepcnn.training.pixels import ActivePixels, put_pixels, take_pixels
from hepcnn.training.voxel_moves import check_voxel_moves, move_voxels


class Augment(Protocol):
    """A batch in, the same jets changed at random out: a function of the batch and of the generator's state."""

    def __call__(self, batch: Batch, generator: Generator, rows: Rows | None = None) -> Batch:
        """``rows`` says which jets of a larger batch these are, if others of it are with other processes."""
        ...


CALORIMETER = "pt", "energy", "ecal", "hcal", "neutral_pt"
"""Channels that are smeared, and that noise adds to, if the images have them: tracks and counts are not."""
MOST_SMEARING = 1.0
"""The largest relative width, which pixels far below a GeV would exceed."""


@dataclass(frozen=True)
class Moves:
    """How each jet's image is moved: ``sign`` (B, 2) of its axes, ``angle`` (B,), ``shift`` (B, 2) in pixels."""

    sign: Tensor
    angle: Tensor
    shift: Tensor


def make_augmentation(
    config: AugmentConfig,
    *,
    grid: Grid,
    channels: Sequence[str],
    feature_names: Sequence[str] = (),
    normalised: bool = False,
) -> Augment | None:
    """Make the augmentation that a config describes.

    Parameters
    ----------
    config
        What is done, and how strongly.
    grid, channels
        Those of the images.
    feature_names
        The jet-level inputs of the batches.
    normalised
        Whether the images' energies are in units of the jet's pT. Smearing and noise then need ``pt`` among the
        jet-level inputs.

    Returns
    -------
    callable or None
        None where the config asks for nothing. Else a batch and a generator on the batch's device in, the batch with
        other images out. Jet-level inputs, labels and weights stay.

    Raises
    ------
    ConfigError
        When the grid has fewer than two axes or more than three, an axis to flip does not exist, the images cannot be
        turned or shared between pixels, or there is no energy to smear.

    Notes
    -----
    In this order:

    - flip, each named axis with probability 1/2; rotate about the middle of the image by an angle that is uniform up to
      the largest; shift along each axis by a distance that is uniform up to the largest. A pixel's content moves with
      its centre and is shared between the (up to four) pixels that it then overlaps, in proportion (bilinear). Nothing
      is lost but what leaves the grid; a periodic axis is never left. Showers, of three axes, move by whole voxels, see
      `hepcnn.training.voxel_moves`.
    - smear: the energies of a pixel are multiplied by a log-normal number of mean 1 and width
      ``min(a / sqrt(E / GeV), 1)``, with E the pixel's largest energy.
    - drop: a pixel loses all its channels.
    - noise: a pixel gets an energy drawn from an exponential, shared at random between ``ecal`` and ``hcal``, and
      counts one constituent more.
    """
    if config == AugmentConfig():
        return None
    return Augmentation(config, grid, tuple(channels), tuple(feature_names), normalised=normalised)


class Augmentation:
    """Changes images at random; made by `make_augmentation`."""

    def __init__(
        self,
        config: AugmentConfig,
        grid: Grid,
        channels: tuple[str, ...],
        feature_names: tuple[str, ...],
        *,
        normalised: bool,
    ) -> None:
        _check_moves(config, grid, channels)
        self.config, self.grid, self.channels = config, grid, channels
        self.flipped = [axis.name in config.flip for axis in grid.axes]
        self.energies = [number for number, name in enumerate(channels) if name in CALORIMETER]
        if (config.smear or config.noise) and not self.energies:
            raise ConfigError(
                f"training.augment: smear and noise act on {', '.join(CALORIMETER)}; the images hold none of them, but "
                + ", ".join(channels)
            )
        self.pt_column: int | None = None
        if normalised and (config.smear or config.noise):
            if "pt" not in feature_names:
                raise ConfigError(
                    "training.augment: smear and noise are in GeV, but the images are normalised to the jets' pT: add "
                    "'pt' to training.jet_features, or leave 'normalise' out of images.preprocess"
                )
            self.pt_column = list(feature_names).index("pt")

    def __call__(self, batch: Batch, generator: Generator, rows: Rows | None = None) -> Batch:
        """The same jets with other images; the generator is on the batch's device."""
        config, images = self.config, batch.images
        pixels = take_pixels(images)
        rows = rows or Rows(0, pixels.n_jets, pixels.n_jets)
        gev = None if self.pt_column is None else batch.jet_features[:, self.pt_column]
        if any(self.flipped) or config.rotate or config.shift:
            if len(self.grid.shape) == 3:
                pixels = move_voxels(pixels, config, self.grid, generator, rows)
            else:
                pixels = move_pixels(pixels, self.draw_moves(pixels.n_jets, generator, rows), self.grid)
        if config.smear:
            pixels = self._smear(pixels, gev, generator, rows)
        if config.drop:
            kept = _draw_field(torch.rand, pixels, generator, rows) >= config.drop
            pixels = replace(pixels, value=pixels.value * kept[:, None])
        if config.noise:
            pixels = self._add_noise(pixels, gev, generator, rows)
        return replace(batch, images=put_pixels(pixels, sparse=isinstance(images, SparseTensor)))

    def draw_moves(self, n_jets: int, generator: Generator, rows: Rows | None = None) -> Moves:
        """Draw how each jet is moved."""
        rows = rows or Rows(0, n_jets, n_jets)
        draw = rows.of(torch.rand(5, rows.total, generator=generator, device=generator.device), axis=1)
        flipped = torch.tensor(self.flipped, device=draw.device)
        sign = torch.where((draw[:2].T < 0.5) & flipped, -1.0, 1.0)
        angle, shift = (2 * draw[2] - 1) * self.config.rotate, (2 * draw[3:].T - 1) * self.config.shift
        return Moves(sign, angle, shift)

    def _smear(self, pixels: ActivePixels, gev: Tensor | None, generator: Generator, rows: Rows) -> ActivePixels:
        energy = pixels.value[:, self.energies].amax(dim=1) * _scale_of(pixels, gev)
        relative = (self.config.smear**2 / energy.clamp_min(torch.finfo(energy.dtype).tiny)).clamp_max(MOST_SMEARING**2)
        variance = torch.log1p(relative)
        normal = _draw_field(torch.randn, pixels, generator, rows)
        value = pixels.value.clone()
        value[:, self.energies] *= torch.exp(variance.sqrt() * normal - variance / 2)[:, None]
        return replace(pixels, value=value)

    def _add_noise(self, pixels: ActivePixels, gev: Tensor | None, generator: Generator, rows: Rows) -> ActivePixels:
        noise = self.config.noise
        if noise is None:
            return pixels
        size, device = (rows.total, *pixels.shape), generator.device
        hit = (torch.rand(size, generator=generator, device=device) < noise.probability).nonzero()
        draw = torch.rand(2, len(hit), generator=generator, device=device)
        hit[:, 0] -= rows.start
        here = (hit[:, 0] >= 0) & (hit[:, 0] < rows.here)
        hit, draw = hit[here], draw[:, here]
        found = replace(
            pixels, row=hit[:, 0], cell=hit[:, 1:], value=pixels.value.new_zeros(len(hit), len(self.channels))
        )
        # -log(1 - u), since u may be 0 but never 1.
        energy = -noise.energy * torch.log1p(-draw[0]) / _scale_of(found, gev)
        parts = {"ecal": energy * draw[1], "hcal": energy * (1 - draw[1]), "multiplicity": torch.ones_like(energy)}
        for number, name in enumerate(self.channels):
            if number in self.energies or name == "multiplicity":
                found.value[:, number] = parts.get(name, energy)
        return pixels.join(found)


def move_pixels(pixels: ActivePixels, moves: Moves, grid: Grid) -> ActivePixels:
    """Flip, turn and shift the images of a batch; see `make_augmentation`.

    Parameters
    ----------
    pixels
        What the images hold.
    moves
        One for each jet.
    grid
        Two axes. An angle is one in the plane of the axes, whose pixels need not be square.

    Returns
    -------
    ActivePixels
        Up to four for each; several may be one pixel of the grid, and some hold nothing.
    """
    sizes = torch.tensor(grid.shape, device=pixels.row.device)
    middle = (sizes - 1) / 2
    offset = (pixels.cell - middle) * moves.sign[pixels.row]
    cosine, sine = torch.cos(moves.angle)[pixels.row], torch.sin(moves.angle)[pixels.row]
    ratio = _pixel_ratio(grid)
    turned = torch.stack(
        [cosine * offset[:, 0] - sine * ratio * offset[:, 1], sine / ratio * offset[:, 0] + cosine * offset[:, 1]], 1
    )
    # What is on a pixel but for rounding is on it: else three neighbours would get a ten-millionth.
    position = torch.round(turned + middle + moves.shift[pixels.row], decimals=4)
    base = torch.floor(position)
    over = position - base
    periodic = torch.tensor(grid.periodic, device=sizes.device)
    parts = []
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        step = torch.tensor(corner, device=sizes.device)
        cell = base.long() + step
        cell = torch.where(periodic, cell.remainder(sizes), cell)
        inside = ((cell >= 0) & (cell < sizes)).all(dim=1)
        share = torch.where(step == 1, over, 1 - over).prod(dim=1) * inside
        cell = torch.minimum(cell.clamp_min(0), sizes - 1)
        parts.append(replace(pixels, cell=cell, value=pixels.value * share[:, None]))
    return ActivePixels.join_all(parts)


def _pixel_ratio(grid: Grid) -> float:
    """Width of a pixel along the second axis in those along the first."""
    widths = [(axis.edges[-1] - axis.edges[0]) / (len(axis.edges) - 1) for axis in grid.axes]
    return float(widths[1] / widths[0])


def _draw_field(draw: Callable[..., Tensor], pixels: ActivePixels, generator: Generator, rows: Rows) -> Tensor:
    """A random number for each pixel, (n,), drawn for the whole grid: it depends on the place, not on the order."""
    size = math.prod(pixels.shape)
    field = draw(rows.total * size, generator=generator, device=generator.device)
    return field[rows.start * size + pixels.flat_index()]


def _scale_of(pixels: ActivePixels, gev: Tensor | None) -> Tensor | float:
    return 1.0 if gev is None else gev[pixels.row].clamp_min(torch.finfo(gev.dtype).tiny)


def _check_moves(config: AugmentConfig, grid: Grid, channels: Sequence[str]) -> None:
    names = [axis.name for axis in grid.axes]
    if len(names) == 3:
        check_voxel_moves(config, grid)
        return
    if len(names) != 2:
        raise ConfigError(f"training.augment: images of two or three axes can be augmented, these have {names}")
    for name in config.flip:
        if name not in names:
            raise ConfigError(f"training.augment.flip: the images have no axis '{name}'{did_you_mean(name, names)}")
    if config.rotate and any(grid.periodic):
        raise ConfigError(
            f"training.augment.rotate: images over ({', '.join(names)}), of which one closes into a circle, have no "
            "middle to turn about: leave it out; shift goes around the circle"
        )
    means = [name for name in channels if find_channel(name).is_mean]
    if (config.rotate or config.shift) and means:
        raise ConfigError(
            f"training.augment: rotate and shift share a pixel between its neighbours, which has no meaning for the "
            f"mean '{means[0]}': leave them out, or the channel"
        )
