"""Pictures that say whether a tagger may be trusted: calibration, confusion, and what it does to the mass."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.efficiency import efficiency_in_bins, find_bins, sum_bins
from hepcnn.evaluation.intervals import effective_size
from hepcnn.evaluation.plot_style import (
    MARKERS,
    MOST_INSIDE,
    PALETTE,
    look,
    new_figure,
    plain,
    put_legend,
    put_title,
    side_by_side,
    styled,
)
from hepcnn.evaluation.samples import Floats, check_finite, check_label, check_weight

LEAST_SHAPE = 10
"""Effective jets that a mass distribution is drawn of."""


def plot_calibration(
    probabilities: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike | None]],
    *,
    signal: str,
    title: str = "",
    bins: int = 10,
) -> Any:
    """Reliability diagram: the fraction of signal among jets of a predicted probability, and how many there are.

    Parameters
    ----------
    probabilities
        By tagger: predicted probability of the signal (N,), whether a jet is signal (N,), weight (N,) or None.
    signal
        Name for the axes.
    title
        Such as the study.
    bins
        Bins of equal width in probability.

    Raises
    ------
    EmptySampleError
        For no jets.
    InputError
        For probabilities outside of [0, 1], NaN among them.

    Notes
    -----
    Niculescu-Mizil and Caruana, doi:10.1145/1102351.1102430. A point stands at the mean prediction of its bin; bars are
    Clopper–Pearson. Probabilities depend on the mixture of classes: the diagonal belongs to that of the sample.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    with styled():
        figure = new_figure(size=(8.0, 7.5))
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        figure.get_layout_engine().set(h_pad=0.03, hspace=0.05)
        axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls=":", label="perfectly calibrated")
        n_drawn = 0
        for number, (name, (predicted, truth, weight)) in enumerate(probabilities.items()):
            p = np.asarray(predicted, dtype=np.float64)
            check_finite(p, what=f"probability of {name}")
            if len(p) and (p.min() < 0 or p.max() > 1):
                raise InputError(f"{name}: probabilities reach from {p.min():g} to {p.max():g}, expected [0, 1]")
            w = check_weight(weight, n_jets=len(p))
            n_drawn += _draw_reliability(axes, below, p, np.asarray(truth, dtype=bool), w, edges, number, plain(name))
        if not n_drawn:
            raise EmptySampleError("no jet to calibrate with: nothing to draw")
        axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel=f"fraction of {plain(signal)}")
        below.set(xlabel=f"predicted probability of {plain(signal)}", ylabel="jets", yscale="log")
        for panel in (axes, below):
            panel.grid(alpha=0.3)
        put_legend(axes, "upper left")
        put_title(axes, title)
    return figure


def _draw_reliability(
    axes: Any, below: Any, p: Floats, is_signal: Any, weight: Floats, edges: Floats, number: int, name: str
) -> int:
    found = efficiency_in_bins(is_signal, p, weight, edges=edges)
    place = find_bins(p, edges)
    total, summed = (sum_bins(place, w, len(edges) - 1) for w in (weight, weight * p))
    seen = np.isfinite(found.value)
    # Negative weights may put a mean beside its bin, and a fraction beside 0 or 1.
    x, y = np.clip(summed[seen] / total[seen], edges[:-1][seen], edges[1:][seen]), np.clip(found.value[seen], 0.0, 1.0)
    bars = [np.maximum(y - found.low[seen], 0), np.maximum(found.high[seen] - y, 0)]
    appearance = look(number)
    axes.errorbar(
        x, y, yerr=bars, label=name, marker=MARKERS[number % len(MARKERS)], capsize=2.5, ms=6, lw=1.4, **appearance
    )
    if seen.any():
        below.stairs(total, edges, lw=1.8, **appearance)
    return int(seen.sum())


def plot_confusion(
    predicted: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    class_names: Sequence[str],
    title: str = "",
) -> Any:
    """Confusion matrix: of the jets of each true class, which fraction was taken for which class.

    Parameters
    ----------
    predicted
        (N,) number of the class that a jet was taken for.
    label, weight
        (N,) true class and weight.
    class_names
        Names of the classes.
    title
        Such as the tagger's name.

    Raises
    ------
    EmptySampleError
        When no jet has a weight.
    InputError
        For class numbers out of range.

    Notes
    -----
    Rows add up to one. The number of jets stands below the fraction; the row of a class without jets is blank.
    """
    n_classes = len(class_names)
    truth = check_label(label, n_jets=len(np.asarray(label)), n_classes=n_classes)
    guess = check_label(predicted, n_jets=len(truth), n_classes=n_classes)
    w = check_weight(weight, n_jets=len(truth))
    places = truth * n_classes + guess
    content, count = (
        np.bincount(places, weights=values, minlength=n_classes**2).reshape(n_classes, n_classes)
        for values in (w, np.ones(len(w)))
    )
    total = content.sum(axis=1, keepdims=True)
    if not total.any():
        raise EmptySampleError("no jet has a weight: there is no confusion to draw")
    fraction = np.where(total > 0, content / np.where(total > 0, total, 1.0), np.nan)
    names = [plain(name) for name in class_names]
    with styled():
        size = 3.0 + 1.25 * n_classes
        figure = new_figure(size=(size + 1.2, size))
        axes = figure.subplots()
        drawn = axes.imshow(fraction, vmin=0, vmax=1, cmap="cividis", origin="upper")
        figure.colorbar(drawn, ax=axes, label="fraction of the true class", shrink=0.85)
        for (row, column), value in np.ndenumerate(fraction):
            if np.isfinite(value):
                text = f"{value:.1%}\n{int(count[row, column]):,}"
                colour = "black" if value > 0.6 else "white"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=13)
        axes.set_xticks(range(n_classes), names)
        axes.set_yticks(range(n_classes), names, rotation=90, va="center")
        axes.set_xlabel("taken for", loc="center")
        axes.set_ylabel("true class", loc="center")
        axes.tick_params(which="both", length=0)
        axes.minorticks_off()
        put_title(axes, title)
    return figure


def plot_sculpting(
    mass: ArrayLike,
    passed: Mapping[str, ArrayLike],
    weight: ArrayLike | None = None,
    *,
    background: str,
    notes: Mapping[str, str] | None = None,
    title: str = "",
    bins: int | None = None,
) -> Any:
    """Mass of background jets before and after cuts, each normalised to one, and the pass rate per bin below.

    Parameters
    ----------
    mass
        (N,) of the background jets, in GeV.
    passed
        By cut or tagger: whether each jet passes (N,).
    weight
        (N,).
    background
        Name of the class.
    notes
        By cut, what the legend adds, such as a divergence.
    title
        Such as the signal efficiency of the cuts.
    bins
        Bins between the 0.5 and the 99.5 % quantile of the mass; jets beyond are counted in the outermost bins. By
        default as many as the jets that pass can fill, 8 to 40.

    Raises
    ------
    EmptySampleError
        For no jets, or weights that do not add up to more than zero.
    """
    m = np.asarray(mass, dtype=np.float64)
    if not len(m):
        raise EmptySampleError("no background jet: there is no mass to draw")
    check_finite(m, what="mass")
    w = check_weight(weight, n_jets=len(m))
    if w.sum() <= 0:
        raise EmptySampleError(f"the weights of {len(m)} background jets add up to {w.sum():g}: no mass to draw")
    low, high = np.quantile(m, [0.005, 0.995])
    if bins is None:
        bins = int(np.clip(np.sqrt(max((np.sum(mask) for mask in passed.values()), default=0)), 8, 40))
    edges = np.linspace(low, max(high, low + 1.0), bins + 1)
    inside = np.clip(m, edges[0], edges[-1])
    with styled():
        figure = new_figure(size=(8.0, 7.5))
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
        figure.get_layout_engine().set(h_pad=0.03, hspace=0.05)
        before = sum_bins(find_bins(inside, edges), w, bins) / w.sum() / np.diff(edges)
        axes.stairs(before, edges, fill=True, color="0.85", label=f"{plain(background)}, before any cut")
        top = float(before.max())
        for number, (name, mask) in enumerate(passed.items()):
            label = plain(name) + (f", {plain(notes[name])}" if notes and name in notes else "")
            shift = side_by_side(number, len(passed))
            after = _draw_after(axes, below, inside, np.asarray(mask, bool), w, edges, number, label, shift)
            top = max(top, after)
        room = 1.7 if len(passed) < MOST_INSIDE else 1.15
        axes.set(ylim=(0, room * top), ylabel="jets / GeV (normalised)", xlim=(edges[0], edges[-1]))
        below.set(xlabel="jet mass [GeV]", ylabel="pass rate", yscale="log")
        below.grid(alpha=0.3)
        # ATLAS's style would write a power of ten over its own label.
        axes.ticklabel_format(axis="y", style="plain")
        put_legend(axes, "upper right")
        put_title(axes, title)
    return figure


def _draw_after(
    axes: Any, below: Any, mass: Floats, passes: Any, w: Floats, edges: Floats, number: int, label: str, shift: float
) -> float:
    """One cut's distribution, where enough passes to have one, and pass rate; returns the highest density."""
    total = float(w[passes].sum())
    place = find_bins(mass[passes], edges)
    content = sum_bins(place, w[passes], len(edges) - 1)
    appearance = look(number)
    if total <= 0:
        axes.plot([], [], label=label + " (nothing passes)", **appearance)
        return 0.0
    density = np.zeros(len(content))
    if effective_size(w[passes]) < LEAST_SHAPE:
        axes.plot([], [], label=f"{label} ({int(passes.sum())} pass: no shape)", **appearance)
    else:
        density = content / total / np.diff(edges)
        error = np.sqrt(sum_bins(place, w[passes] ** 2, len(edges) - 1)) / total / np.diff(edges)
        axes.stairs(density, edges, label=label, lw=1.8, **appearance)
        axes.stairs(density + error, edges, baseline=density - error, fill=True, color=appearance["color"], alpha=0.2)
    rate = efficiency_in_bins(passes, mass, w, edges=edges)
    seen = rate.value > 0
    x, y = ((edges[1:] + edges[:-1]) / 2 + shift * np.diff(edges))[seen], rate.value[seen]
    bars = [np.maximum(y - rate.low[seen], 0), np.maximum(rate.high[seen] - y, 0)]
    marker = MARKERS[number % len(MARKERS)]
    below.errorbar(x, y, yerr=bars, fmt=marker, ms=3.5, lw=1, color=PALETTE[number % len(PALETTE)])
    return float(density.max())
