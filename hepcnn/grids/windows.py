"""Grids in eta and phi: windows around a jet, and the whole detector."""

import math
from typing import ClassVar, Literal

import pydantic

from hepcnn.grids.base import Axis, Bins, Grid, equal_bins


class WindowGrid(Grid):
    """A square window in (deta, dphi) around the jet, ``2 half_width`` wide, of ``n_eta × n_phi`` equal pixels."""

    follows_jet: ClassVar[bool] = True
    kind: Literal["window"] = "window"
    n_eta: Bins = 40
    n_phi: Bins = 40
    half_width: float = pydantic.Field(default=0.8, gt=0, le=math.pi)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """deta, dphi."""
        width = self.half_width
        return equal_bins("deta", -width, width, self.n_eta), equal_bins("dphi", -width, width, self.n_phi)


class LayersGrid(Grid):
    """Such a window in each of ``n_layers`` layers of a calorimeter; the constituents' ``layer`` counts from 0."""

    needs: ClassVar[tuple[str, ...]] = ("layer",)
    follows_jet: ClassVar[bool] = True
    kind: Literal["layers"] = "layers"
    n_layers: Bins
    n_eta: Bins = 1
    n_phi: Bins = 1
    half_width: float = pydantic.Field(default=0.8, gt=0, le=math.pi)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """layer, deta, dphi."""
        width = self.half_width
        return (
            equal_bins("layer", -0.5, self.n_layers - 0.5, self.n_layers),
            equal_bins("deta", -width, width, self.n_eta),
            equal_bins("dphi", -width, width, self.n_phi),
        )


class DetectorGrid(Grid):
    """The whole detector: ``n_eta`` equal pixels in ``|eta| < eta_max``, ``n_phi`` around the beam from -pi to pi."""

    kind: Literal["detector"] = "detector"
    n_eta: Bins = 64
    n_phi: Bins = 64
    eta_max: float = pydantic.Field(default=5.0, gt=0, le=20)

    @property
    def axes(self) -> tuple[Axis, ...]:
        """eta, phi; phi is periodic."""
        return (
            equal_bins("eta", -self.eta_max, self.eta_max, self.n_eta),
            equal_bins("phi", -math.pi, math.pi, self.n_phi, periodic=True),
        )
