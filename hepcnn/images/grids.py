"""What a pixel is: one description gives the edges, the flat pixel numbers and the dense shape."""

import math
import re
from typing import Literal

import numpy as np
import pydantic
from numpy.typing import NDArray

from hepcnn.config import StrictModel
from hepcnn.errors import ConfigError


class WindowGrid(StrictModel):
    """A square window in (deta, dphi) around the jet, ``2 half_width`` wide, of ``n_eta × n_phi`` equal pixels."""

    kind: Literal["window"] = "window"
    n_eta: int = pydantic.Field(default=40, ge=1, le=4096)
    n_phi: int = pydantic.Field(default=40, ge=1, le=4096)
    half_width: float = pydantic.Field(default=0.8, gt=0, le=math.pi)

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_eta, n_phi)``."""
        return self.n_eta, self.n_phi

    @property
    def n_pixels(self) -> int:
        """``n_eta × n_phi``."""
        return self.n_eta * self.n_phi

    def find_pixels(
        self, deta: NDArray[np.float64], dphi: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The flat pixel number (C order) of each point, and whether the point lies in the window.

        Parameters
        ----------
        deta, dphi
            Coordinates relative to the image's centre, (n,).

        Returns
        -------
        tuple of two arrays (n,)
            The number is meaningless where the point is outside. The lower edge of the window belongs to it, the upper
            does not. NaN is outside.
        """
        row, row_inside = _find_bins(deta, self.n_eta, self.half_width)
        column, column_inside = _find_bins(dphi, self.n_phi, self.half_width)
        return row * self.n_phi + column, row_inside & column_inside

    def edges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixel edges in deta (n_eta + 1,) and dphi (n_phi + 1,)."""
        width = self.half_width
        return np.linspace(-width, width, self.n_eta + 1), np.linspace(-width, width, self.n_phi + 1)


def _find_bins(
    coordinate: NDArray[np.float64], n_bins: int, half_width: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    scaled = (coordinate + half_width) * (n_bins / (2 * half_width))
    inside = (scaled >= 0) & (scaled < n_bins)
    return np.where(inside, scaled, 0).astype(np.int64), inside


def parse_grid(text: str, *, half_width: float) -> WindowGrid:
    """Make a grid from ``40x40`` as the command line gives it.

    Raises
    ------
    ConfigError
        When the text is not two whole numbers with an x between.
    """
    match = re.fullmatch(r"(\d+)[x×](\d+)", text.strip())
    if not match:
        raise ConfigError(f"grid '{text}': expected two whole numbers with an x between, as in 40x40")
    try:
        return WindowGrid(n_eta=int(match[1]), n_phi=int(match[2]), half_width=half_width)
    except pydantic.ValidationError as error:
        raise ConfigError(f"grid '{text}': {error.errors()[0]['msg']}") from error
