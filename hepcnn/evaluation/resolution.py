"""The resolution curve of a calorimeter: sigma / E = a ⊕ b / sqrt(E) ⊕ c / E, fitted with errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import EmptySampleError, InputError, require
from hepcnn.evaluation.energy import Responses
from hepcnn.evaluation.intervals import Measurement
from hepcnn.evaluation.samples import Floats

TERMS = ("a", "b", "c")
"""Constant (no unit), stochastic (sqrt(GeV)) and noise term (GeV)."""


@dataclass(frozen=True)
class ResolutionFit:
    """The three terms, not negative, with errors, and how well the curve fits.

    ``err_low`` and ``err_high`` of a term end where chi2 has grown by 1, whatever the others; a term at 0 has only the
    upper one. ``err_stat`` is the mean of both, or the upper one.
    """

    terms: Mapping[str, Measurement]
    chi2: float
    n_dof: int

    def __call__(self, energy: ArrayLike) -> Floats:
        """Sigma / E at energies in GeV."""
        squares = np.array([self.terms[name].value ** 2 for name in TERMS])
        curve: Floats = np.sqrt(_design(np.asarray(energy, np.float64)) @ squares)
        return curve

    def to_dict(self) -> dict[str, Any]:
        """What belongs into metrics.json."""
        return {name: term.to_dict() for name, term in self.terms.items()} | {"chi2": self.chi2, "n_dof": self.n_dof}


def fit_resolution(energy: ArrayLike, resolution: ArrayLike, error: ArrayLike) -> ResolutionFit:
    """Fit the three terms to points.

    Parameters
    ----------
    energy
        (B,) GeV. Points where any of the three arrays is NaN are left out.
    resolution, error
        (B,) sigma / E and its error.

    Raises
    ------
    EmptySampleError
        When fewer points are left than there are terms.
    InputError
        For different lengths, or values that are not positive.

    Notes
    -----
    In the squares of the terms the curve is linear: ``(sigma/E)² = a² + b²/E + c²/E²`` (PDG, passage of particles:
    electromagnetic calorimeters). The least squares with terms that are not negative (Lawson and Hanson, 1974) have one
    minimum, found without a starting point. The relative errors of the points are kept and applied to the fitted curve,
    twice: points that came out low by chance do not count more for that.
    """
    x, y, dy = (np.asarray(values, np.float64) for values in (energy, resolution, error))
    if not x.shape == y.shape == dy.shape or x.ndim != 1:
        raise InputError(f"energies {x.shape}, resolutions {y.shape} and errors {dy.shape}: expected (B,) each")
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(dy)
    x, y, dy = x[known], y[known], dy[known]
    if len(x) < len(TERMS):
        raise EmptySampleError(
            f"{len(x)} bins of energy hold enough showers; the resolution's {len(TERMS)} terms need 3"
        )
    if not ((x > 0) & (y > 0) & (dy > 0)).all():
        raise InputError("energies, resolutions and their errors must be positive")
    problem = _Problem(_design(x), y**2, 2 * dy / y)
    squares, chi2 = problem.solve()
    terms = {name: problem.measure(number, squares, chi2) for number, name in enumerate(TERMS)}
    return ResolutionFit(terms, chi2, len(x) - len(TERMS))


def fit_responses(responses: Responses, *, corrected: bool = True) -> ResolutionFit | None:
    """Fit what was measured in bins of energy; None where too few bins hold enough showers."""
    points = (
        (responses.corrected, responses.corrected_err)
        if corrected
        else (responses.resolution, responses.resolution_err)
    )
    try:
        return fit_resolution(responses.centre, *points)
    except EmptySampleError:
        return None


def resample_terms(responses: Responses) -> Floats:
    """The terms fitted to each resampling, (R, 3): of two taggers on the same showers these belong together.

    Raises
    ------
    EmptySampleError
        As `fit_resolution`.
    """
    known, error = responses.filled, responses.corrected_err
    x, relative = responses.centre[known], 2 * error[known] / responses.corrected[known]
    if len(x) < len(TERMS):
        raise EmptySampleError(
            f"{len(x)} bins of energy hold enough showers; the resolution's {len(TERMS)} terms need 3"
        )
    replicas = responses.corrected_replicas[:, known]
    return np.sqrt(np.stack([_Problem(_design(x), row**2, relative).solve()[0] for row in replicas]))


def _design(energy: Floats) -> Floats:
    return np.stack([np.ones_like(energy), 1 / energy, 1 / energy**2], axis=-1)


class _Problem:
    """Least squares in the squares of the terms, with errors that are relative to the fitted curve."""

    def __init__(self, design: Floats, target: Floats, relative: Floats) -> None:
        self.design, self.target = design, target
        self._nnls = require("scipy.optimize", extra="evaluate").nnls
        self.sigma = target * relative
        for _ in range(2):
            squares, _ = self.solve()
            self.sigma = np.maximum(self.design @ squares, target * 1e-6) * relative

    def solve(self, without: NDArray[np.int64] | None = None, fixed: Floats | float = 0.0) -> tuple[Floats, float]:
        """Squares of the terms and chi2; terms ``without`` are held at ``fixed``."""
        free = np.setdiff1d(np.arange(self.design.shape[1]), [] if without is None else without)
        squares = np.zeros(self.design.shape[1])
        if without is not None:
            squares[without] = fixed
        rest = (self.target - self.design @ squares) / self.sigma
        matrix = self.design[:, free] / self.sigma[:, None]
        # Columns of 1 and 1/E² differ by many orders: each is brought to length one.
        scale = np.linalg.norm(matrix, axis=0)
        found, norm = self._nnls(matrix / scale, rest)
        squares[free] = found / scale
        return squares, float(norm) ** 2

    def measure(self, number: int, squares: Floats, chi2: float) -> Measurement:
        """A term with the ends of its interval."""
        optimize = require("scipy.optimize", extra="evaluate")
        best, place = float(np.sqrt(squares[number])), np.array([number])

        def excess(value: float) -> float:
            return self.solve(place, value**2)[1] - chi2 - 1.0

        step = best or float(np.sqrt((self.sigma / self.design[:, number]).min()))
        high = best + step
        while excess(high) < 0:
            high += step
            step *= 2
        err_high = float(optimize.brentq(excess, best, high)) - best
        if best == 0 or excess(0.0) < 0:
            return Measurement(best, err_high if best == 0 else (err_high + best) / 2, best, err_high)
        err_low = best - float(optimize.brentq(excess, 0.0, best))
        return Measurement(best, (err_low + err_high) / 2, err_low, err_high)
