"""Weights of jets in the loss: fitted on the training split, so that a spectrum teaches the network nothing.

Shapes: N jets, K classes, V variables (1 or 2) with b bins each.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.config import WeightsConfig
from hepcnn.data.dataset import JetColumns
from hepcnn.errors import ConfigError, EmptySampleError, did_you_mean


@dataclass(frozen=True)
class JetWeights:
    """Factors by class and bin, to multiply the weights of the files.

    Attributes
    ----------
    variables
        Columns that the bins are in, V of them.
    edges
        Bin edges of each, (b + 1,); a bin holds its lower edge, and the last one its upper edge too.
    open_ended
        Whether what lies beyond the outermost edges counts to the outermost bins. It does where hepcnn chose the edges.
    factor
        (K, b, …), zero in bins that the class has no jets in, or that are to have none.
    n_clipped
        Training jets of each class whose factor was cut to ``max_weight``, (K,).
    uncovered
        ``match`` only: fraction of the reference in bins where a class has no jets to weigh, (K,).
    """

    variables: tuple[str, ...]
    edges: tuple[NDArray[np.float64], ...]
    open_ended: bool
    factor: NDArray[np.float64]
    n_clipped: tuple[int, ...]
    uncovered: tuple[float, ...]

    def apply(self, columns: JetColumns) -> NDArray[np.float32]:
        """Weights of jets of any split, file's weight included, (N,): 0 for a jet outside the edges or at NaN."""
        bins, inside = _find_bins(columns.jets, self.variables, self.edges, open_ended=self.open_ended)
        factor = np.where(inside, self.factor[(columns.label, *bins)], 0.0)
        return np.asarray(factor * columns.weight, dtype=np.float32)

    def describe(self, columns: JetColumns) -> dict[str, Any]:
        """Plain values for the record of a run: edges, and how many jets of a split were clipped or left out."""
        return {
            "variables": list(self.variables),
            "edges": [edge.tolist() for edge in self.edges],
            "clipped": dict(zip(columns.class_names, self.n_clipped, strict=True)),
            "uncovered": dict(zip(columns.class_names, self.uncovered, strict=True)),
            "without_weight": int(np.sum(self.apply(columns) == 0)),
        }


def fit_weights(train: JetColumns, config: WeightsConfig) -> JetWeights:
    """Fit weights on training jets.

    Parameters
    ----------
    train
        The training split; its own weights count.
    config
        ``flat`` gives every class a constant density over the bins that it has jets in; ``match`` gives every class
        the spectrum of the reference; ``none`` leaves spectra alone. With ``balance`` all classes then have the same
        sum of weights; without it each keeps its own.

    Returns
    -------
    JetWeights
        Scaled such that the training jets' mean weight is 1.

    Raises
    ------
    ConfigError
        When the reference is no class of the sample, or a variable has no two different values to put edges at.
    EmptySampleError
        When a class has no jet with a positive weight inside the edges, or shares no bin with the reference.

    Notes
    -----
    Weighing a variable flat so that a classifier cannot use it is "planing" (arXiv:1709.10106; for jet taggers
    arXiv:1908.08959). A factor is the target's density over that of the class. Factors above ``max_weight`` times the
    class's mean weight are cut to it, before the class's sum is restored. A bin where a class has no jets, or where its
    weights do not add up to more than zero, cannot be filled: it gets the factor 0. Jets outside given edges, and NaN,
    get the weight 0; edges that hepcnn puts itself, equally wide from the smallest to the largest finite value, are
    open-ended.
    """
    if config.kind == "match" and config.reference not in train.class_names:
        raise ConfigError(
            f"weights.reference: no class '{config.reference}'{did_you_mean(str(config.reference), train.class_names)}"
        )
    variables = tuple(config.variables) if config.kind != "none" else ()
    wanted = [config.bins_of(name) for name in variables]
    edges = tuple(_make_edges(train.jets[name], bins, name) for name, bins in zip(variables, wanted, strict=True))
    open_ended = all(isinstance(bins, int) for bins in wanted)
    bins, inside = _find_bins(train.jets, variables, edges, open_ended=open_ended)
    counts = _count(train, bins, inside, edges)
    jets = _count(train, bins, inside, edges, weighted=False)
    factor, uncovered = _make_factors(counts, edges, config, train.class_names)
    factor, n_clipped = _clip(factor, counts, jets, config.max_weight)
    factor = _scale(factor, counts, balance=config.balance, n_jets=len(train))
    return JetWeights(variables, edges, open_ended, factor, n_clipped, uncovered)


def _make_edges(values: NDArray[Any], bins: int | Sequence[float], name: str) -> NDArray[np.float64]:
    if not isinstance(bins, int):
        return np.asarray(bins, dtype=np.float64)
    finite = values[np.isfinite(values)].astype(np.float64)
    if len(finite) == 0 or finite.min() == finite.max():
        raise ConfigError(f"weights: the training jets' {name} takes fewer than two values: no {bins} bins can be made")
    return np.linspace(finite.min(), finite.max(), bins + 1)


def _find_bins(
    jets: Mapping[str, NDArray[Any]],
    variables: tuple[str, ...],
    edges: tuple[NDArray[np.float64], ...],
    *,
    open_ended: bool,
) -> tuple[list[NDArray[np.int64]], NDArray[np.bool_] | bool]:
    """The bin of each jet along each variable, and whether it has one."""
    bins: list[NDArray[np.int64]] = []
    inside: NDArray[np.bool_] | bool = True
    for name, edge in zip(variables, edges, strict=True):
        values = jets[name].astype(np.float64)
        inside = inside & np.isfinite(values)
        if not open_ended:
            inside = inside & (values >= edge[0]) & (values <= edge[-1])
        bins.append(np.clip(np.searchsorted(edge, values, side="right") - 1, 0, len(edge) - 2))
    return bins, inside


def _count(
    train: JetColumns, bins: list[NDArray[np.int64]], inside: Any, edges: tuple[Any, ...], *, weighted: bool = True
) -> NDArray[np.float64]:
    """Sum of weights (or number of jets) by class and bin, (K, b, …)."""
    counts = np.zeros((len(train.class_names), *[len(edge) - 1 for edge in edges]))
    np.add.at(counts, (train.label, *bins), np.where(inside, train.weight if weighted else 1.0, 0.0))
    return counts


def _make_factors(
    counts: NDArray[np.float64],
    edges: tuple[NDArray[np.float64], ...],
    config: WeightsConfig,
    class_names: tuple[str, ...],
) -> tuple[NDArray[np.float64], tuple[float, ...]]:
    filled = np.maximum(counts, 0.0)
    for name, histogram in zip(class_names, filled, strict=True):
        if histogram.sum() <= 0:
            raise EmptySampleError(f"weights: class '{name}' has no training jet of positive weight inside the edges")
    if config.kind == "none":
        return (filled > 0).astype(np.float64), (0.0,) * len(counts)
    if config.kind == "match":
        target = filled[class_names.index(str(config.reference))]
    else:
        target = np.ones(())
        for edge in edges:
            target = np.multiply.outer(target, np.diff(edge))
    target = target / target.sum()
    factor = np.divide(target, filled, out=np.zeros_like(filled), where=filled > 0)
    uncovered = tuple(float(target[histogram <= 0].sum()) for histogram in filled)
    for name, part in zip(class_names, factor, strict=True):
        if not part.any():
            raise EmptySampleError(f"weights: class '{name}' has no jet in a bin where '{config.reference}' has any")
    return factor, uncovered if config.kind == "match" else (0.0,) * len(counts)


def _clip(
    factor: NDArray[np.float64], counts: NDArray[np.float64], jets: NDArray[np.float64], most: float
) -> tuple[NDArray[np.float64], tuple[int, ...]]:
    axes = tuple(range(1, factor.ndim))
    # The mean over a class's jets, each with the weight of its file.
    mean = (factor * counts).sum(axis=axes, keepdims=True) / np.maximum(counts, 0).sum(axis=axes, keepdims=True)
    limit = most * mean
    return np.minimum(factor, limit), tuple(int(n) for n in np.where(factor > limit, jets, 0).sum(axis=axes))


def _scale(
    factor: NDArray[np.float64], counts: NDArray[np.float64], *, balance: bool, n_jets: int
) -> NDArray[np.float64]:
    shape = (-1, *itertools.repeat(1, factor.ndim - 1))
    sums = (factor * counts).reshape(len(factor), -1).sum(axis=1)
    wanted = np.ones(len(factor)) if balance else counts.reshape(len(factor), -1).sum(axis=1)
    factor = factor * (wanted / sums).reshape(shape)
    return np.asarray(factor * (n_jets / (factor * counts).sum()), dtype=np.float64)
