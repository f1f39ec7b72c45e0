"""The classifier control: what a network finds between two halves of one class, where there is nothing to find."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.config import StudyConfig
from hepcnn.data.splits import require_every_class
from hepcnn.evaluation.summary import choose_background
from hepcnn.stages.samples import OpenedSample, open_sample
from hepcnn.stages.train import TrainedRun, train_tagger
from hepcnn.training.loop import Listener


def train_control(
    study: StudyConfig,
    name: str,
    *,
    seed: int,
    output: Path,
    listener: Listener,
    images: Sequence[Path] = (),
    say: Callable[[str], None] | None = None,
) -> TrainedRun:
    """Train a network of a study to tell two halves of the background apart.

    Parameters
    ----------
    study, name, seed, output, listener, images, say
        As of `hepcnn.stages.train.train_tagger`; the splits stay those of the study, its weights in the loss are left
        out.

    Returns
    -------
    TrainedRun
        Its AUC on the test jets should be 0.5 within errors: if it is not, jets are in two splits, or their order,
        file or number is something that the network sees (arXiv:2410.21611 has such a control).

    Raises
    ------
    HepcnnError
        As `hepcnn.stages.train.train_tagger`.
    """
    sample = open_sample(study, images)
    background = choose_background(study.class_names, study.evaluation.background)
    evaluation = study.evaluation.model_copy(update={"background": None})
    plain = study.model_copy(update={"evaluation": evaluation, "weights": None})
    halves = split_class(sample, background)
    return train_tagger(plain, name, seed=seed, output=output, listener=listener, say=say, sample=halves)


def split_class(sample: OpenedSample, name: str) -> OpenedSample:
    """The jets of one class, as two classes ``<name>_1`` and ``<name>_2`` of the same splits.

    Raises
    ------
    EmptySampleError
        When a split holds no jet of one of the halves.
    """
    columns = sample.columns
    mine = columns.label == columns.class_names.index(name)
    names = (f"{name}_1", f"{name}_2")
    label = _halves(columns.jets["event_id"]).astype(columns.label.dtype)
    splits = {split: jets[mine[jets]] for split, jets in sample.splits.items()}
    require_every_class(splits, label, names)
    attributes: dict[str, Any] = dict(columns.attributes) | {"class_names": list(names)}
    return replace(
        sample, columns=replace(columns, label=label, class_names=names, attributes=attributes), splits=splits
    )


def _halves(event_id: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """0 or 1 for each jet, the same for jets of an event, and whatever the split that the event is in."""
    # Splits are ranges of the number itself; the top bit of its product with an odd one mixes all of its bits.
    return (event_id.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(63)
