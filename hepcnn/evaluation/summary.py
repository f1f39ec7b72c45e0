"""All numbers of one tagger, over its seeds, in the layout of metrics.json."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import EmptySampleError, InputError, did_you_mean
from hepcnn.evaluation.intervals import Measurement
from hepcnn.evaluation.metrics import accuracy, auc, discriminant, rejection_at
from hepcnn.evaluation.samples import Floats, check_finite, check_label, check_weight

if TYPE_CHECKING:
    from hepcnn.io.store import Scores

EPS_S = (0.3, 0.5)
"""Signal efficiencies at which rejections are quoted."""


def choose_background(class_names: Sequence[str], background: str | None = None) -> str:
    """Say which class is the background: the one asked for, else "qcd" where there is one, else the first.

    Raises
    ------
    InputError
        When there is no class of that name, or fewer than two classes.
    """
    names = list(class_names)
    if len(names) < 2:
        raise InputError(f"the scores have the classes {names}, expected at least two")
    if background is None:
        return "qcd" if "qcd" in names else names[0]
    if background not in names:
        raise InputError(f"no class is called '{background}'{did_you_mean(background, names)}")
    return background


def select_pair(
    scores: "Scores", *, signal: str, background: str
) -> tuple[Floats, NDArray[np.bool_], Floats, NDArray[np.bool_]]:
    """Reduce scores of K classes to one signal against one background.

    Returns
    -------
    tuple
        Discriminant (n,), whether signal (n,), weight (n,) of the jets of these two classes, and which they are (N,).

    Raises
    ------
    InputError
        For unusable scores, labels or weights.
    EmptySampleError
        When one of the two classes has no jet.
    """
    names = list(scores.class_names)
    values = discriminant(scores.score, class_names=names, signal=signal, background=background)
    label = check_label(scores.label, n_jets=len(values), n_classes=len(names))
    weight = check_weight(scores.weight, n_jets=len(values))
    for name in (signal, background):
        if not (label == names.index(name)).any():
            present = ", ".join(f"{n}: {int((label == i).sum())}" for i, n in enumerate(names))
            raise EmptySampleError(
                f"the {scores.split} scores have no jet of class '{name}' (jets per class: {present})"
            )
    kept = (label == names.index(signal)) | (label == names.index(background))
    return values[kept], label[kept] == names.index(signal), weight[kept], kept


def evaluate_scores(
    scores_by_seed: Sequence["Scores"], *, background: str | None = None, eps_s: Sequence[float] = EPS_S
) -> dict[str, dict[str, Any]]:
    """Compute AUC, accuracy and rejections of each signal class against the background, over the seeds of a tagger.

    Parameters
    ----------
    scores_by_seed
        One per training, all on the same jets.
    background
        Name of the background class; by default "qcd" where there is one, else the first class.
    eps_s
        Signal efficiencies for the rejection.

    Returns
    -------
    dict
        ``{signal: {"auc", "accuracy", "rejection": {"0.3", "0.5"}, "n_signal", "n_background", "background",
        "n_seeds"}}``. Each number is ``{"value", "err_stat"}`` with ``err_low`` and ``err_high`` where they exist; with
        two seeds or more also ``err_seed`` and ``per_seed``. Plain floats, ready for JSON.

    Raises
    ------
    InputError
        For scores that cannot be used, or that do not belong to the same jets.
    EmptySampleError
        For no scores at all, or a class without jets.

    Notes
    -----
    ``value`` and ``err_stat`` are means over seeds: the seeds share their test jets, so more seeds do not make the
    statistical error smaller. ``err_seed`` is the standard deviation (n - 1) of single trainings, the spread that
    arXiv:1902.09914 quotes. A rejection with no background left in some seed is a lower limit, with ``err_stat`` null.
    """
    if not scores_by_seed:
        raise EmptySampleError("no scores to evaluate, expected those of at least one training")
    _check_same_jets(scores_by_seed)
    first = scores_by_seed[0]
    against = choose_background(first.class_names, background)
    result: dict[str, dict[str, Any]] = {}
    for signal in (name for name in first.class_names if name != against):
        pairs = [select_pair(scores, signal=signal, background=against)[:3] for scores in scores_by_seed]
        is_signal = pairs[0][1]
        result[signal] = {
            "auc": _over_seeds(pairs, auc),
            "accuracy": _over_seeds(pairs, accuracy),
            "rejection": {f"{eps:g}": _over_seeds(pairs, rejection_at, eps_s=eps) for eps in eps_s},
            "n_signal": int(is_signal.sum()),
            "n_background": int((~is_signal).sum()),
            "background": against,
            "n_seeds": len(pairs),
        }
    return result


def _over_seeds(
    pairs: Sequence[tuple[Any, ...]], metric: Callable[..., Measurement], **options: float
) -> dict[str, Any]:
    return combine_seeds([metric(*pair, **options) for pair in pairs])


def combine_seeds(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Combine one metric over seeds; see `evaluate_scores`. A single seed has no err_seed.

    Raises
    ------
    EmptySampleError
        For no measurement.
    """
    if not measurements:
        raise EmptySampleError("no measurement to combine, expected that of at least one seed")
    if len(measurements) == 1:
        return measurements[0].to_dict()
    values = [m.value for m in measurements]
    mean = {
        field: float(np.mean([getattr(m, field) for m in measurements]))
        for field in ("err_stat", "err_low", "err_high")
        if all(getattr(m, field) is not None for m in measurements)
    }
    combined = Measurement(
        float(np.mean(values)),
        mean.get("err_stat"),
        mean.get("err_low"),
        mean.get("err_high"),
        is_lower_limit=any(m.is_lower_limit for m in measurements),
    )
    return combined.to_dict() | {"err_seed": float(np.std(values, ddof=1)), "per_seed": values}


def _check_same_jets(scores_by_seed: Sequence["Scores"]) -> None:
    first = scores_by_seed[0]
    for number, scores in enumerate(scores_by_seed):
        if tuple(scores.class_names) != tuple(first.class_names):
            raise InputError(
                f"seed number {number} has the classes {scores.class_names}, the first {first.class_names}"
            )
        if len(scores.label) != len(first.label):
            raise InputError(f"seed number {number} has {len(scores.label)} jets, the first {len(first.label)}")
        if not np.array_equal(scores.label, first.label) or not np.array_equal(scores.weight, first.weight):
            raise InputError(f"seed number {number} was scored on other jets than the first: labels or weights differ")
        check_finite(np.asarray(scores.score, dtype=np.float64), what=f"score of seed number {number}")
