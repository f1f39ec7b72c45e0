"""Pictures of measured energies: resolution, linearity, response by energy and angle.

Every ``plot_*`` returns a Figure; bins without enough showers are left out, and a picture with nothing to draw raises
EmptySampleError.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.binned_rejection import BinnedRejection
from hepcnn.evaluation.energy import Responses
from hepcnn.evaluation.plot_style import (
    MARKERS,
    MOST_INSIDE,
    head_figure,
    look,
    new_figure,
    plain,
    put_legend,
    put_title,
    side_by_side,
    styled,
)
from hepcnn.evaluation.resolution import ResolutionFit
from hepcnn.evaluation.samples import Floats

ENERGY, ANGLE = "true energy [GeV]", r"angle to the normal $\theta$ [rad]"


def plot_resolution(
    responses: Mapping[str, Responses], fits: Mapping[str, ResolutionFit | None], *, title: str = ""
) -> Any:
    """Resolution against energy with the fitted curves; below, the ratio to the first tagger.

    Parameters
    ----------
    responses, fits
        By tagger, in bins of energy; a tagger without a fit has points alone.
    title
        Such as the class of the showers.
    """
    _require_something(responses)
    with styled():
        figure = new_figure(size=(8.6, 7.2))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        first = next(iter(responses.values()))
        for number, (name, found) in enumerate(responses.items()):
            appearance = look(number)
            fit = fits.get(name)
            shift = side_by_side(number, len(responses))
            x = _shifted(found, shift * 0.5)
            _draw_points(upper, x, found.corrected, found.corrected_err, number, label=_describe(name, fit))
            if fit is not None:
                energy = np.geomspace(found.edges[0], found.edges[-1], 200)
                upper.plot(energy, fit(energy), lw=1.6, **appearance)
            # Showers of other energies have other bins, and are no pair.
            if np.array_equal(found.edges, first.edges):
                with np.errstate(invalid="ignore"):
                    ratio = found.corrected / first.corrected
                    error = _paired_ratio(found.corrected_replicas, first.corrected_replicas)
                _draw_points(lower, x, ratio, error, number)
        upper.set(xscale="log", yscale="log", ylabel=r"resolution $\sigma / E$")
        _plain_ticks(upper)
        lower.set(xlabel=ENERGY, ylabel="ratio to first")
        lower.axhline(1.0, color="0.6", lw=1.2, zorder=0)
        for axes in (upper, lower):
            axes.grid(alpha=0.3, which="both" if axes is upper else "major")
        put_title(upper, title)
        _legend(upper, "upper right", fontsize=11)
    return figure


def plot_linearity(responses: Mapping[str, Responses], *, title: str = "") -> Any:
    """Median response against energy: 1 everywhere for a calibrated, linear measurement."""
    return _plot_median(responses, ENERGY, title, is_log=True)


def plot_angle(responses: Mapping[str, Responses], *, title: str = "") -> Any:
    """Median response and resolution of all energies against the angle of the particle."""
    _require_something(responses)
    with styled():
        figure = new_figure(size=(8.0, 7.2))
        panels = figure.subplots(2, 1, sharex=True)
        for number, (name, found) in enumerate(responses.items()):
            x = _shifted(found, side_by_side(number, len(responses)), is_log=False)
            _draw_points(panels[0], x, found.median, found.median_err, number, label=plain(name))
            _draw_points(panels[1], x, found.resolution, found.resolution_err, number)
        panels[0].axhline(1.0, color="0.6", lw=1.2, zorder=0)
        panels[0].set_ylabel("median response")
        panels[1].set(xlabel=ANGLE, ylabel=r"resolution $\sigma / E$")
        panels[1].set_ylim(bottom=0)
        for panel in panels:
            panel.grid(alpha=0.3)
        _make_room(panels[0])
        put_title(panels[0], title)
        _legend(panels[0], "upper center", ncols=2)
    return figure


def plot_tails(responses: Mapping[str, Responses], *, title: str = "") -> Any:
    """Fractions of showers more than three widths below and above the median, against energy."""
    _require_something(responses)
    with styled():
        figure = new_figure(size=(8.0, 7.2))
        panels = figure.subplots(2, 1, sharex=True)
        for number, (name, found) in enumerate(responses.items()):
            x = _shifted(found, side_by_side(number, len(responses)) * 0.5)
            for panel, tails in zip(panels, (found.tail_low, found.tail_high), strict=True):
                known = [(k, one) for k, one in enumerate(tails) if one is not None]
                seen, value = [k for k, _ in known], np.array([100 * one.value for _, one in known])
                bars = [[100 * (one.err_low or 0) for _, one in known], [100 * (one.err_high or 0) for _, one in known]]
                panel.errorbar(x[seen], value, yerr=bars, label=plain(name), **_marks(number))
        for panel, side in zip(panels, ("below", "above"), strict=True):
            panel.axhline(0.135, color="0.6", lw=1.5, ls="--", zorder=0)
            panel.set(xscale="log", ylabel=f"{side} 3 widths [%]")
            panel.set_ylim(bottom=0)
            panel.grid(alpha=0.3)
        panels[1].set_xlabel(ENERGY)
        _make_room(panels[0])
        put_title(panels[0], title)
        _legend(panels[0], "upper center", ncols=2)
    return figure


def plot_response_map(found: Sequence[Responses], theta_edges: Floats, *, title: str = "") -> Any:
    """One tagger's median response and resolution by energy and angle, as two maps.

    Parameters
    ----------
    found
        In bins of energy, one for each bin of the angle.
    theta_edges
        The bins of the angle, radians.
    title
        Such as the tagger and the class.
    """
    if not any(one.filled.any() for one in found):
        raise EmptySampleError("no bin has enough showers: nothing to draw")
    edges = found[0].edges
    median, resolution = (np.stack([getattr(one, name) for one in found]) for name in ("median", "resolution"))
    with styled():
        figure = new_figure(size=(13.0, 5.2))
        panels = figure.subplots(1, 2)
        reach = max(0.02, float(np.nanmax(np.abs(median - 1))))
        kinds = (
            (panels[0], median, "median response", {"cmap": "RdBu_r", "vmin": 1 - reach, "vmax": 1 + reach}),
            (panels[1], resolution, r"resolution $\sigma / E$", {"cmap": "viridis"}),
        )
        for panel, values, label, options in kinds:
            drawn = panel.pcolormesh(edges, theta_edges, np.ma.masked_invalid(values), **options)
            figure.colorbar(drawn, ax=panel, label=label)
            panel.set(xscale="log", xlabel=ENERGY, ylabel=ANGLE)
            panel.minorticks_off()
            for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
                x = np.sqrt(edges[column] * edges[column + 1])
                y = (theta_edges[row] + theta_edges[row + 1]) / 2
                red, green, blue, _ = drawn.to_rgba(values[row, column])
                colour = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
                panel.text(x, y, f"{values[row, column]:.3f}", ha="center", va="center", fontsize=10, color=colour)
        head_figure(figure, title)
    return figure


def plot_binned_rejection(
    rejections: Mapping[str, BinnedRejection], *, signal: str, background: str, title: str = ""
) -> Any:
    """Rejection at one signal efficiency in bins of the energy; an arrow where it is a lower limit.

    Parameters
    ----------
    rejections
        By tagger.
    signal, background
        Names for the axes.
    title
        Such as the study.
    """
    with styled():
        figure = new_figure()
        axes = figure.subplots()
        eps_s = 0.0
        for number, (name, found) in enumerate(rejections.items()):
            low, high = found.edges[:-1], found.edges[1:]
            x = np.sqrt(low * high) * (high / low) ** (side_by_side(number, len(rejections)) / 4)
            marks, label, eps_s = _marks(number), plain(name), found.eps_s
            for k, one in enumerate(found.rejection):
                if one is None:
                    continue
                if one.is_lower_limit:
                    bars: dict[str, Any] = {"yerr": [[0.0], [0.5 * one.value]], "lolims": True}
                else:
                    bars = {"yerr": [[max(one.err_low or 0.0, 0.0)], [max(one.err_high or 0.0, 0.0)]]}
                axes.errorbar(x[k], one.value, label=label or None, **bars, **marks)
                label = ""
        axes.set(xscale="log", yscale="log", xlabel=ENERGY)
        axes.set_ylabel(rf"{plain(background)} rejection at {plain(signal)} efficiency {eps_s:g}")
        axes.grid(alpha=0.3)
        put_title(axes, title)
        if axes.get_legend_handles_labels()[1]:
            _legend(axes, "best")
    return figure


def plot_energy_errors(pulls: Mapping[str, Floats], *, title: str = "", most: float = 5.0) -> Any:
    """Pulls ``(predicted - true) / predicted error`` beside a Gaussian of width one.

    Parameters
    ----------
    pulls
        By tagger, (N,).
    title
        Such as the class.
    most
        Where the axis ends; what is beyond counts to the last bins.
    """
    if not any(len(values) for values in pulls.values()):
        raise EmptySampleError("no shower has a predicted error: nothing to draw")
    edges = np.linspace(-most, most, 51)
    with styled():
        figure = new_figure()
        axes = figure.subplots()
        for number, (name, values) in enumerate(pulls.items()):
            counts, _ = np.histogram(np.clip(values, -most, most), edges)
            axes.stairs(counts / len(values) / np.diff(edges), edges, label=plain(name), lw=2, **look(number))
        x = np.linspace(-most, most, 200)
        axes.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color="0.4", lw=1.5, ls=":", label="Gaussian, width 1")
        axes.set(yscale="log", xlabel="(predicted − true) / predicted error", ylabel="showers, normalised")
        axes.set_ylim(1e-4, 3)
        put_title(axes, title)
        _legend(axes, "upper right")
    return figure


def _plot_median(responses: Mapping[str, Responses], xlabel: str, title: str, *, is_log: bool) -> Any:
    _require_something(responses)
    with styled():
        figure = new_figure()
        axes = figure.subplots()
        for number, (name, found) in enumerate(responses.items()):
            x = _shifted(found, side_by_side(number, len(responses)) * 0.5, is_log=is_log)
            _draw_points(axes, x, found.median, found.median_err, number, label=plain(name), line=True)
        axes.axhline(1.0, color="0.6", lw=1.2, zorder=0)
        axes.set(xlabel=xlabel, ylabel="median of predicted / true energy")
        if is_log:
            axes.set_xscale("log")
        axes.grid(alpha=0.3)
        _make_room(axes)
        put_title(axes, title)
        _legend(axes, "upper center", ncols=2)
    return figure


def _require_something(responses: Mapping[str, Responses]) -> None:
    if not any(found.filled.any() for found in responses.values()):
        raise EmptySampleError("no bin has enough showers: nothing to draw")


def _describe(name: str, fit: ResolutionFit | None) -> str:
    if fit is None:
        return plain(name)
    parts = [
        f"{scale * fit.terms[term].value:.{digits}f}({scale * (fit.terms[term].err_stat or 0):.{digits}f}){unit}"
        for term, scale, digits, unit in (("a", 100, 1, " %"), ("b", 100, 1, " %/√E"), ("c", 1, 2, "/E"))
    ]
    return f"{plain(name)}: " + r" $\oplus$ ".join(parts)


def _shifted(found: Responses, shift: float, *, is_log: bool = True) -> Floats:
    """Centres of bins, moved by a part of the bins' width."""
    low, high = found.edges[:-1], found.edges[1:]
    if not is_log:
        return found.centre + shift * (high - low) / 2
    moved: Floats = found.centre * (high / low) ** (shift / 2)
    return moved


def _marks(number: int) -> dict[str, Any]:
    return {
        "fmt": MARKERS[number % len(MARKERS)],
        "color": look(number)["color"],
        "ms": 6,
        "lw": 1.6,
        "capsize": 2.5,
    }


def _draw_points(
    axes: Any, x: Floats, y: Floats, error: Floats, number: int, *, label: str = "", line: bool = False
) -> None:
    seen = np.isfinite(y) & np.isfinite(x)
    axes.errorbar(x[seen], y[seen], yerr=np.nan_to_num(error[seen]), label=label or None, **_marks(number))
    if line:
        axes.plot(x[seen], y[seen], lw=1.0, alpha=0.6, **look(number))


def _paired_ratio(one: Floats, other: Floats) -> Floats:
    spread: Floats = (one / other).std(axis=0, ddof=1)
    return spread


def _plain_ticks(axes: Any) -> None:
    """Percent on a logarithmic axis, some more than one a decade."""
    low, high = axes.get_ylim()
    steps = [k * 10.0**power for power in range(-4, 2) for k in (1, 2, 5)]
    shown = [step for step in steps if low <= step <= high]
    axes.set_yticks(shown, [f"{100 * step:g} %" for step in shown])
    axes.set_yticks([], minor=True)


def _make_room(axes: Any) -> None:
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.35 * (top - bottom))


def _legend(axes: Any, place: str, **options: Any) -> None:
    if len(axes.get_legend_handles_labels()[1]) > MOST_INSIDE:
        options.pop("ncols", None)
    put_legend(axes, place, **options)
