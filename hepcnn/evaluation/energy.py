"""How well energies are measured: arrays in, numbers out.

The response of a shower is its predicted over its true energy. ``energy`` (N,) are true energies in GeV. Bins without
enough showers have NaN. docs/metrics.md has the formulas.

Shapes: N showers, B bins, R resamplings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.efficiency import find_bins
from hepcnn.evaluation.intervals import Measurement, effective_size, measure_fraction
from hepcnn.evaluation.quantiles import N_BOOTSTRAP, resample_quantiles, weighted_quantiles
from hepcnn.evaluation.samples import Floats, check_finite, check_weight

FEWEST = 20
"""Effective showers that a bin needs for a width."""
TAIL = 3.0
"""Widths from the median where tails begin; a Gaussian has 0.13 % beyond on each side."""


@dataclass(frozen=True)
class Responses:
    """Responses in bins of a quantity.

    Attributes
    ----------
    edges
        (B+1,).
    centre
        (B,) where a bin's numbers belong: of energies ``1 / <1/E>``, which is exact for the stochastic term; of others
        the mean.
    n_showers
        (B,) effective numbers.
    median, width
        (B,) of the response: the width is half the distance of the 15.87 % and 84.13 % quantiles.
    tail_low, tail_high
        (B,) fractions more than `TAIL` widths from the median.
    medians, widths
        (R, B) of the resamplings: those of two taggers on the same showers belong together.
    """

    edges: Floats
    centre: Floats
    n_showers: Floats
    median: Floats
    width: Floats
    tail_low: Sequence[Measurement | None]
    tail_high: Sequence[Measurement | None]
    medians: Floats
    widths: Floats

    @property
    def filled(self) -> Any:
        """Which bins have enough showers, (B,)."""
        return np.isfinite(self.width)

    @property
    def resolution(self) -> Floats:
        """Width over median, (B,)."""
        return self.width / self.median

    @property
    def median_err(self) -> Floats:
        """(B,)."""
        return _spread(self.medians)

    @property
    def resolution_err(self) -> Floats:
        """(B,)."""
        return _spread(self.widths / self.medians)

    @property
    def slope(self) -> Floats:
        """``d ln(prediction) / d ln E`` from bin to bin, (B,); 1 where the response is the same everywhere."""
        return local_slope(self.centre, self.median)

    @property
    def corrected(self) -> Floats:
        """The resolution that is left once the median response is corrected, (B,): ``width / median / slope``.

        A prediction that is drawn to the middle of the energies it was trained on is narrow, and says little of a
        shower: correcting its non-linearity (numerical inversion, arXiv:1609.05195) widens it by the inverse slope.
        """
        return self.resolution / self.slope

    @property
    def corrected_err(self) -> Floats:
        """(B,), the error of the slope included."""
        return _spread(self.corrected_replicas)

    @property
    def corrected_replicas(self) -> Floats:
        """(R, B)."""
        slopes = np.stack([local_slope(self.centre, medians) for medians in self.medians])
        return self.widths / self.medians / slopes

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, lists over bins; null where a bin has too few showers."""
        pairs = {
            "median": (self.median, self.median_err),
            "resolution": (self.resolution, self.resolution_err),
            "resolution_corrected": (self.corrected, self.corrected_err),
        }
        record: dict[str, Any] = {
            "edges": self.edges.tolist(),
            "centre": _listed(self.centre),
            "n_showers": self.n_showers.tolist(),
        }
        for name, (value, error) in pairs.items():
            record[name] = {"value": _listed(value), "err_stat": _listed(error)}
        for name in ("tail_low", "tail_high"):
            record[name] = [None if one is None else one.to_dict() for one in getattr(self, name)]
        return record


def measure_responses(
    predicted: ArrayLike,
    energy: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    edges: ArrayLike,
    quantity: ArrayLike | None = None,
    seed: int = 0,
) -> Responses:
    """Median, width and tails of the response in bins.

    Parameters
    ----------
    predicted, energy
        (N,) GeV.
    weight
        (N,) of either sign; where they make the cumulated weight fall, it is kept from falling.
    edges
        (B+1,) rising; the last bin includes its upper edge, what is outside is left out.
    quantity
        (N,) what to bin in, such as an angle; by default the true energy.
    seed
        Of the resampling. The same seed draws the same showers for every tagger.

    Raises
    ------
    InputError
        For NaN or infinite values, a true energy that is not positive, different lengths, edges that do not rise.

    Notes
    -----
    Errors are standard deviations over `N_BOOTSTRAP` Poisson bootstrap resamplings. A bin with fewer than `FEWEST`
    effective showers, or whose median is not positive, has NaN.
    """
    values, truth, w = check_energies(predicted, energy, weight)
    place = truth if quantity is None else np.asarray(quantity, np.float64)
    limits = np.asarray(edges, np.float64)
    if limits.ndim != 1 or len(limits) < 2 or not (np.diff(limits) > 0).all():
        raise InputError(f"edges = {limits.tolist()}, expected at least two rising numbers")
    check_finite(place, what="quantity")
    if place.shape != truth.shape:
        raise InputError(f"quantity has shape {place.shape}, expected {truth.shape}: one per shower")
    bins = [np.flatnonzero(number) for number in (find_bins(place, limits) == k for k in range(1, len(limits)))]
    measured = [_measure_bin(values[k] / truth[k], w[k], np.random.default_rng((seed, j))) for j, k in enumerate(bins)]
    centre = [_centre(place[k], w[k], is_energy=quantity is None) for k in bins]
    return Responses(
        edges=limits,
        centre=np.array(centre),
        n_showers=np.array([effective_size(w[k]) for k in bins]),
        median=np.array([one.median for one in measured]),
        width=np.array([one.width for one in measured]),
        tail_low=[one.tails[0] for one in measured],
        tail_high=[one.tails[1] for one in measured],
        medians=np.stack([one.medians for one in measured], axis=1),
        widths=np.stack([one.widths for one in measured], axis=1),
    )


def check_energies(predicted: ArrayLike, energy: ArrayLike, weight: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    """Predicted and true energies and weights as float64.

    Raises
    ------
    InputError
        For NaN or infinite values, a true energy that is not positive, or different lengths.
    EmptySampleError
        Without a shower.
    """
    values, truth = np.asarray(predicted, np.float64), np.asarray(energy, np.float64)
    if values.ndim != 1 or values.shape != truth.shape:
        raise InputError(f"predicted energies have shape {values.shape}, true ones {truth.shape}; expected (N,) each")
    if not len(truth):
        raise EmptySampleError("no shower: there is no response to measure")
    check_finite(values, what="predicted energy")
    check_finite(truth, what="true energy")
    if (bad := int((truth <= 0).sum())) > 0:
        raise InputError(f"true energy: {bad} of {len(truth)} are not positive; expected GeV above 0")
    return values, truth, check_weight(weight, n_jets=len(truth))


def energy_edges(energy: ArrayLike, *, per_decade: float = 3.0, most: int = 12, per_bin: int = 2 * FEWEST) -> Floats:
    """Edges of bins that are equally wide in the logarithm, from the smallest to the largest energy.

    Parameters
    ----------
    energy
        (N,) GeV, positive.
    per_decade, most
        Bins in a factor of ten, and in all.
    per_bin
        Showers that a bin shall have on average: with few showers there are fewer bins.

    Returns
    -------
    numpy.ndarray
        (B+1,). Energies that are all the same get one bin around them.
    """
    values = np.asarray(energy, np.float64)
    low, high = float(values.min()), float(values.max())
    decades = np.log10(high / low)
    if decades < 0.01:
        return np.array([low * 0.99, high * 1.01])
    n_bins = min(most, round(decades * per_decade), len(values) // per_bin)
    edges = np.geomspace(low, high, max(1, n_bins) + 1)
    # The logarithm rounds: no shower shall fall out for that.
    edges[0], edges[-1] = low, high
    return edges


def local_slope(energy: Floats, median: Floats) -> Floats:
    """``1 + d ln(median) / d ln(energy)`` between neighbouring filled bins, (B,); 1 where there is but one.

    Kept above 0.1: below, a prediction hardly follows the energy, and nothing can be corrected.
    """
    slope = np.ones(len(energy))
    known = np.isfinite(median) & np.isfinite(energy) & (median > 0) & (energy > 0)
    if known.sum() > 1:
        slope[known] += np.gradient(np.log(median[known]), np.log(energy[known]))
    return np.maximum(slope, 0.1)


@dataclass(frozen=True)
class _Bin:
    median: float
    width: float
    tails: tuple[Measurement | None, Measurement | None]
    medians: Floats
    widths: Floats


def _measure_bin(ratio: Floats, weight: Floats, random: np.random.Generator) -> _Bin:
    n, nothing = effective_size(weight), np.full(N_BOOTSTRAP, np.nan)
    empty = _Bin(np.nan, np.nan, (None, None), nothing, nothing)
    if n < FEWEST:
        return empty
    low, median, high = weighted_quantiles(ratio, weight)[0]
    width = (high - low) / 2
    if not median > 0:
        return empty
    replicas = resample_quantiles(ratio, weight, random)
    distance = (ratio - median) / width if width > 0 else np.zeros(len(ratio))
    tails = [
        measure_fraction(float(np.clip(weight[beyond].sum() / weight.sum(), 0.0, 1.0)), n)
        for beyond in (distance < -TAIL, distance > TAIL)
    ]
    return _Bin(
        float(median), float(width), (tails[0], tails[1]), replicas[:, 1], (replicas[:, 2] - replicas[:, 0]) / 2
    )


def _centre(values: Floats, weight: Floats, *, is_energy: bool) -> float:
    total = weight.sum()
    if not total > 0:
        return float("nan")
    if is_energy:
        return float(total / (weight / values).sum())
    return float((weight * values).sum() / total)


def _spread(replicas: Floats) -> Floats:
    spread: Floats = replicas.std(axis=0, ddof=1)
    return spread


def _listed(values: Floats) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
