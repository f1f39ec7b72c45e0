"""Several taggers on the same jets: table rows, who is ahead, and the pictures. Needs scores only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.comparison import Difference, compare_accuracy, compare_auc, compare_rejection
from hepcnn.evaluation.summary import choose_background, evaluate_scores, select_pair
from hepcnn.evaluation.tables import METRICS, PairedDifference, TableRow

if TYPE_CHECKING:
    from hepcnn.io.scores import Scores


def make_rows(
    scores_by_tagger: Mapping[str, Sequence["Scores"]],
    *,
    signal: str,
    background: str | None = None,
    n_parameters: Mapping[str, int] | None = None,
    train_seconds: Mapping[str, float] | None = None,
    baselines: Sequence[str] = (),
    evaluated: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[TableRow]:
    """Evaluate every tagger over its seeds.

    Parameters
    ----------
    scores_by_tagger
        By tagger, one Scores per seed, all on the same jets.
    signal, background
        Names of the classes; background as in `hepcnn.evaluation.summary.evaluate_scores`.
    n_parameters, train_seconds
        By tagger, where known.
    baselines
        Which taggers are baselines.
    evaluated
        By tagger, what `evaluate_scores` gave, where that is known already.

    Raises
    ------
    InputError, EmptySampleError
        As `hepcnn.evaluation.summary.evaluate_scores`; also when two taggers were scored on different jets.
    """
    check_same_jets(scores_by_tagger)
    rows = []
    for name, scores in scores_by_tagger.items():
        metrics = (evaluated or {}).get(name) or evaluate_scores(scores, background=background)
        if signal not in metrics:
            raise InputError(f"'{signal}' is no signal class of tagger '{name}', expected one of {', '.join(metrics)}")
        seconds, parameters = (train_seconds or {}).get(name), (n_parameters or {}).get(name)
        rows.append(TableRow(name, metrics[signal], parameters, seconds, is_baseline=name in baselines))
    return rows


def compare_taggers(
    scores_by_tagger: Mapping[str, Sequence["Scores"]],
    rows: Sequence[TableRow],
    *,
    signal: str,
    background: str | None = None,
    n_bootstrap: int = 200,
) -> list[PairedDifference]:
    """Compare the best tagger of every metric with each other one, paired.

    Parameters
    ----------
    scores_by_tagger, signal, background
        As in `make_rows`.
    rows
        What `make_rows` gave.
    n_bootstrap
        For the rejections.

    Notes
    -----
    The error of a difference is the paired statistical one and, where both taggers have several seeds, in quadrature
    the errors of their means over seeds.
    """
    pairs = _pairs(scores_by_tagger, signal=signal, background=background)
    by_name = {row.name: row for row in rows}
    functions: dict[str, Callable[..., Difference]] = {"accuracy": compare_accuracy, "auc": compare_auc}
    found = []
    for metric in METRICS:
        best = max(rows, key=lambda row: float(row.measurement(metric)["value"])).name
        for other in (name for name in by_name if name != best):
            (score_a, label, weight, _), (score_b, *_) = pairs[best], pairs[other]
            if metric in functions:
                difference = functions[metric](score_a, score_b, label, weight)
            else:
                eps_s = float(metric.removeprefix("rejection_"))
                difference = compare_rejection(score_a, score_b, label, weight, eps_s=eps_s, n_bootstrap=n_bootstrap)
            difference = _add_seed_error(difference, by_name[best], by_name[other], metric)
            found.append(PairedDifference(metric, best, other, difference))
    return found


def describe_difference(pair: PairedDifference) -> dict[str, Any]:
    """Plain values of a paired difference, with how many times as many jets would make it 2 or 3 standard errors."""
    difference = pair.difference
    record: dict[str, Any] = {"metric": pair.metric, "first": pair.first, "second": pair.second}
    numbers = {name: getattr(difference, name) for name in ("value", "err_stat", "err_seed", "n_sigma")}
    record |= {name: float(x) if np.isfinite(x) else None for name, x in numbers.items()}
    factors = {f"jets_factor_{n}_sigma": difference.jets_factor(float(n)) for n in (2, 3)}
    return record | factors | {"is_limit": difference.is_limit}


def _add_seed_error(difference: Difference, a: TableRow, b: TableRow, metric: str) -> Difference:
    spread = [
        row.measurement(metric)["err_seed"] / np.sqrt(row.metrics["n_seeds"])
        for row in (a, b)
        if row.measurement(metric).get("err_seed") is not None
    ]
    if not spread or difference.n_sigma == 0:
        return difference
    of_seeds = float(np.linalg.norm(spread))
    error = float(np.hypot(difference.err_stat, of_seeds))
    # The significance of a rejection is counted in eps_b; there, too, the error grows by this factor.
    growth = error / difference.err_stat if difference.err_stat > 0 else 1.0
    return replace(difference, err_stat=error, n_sigma=difference.n_sigma / growth, err_seed=of_seeds)


def _first(scores_by_tagger: Mapping[str, Sequence["Scores"]]) -> "Scores":
    return next(iter(scores_by_tagger.values()))[0]


def _pairs(
    scores_by_tagger: Mapping[str, Sequence["Scores"]], *, signal: str, background: str | None
) -> dict[str, tuple[Any, Any, Any, Any]]:
    """By tagger: discriminants (S, n), whether signal (n,), weight (n,), kept (N,)."""
    found = {}
    for name, by_seed in scores_by_tagger.items():
        against = choose_background(by_seed[0].class_names, background)
        selected = [select_pair(scores, signal=signal, background=against) for scores in by_seed]
        found[name] = np.stack([s[0] for s in selected]), *selected[0][1:]
    return found


def check_same_jets(scores_by_tagger: Mapping[str, Sequence["Scores"]]) -> None:
    """Raise ``InputError`` where taggers were scored on other jets or classes, ``EmptySampleError`` without scores."""
    if not scores_by_tagger or not all(scores_by_tagger.values()):
        raise EmptySampleError("a tagger has no scores, expected those of at least one training of each")
    first = _first(scores_by_tagger)
    for name, by_seed in scores_by_tagger.items():
        for scores in by_seed:
            same = np.array_equal(scores.label, first.label) and np.array_equal(scores.weight, first.weight)
            if tuple(scores.class_names) != tuple(first.class_names) or not same:
                raise InputError(f"tagger '{name}' was scored on other jets or classes than the first tagger")
