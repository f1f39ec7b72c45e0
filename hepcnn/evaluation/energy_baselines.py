"""What a network of energies has to beat: calibrated sums of cells, and a boosted tree on shower shapes.

Arrays in, energies out. Shapes: N showers, F columns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import EmptySampleError, InputError, require
from hepcnn.evaluation.energy import check_energies
from hepcnn.evaluation.quantiles import weighted_quantiles
from hepcnn.evaluation.samples import Floats

RIDGE = 1e-6
"""Part of a column's mean square that is added to the normal equations, so that empty layers get a weight of 0."""


@dataclass(frozen=True)
class LinearEnergy:
    """``E = offset + sums @ factors``, at least ``floor`` GeV; ``factors`` (F,)."""

    offset: float
    factors: Floats
    floor: float

    @property
    def n_parameters(self) -> int:
        """Fitted numbers."""
        return len(self.factors) + 1

    def predict(self, sums: ArrayLike) -> Floats:
        """Energies (N,) in GeV of sums (N, F)."""
        return np.maximum(self.offset + np.asarray(sums, np.float64) @ self.factors, self.floor)


def fit_linear_energy(sums: ArrayLike, energy: ArrayLike, weight: ArrayLike | None = None) -> LinearEnergy:
    """Calibrate sums of cells.

    Parameters
    ----------
    sums
        (N, F) energies in GeV: of the whole shower, or of each layer.
    energy
        (N,) true ones in GeV.
    weight
        (N,), not negative.

    Raises
    ------
    InputError, EmptySampleError
        For energies that are no positive numbers, shapes that do not fit, no shower.

    Notes
    -----
    The least squares of ``E_predicted / E - 1``, so that every energy counts alike; the result is then scaled to a
    median response of 1, below which it would lie otherwise.
    """
    columns = np.asarray(sums, np.float64)
    if columns.ndim != 2:
        raise InputError(f"sums have shape {columns.shape}, expected (N, F)")
    _, truth, w = check_energies(np.zeros(len(columns)), energy, weight)
    if not w.sum() > 0:
        raise EmptySampleError("no shower has a weight: there is nothing to calibrate with")
    design = np.concatenate([np.ones((len(columns), 1)), columns], axis=1) / truth[:, None]
    gram = (design * w[:, None]).T @ design
    diagonal = np.diag(gram).copy()
    gram[np.diag_indices_from(gram)] += RIDGE * diagonal + np.where(diagonal > 0, 0.0, 1.0)
    solution = np.asarray(np.linalg.solve(gram, design.T @ w), np.float64)
    response = design @ solution
    median = float(weighted_quantiles(response, w)[0, 1])
    solution = solution / median if median > 0 else solution
    return LinearEnergy(float(solution[0]), solution[1:], float(truth.min()) / 10)


@dataclass(frozen=True)
class EnergyTree:
    """A boosted tree that corrects the raw sum: ``E = sum exp(tree)``."""

    n_parameters: int
    n_rounds: int
    floor: float
    _model: Any

    def predict(self, shapes: ArrayLike, raw_sum: ArrayLike) -> Floats:
        """Energies (N,) in GeV of shapes (N, F) and raw sums (N,) in GeV."""
        with _one_thread():
            factor = np.exp(self._model.predict(np.asarray(shapes, np.float64)))
        found: Floats = np.maximum(np.asarray(raw_sum, np.float64), self.floor) * factor
        return found


def fit_energy_tree(
    train: tuple[Any, Any, Any, Any], val: tuple[Any, Any, Any, Any], *, seed: int = 0, max_rounds: int = 300
) -> EnergyTree:
    """Fit a boosted tree to ``ln(E / raw sum)``.

    Parameters
    ----------
    train, val
        Shapes (N, F), where NaN means "not known"; raw sums and true energies in GeV (N,); weights (N,), not negative.
    seed
        Of the binning's subsample, the only random step.
    max_rounds
        Most boosting rounds; as many are kept as give the smallest squared error on ``val``.

    Notes
    -----
    Histogram gradient boosting (Ke et al., NeurIPS 2017) by scikit-learn, as for the identity.
    """
    ensemble = require("sklearn.ensemble", extra="evaluate")
    floor = float(np.min(train[2])) / 10
    x, y, w = _target(train, floor)
    x_val, y_val, w_val = _target(val, floor)
    options = {"learning_rate": 0.08, "early_stopping": False, "random_state": seed}
    with _one_thread():
        model = ensemble.HistGradientBoostingRegressor(max_iter=max_rounds, **options).fit(x, y, sample_weight=w)
        errors = [np.average((p - y_val) ** 2, weights=w_val) for p in model.staged_predict(x_val)]
        rounds = int(np.argmin(errors)) + 1
        if rounds < max_rounds:
            # Boosting is greedy: fewer rounds with the same seed are the first rounds of the longer fit.
            model = ensemble.HistGradientBoostingRegressor(max_iter=rounds, **options).fit(x, y, sample_weight=w)
    n_leaves = sum(tree.get_n_leaf_nodes() for stage in model._predictors for tree in stage)
    return EnergyTree(int(n_leaves), rounds, floor, model)


def _target(part: tuple[Any, Any, Any, Any], floor: float) -> tuple[Floats, Floats, NDArray[np.float64]]:
    shapes, raw_sum, energy, weight = part
    _, truth, w = check_energies(np.zeros(len(np.asarray(energy))), energy, weight)
    target: Floats = np.log(truth / np.maximum(np.asarray(raw_sum, np.float64), floor))
    return np.asarray(shapes, np.float64), target, w


def _one_thread() -> Any:
    # As in hepcnn.evaluation.baselines.
    return require("threadpoolctl", extra="evaluate").threadpool_limits(1, user_api="openmp")
