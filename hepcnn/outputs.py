"""What a tagger gives: names and columns of its outputs. Arrays only.

Inside hepcnn the outputs of N jets are one table (N, K + 2): the probabilities of K classes, then energy and error.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENERGY, ENERGY_ERR, SCORE = "energy", "energy_err", "score"


def list_outputs(tasks: Sequence[str]) -> tuple[str, ...]:
    """Names of the outputs, such as an ONNX graph has them: ``score`` (N, K), ``energy`` and ``energy_err`` (N,)."""
    score = (SCORE,) if "identity" in tasks else ()
    return (*score, ENERGY, ENERGY_ERR) if "energy" in tasks else score


def count_values(n_classes: int, tasks: Sequence[str]) -> int:
    """Columns of the table of all outputs."""
    return n_classes + (2 if "energy" in tasks else 0)


def join_outputs(outputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """Outputs in the order of `list_outputs` as one table."""
    columns = [np.asarray(one, np.float32) for one in outputs]
    if len(columns) == 1:
        return columns[0]
    return np.concatenate([one if one.ndim == 2 else one[:, None] for one in columns], axis=1)


def split_values(values: NDArray[np.float32], tasks: Sequence[str]) -> Mapping[str, NDArray[np.float32]]:
    """The outputs of a table by name; ``score`` is always there, without columns where that is no task."""
    if "energy" not in tasks:
        return {SCORE: values}
    return {SCORE: values[:, :-2], ENERGY: values[:, -2], ENERGY_ERR: values[:, -1]}


def make_comparable(values: NDArray[np.float32], tasks: Sequence[str]) -> NDArray[np.float32]:
    """A table whose differences mean the same everywhere: energies as logarithms, whose differences are relative."""
    if "energy" not in tasks:
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.concatenate([values[:, :-2], np.log(values[:, -2:])], axis=1)
