"""Weighted quantiles, and their spread over bootstrap resamplings.

Shapes: N values, R resamplings, Q quantiles.
"""

import numpy as np

from hepcnn.evaluation.intervals import ONE_SIGMA
from hepcnn.evaluation.samples import Floats

QUANTILES = np.array([(1 - ONE_SIGMA) / 2, 0.5, (1 + ONE_SIGMA) / 2])
"""The median, and the ends of the central 68.3 %."""
N_BOOTSTRAP, MOST_DRAWN = 200, 5_000_000


def weighted_quantiles(values: Floats, weight: Floats, probabilities: Floats = QUANTILES) -> Floats:
    """Quantiles (R, Q) of values (N,) with weights (N,) or (R, N), interpolated between neighbours."""
    order = np.argsort(values, kind="stable")
    rows, sorted_values = np.atleast_2d(weight)[:, order], values[order]
    cumulated = np.cumsum(rows, axis=1)
    middle = np.maximum.accumulate(cumulated - rows / 2, axis=1)
    pairs = zip(cumulated[:, -1], middle, strict=True)
    return np.stack([np.interp(probabilities * total, places, sorted_values) for total, places in pairs])


def resample_quantiles(values: Floats, weight: Floats, random: np.random.Generator) -> Floats:
    """Quantiles (R, Q) of Poisson bootstrap resamplings."""
    order = np.argsort(values, kind="stable")
    # Row after row, so that the numbers do not depend on how many rows are drawn at a time.
    chunk = max(1, min(N_BOOTSTRAP, MOST_DRAWN // max(len(values), 1)))
    parts = []
    for start in range(0, N_BOOTSTRAP, chunk):
        counts = random.poisson(1.0, (min(chunk, N_BOOTSTRAP - start), len(values)))
        parts.append(weighted_quantiles(values[order], (counts * weight)[:, order]))
    return np.concatenate(parts)
