"""All numbers of one tagger, over its seeds, in the layout of metrics.json."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import EmptySampleError, InputError, did_you_mean
from hepcnn.evaluation.bootstrap import N_BOOTSTRAP, bootstrap_ranks
from hepcnn.evaluation.calibration import calibration_error
from hepcnn.evaluation.curves import roc_of_ranks
from hepcnn.evaluation.efficiency import efficiency_of_groups
from hepcnn.evaluation.intervals import Measurement
from hepcnn.evaluation.metrics import (
    accuracy,
    auc_of_ranks,
    discriminant,
    improvement_on_curve,
    largest_improvement_on_curve,
    rejection_on_curve,
)
from hepcnn.evaluation.ranking import rank_sample
from hepcnn.evaluation.samples import Floats, check_finite, check_label, check_weight, make_binary_sample

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
    weight = check_weight(scores.weight, n_jets=len(values), allow_negative=True)
    for name in (signal, background):
        if not (label == names.index(name)).any():
            present = ", ".join(f"{n}: {int((label == i).sum())}" for i, n in enumerate(names))
            raise EmptySampleError(
                f"the {scores.split} scores have no jet of class '{name}' (jets per class: {present})"
            )
    kept = (label == names.index(signal)) | (label == names.index(background))
    return values[kept], label[kept] == names.index(signal), weight[kept], kept


def measure_pair(
    score: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    eps_s: Sequence[float] = EPS_S,
    n_bootstrap: int = N_BOOTSTRAP,
) -> dict[str, Any]:
    """Compute all numbers of one signal against one background, sorting the jets once.

    Parameters
    ----------
    score, label, weight
        (N,) as in `hepcnn.evaluation.metrics`; the score a probability, else there is no calibration.
    eps_s
        Signal efficiencies of rejection and significance improvement.
    n_bootstrap
        Resamplings; 0 leaves out what needs them.

    Returns
    -------
    dict
        Measurements ``auc``, ``accuracy``, ``rejection`` by eps_s, ``improvement`` by eps_s and ``max`` (where a cut
        leaves enough background; with ``max_eps_s``), ``ece`` and ``ece_expected``; numbers ``n_signal_effective`` and
        ``n_background_effective``.
    """
    sample = make_binary_sample(score, label, weight)
    ranked = rank_sample(sample)
    curve = roc_of_ranks(ranked)
    found: dict[str, Any] = {
        "auc": auc_of_ranks(ranked),
        "accuracy": accuracy(score, label, weight),
        "rejection": {f"{eps:g}": rejection_on_curve(curve, eps_s=eps) for eps in eps_s},
        "improvement": {f"{eps:g}": improvement_on_curve(curve, eps_s=eps) for eps in eps_s},
        "n_signal_effective": ranked.n_signal,
        "n_background_effective": ranked.n_background,
    }
    if not n_bootstrap:
        return found
    replicas = bootstrap_ranks(ranked, eps_s=eps_s, n_bootstrap=n_bootstrap)
    found["auc"] = replace(found["auc"], err_bootstrap=float(np.std(replicas.auc, ddof=1)))
    for eps in eps_s:
        measured = found["rejection"][f"{eps:g}"]
        if not measured.is_lower_limit:
            relative = float(np.std(replicas.eps_b[eps], ddof=1)) * measured.value
            found["rejection"][f"{eps:g}"] = replace(measured, err_bootstrap=measured.value * relative)
    if (largest := largest_improvement_on_curve(curve)) is not None:
        found["improvement"]["max"] = Measurement(largest[0], float(np.nanstd(replicas.max_sic, ddof=1)))
        found["max_eps_s"] = largest[1]
    # Other scores than probabilities, and mixtures with negative parts, have no calibration.
    if sample.score.min() >= 0 and sample.score.max() <= 1 and sample.weight.min() >= 0:
        found["ece"], found["ece_expected"] = calibration_error(score, label, weight, n_bootstrap=n_bootstrap)
    return found


def evaluate_scores(
    scores_by_seed: Sequence["Scores"],
    *,
    background: str | None = None,
    eps_s: Sequence[float] = EPS_S,
    n_bootstrap: int = N_BOOTSTRAP,
) -> dict[str, dict[str, Any]]:
    """Compute the numbers of each signal class against the background, over the seeds of a tagger.

    Parameters
    ----------
    scores_by_seed
        One per training, all on the same jets.
    background
        Name of the background class; by default "qcd" where there is one, else the first class.
    eps_s
        Signal efficiencies for rejection and significance improvement.
    n_bootstrap
        Resamplings of the numbers that need them; 0 leaves those out.

    Returns
    -------
    dict
        ``{signal: {"auc", "accuracy", "rejection": {"0.3", "0.5"}, "improvement": {"0.3", "0.5", "max"},
        "calibration": {"ece", "expected"}, "n_signal", "n_background", "n_signal_effective", "n_background_effective",
        "background", "n_seeds"}}``; with more than two classes also ``"against"``: AUC and rejection against each other
        class and against the ``rest``, all others together; with a column ``jets/process`` also ``"by_process"``. Each
        number is ``{"value", "err_stat"}`` with ``err_low``, ``err_high`` and ``err_bootstrap`` where they exist; with
        two seeds or more also ``err_seed``, ``err_total`` and ``per_seed``. Plain floats, ready for JSON.

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
    arXiv:1902.09914 quotes. ``err_total`` is the error of the mean over seeds, ``err_stat`` and ``err_seed / sqrt(n)``
    in quadrature. A rejection with no background left in some seed is a lower limit, with ``err_stat`` null.
    """
    if not scores_by_seed:
        raise EmptySampleError("no scores to evaluate, expected those of at least one training")
    _check_same_jets(scores_by_seed)
    first = scores_by_seed[0]
    against = choose_background(first.class_names, background)
    result: dict[str, dict[str, Any]] = {}
    for signal in (name for name in first.class_names if name != against):
        pairs = [select_pair(scores, signal=signal, background=against)[:3] for scores in scores_by_seed]
        measured = [measure_pair(*pair, eps_s=eps_s, n_bootstrap=n_bootstrap) for pair in pairs]
        is_signal = pairs[0][1]
        result[signal] = _combine(measured) | {
            "n_signal": int(is_signal.sum()),
            "n_background": int((~is_signal).sum()),
            "background": against,
            "n_seeds": len(pairs),
        }
        if len(first.class_names) > 2:
            result[signal]["against"] = _against_others(scores_by_seed, signal, against, eps_s)
        if "process" in first.jets:
            result[signal]["by_process"] = _by_process(scores_by_seed[0], signal, against, eps_s)
    return result


def _combine(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join the numbers of several seeds, with the names of metrics.json."""
    first = measured[0]
    found: dict[str, Any] = {name: combine_seeds([m[name] for m in measured]) for name in ("auc", "accuracy")}
    for name in ("rejection", "improvement"):
        keys = [key for key in first[name] if all(key in m[name] for m in measured)]
        found[name] = {key: combine_seeds([m[name][key] for m in measured]) for key in keys}
    if "max" in found["improvement"]:
        found["improvement"]["max"]["eps_s"] = float(np.mean([m["max_eps_s"] for m in measured]))
    if all("ece" in m for m in measured):
        found["calibration"] = {
            "ece": combine_seeds([m["ece"] for m in measured]),
            "expected": float(np.mean([m["ece_expected"] for m in measured])),
        }
    return found | {name: first[name] for name in ("n_signal_effective", "n_background_effective")}


def _against_others(
    scores_by_seed: Sequence["Scores"], signal: str, background: str, eps_s: Sequence[float]
) -> dict[str, Any]:
    """AUC and rejections against the other classes one by one (as pairs), and against all others by ``p_signal``."""
    first = scores_by_seed[0]
    number = list(first.class_names).index(signal)
    label = np.asarray(first.label) == number
    pairs: dict[str, Any] = {
        other: [select_pair(scores, signal=signal, background=other)[:3] for scores in scores_by_seed]
        for other in first.class_names
        if other not in (signal, background) and (np.asarray(first.label) == first.class_names.index(other)).any()
    }
    pairs["rest"] = [(np.asarray(scores.score)[:, number], label, scores.weight) for scores in scores_by_seed]
    found = {}
    for other, by_seed in pairs.items():
        joined = _combine([measure_pair(*pair, eps_s=eps_s, n_bootstrap=0) for pair in by_seed])
        found[other] = {name: joined[name] for name in ("auc", "rejection", "n_background_effective")}
    return found


def _by_process(scores: "Scores", signal: str, background: str, eps_s: Sequence[float]) -> dict[str, Any]:
    """Fraction of each process that passes the cuts at the signal efficiencies, of the first seed."""
    ratio, label, weight, kept = select_pair(scores, signal=signal, background=background)
    process = np.asarray(scores.jets["process"])[kept]
    curve = roc_of_ranks(rank_sample(make_binary_sample(ratio, label, weight)))
    found: dict[str, Any] = {}
    for eps in eps_s:
        passed = ratio >= curve.threshold_at(eps)
        for name, efficiency in efficiency_of_groups(passed, process, weight).items():
            found.setdefault(name, {})[f"{eps:g}"] = efficiency.to_dict()
    return found


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
        for field in ("err_stat", "err_low", "err_high", "err_bootstrap")
        if all(getattr(m, field) is not None for m in measurements)
    }
    combined = Measurement(
        float(np.mean(values)),
        mean.get("err_stat"),
        mean.get("err_low"),
        mean.get("err_high"),
        is_lower_limit=any(m.is_lower_limit for m in measurements),
        err_bootstrap=mean.get("err_bootstrap"),
    )
    spread = float(np.std(values, ddof=1))
    record = combined.to_dict() | {"err_seed": spread, "per_seed": values}
    if combined.err_stat is not None:
        record["err_total"] = float(np.hypot(combined.err_stat, spread / np.sqrt(len(values))))
    return record


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
