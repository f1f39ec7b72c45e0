"""All numbers of one tagger, over its seeds, in the layout of metrics.json."""

import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import EmptySampleError, InputError, did_you_mean
from hepcnn.evaluation.bootstrap import N_BOOTSTRAP
from hepcnn.evaluation.curves import roc_of_sample
from hepcnn.evaluation.efficiency import efficiency_of_groups
from hepcnn.evaluation.metrics import discriminant
from hepcnn.evaluation.pair_metrics import EPS_S, combine_pairs, measure_pair, measure_sample
from hepcnn.evaluation.samples import BinarySample, Floats, check_finite, check_label, check_weight, make_binary_sample

if TYPE_CHECKING:
    from hepcnn.io.scores import Scores

MOST_KEPT = 20_000_000
"""Jets of the pairs that are kept sorted; each takes some 60 bytes."""


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


def select_sample(scores: "Scores", *, signal: str, background: str) -> tuple[BinarySample, NDArray[np.bool_]]:
    """The pair of `select_pair` as a checked sample, and which jets these are (N,); raises as it does.

    Notes
    -----
    Everything that is measured on a pair asks here, and the latest are kept with their ranks, up to `MOST_KEPT` jets of
    scores that are still in use: so jets are sorted once, and many taggers do not fill the memory.
    """
    key = id(scores), signal, background
    if key in _latest and _latest[key].owner() is scores:
        _latest.move_to_end(key)
        return _latest[key].sample, _latest[key].kept
    ratio, label, weight, kept = select_pair(scores, signal=signal, background=background)
    _latest[key] = _Kept(weakref.ref(scores), make_binary_sample(ratio, label, weight), kept)
    _latest.move_to_end(key)
    for old in [one for one, entry in _latest.items() if entry.owner() is None]:
        del _latest[old]
    while len(_latest) > 1 and sum(len(entry.kept) for entry in _latest.values()) > MOST_KEPT:
        _latest.popitem(last=False)
    return _latest[key].sample, kept


@dataclass(frozen=True)
class _Kept:
    owner: "weakref.ref[Scores]"
    sample: BinarySample
    kept: NDArray[np.bool_]


_latest: OrderedDict[tuple[int, str, str], _Kept] = OrderedDict()


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
        measured = []
        for scores in scores_by_seed:
            sample, _ = select_sample(scores, signal=signal, background=against)
            measured.append(measure_sample(sample, eps_s=eps_s, n_bootstrap=n_bootstrap))
        is_signal = sample.is_signal
        result[signal] = combine_pairs(measured) | {
            "n_signal": int(is_signal.sum()),
            "n_background": int((~is_signal).sum()),
            "background": against,
            "n_seeds": len(measured),
        }
        if len(first.class_names) > 2:
            result[signal]["against"] = _against_others(scores_by_seed, signal, against, eps_s)
        if "process" in first.jets:
            result[signal]["by_process"] = _by_process(scores_by_seed[0], signal, against, eps_s)
    return result


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
        joined = combine_pairs([measure_pair(*pair, eps_s=eps_s, n_bootstrap=0) for pair in by_seed])
        found[other] = {name: joined[name] for name in ("auc", "rejection", "n_background_effective")}
    return found


def _by_process(scores: "Scores", signal: str, background: str, eps_s: Sequence[float]) -> dict[str, Any]:
    """Fraction of each process that passes the cuts at the signal efficiencies, of the first seed."""
    sample, kept = select_sample(scores, signal=signal, background=background)
    process = np.asarray(scores.jets["process"])[kept]
    curve = roc_of_sample(sample)
    found: dict[str, Any] = {}
    for eps in eps_s:
        passed = sample.score >= curve.threshold_at(eps)
        for name, efficiency in efficiency_of_groups(passed, process, sample.weight).items():
            found.setdefault(name, {})[f"{eps:g}"] = efficiency.to_dict()
    return found


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
