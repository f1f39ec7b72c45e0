"""Cell resampling: sums stay, signs go; a fit on it is the fit on jets without negative weights."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.baselines import fit_substructure_tree
from hepcnn.evaluation.cells import cancel_negative
from hepcnn.evaluation.metrics import auc


def test_a_cell_by_hand() -> None:
    # Around the jet of -2 at 0: the nearest are 3 at 1 (sum 1: enough); the jets far away and of another class stay.
    weight = [-2.0, 3.0, 1.0, 1.0, 1.0]
    found = cancel_negative(weight, [0, 0, 0, 0, 1], [[0.0], [1.0], [-5.0], [9.0], [0.1]])
    assert found == pytest.approx([0.4, 0.6, 1.0, 1.0, 1.0])


def test_the_most_negative_goes_first() -> None:
    # -3 takes both neighbours of weight 2; -1 is settled within that cell.
    found = cancel_negative([-1.0, 2.0, -3.0, 2.0, 2.0], np.zeros(5, int), [[0.4], [0.5], [0.0], [-0.45], [0.9]])
    assert found.sum() == pytest.approx(2.0)
    assert (found >= 0).all()


@st.composite
def weighted_jets(draw: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = draw(st.integers(4, 80))
    weight = draw(hnp.arrays(np.float64, n, elements=st.sampled_from([-1.0, -0.5, 0.0, 1.0, 2.0])))
    label = np.arange(n) % 2
    for number in (0, 1):
        weight[np.flatnonzero(label == number)[0]] += max(0.0, 1.0 - weight[label == number].sum())
    return weight, label, draw(hnp.arrays(np.int64, (n, 2), elements=st.integers(0, 3)))


@given(weighted_jets())
def test_sums_stay_and_no_weight_is_negative(jets: Any) -> None:
    weight, label, points = jets
    found = cancel_negative(weight, label, points)
    assert (found >= 0).all()
    for number in (0, 1):
        assert found[label == number].sum() == pytest.approx(weight[label == number].sum(), abs=1e-9)
    if (weight >= 0).all():
        assert np.array_equal(found, weight)
    assert found**2 @ np.ones(len(found)) <= weight @ weight + 1e-9


def test_a_fit_on_cells_is_that_of_jets_without_negative_weights() -> None:
    rng = np.random.default_rng(2)
    label = np.arange(6000) % 2
    x = rng.normal(0, 1, (6000, 2)) + label[:, None] * [1.0, 0.5]
    # Class 1 has a peak in the middle of class 0 that jets of negative weight take away again.
    peak = np.flatnonzero(label)[:900]
    x[peak] = rng.normal([-1.5, -1.0], 0.3, (900, 2))
    weight = np.ones(6000)
    weight[peak[:450]] = -1.0
    truth = np.setdiff1d(np.arange(6000), peak)
    there = rng.normal([-1.5, -1.0], 0.3, (500, 2))
    scores, areas = [], []
    for jets, weights in ((truth, None), (np.arange(6000), cancel_negative(weight, label, x)), (np.arange(6000), None)):
        held = {"weight_train": weights, "weight_val": weights}
        fitted = fit_substructure_tree(x[jets], label[jets], x[jets], label[jets], n_classes=2, max_rounds=30, **held)
        scores.append(float(fitted.predict(there)[:, 1].mean()))
        areas.append(auc(fitted.predict(x[truth])[:, 1], label[truth]).value)
    reference, cells, blind = scores
    assert cells == pytest.approx(reference, abs=0.1)
    assert blind > reference + 0.4, "signs left aside, the peak is learnt"
    assert areas[1] == pytest.approx(areas[0], abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([1, -2.0], [0, 0], [[0.0], [1.0]]), EmptySampleError, "class number 0 add up to -1"),
        (([1, -2.0], [0, 0], [0.0, 1.0]), InputError, r"expected \(N, D\)"),
        (([1, -0.5], [0, 0], [[0.0], [np.nan]]), InputError, "coordinates: 1 of 2"),
        (([1, -0.5, 1], [0, 0], [[0.0], [1.0]]), InputError, "weight has shape"),
    ],
)
def test_what_cannot_be_cancelled_is_named(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cancel_negative(*arguments)


def test_fits_point_to_it() -> None:
    x, y = np.zeros((4, 1)), [0, 1, 0, 1]
    with pytest.raises(InputError, match=r"1 of 4 training jets.*cancel_negative"):
        fit_substructure_tree(x, y, x, y, n_classes=2, weight_train=[1, 1, -1, 1])
