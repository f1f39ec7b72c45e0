"""Scores of known separation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hepcnn.io.scores import Scores

Toy = tuple[np.ndarray, np.ndarray]


def gaussians(n: int, *, distance: float = 2.0, seed: int = 0) -> Toy:
    """Scores of n signal and n background jets: unit Gaussians at a distance."""
    rng = np.random.default_rng(seed)
    label = np.repeat([0, 1], n)
    return rng.normal(0, 1, 2 * n) + distance * label, label


def make_scores(distance: float = 2.0, *, n: int = 600, seed: int = 0, shared: float = 0.8, **changes: Any) -> Scores:
    """Two-class Scores; ``shared`` of the noise is the same for every seed, as for taggers on the same jets."""
    common, label = gaussians(n, distance=0.0, seed=123)
    own = np.random.default_rng(1000 + seed).normal(0, 1, 2 * n)
    z = shared * common + np.sqrt(1 - shared**2) * own + distance * (label - 0.5)
    p = 1 / (1 + np.exp(-distance * z))
    values: dict[str, Any] = {
        "score": np.stack([1 - p, p], axis=1).astype(np.float32),
        "label": label.astype(np.int64),
        "weight": np.ones(2 * n, np.float32),
        "jets": {"pt": np.random.default_rng(5).uniform(550, 650, 2 * n).astype(np.float32)},
        "class_names": ("qcd", "top"),
        "bundle_id": "b",
        "split": "test",
    }
    return Scores(**(values | changes))


@pytest.fixture
def toy() -> Callable[..., Toy]:
    return gaussians


@pytest.fixture
def scores() -> Callable[..., Scores]:
    return make_scores
