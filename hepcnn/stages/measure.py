"""Scores → metrics and working points, as they are written to files."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.data.dataset import JetColumns
from hepcnn.evaluation.metrics import discriminant
from hepcnn.evaluation.summary import choose_background, evaluate_scores
from hepcnn.evaluation.working_points import make_working_points, working_points_to_json
from hepcnn.io.store import Scores


def make_scores(
    score: NDArray[np.float32], dataset: JetColumns, *, model: str, seed: int, bundle_id: str = ""
) -> Scores:
    """Put scores (N, K) beside the N test jets they belong to."""
    return Scores(
        score,
        dataset.label,
        dataset.weight,
        dict(dataset.jets),
        dataset.class_names,
        bundle_id,
        "test",
        model=model,
        seed=seed,
    )


def measure_scores(scores: Sequence[Scores], *, background: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics over the seeds of one tagger, and the working points of its first seed, each by signal class."""
    metrics = evaluate_scores(scores, background=background)
    against = choose_background(scores[0].class_names, background)
    return metrics, {signal: _working_points(scores[0], signal, against) for signal in metrics}


def _working_points(scores: Scores, signal: str, background: str) -> Any:
    numbers = [scores.class_names.index(signal), scores.class_names.index(background)]
    kept = np.isin(scores.label, numbers)
    ratio = discriminant(scores.score[kept], class_names=scores.class_names, signal=signal, background=background)
    points = make_working_points(
        ratio, scores.label[kept] == numbers[0], scores.weight[kept], signal=signal, background=background
    )
    return json.loads(working_points_to_json(points))
