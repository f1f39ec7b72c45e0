"""What all grids share: axes, dense shapes, flat pixel numbers, and what closes into a circle."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Annotated, ClassVar, Self

import numpy as np
import pydantic
from numpy.typing import NDArray

from hepcnn.records import StrictModel

Bins = Annotated[int, pydantic.Field(ge=1, le=4096)]
MOST_PIXELS = 2**26


@dataclass(frozen=True)
class Axis:
    """An axis of an image: its name, the (n + 1,) edges of its pixels, and whether the last pixel touches the first."""

    name: str
    edges: NDArray[np.float64]
    periodic: bool = False


class Grid(StrictModel):
    """Base of all grids. ``kind`` tells them apart in records; pixels are numbered in C order over ``shape``.

    ``needs`` are the constituent fields beside pt, eta and phi that say which pixel a constituent belongs to.
    ``follows_jet`` tells whether the image moves with the jet, so that centring and turning it have a meaning.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    follows_jet: ClassVar[bool] = False

    @pydantic.model_validator(mode="after")
    def _fits_into_memory(self) -> Self:
        if self.n_pixels > MOST_PIXELS:
            raise ValueError(f"{' × '.join(map(str, self.shape))} pixels are more than {MOST_PIXELS}")
        return self

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of the image, in the order of ``shape``."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return tuple(len(axis.edges) - 1 for axis in self.axes)

    @property
    def n_pixels(self) -> int:
        """Pixels of an image."""
        return math.prod(self.shape)

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which axes close into a circle."""
        return tuple(axis.periodic for axis in self.axes)


@cache
def equal_bins(name: str, low: float, high: float, n_bins: int, *, periodic: bool = False) -> Axis:
    """An axis of ``n_bins`` equal pixels from ``low`` to ``high``."""
    edges = np.linspace(low, high, n_bins + 1)
    edges.flags.writeable = False
    return Axis(name, edges, periodic)
