"""Two honest baselines: what a network has to beat, trained on the same jets. Arrays in, scores out.

They are cheap, not weak: boosted trees on a few substructure observables are close to image networks on top jets.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import EmptySampleError, InputError, require
from hepcnn.evaluation.samples import check_finite, check_label, check_weight

STRENGTHS = (1e-3, 1e-2, 1e-1)
"""Inverse regularisations tried by the logistic regression, from stiff to loose."""


@dataclass(frozen=True)
class Baseline:
    """A fitted baseline.

    Attributes
    ----------
    name
        ``"pixel_logistic"`` or ``"substructure_tree"``.
    n_classes
        K.
    n_inputs
        Columns that it was fitted on.
    n_parameters
        Fitted numbers: coefficients, or the leaf values of all trees.
    chosen
        What validation chose: the inverse regularisation, or the number of boosting rounds.
    """

    name: str
    n_classes: int
    n_inputs: int
    n_parameters: int
    chosen: float
    _model: Any
    _scale: NDArray[np.float64] | None = None

    def predict(self, x: Any) -> NDArray[np.float32]:
        """Score jets.

        Parameters
        ----------
        x
            (N, F) array or scipy csr matrix with the columns that the baseline was fitted on.

        Returns
        -------
        numpy.ndarray
            (N, K) probabilities; (0, K) for no jets.

        Raises
        ------
        InputError
            For another number of columns, or infinite values.
        """
        if len(x.shape) != 2 or x.shape[1] != self.n_inputs:
            raise InputError(f"{self.name}: input has shape {x.shape}, expected (N, {self.n_inputs})")
        if x.shape[0] == 0:
            return np.empty((0, self.n_classes), np.float32)
        inputs = _scaled(x, self._scale) if self._scale is not None else _checked_features(x)
        with _one_thread():
            result: NDArray[np.float32] = self._model.predict_proba(inputs).astype(np.float32)
        return result


def fit_pixel_logistic(
    x_train: Any,
    y_train: ArrayLike,
    x_val: Any,
    y_val: ArrayLike,
    *,
    n_classes: int,
    weight_train: ArrayLike | None = None,
    weight_val: ArrayLike | None = None,
    strengths: Sequence[float] = STRENGTHS,
    max_iter: int = 60,
) -> Baseline:
    """Fit a logistic regression on the pixels.

    Parameters
    ----------
    x_train, x_val
        (N, C * n_pix) scipy csr matrices (or arrays) of pixel values.
    y_train, y_val
        (N,) class numbers.
    n_classes
        K.
    weight_train, weight_val
        (N,) jet weights, not negative; ones by default. See `hepcnn.evaluation.cells.cancel_negative` for others.
    strengths
        Inverse regularisations to try; the one with the smallest validation loss stays. Validation also stops the
        search: when a looser one is worse, the rest are not tried.
    max_iter
        Iterations of the solver for each; stopping it early is regularisation too, so no warning is given.

    Raises
    ------
    InputError, EmptySampleError
        For labels out of range, NaN or infinite pixels, negative weights, a class without jets.

    Notes
    -----
    Multinomial logistic regression with an L2 penalty by L-BFGS; each pixel is divided by its root mean square over the
    training jets, which keeps zeros zero; a pixel that is empty in all of them is not used. Nothing in it is random.
    """
    linear_model = require("sklearn.linear_model", extra="evaluate")
    losses = require("sklearn.metrics", extra="evaluate")
    y, y_held, w, w_held = _checked_targets(x_train, y_train, x_val, y_val, n_classes, weight_train, weight_val)
    scale = _rms_scale(x_train)
    train, held_out = _scaled(x_train, scale), _scaled(x_val, scale)
    best: tuple[float, float, Any] | None = None
    start: tuple[Any, Any] | None = None
    for strength in strengths:
        # A fresh object per strength, started from the previous solution: the path from stiff to loose is short.
        model = linear_model.LogisticRegression(C=strength, max_iter=max_iter, tol=1e-4, warm_start=True)
        if start is not None:
            model.coef_, model.intercept_ = start[0].copy(), start[1].copy()
        _fit_quietly(model, train, y, w)
        start = model.coef_, model.intercept_
        loss = float(losses.log_loss(y_held, model.predict_proba(held_out), sample_weight=w_held))
        if best is not None and loss >= best[0]:
            break
        best = loss, strength, model
    if best is None:
        raise InputError("strengths is empty, expected at least one inverse regularisation")
    n_parameters = int(best[2].coef_.size + best[2].intercept_.size)
    return Baseline("pixel_logistic", n_classes, int(x_train.shape[1]), n_parameters, best[1], best[2], scale)


def fit_substructure_tree(
    x_train: ArrayLike,
    y_train: ArrayLike,
    x_val: ArrayLike,
    y_val: ArrayLike,
    *,
    n_classes: int,
    weight_train: ArrayLike | None = None,
    weight_val: ArrayLike | None = None,
    seed: int = 0,
    max_rounds: int = 300,
) -> Baseline:
    """Fit a boosted decision tree on jet observables.

    Parameters
    ----------
    x_train, x_val
        (N, F) such as `hepcnn.substructure.stack_features`. NaN is allowed and means "not known".
    y_train, y_val
        (N,) class numbers.
    n_classes
        K.
    weight_train, weight_val
        (N,) jet weights, not negative; ones by default. See `hepcnn.evaluation.cells.cancel_negative` for others.
    seed
        Of the binning's subsample, the only random step.
    max_rounds
        Most boosting rounds; as many are kept as give the smallest validation loss.

    Raises
    ------
    InputError, EmptySampleError
        For labels out of range, infinite observables, negative weights, a class without jets.

    Notes
    -----
    Histogram gradient boosting, the algorithm of LightGBM (Ke et al., NeurIPS 2017), by scikit-learn.
    """
    ensemble = require("sklearn.ensemble", extra="evaluate")
    train, held_out = _checked_features(x_train), _checked_features(x_val)
    y, y_held, w, w_held = _checked_targets(train, y_train, held_out, y_val, n_classes, weight_train, weight_val)
    options = {"learning_rate": 0.08, "early_stopping": False, "random_state": seed}
    losses = require("sklearn.metrics", extra="evaluate")
    with _one_thread():
        model = ensemble.HistGradientBoostingClassifier(max_iter=max_rounds, **options).fit(train, y, sample_weight=w)
        history = [losses.log_loss(y_held, p, sample_weight=w_held) for p in model.staged_predict_proba(held_out)]
        rounds = int(np.argmin(history)) + 1
        if rounds < max_rounds:
            # Boosting is greedy: fewer rounds with the same seed are the first rounds of the longer fit.
            model = ensemble.HistGradientBoostingClassifier(max_iter=rounds, **options).fit(train, y, sample_weight=w)
    # scikit-learn says how many leaves a tree has only through its private predictors.
    n_leaves = sum(tree.get_n_leaf_nodes() for stage in model._predictors for tree in stage)
    return Baseline("substructure_tree", n_classes, train.shape[1], int(n_leaves), float(rounds), model)


def _one_thread() -> Any:
    # Boosting meets at a barrier thousands of times a second: on cores that others use too, two OpenMP threads took
    # 52 s where one takes 3 s.
    return require("threadpoolctl", extra="evaluate").threadpool_limits(1, user_api="openmp")


def _rms_scale(x: Any) -> NDArray[np.float64]:
    sparse = require("scipy.sparse", extra="evaluate")
    matrix = sparse.csr_matrix(x, dtype=np.float64)
    mean_square = np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel()
    return np.where(mean_square > 0, 1.0 / np.sqrt(np.where(mean_square > 0, mean_square, 1.0)), 0.0)


def _scaled(x: Any, scale: NDArray[np.float64]) -> Any:
    sparse = require("scipy.sparse", extra="evaluate")
    matrix = sparse.csr_matrix(x, dtype=np.float64)
    check_finite(matrix.data, what="pixels")
    return sparse.csr_matrix(matrix @ sparse.diags_array(scale))


def _fit_quietly(model: Any, x: Any, y: Any, weight: Any) -> None:
    exceptions = require("sklearn.exceptions", extra="evaluate")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        model.fit(x, y, sample_weight=weight)


def _checked_features(x: Any) -> NDArray[np.float64]:
    features = np.asarray(x, dtype=np.float64)
    if features.ndim != 2:
        raise InputError(f"features have shape {features.shape}, expected (N, F)")
    if (infinite := int(np.isinf(features).sum())) > 0:
        raise InputError(f"features: {infinite} of {features.size} are infinite, expected numbers or NaN")
    return features


def _checked_targets(
    x_train: Any, y_train: Any, x_val: Any, y_val: Any, n_classes: int, weight_train: Any, weight_val: Any
) -> tuple[Any, Any, Any, Any]:
    if x_train.shape[1] != x_val.shape[1]:
        raise InputError(f"training jets have {x_train.shape[1]} columns and validation jets {x_val.shape[1]}")
    checked = []
    for what, x, y in (("training", x_train, y_train), ("validation", x_val, y_val)):
        label = check_label(y, n_jets=x.shape[0], n_classes=n_classes)
        if missing := sorted(set(range(n_classes)) - set(label.tolist())):
            raise EmptySampleError(f"the {what} sample of {len(label)} jets has none of class number {missing[0]}")
        checked.append(label)
    weights = []
    for what, weight, label in (("training", weight_train, checked[0]), ("validation", weight_val, checked[1])):
        weights.append(check_weight(weight, n_jets=len(label)))
        if (negative := int((weights[-1] < 0).sum())) > 0:
            raise InputError(
                f"weight: {negative} of {len(label)} {what} jets have negative ones, which no fit can take; "
                "'hepcnn.evaluation.cells.cancel_negative' cancels them among neighbouring jets"
            )
    return checked[0], checked[1], weights[0], weights[1]
