"""Baselines of showers on the very showers that the study's taggers get: sums of cells, and a tree on their shapes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.config import StudyConfig
from hepcnn.data.dataset import ImageDataset
from hepcnn.data.energy_scale import energy_channel, true_energy
from hepcnn.evaluation.baselines import fit_substructure_tree
from hepcnn.evaluation.energy_baselines import LinearEnergy, fit_energy_tree, fit_linear_energy
from hepcnn.evaluation.shower_shapes import CellPlaces, find_places, make_shapes, sum_layers
from hepcnn.images.grids import grid_from_record

SHOWER_BASELINES = ("energy_sum", "layer_sum", "shower_tree")
Parts = Mapping[str, ImageDataset]


@dataclass(frozen=True)
class FittedShowers:
    """What a baseline says: by split probabilities (N, K or 0) and energies (N,) in GeV, or None; and its size."""

    score: Mapping[str, NDArray[np.float32]]
    energy: Mapping[str, NDArray[np.float32]] | None
    chosen: float
    n_inputs: int
    n_parameters: int


def fit_shower_baseline(
    study: StudyConfig, name: str, parts: Parts, weights: Mapping[str, NDArray[np.float64]], *, seed: int
) -> FittedShowers:
    """Fit a baseline on the training showers, tune it on the validation showers, and score both other splits.

    Parameters
    ----------
    study, name
        The study, and ``energy_sum``, ``layer_sum`` or ``shower_tree``.
    parts
        The showers by split.
    weights
        Weights for the fit of ``train`` and ``val``, not negative.
    seed
        Of the fit.

    Raises
    ------
    InputError, ConfigError
        When the grid has no layers, or energies are not known.

    Notes
    -----
    The sums are calibrated for each class by itself, and told which class a shower is of: an advantage over networks,
    which must see it.
    """
    train = parts["train"]
    places = find_places(grid_from_record(train.attributes["grid"]))
    if name == "shower_tree":
        return _fit_tree(study, parts, weights, places, seed)
    channel = energy_channel(train)
    sums = {split: _layer_sums(part, channel, places) for split, part in parts.items()}
    if name == "energy_sum":
        sums = {split: layers.sum(axis=1, keepdims=True) for split, layers in sums.items()}
    fits = _calibrate(sums["train"], train, weights["train"])
    energy = {split: _apply(fits, sums[split], parts[split]) for split in ("val", "test")}
    return FittedShowers(
        score={split: np.zeros((len(parts[split]), 0), np.float32) for split in ("val", "test")},
        energy=energy,
        chosen=0.0,
        n_inputs=sums["train"].shape[1],
        n_parameters=sum(fit.n_parameters for fit in fits.values()),
    )


def _layer_sums(part: ImageDataset, channel: int, places: CellPlaces) -> NDArray[np.float64]:
    return sum_layers(part.indptr, part.index, part.value[:, channel], places)


def _calibrate(sums: NDArray[np.float64], train: ImageDataset, weight: NDArray[np.float64]) -> dict[int, LinearEnergy]:
    truth = true_energy(train)
    classes = [train.label == number for number in range(len(train.class_names))]
    return {number: fit_linear_energy(sums[mine], truth[mine], weight[mine]) for number, mine in enumerate(classes)}


def _apply(fits: Mapping[int, LinearEnergy], sums: NDArray[np.float64], part: ImageDataset) -> NDArray[np.float32]:
    energy = np.zeros(len(part), np.float32)
    for number, fit in fits.items():
        mine = part.label == number
        energy[mine] = fit.predict(sums[mine])
    return energy


def _fit_tree(
    study: StudyConfig,
    parts: Parts,
    weights: Mapping[str, NDArray[np.float64]],
    places: CellPlaces,
    seed: int,
) -> FittedShowers:
    channel = energy_channel(parts["train"])
    shapes = {}
    for split, part in parts.items():
        found = make_shapes(part.indptr, part.index, part.value[:, channel], places)
        shapes[split] = np.stack(list(found.values()), axis=1)
    # Trees find no edges in a column that is the same for all.
    varies = [len(np.unique(column[np.isfinite(column)])) > 1 for column in shapes["train"].T]
    shapes = {split: columns[:, varies] for split, columns in shapes.items()}
    score = {split: np.zeros((len(parts[split]), 0), np.float32) for split in ("val", "test")}
    energy, n_parameters, chosen = None, 0, 0.0
    if study.has_task("identity"):
        targets = (shapes["train"], parts["train"].label, shapes["val"], parts["val"].label)
        tree = fit_substructure_tree(
            *targets,
            n_classes=len(parts["train"].class_names),
            seed=seed,
            weight_train=weights["train"],
            weight_val=weights["val"],
        )
        score = {split: tree.predict(shapes[split]) for split in score}
        n_parameters, chosen = tree.n_parameters, tree.chosen
    if study.has_task("energy"):
        sums = {split: _layer_sums(part, channel, places).sum(axis=1) for split, part in parts.items()}
        fitting: Any = {
            split: (shapes[split], sums[split], true_energy(parts[split]), weights[split]) for split in ("train", "val")
        }
        regression = fit_energy_tree(fitting["train"], fitting["val"], seed=seed)
        energy = {split: regression.predict(shapes[split], sums[split]).astype(np.float32) for split in score}
        n_parameters, chosen = n_parameters + regression.n_parameters, chosen or float(regression.n_rounds)
    return FittedShowers(score, energy, chosen, shapes["train"].shape[1], n_parameters)
