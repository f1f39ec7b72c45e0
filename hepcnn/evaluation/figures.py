"""The pictures of a study that need scores only, drawn from one or several taggers with one or several seeds each."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hepcnn.evaluation.bands import make_band
from hepcnn.evaluation.binned_rejection import BinnedRejection, rejection_in_bins
from hepcnn.evaluation.curve_plots import plot_rejection, plot_roc, plot_significance
from hepcnn.evaluation.curves import roc_of_sample
from hepcnn.evaluation.diagnostic_plots import plot_calibration, plot_confusion, plot_sculpting
from hepcnn.evaluation.efficiency import BinnedEfficiency, efficiency_in_bins
from hepcnn.evaluation.energy import energy_edges
from hepcnn.evaluation.energy_figures import ENERGY_CAPTIONS
from hepcnn.evaluation.energy_plots import plot_binned_rejection
from hepcnn.evaluation.metrics import RejectionCurve, auc_of_ranks, rejection_curve_of
from hepcnn.evaluation.plots import plot_efficiency, plot_scores
from hepcnn.evaluation.ranking import rank_sample
from hepcnn.evaluation.samples import BinarySample, Floats
from hepcnn.evaluation.summary import choose_background, select_sample

if TYPE_CHECKING:
    from hepcnn.io.scores import Scores

EPS_S = 0.5
"""Signal efficiency of the cuts in pictures of a single cut."""

CAPTIONS: Mapping[str, str] = {
    "rejection": "Background jets rejected for each one that is accepted, against the fraction of signal kept; below, "
    "the ratio to the first tagger.",
    "rejection_energy": "Rejection at 90 % signal efficiency in bins of the true energy, each with a threshold of its "
    "own; arrows are lower limits at 95 % confidence, where no background passes.",
    "roc": "The same as efficiencies: lower is better.",
    "significance": "By how much a cut improves signal over the root of background, where background is large.",
    "calibration": "Among jets that a tagger gives a probability of signal, the fraction that is signal: on the "
    "diagonal the score can be read as a probability, for the mixture of classes of these jets.",
    "sculpting": "Mass of background jets before and after a cut of 50 % signal efficiency. A cut that leaves the "
    "shape alone has a flat pass rate.",
    "efficiency_pt": "Signal efficiency of a cut of 50 % overall efficiency, in bins of the jet's pT.",
    "mistag_pt": "Background that passes the same cut, in bins of the jet's pT.",
    "efficiency_eta": "Signal efficiency of the same cut, in bins of the jet's pseudorapidity.",
    "mistag_eta": "Background that passes the same cut, in bins of the jet's pseudorapidity.",
    "efficiency": "Signal efficiency of the same cut, in bins.",
    "mistag": "Background that passes the same cut, in bins.",
    "scores": "Discriminant of each class on the test jets, normalised; of the first seed.",
    "confusion": "For which class the jets of each class are taken: the one of highest probability. Of the first seed.",
}
"""What each picture shows, by the beginning of its name."""

_AXES = {
    "pt": "jet $p_T$ [GeV]",
    "eta": r"jet $\eta$",
    "n_constituents": "constituents of the jet",
    "n_pileup": "pile-up interactions",
}


def caption_of(name: str) -> str:
    """The caption of a picture by its name, such as ``scores_cnn``; nothing where there is none."""
    if name.startswith("energy_"):
        return ENERGY_CAPTIONS.get(name.split("_")[1], "")
    if name.startswith("rejection_energy"):
        return CAPTIONS["rejection_energy"]
    return CAPTIONS.get(name) or CAPTIONS.get(name.split("_")[0], "")


class Pair(NamedTuple):
    """One tagger on the jets of two classes.

    The sample of its first training; by training rejections, and AUCs; columns of the jets (n,); and which jets pass
    the first training's cut of signal efficiency `EPS_S` (n,).
    """

    first: BinarySample
    curves: Sequence[RejectionCurve]
    areas: Sequence[float]
    jets: Mapping[str, Floats]
    passed: NDArray[np.bool_]


def make_pair(by_seed: Sequence["Scores"], *, signal: str, background: str | None = None) -> Pair:
    """Reduce one tagger's scores, one per seed and all on the same jets, to two classes; see `select_sample`."""
    against = choose_background(by_seed[0].class_names, background)
    first, kept = select_sample(by_seed[0], signal=signal, background=against)
    passed = first.score >= roc_of_sample(first).threshold_at(EPS_S)
    curves, areas = [], []
    for scores in by_seed:
        sample, _ = select_sample(scores, signal=signal, background=against)
        curves.append(rejection_curve_of(roc_of_sample(sample)))
        areas.append(auc_of_ranks(rank_sample(sample)).value)
    used = (*_AXES, "mass")
    jets = {name: np.asarray(by_seed[0].jets[name], np.float64)[kept] for name in used if name in by_seed[0].jets}
    return Pair(first, curves, areas, jets, passed)


def make_study_figures(
    scores_by_tagger: Mapping[str, Sequence["Scores"]], *, signal: str, background: str | None = None, title: str = ""
) -> dict[str, Any]:
    """Draw all pictures of one signal class against the background.

    Parameters
    ----------
    scores_by_tagger
        By tagger, one Scores per seed; those of one tagger are on the same jets.
    signal, background
        Names of the classes; background as in `hepcnn.evaluation.summary.choose_background`.
    title
        Written above the pictures of all taggers.

    Returns
    -------
    dict
        Figures by name; `caption_of` says what they show. Rejection, ROC and significance are means over seeds, all
        others about each tagger's first. Sculpting and binned efficiencies are there where all jets have what it takes.
    """
    against = choose_background(next(iter(scores_by_tagger.values()))[0].class_names, background)
    pairs = {n: make_pair(scores, signal=signal, background=against) for n, scores in scores_by_tagger.items()}
    figures = _draw_curves(pairs, signal, against, title)
    calibrated = {name: (p.first.score, p.first.is_signal, p.first.weight) for name, p in pairs.items()}
    figures["calibration"] = plot_calibration(calibrated, signal=signal, title=title)
    if all(_varies(pair, "mass") for pair in pairs.values()):
        figures |= _draw_sculpting(pairs, signal, against)
    figures |= _draw_efficiencies(pairs, signal, against)
    rejections = {name: _reject(scores[0], pairs[name], signal, against) for name, scores in scores_by_tagger.items()}
    known = {name: found for name, found in rejections.items() if found is not None}
    if known:
        figures["rejection_energy"] = plot_binned_rejection(known, signal=signal, background=against, title=title)
    formula = f"p_{signal} / (p_{signal} + p_{against})"
    for name, pair in pairs.items():
        by_class = {signal: pair.first.signal, against: pair.first.background}
        figures[f"scores_{name}"] = plot_scores(by_class, xlabel=formula, title=name)
    return figures


def make_class_figures(scores_by_tagger: Mapping[str, Sequence["Scores"]]) -> dict[str, Any]:
    """Draw the pictures about all classes at once: ``confusion_<tagger>``, of each tagger's first seed."""
    figures = {}
    for name, (scores, *_) in scores_by_tagger.items():
        taken_for = np.argmax(scores.score, axis=1)
        figures[f"confusion_{name}"] = plot_confusion(
            taken_for, scores.label, scores.weight, class_names=scores.class_names, title=name
        )
    return figures


def _reject(scores: "Scores", pair: Pair, signal: str, against: str) -> BinnedRejection | None:
    """Rejections in bins of the true energy, where that is known."""
    if "energy" not in scores.truth:
        return None
    numbers = [scores.class_names.index(name) for name in (signal, against)]
    energy = np.asarray(scores.truth["energy"], np.float64)[np.isin(scores.label, numbers)]
    return rejection_in_bins(pair.first, energy, edges=energy_edges(energy))


def _draw_curves(pairs: Mapping[str, Pair], signal: str, against: str, title: str) -> dict[str, Any]:
    areas = {name: f"{np.mean(pair.areas):.4f}" for name, pair in pairs.items()}
    classes: dict[str, Any] = {"signal": signal, "background": against, "title": title}
    rejections, efficiencies, improvements = (
        {name: make_band(pair.curves, quantity) for name, pair in pairs.items()}
        for quantity in ("rejection", "eps_b", "significance")
    )
    return {
        "rejection": plot_rejection(rejections, auc=areas, **classes),
        "roc": plot_roc(efficiencies, auc=areas, **classes),
        "significance": plot_significance(improvements, **classes),
    }


def _varies(pair: Pair, column: str) -> bool:
    """Whether jets differ in a column; showers have no mass and no direction."""
    values = pair.jets.get(column)
    return values is not None and bool((values != values[0]).any())


def _draw_sculpting(pairs: Mapping[str, Pair], signal: str, against: str) -> dict[str, Any]:
    """One picture where all taggers have the same jets, else one for each."""
    title = f"cut at {signal} efficiency {EPS_S:g}"
    first = next(iter(pairs.values()))
    masses = {name: pair.jets["mass"][~pair.first.is_signal] for name, pair in pairs.items()}
    passed = {name: pair.passed[~pair.first.is_signal] for name, pair in pairs.items()}
    if all(np.array_equal(mass, first.jets["mass"][~first.first.is_signal]) for mass in masses.values()):
        weight = first.first.background[1]
        mass = next(iter(masses.values()))
        return {"sculpting": plot_sculpting(mass, passed, weight, background=against, title=title)}
    return {
        f"sculpting_{name}": plot_sculpting(
            masses[name], {name: passed[name]}, pair.first.background[1], background=against, title=title
        )
        for name, pair in pairs.items()
    }


def _draw_efficiencies(pairs: Mapping[str, Pair], signal: str, against: str) -> dict[str, Any]:
    figures = {}
    for column, xlabel in _AXES.items():
        if not all(_varies(pair, column) and np.isfinite(pair.jets[column]).all() for pair in pairs.values()):
            continue
        for kind, what, of_signal in (("efficiency", signal, True), ("mistag", against, False)):
            binned = {name: _bin(pair, column, of_signal=of_signal) for name, pair in pairs.items()}
            figures[f"{kind}_{column}"] = plot_efficiency(
                binned,
                xlabel=xlabel,
                ylabel=f"{what} {'efficiency' if of_signal else 'mistag rate'}",
                title=f"cut at {signal} efficiency {EPS_S:g}",
            )
    return figures


def _bin(pair: Pair, column: str, *, of_signal: bool, n_bins: int = 8) -> BinnedEfficiency:
    values = pair.jets[column]
    low, high = float(values.min()), float(values.max())
    if column == "pt":
        low, high = np.floor(low), np.ceil(high)
    edges = np.linspace(low, max(high, low + 1e-3), n_bins + 1)
    mine = pair.first.is_signal if of_signal else ~pair.first.is_signal
    return efficiency_in_bins(pair.passed[mine], values[mine], pair.first.weight[mine], edges=edges)
