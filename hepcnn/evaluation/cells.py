"""Negative weights cancelled among neighbours, for fits that can take none.

Shapes: N jets, D coordinates.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import EmptySampleError, InputError, require
from hepcnn.evaluation.samples import Floats, check_finite, check_label, check_weight

FIRST_NEIGHBOURS = 16


def cancel_negative(weight: ArrayLike, label: ArrayLike, coordinates: ArrayLike) -> Floats:
    """Weights that are not negative and say the same, cell by cell of neighbouring jets of a class.

    Parameters
    ----------
    weight
        (N,) of either sign.
    label
        (N,) class numbers; a cell holds jets of one class only.
    coordinates
        (N, D) of the jets, such as their pT and mass; distances are measured in units of each one's standard deviation
        over all jets. One that is the same for all jets says nothing and is left out.

    Returns
    -------
    numpy.ndarray
        (N,); where no weight is negative, the weights as they are.

    Raises
    ------
    InputError
        For NaN or infinite weights or coordinates, or different lengths.
    EmptySampleError
        For a class whose weights do not add up to more than zero: nothing can cancel them.

    Notes
    -----
    Cell resampling (arXiv:2109.07851). Around each jet of negative weight, from the most negative on, a cell takes in
    the nearest jets until its weights add up to zero or more; they then become ``|w| Σw / Σ|w|``. Sums of weights over
    a cell, and so all that varies slowly over one, stay as they are. What is smaller are the sums of squared weights:
    good for a fit, wrong for errors, which are computed from the weights as they came.
    """
    points = np.asarray(coordinates, dtype=np.float64)
    if points.ndim != 2:
        raise InputError(f"coordinates have shape {points.shape}, expected (N, D)")
    weights = check_weight(weight, n_jets=len(points)).copy()
    if not (weights < 0).any():
        return weights
    check_finite(points, what="coordinates")
    classes = check_label(label, n_jets=len(points), n_classes=int(np.max(label)) + 1)
    spread = points.std(axis=0)
    points = points / np.where(spread > 0, spread, np.inf)
    for number in np.unique(classes):
        mine = np.flatnonzero(classes == number)
        total = float(weights[mine].sum())
        if total <= 0:
            raise EmptySampleError(f"the weights of class number {number} add up to {total:g}; expected more than zero")
        weights[mine] = _cancel_class(weights[mine], points[mine])
    return weights


def _cancel_class(weight: Floats, points: Floats) -> Floats:
    tree = require("scipy.spatial", extra="evaluate").cKDTree(points)
    negative = np.flatnonzero(weight < 0)
    for seed in negative[np.argsort(weight[negative], kind="stable")]:
        # An earlier cell may have settled this one.
        if weight[seed] < 0:
            cell = _grow_cell(tree, points, weight, int(seed))
            inside = weight[cell]
            total = max(float(inside.sum()), 0.0)
            weight[cell] = np.abs(inside) * (total / float(np.abs(inside).sum()))
    return weight


def _grow_cell(tree: Any, points: Floats, weight: Floats, seed: int) -> NDArray[np.int64]:
    """The nearest jets of a jet, itself among them, as many as it takes for a sum of weights that is not negative."""
    n = FIRST_NEIGHBOURS
    while True:
        n = min(n, len(weight))
        nearest = np.atleast_1d(tree.query(points[seed], k=n)[1]).astype(np.int64)
        # Of jets in one place the tree may leave out the seed itself.
        nearest = np.concatenate([[seed], nearest[nearest != seed]])
        reached = np.flatnonzero(np.cumsum(weight[nearest]) >= 0)
        if len(reached) or n == len(weight):
            return nearest[: reached[0] + 1] if len(reached) else nearest
        n *= 4
