"""Taggers on different jets."""

from typing import Any

import numpy as np
import pytest

from hepcnn.evaluation.tables import TableRow
from hepcnn.evaluation.unpaired import compare_unpaired


def row(name: str, auc: dict[str, Any], rejection: dict[str, Any], n_seeds: int = 1) -> TableRow:
    metrics = {"accuracy": auc, "auc": auc, "rejection": {"0.3": rejection, "0.5": rejection}, "n_seeds": n_seeds}
    return TableRow(name, metrics)


def test_errors_of_both_are_added_in_quadrature() -> None:
    a = row("a", {"value": 0.9, "err_stat": 0.003, "err_seed": 0.008}, {"value": 100.0, "err_stat": 10.0}, n_seeds=4)
    b = row("b", {"value": 0.8, "err_stat": 0.012}, {"value": 50.0, "err_stat": 5.0})
    found = {d.metric: d for d in compare_unpaired([a, b])}
    auc = found["auc"]
    assert (auc.first, auc.second, auc.is_paired) == ("a", "b", False)
    # The error of a: 0.003 and 0.008 / 2 give 0.005.
    assert auc.difference.err_stat == pytest.approx(0.013)
    assert auc.difference.n_sigma == pytest.approx(0.1 / 0.013)
    rejection = found["rejection_0.3"].difference
    # In eps_b: 0.01 ± 0.001 against 0.02 ± 0.002.
    assert rejection.n_sigma == pytest.approx(0.01 / np.hypot(0.001, 0.002))


def test_a_limit_is_told_from_nothing() -> None:
    limit = {"value": 1000.0, "err_stat": None, "is_lower_limit": True}
    auc = {"value": 0.9, "err_stat": 0.01}
    found = compare_unpaired([row("a", auc, limit), row("b", auc, {"value": 50.0, "err_stat": 5.0})])
    told = next(d for d in found if d.metric == "rejection_0.5").difference
    assert told.n_sigma == 0
    assert told.is_limit
    assert np.isnan(told.err_stat)
