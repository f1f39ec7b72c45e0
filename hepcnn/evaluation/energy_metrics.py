"""All numbers of a tagger's energies, over its seeds, in the layout of metrics.json; and who is better, paired."""

import weakref
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.energy import (
    FEWEST,
    Responses,
    energy_edges,
    measure_responses,
)
from hepcnn.evaluation.intervals import effective_size
from hepcnn.evaluation.pulls import measure_pulls
from hepcnn.evaluation.resolution import TERMS, ResolutionFit, fit_responses, resample_terms
from hepcnn.evaluation.samples import Floats

if TYPE_CHECKING:
    from hepcnn.io.scores import Scores

N_ANGLES, ANGLE = 4, "theta"
MOST_KEPT = 64


@dataclass(frozen=True)
class MeasuredEnergies:
    """One tagger's energies of one class of showers, of one seed.

    ``by_angle`` and ``grid`` (one for each bin of the angle) are None where the angle is unknown or the same for all.
    """

    by_energy: Responses
    fit: ResolutionFit | None
    plain_fit: ResolutionFit | None
    overall: Responses
    by_angle: Responses | None
    grid: tuple[Responses, ...] | None
    pulls: Mapping[str, Any] | None


def measure_class(scores: "Scores", number: int) -> MeasuredEnergies:
    """Measure the energies of the showers of one class.

    Raises
    ------
    EmptySampleError
        When it has no shower.

    Notes
    -----
    Tables, differences and pictures ask for the same: the latest `MOST_KEPT` answers are kept while their scores are.
    """
    key = id(scores), number
    if key in _latest and _latest[key][0]() is scores:
        return _latest[key][1]
    measured = _measure_class(scores, number)
    _latest[key] = weakref.ref(scores), measured
    while len(_latest) > MOST_KEPT:
        _latest.popitem(last=False)
    return measured


_latest: "OrderedDict[tuple[int, int], tuple[weakref.ref[Scores], MeasuredEnergies]]" = OrderedDict()


def _measure_class(scores: "Scores", number: int) -> MeasuredEnergies:
    chosen = np.asarray(scores.label) == number
    truth, predicted = (np.asarray(one["energy"], np.float64)[chosen] for one in (scores.truth, scores.prediction))
    weight = np.asarray(scores.weight, np.float64)[chosen]
    if not len(truth):
        raise EmptySampleError(f"no shower of class '{scores.class_names[number]}': there is no response to measure")
    by_energy = measure_responses(predicted, truth, weight, edges=energy_edges(truth))
    by_angle, grid = None, None
    if ANGLE in scores.truth:
        theta = np.asarray(scores.truth[ANGLE], np.float64)[chosen]
        edges = np.linspace(float(theta.min()), float(theta.max()), N_ANGLES + 1)
        if edges[-1] > edges[0]:
            by_angle = measure_responses(predicted, truth, weight, edges=edges, quantity=theta)
            grid = _measure_grid(predicted, truth, weight, theta, edges)
    pulls = None
    if "energy_err" in scores.prediction:
        error = np.asarray(scores.prediction["energy_err"], np.float64)[chosen]
        pulls = measure_pulls(predicted, error, truth, weight)
    return MeasuredEnergies(
        by_energy,
        fit_responses(by_energy),
        fit_responses(by_energy, corrected=False),
        measure_responses(predicted, truth, weight, edges=_around(truth)),
        by_angle,
        grid,
        pulls,
    )


def _around(truth: Floats) -> Floats:
    return np.array([truth.min(), np.nextafter(truth.max(), np.inf)])


def _measure_grid(
    predicted: Floats, truth: Floats, weight: Floats, theta: Floats, edges: Floats
) -> tuple[Responses, ...]:
    coarse = energy_edges(truth, per_decade=1.34)
    number = np.clip(np.searchsorted(edges, theta, side="right"), 1, len(edges) - 1)
    parts = [number == k for k in range(1, len(edges))]
    return tuple(
        measure_responses(predicted[part], truth[part], weight[part], edges=coarse) for part in parts if part.any()
    )


def evaluate_energies(scores_by_seed: Sequence["Scores"]) -> dict[str, Any]:
    """Compute the numbers of each class of showers over the seeds of a tagger.

    Parameters
    ----------
    scores_by_seed
        One per training, all on the same showers, with predicted and true energies.

    Returns
    -------
    dict
        ``{class: {"n_showers", "n_seeds", "median", "resolution", "fit", "fit_uncorrected", "linearity", "by_energy",
        "by_theta", "by_energy_theta", "pulls"}}``: single numbers are means over seeds with ``err_seed``, the standard
        deviation of single trainings; curves are those of the first seed. ``fit`` holds ``a``, ``b``, ``c``, ``chi2``
        and ``n_dof`` of the resolution corrected for non-linearity, and is null where too few bins hold enough showers;
        so are ``by_theta`` and ``by_energy_theta`` where the angle is not known, ``pulls`` without predicted errors.

    Raises
    ------
    EmptySampleError
        For no scores at all.
    InputError
        For energies that are no numbers.
    """
    if not scores_by_seed:
        raise EmptySampleError("no scores to evaluate, expected those of at least one training")
    first, found = scores_by_seed[0], dict[str, Any]()
    for number, name in enumerate(first.class_names):
        mine = np.asarray(first.label) == number
        if effective_size(np.asarray(first.weight, np.float64)[mine]) < FEWEST:
            continue
        found[name] = combine_seeds([measure_class(scores, number) for scores in scores_by_seed])
    return found


def combine_seeds(measured: Sequence[MeasuredEnergies]) -> dict[str, Any]:
    """The record of one class; see `evaluate_energies`."""
    first = measured[0]
    overall = [one.overall for one in measured]
    record: dict[str, Any] = {
        "n_showers": float(overall[0].n_showers[0]),
        "n_seeds": len(measured),
        "median": _average([(o.median[0], o.median_err[0]) for o in overall]),
        "resolution": _average([(o.resolution[0], o.resolution_err[0]) for o in overall]),
        "tail_low": None if overall[0].tail_low[0] is None else overall[0].tail_low[0].to_dict(),
        "tail_high": None if overall[0].tail_high[0] is None else overall[0].tail_high[0].to_dict(),
        "fit": _combine_fits([one.fit for one in measured]),
        "fit_uncorrected": _combine_fits([one.plain_fit for one in measured]),
        "linearity": _describe_linearity(first.by_energy),
        "by_energy": first.by_energy.to_dict(),
        "by_theta": None if first.by_angle is None else first.by_angle.to_dict(),
        "by_energy_theta": None,
        "pulls": first.pulls,
    }
    if first.by_angle is not None and first.grid is not None:
        edges = first.by_angle.edges.tolist()
        record["by_energy_theta"] = {"theta": edges, "by_energy": [one.to_dict() for one in first.grid]}
    return record


def _average(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    values, errors = np.array(pairs).T
    found = {"value": float(values.mean()), "err_stat": float(errors.mean())}
    return found | ({"err_seed": float(values.std(ddof=1))} if len(values) > 1 else {})


def _combine_fits(fits: Sequence[ResolutionFit | None]) -> dict[str, Any] | None:
    known = [fit for fit in fits if fit is not None]
    if not known or len(known) < len(fits):
        return None
    record = known[0].to_dict()
    if len(known) > 1:
        for name in TERMS:
            terms = [fit.terms[name] for fit in known]
            record[name] |= _average([(term.value, term.err_stat or 0.0) for term in terms])
    return record


def _describe_linearity(found: Responses) -> dict[str, Any] | None:
    """The largest distance of a bin's median from 1, and where it is."""
    if not found.filled.any():
        return None
    worst = int(np.nanargmax(np.abs(found.median - 1)))
    return {
        "largest": float(found.median[worst] - 1),
        "err_stat": float(found.median_err[worst]),
        "energy": float(found.centre[worst]),
    }


@dataclass(frozen=True)
class TermDifference:
    """How far one tagger's term of the resolution lies below another's, on the same showers.

    ``value`` is the second's minus the first's, so positive where the first is better; ``err_stat`` is paired, and
    ``err_seed`` the errors of the means over seeds, included in it.
    """

    term: str
    first: str
    second: str
    value: float
    err_stat: float
    err_seed: float | None = None

    @property
    def n_sigma(self) -> float:
        """The difference in its errors."""
        return self.value / self.err_stat if self.err_stat > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "metric": f"resolution_{self.term}",
            "first": self.first,
            "second": self.second,
            "value": self.value,
            "err_stat": self.err_stat,
            "err_seed": self.err_seed,
            "n_sigma": self.n_sigma,
        }


def compare_energies(
    scores_by_tagger: Mapping[str, Sequence["Scores"]], number: int, evaluated: Mapping[str, Mapping[str, Any]]
) -> list[TermDifference]:
    """Compare the stochastic term of the best tagger with each other one's, on one class.

    Parameters
    ----------
    scores_by_tagger
        All on the same showers.
    number
        Of the class.
    evaluated
        By tagger, what `evaluate_energies` gave.

    Returns
    -------
    list
        Empty where fewer than two taggers have a fit.

    Notes
    -----
    The error is the standard deviation of the difference over bootstrap resamplings of the showers, the same for both
    taggers, each resampling fitted anew; with several seeds the errors of both means over seeds are added in
    quadrature.
    """
    name = next(iter(scores_by_tagger.values()))[0].class_names[number]
    fits = {tagger: (evaluated[tagger].get(name) or {}).get("fit") for tagger in scores_by_tagger}
    known = {tagger: fit["b"] for tagger, fit in fits.items() if fit is not None}
    if len(known) < 2:
        return []
    terms = {tagger: _resample(scores_by_tagger[tagger], number) for tagger in known}
    best = min(known, key=lambda tagger: known[tagger]["value"])
    found = []
    for other in (tagger for tagger in known if tagger != best):
        paired = float((terms[other] - terms[best]).std(ddof=1))
        seeds = [
            known[tagger]["err_seed"] / np.sqrt(len(scores_by_tagger[tagger]))
            for tagger in (best, other)
            if "err_seed" in known[tagger]
        ]
        of_seeds = float(np.linalg.norm(seeds)) if seeds else None
        value = known[other]["value"] - known[best]["value"]
        found.append(TermDifference("b", best, other, value, float(np.hypot(paired, of_seeds or 0.0)), of_seeds))
    return found


def _resample(scores: Sequence["Scores"], number: int) -> Floats:
    """Stochastic terms of resamplings, means over seeds, (R,)."""
    terms = [resample_terms(measure_class(one, number).by_energy)[:, TERMS.index("b")] for one in scores]
    mean: Floats = np.mean(terms, axis=0)
    return mean
