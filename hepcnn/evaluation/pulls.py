"""Whether the errors that a network predicts for its energies are right."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import InputError
from hepcnn.evaluation.energy import FEWEST, check_energies
from hepcnn.evaluation.intervals import Measurement, effective_size, measure_fraction
from hepcnn.evaluation.quantiles import resample_quantiles, weighted_quantiles
from hepcnn.evaluation.samples import check_finite


def measure_pulls(
    predicted: ArrayLike, error: ArrayLike, energy: ArrayLike, weight: ArrayLike | None = None
) -> dict[str, Any]:
    """Whether predicted errors are right: ``(predicted - energy) / error``.

    Returns
    -------
    dict
        ``median`` and ``width`` (1 for errors that are right), and ``coverage``, the fraction of showers within one
        error (68.3 % of a Gaussian). Null for fewer than `FEWEST` effective showers.

    Raises
    ------
    InputError
        As `measure_responses`, and for an error that is not positive.
    """
    values, truth, w = check_energies(predicted, energy, weight)
    sigma = np.asarray(error, np.float64)
    check_finite(sigma, what="energy_err")
    if sigma.shape != truth.shape or not (sigma > 0).all():
        raise InputError(f"energy_err has shape {sigma.shape} and must be positive; expected {truth.shape}")
    pull = (values - truth) / sigma
    if effective_size(w) < FEWEST:
        return {"median": None, "width": None, "coverage": None}
    low, median, high = weighted_quantiles(pull, w)[0]
    replicas = resample_quantiles(pull, w, np.random.default_rng(0))
    widths = (replicas[:, 2] - replicas[:, 0]) / 2
    inside = measure_fraction(float(np.clip(w[np.abs(pull) <= 1].sum() / w.sum(), 0.0, 1.0)), effective_size(w))
    return {
        "median": Measurement(float(median), float(replicas[:, 1].std(ddof=1))).to_dict(),
        "width": Measurement(float(high - low) / 2, float(widths.std(ddof=1))).to_dict(),
        "coverage": inside.to_dict(),
    }
