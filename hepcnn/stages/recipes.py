"""What a study's training is given beside its plain recipe: the loss and the augmentation that its config asks for."""

from typing import Any

import numpy as np

from hepcnn.config import StudyConfig
from hepcnn.data.dataset import JetColumns
from hepcnn.errors import InputError
from hepcnn.evaluation.summary import choose_background
from hepcnn.images.grids import grid_from_record
from hepcnn.training.augment import make_augmentation
from hepcnn.training.energy import make_task_loss
from hepcnn.training.losses import Loss, make_loss
from hepcnn.training.score import weighted_loss


def make_recipe(study: StudyConfig, name: str, columns: JetColumns) -> dict[str, Any]:
    """The ``loss`` and ``augment`` of `hepcnn.training.loop.train_network` for one of a study's taggers.

    With the task of the energy also ``val_loss``, which is the cross entropy else.

    Parameters
    ----------
    study, name
        The study, and which of its models.
    columns
        What is known of its jets.

    Raises
    ------
    ConfigError
        As `make_loss` and `make_augmentation`.
    InputError
        When the scores shall not follow the mass, and some jet's mass is no number.
    """
    training, tasks = study.training_of(name), study.tasks_of(name)
    if training.loss.disco and (n_bad := int((~np.isfinite(columns.jets["mass"])).sum())):
        raise InputError(f"training.loss.disco: the mass of {n_bad} of {len(columns)} jets is NaN or infinite")
    augment = make_augmentation(
        training.augment,
        grid=grid_from_record(columns.attributes["grid"]),
        channels=columns.channels,
        feature_names=training.jet_features,
        normalised="normalise" in columns.attributes["preprocess"].get("steps", ()),
    )
    losses: dict[str, Loss] = {}
    if "identity" in tasks:
        background = choose_background(columns.class_names, study.evaluation.background)
        losses["loss"] = make_loss(training.loss, class_names=columns.class_names, background=background)
    if "energy" in tasks:
        plain = weighted_loss if losses else None
        losses["loss"] = make_task_loss(losses.get("loss"), training.loss.energy)
        losses["val_loss"] = make_task_loss(plain, training.loss.energy)
    return {**losses, "augment": augment}
