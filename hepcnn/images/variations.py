"""Images as another detector would have seen them: wrong scale, worse resolution, dead towers, a shifted axis.

They act on pixels that are made already. Shapes: N jets, C channels, then the axes of the grid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError
from hepcnn.grids import Grid
from hepcnn.images.channels import find_channel

Images = NDArray[np.float32]
SCALES, SMEARING, DEAD, SHIFTS = (0.99, 1.01), 0.05, 0.01, (0.5, 1.0)
ENERGIES = ("pt", "energy", "ecal", "hcal")


@dataclass(frozen=True)
class Variation:
    """One way to change images.

    Attributes
    ----------
    name
        Such as ``scale_1.01``.
    about
        What it does, for a person to read.
    apply
        Images and a random generator → new images.
    feature_scale
        What the jet features ``pt`` and ``mass`` are multiplied by.
    """

    name: str
    about: str
    apply: Callable[[Images, np.random.Generator], Images]
    feature_scale: float = 1.0


def make_variations(grid: Grid, channels: Sequence[str], steps: Sequence[str]) -> list[Variation]:
    """The variations that make sense for images of this kind.

    Parameters
    ----------
    grid
        What the pixels are.
    channels
        Names of the C channels.
    steps
        How the jets were preprocessed.

    Returns
    -------
    list
        Energy scale up and down by 1 %, 5 % more smearing of each pixel, 1 % of the pixels dead, and a shift by half a
        pixel and a whole one along each direction of the sky.

    Raises
    ------
    InputError
        When no channel holds an energy.

    Notes
    -----
    Counts stay as they are when energies change. Where jets were normalised to unit pT, images are normalised again
    after a change, by the channel that holds most: a change of the energy scale then cancels in the images, as it does
    for a tagger, and only jet features feel it. Where jets were centred, a wrong axis is corrected by the centring; the
    shift is then what an imperfect centring would leave.
    """
    energies = np.array([_is_energy(name) for name in channels])
    if not energies.any():
        raise InputError(f"none of the channels {', '.join(channels)} holds an energy: there is nothing to vary")
    again = _Renormalise(energies) if "normalise" in steps else None

    def finish(change: Callable[[Images, np.random.Generator], Images]) -> Callable[[Images, Any], Images]:
        return change if again is None else lambda images, rng: again(images, change(images, rng))

    found = [
        Variation(f"scale_{s:g}", f"all energies times {s:g}", finish(_Scale(s, energies)), feature_scale=s)
        for s in SCALES
    ]
    found.append(
        Variation(f"smear_{SMEARING:g}", f"each pixel's energy smeared by {SMEARING:.0%}", finish(_Smear(energies)))
    )
    whose = "of each jet" if grid.follows_jet else "of the detector, the same for all jets,"
    found.append(Variation(f"dead_{DEAD:g}", f"{DEAD:.0%} of the pixels {whose} dead", finish(_Kill(grid))))
    means = any(find_channel(name).is_mean for name in channels)
    for place, axis in enumerate(grid.axes):
        if axis.name not in ("deta", "dphi", "eta", "phi"):
            continue
        for size in SHIFTS:
            # A mean over constituents cannot be shared between two pixels.
            if size == int(size) or not means:
                about = f"shifted by {size:g} pixel{'' if size == 1 else 's'} along {axis.name}"
                name = f"shift_{axis.name}_{size:g}"
                found.append(Variation(name, about, finish(_Shift(place + 2, size, axis.periodic))))
    return found


def _is_energy(name: str) -> bool:
    rule, colon, field = name.partition(":")
    return find_channel(name).scales_with_pt if not colon else rule == "sum" and field in ENERGIES


def _spread(factors: NDArray[Any], ndim: int) -> NDArray[Any]:
    """Factors by channel, (C,), as they multiply images."""
    return factors.reshape(1, -1, *(1,) * (ndim - 2))


@dataclass(frozen=True)
class _Scale:
    factor: float
    energies: NDArray[np.bool_]

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:  # noqa: ARG002
        factors = np.where(self.energies, self.factor, 1.0).astype(np.float32)
        return np.asarray(images * _spread(factors, images.ndim))


@dataclass(frozen=True)
class _Smear:
    energies: NDArray[np.bool_]

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        # One factor for all channels of a pixel: they are parts of one measurement.
        factor = rng.normal(1.0, SMEARING, (len(images), 1, *images.shape[2:])).astype(np.float32)
        mask = _spread(self.energies, images.ndim)
        return np.where(mask, images * np.maximum(factor, 0.0), images)


@dataclass(frozen=True)
class _Kill:
    grid: Grid

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        n = len(images) if self.grid.follows_jet else 1
        # Dead towers stay dead from one block of jets to the next.
        source = rng if self.grid.follows_jet else np.random.default_rng(0)
        alive = source.random((n, 1, *images.shape[2:])) >= DEAD
        return np.where(alive, images, np.float32(0.0))


@dataclass(frozen=True)
class _Shift:
    axis: int
    size: float
    periodic: bool

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:  # noqa: ARG002
        whole, part = int(self.size), np.float32(self.size - int(self.size))
        near = self._move(images, whole)
        return near if part == 0 else near * (1 - part) + self._move(images, whole + 1) * part

    def _move(self, images: Images, n: int) -> Images:
        moved = np.roll(images, n, axis=self.axis)
        if not self.periodic and n:
            edge: list[Any] = [slice(None)] * images.ndim
            edge[self.axis] = slice(0, n)
            moved[tuple(edge)] = 0.0
        return moved


@dataclass(frozen=True)
class _Renormalise:
    """Give each jet the sum of energy that it had, as normalising to unit pT would."""

    energies: NDArray[np.bool_]

    def __call__(self, before: Images, after: Images) -> Images:
        axes = tuple(range(2, before.ndim))
        was, now = (x.sum(axis=axes, dtype=np.float64)[:, self.energies].max(axis=1) for x in (before, after))
        factor = np.where(now > 0, was / np.where(now > 0, now, 1.0), 1.0).astype(np.float32)
        factor = factor.reshape(-1, *(1,) * (before.ndim - 1))
        return np.where(_spread(self.energies, before.ndim), after * factor, after)
