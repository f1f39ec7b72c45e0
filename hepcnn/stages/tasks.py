"""What the tasks of a study's tagger mean for its training: outputs, losses, and what is measured while it learns."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.config import StudyConfig
from hepcnn.data.dataset import JetColumns
from hepcnn.data.energy_scale import EnergyScale, fit_energy_scale, true_energy
from hepcnn.evaluation.metrics import auc, discriminant, rejection_at
from hepcnn.evaluation.quantiles import weighted_quantiles
from hepcnn.evaluation.summary import choose_background
from hepcnn.outputs import split_values
from hepcnn.training.energy import N_OUTPUTS
from hepcnn.training.loop import Validate

VAL_EPS_S = 0.3
Validation = Callable[[NDArray[np.float32], NDArray[np.int64]], dict[str, float]]


def fit_scale(study: StudyConfig, name: str, train: JetColumns) -> EnergyScale | None:
    """The scale of energies, fitted on the training showers; None for a tagger that does not measure them.

    Raises
    ------
    InputError, ConfigError
        As `hepcnn.data.energy_scale.fit_energy_scale`.
    """
    return fit_energy_scale(train) if "energy" in study.tasks_of(name) else None


def count_outputs(study: StudyConfig, name: str, columns: JetColumns) -> int:
    """Outputs of a tagger's own head: one a class, or those of the energy where that is the only task."""
    return len(columns.class_names) if "identity" in study.tasks_of(name) else N_OUTPUTS


def describe_tasks(study: StudyConfig, name: str, scale: EnergyScale | None) -> dict[str, Any]:
    """What a bundle's manifest says of tasks; nothing where the identity is the only one."""
    if scale is None:
        return {}
    return {"tasks": list(study.tasks_of(name)), "energy_scale": scale.to_dict()}


def make_validation(study: StudyConfig, name: str, columns: JetColumns, val: JetColumns) -> Validate:
    """What is measured on the validation jets after each epoch.

    Parameters
    ----------
    study, name
        The study, and which of its models.
    columns, val
        What is known of all jets, and of the validation jets.

    Returns
    -------
    callable
        Gives ``val_auc`` and ``val_rejection`` at a signal efficiency of 0.3, means over the signal classes, and
        ``val_rejection_is_limit``, 1 where a rejection is a lower limit; of a tagger of energies ``val_resolution``,
        half the distance of the 15.87 % and 84.13 % quantiles of the response over its median, all energies together.
    """
    tasks = study.tasks_of(name)
    parts: list[Validation] = []
    if "identity" in tasks:
        parts.append(_validate_identity(study, columns))
    if "energy" in tasks:
        parts.append(_validate_energy(val))

    def validate(values: NDArray[np.float32], label: NDArray[np.int64]) -> dict[str, float]:
        found: dict[str, float] = {}
        for part in parts:
            found |= part(values, label)
        return found

    return validate


def _validate_identity(study: StudyConfig, columns: JetColumns) -> Validation:
    names = columns.class_names
    background = choose_background(names, study.evaluation.background)
    signals = [name for name in names if name != background]

    def validate(values: NDArray[np.float32], label: NDArray[np.int64]) -> dict[str, float]:
        score, aucs, rejections = values[:, : len(names)], [], []
        for signal in signals:
            numbers = [names.index(signal), names.index(background)]
            kept = np.isin(label, numbers)
            ratio = discriminant(score[kept], class_names=names, signal=signal, background=background)
            aucs.append(auc(ratio, label[kept] == numbers[0]).value)
            rejections.append(rejection_at(ratio, label[kept] == numbers[0], eps_s=VAL_EPS_S))
        return {
            "val_auc": float(np.mean(aucs)),
            "val_rejection": float(np.mean([rejection.value for rejection in rejections])),
            "val_rejection_is_limit": float(any(rejection.is_lower_limit for rejection in rejections)),
        }

    return validate


def _validate_energy(val: JetColumns) -> Validation:
    truth = true_energy(val).astype(np.float64)

    def validate(values: NDArray[np.float32], _: NDArray[np.int64]) -> dict[str, float]:
        response = split_values(values, ("energy",))["energy"] / truth
        low, median, high = weighted_quantiles(response, np.ones(len(response)))[0]
        return {"val_resolution": float((high - low) / 2 / median)}

    return validate
