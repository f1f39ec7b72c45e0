"""Who is ahead among taggers that were measured on different jets: their own errors, added in quadrature."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hepcnn.evaluation.comparison import Difference
from hepcnn.evaluation.tables import METRICS, PairedDifference, TableRow


def compare_unpaired(rows: Sequence[TableRow]) -> list[PairedDifference]:
    """Compare the best tagger of every metric with each other one, from the rows alone.

    Returns
    -------
    list
        As `hepcnn.evaluation.study.compare_taggers`, with ``is_paired`` false.

    Notes
    -----
    The error of a row is its statistical one and, with several trainings, that of their mean in quadrature. The
    significance of a rejection is counted in eps_b, as on the same jets. A row without an error, such as a limit, is
    told from none: its significance is 0.
    """
    found = []
    for metric in METRICS:
        best = max(rows, key=lambda row: float(row.measurement(metric)["value"]))
        for other in (row for row in rows if row is not best):
            difference = _subtract(best, other, metric)
            found.append(PairedDifference(metric, best.name, other.name, difference, is_paired=False))
    return found


def _subtract(best: TableRow, other: TableRow, metric: str) -> Difference:
    measured = [row.measurement(metric) for row in (best, other)]
    values = [float(one["value"]) for one in measured]
    errors = [_error(one, row) for one, row in zip(measured, (best, other), strict=True)]
    value, error = values[0] - values[1], float(np.hypot(errors[0], errors[1]))
    if not np.isfinite(error) or error <= 0:
        is_limit = any(one.get("is_lower_limit", False) for one in measured)
        return Difference(value, float("nan"), 0.0, is_limit=is_limit)
    if not metric.startswith("rejection"):
        return Difference(value, error, value / error)
    ahead = 1 / values[1] - 1 / values[0]
    return Difference(value, error, ahead / float(np.hypot(errors[0] / values[0] ** 2, errors[1] / values[1] ** 2)))


def _error(measurement: Mapping[str, Any], row: TableRow) -> float:
    stat, seed = measurement.get("err_stat"), measurement.get("err_seed")
    if stat is None:
        return float("nan")
    return float(np.hypot(stat, (seed or 0.0) / np.sqrt(row.metrics.get("n_seeds", 1))))
