"""Which jets train, validate and test: decided by the hash of the event, so that no event is on both sides."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import EmptySampleError

SPLITS = ("train", "val", "test")
_GOLDEN = 0x9E3779B97F4A7C15


def make_splits(
    event_id: NDArray[np.uint64], fractions: Mapping[str, float], *, seed: int = 0
) -> dict[str, NDArray[np.int64]]:
    """Assign jets to splits.

    Parameters
    ----------
    event_id
        Spread 64-bit numbers, equal for the jets of an event, (N,).
    fractions
        Fraction of the events for ``train``, ``val`` and ``test``, adding up to 1.
    seed
        Another seed gives another assignment.

    Returns
    -------
    dict
        For each split the numbers of its jets, rising. A jet's split depends on its event alone: more files move none.
        The sizes are those of a random draw.
    """
    offset = np.uint64((seed * _GOLDEN) % 2**64)
    position = ((event_id + offset) >> np.uint64(11)).astype(np.float64) / 2**53
    edges = np.cumsum([fractions[name] for name in SPLITS])[:-1]
    part = np.searchsorted(edges, position, side="right")
    return {name: np.flatnonzero(part == number) for number, name in enumerate(SPLITS)}


def require_every_class(
    splits: Mapping[str, NDArray[np.int64]], label: NDArray[np.integer[Any]], class_names: tuple[str, ...]
) -> None:
    """Check that each split holds jets of each class.

    Raises
    ------
    EmptySampleError
        Naming the split, the class and the number of jets there are of it in all.
    """
    for split, jets in splits.items():
        for number, name in enumerate(class_names):
            if not np.any(label[jets] == number):
                raise EmptySampleError(
                    f"split '{split}' holds no jet of class '{name}' (there are {np.sum(label == number)} of it in all "
                    f"splits): more jets, or a larger fraction for this split, are needed"
                )
