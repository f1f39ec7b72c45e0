"""The baselines: they learn what can be learnt, the same way every time."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.baselines import fit_pixel_logistic, fit_substructure_tree
from hepcnn.evaluation.metrics import auc


def pixels(n: int, *, n_classes: int = 2, seed: int = 0) -> tuple[Any, np.ndarray]:
    """Images whose class has a bright region; the last 10 pixels are always empty."""
    rng = np.random.default_rng(seed)
    label = np.arange(n) % n_classes
    dense = np.where(rng.random((n, 60)) < 0.2, rng.exponential(1, (n, 60)), 0.0)
    dense[:, 50:] = 0
    for number in range(n_classes):
        dense[label == number, 5 * number : 5 * number + 5] *= 3.0
    return scipy.sparse.csr_matrix(dense), label


def observables(n: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A class that is a ring: no linear model can tell it."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (n, 4))
    return x, (np.hypot(x[:, 0], x[:, 1]) > 1.2).astype(int)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logistic_learns_separates_and_is_deterministic(n_classes: int) -> None:
    (x, y), (x_val, y_val), (x_test, y_test) = (pixels(3000, n_classes=n_classes, seed=s) for s in (0, 1, 2))
    one, other = (fit_pixel_logistic(x, y, x_val, y_val, n_classes=n_classes) for _ in range(2))
    score = one.predict(x_test)
    assert score.shape == (3000, n_classes)
    assert score.dtype == np.float32
    assert score.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    pair = y_test < 2
    assert auc(score[pair, 1], y_test[pair]).value > 0.65
    assert np.array_equal(score, other.predict(x_test))
    assert one.n_parameters == (61 if n_classes == 2 else 3 * 61)
    assert np.array_equal(one.predict(x_test.toarray()), score)


def test_logistic_is_scikit_learns_at_the_chosen_strength() -> None:
    from sklearn.linear_model import LogisticRegression

    (x, y), (x_val, y_val) = pixels(2000), pixels(2000, seed=1)
    fitted = fit_pixel_logistic(x, y, x_val, y_val, n_classes=2, strengths=(0.01,), max_iter=500)
    scale = np.sqrt(np.mean(x.toarray() ** 2, axis=0))
    scaled = x.toarray() / np.where(scale > 0, scale, np.inf)
    expected = LogisticRegression(C=0.01, max_iter=500, tol=1e-8).fit(scaled, y).predict_proba(scaled)
    assert fitted.predict(x) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("missing", [False, True])
def test_tree_learns_what_is_not_linear_and_is_deterministic(missing: bool) -> None:
    (x, y), (x_val, y_val), (x_test, y_test) = (observables(3000, seed=s) for s in (0, 1, 2))
    if missing:
        x[::50, 3] = np.nan
    one, other = (fit_substructure_tree(x, y, x_val, y_val, n_classes=2, seed=3, max_rounds=60) for _ in range(2))
    assert auc(one.predict(x_test)[:, 1], y_test).value > 0.97
    assert np.array_equal(one.predict(x_test), other.predict(x_test))
    assert 1 <= one.chosen <= 60
    assert one.n_parameters >= one.chosen


def test_tree_keeps_as_many_rounds_as_validation_likes() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(0, 1, (500, 3)), rng.integers(0, 2, 500)
    noise = fit_substructure_tree(x, y, rng.normal(0, 1, (500, 3)), rng.integers(0, 2, 500), n_classes=2, max_rounds=50)
    assert noise.chosen < 10


def test_weights_count_like_copies() -> None:
    (x, y), (x_val, y_val) = pixels(800), pixels(800, seed=1)
    counts = 1 + np.arange(800) % 3
    options: dict[str, Any] = {"n_classes": 2, "strengths": (0.01,), "max_iter": 500}
    # The scale of a pixel is that of the jets as they are, so only jets of equal pixels can be compared.
    weighted = fit_pixel_logistic(x, y, x_val, y_val, weight_train=counts, **options)
    unweighted = fit_pixel_logistic(x, y, x_val, y_val, weight_train=np.ones(800), **options)
    assert not np.array_equal(weighted.predict(x_val), unweighted.predict(x_val))
    assert np.array_equal(unweighted.predict(x_val), fit_pixel_logistic(x, y, x_val, y_val, **options).predict(x_val))


def test_no_jets_give_no_scores_and_other_columns_are_refused() -> None:
    (x, y), (x_val, y_val) = pixels(300), pixels(300, seed=1)
    fitted = fit_pixel_logistic(x, y, x_val, y_val, n_classes=2)
    assert fitted.predict(x[:0]).shape == (0, 2)
    with pytest.raises(InputError, match=r"expected \(N, 60\)"):
        fitted.predict(x[:, :10])


def test_unusable_input_is_named() -> None:
    x, y = observables(100)
    with pytest.raises(EmptySampleError, match="training sample of 100 jets has none of class number 2"):
        fit_substructure_tree(x, y, x, y, n_classes=3)
    with pytest.raises(InputError, match="out of range"):
        fit_substructure_tree(x, y + 1, x, y, n_classes=2)
    with pytest.raises(InputError, match="1 of 400 are infinite"):
        fit_substructure_tree(np.where(np.arange(400).reshape(100, 4) == 5, np.inf, x), y, x, y, n_classes=2)
    with pytest.raises(InputError, match="4 columns and validation jets 3"):
        fit_substructure_tree(x, y, x[:, :3], y, n_classes=2)
    bad = scipy.sparse.csr_matrix(np.where(np.arange(400).reshape(100, 4) == 5, np.nan, 1.0))
    with pytest.raises(InputError, match="NaN"):
        fit_pixel_logistic(bad, y, bad, y, n_classes=2)
    with pytest.raises(InputError, match="strengths is empty"):
        fit_pixel_logistic(x, y, x, y, n_classes=2, strengths=())
