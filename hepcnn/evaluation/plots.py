"""Pictures of scores and of efficiencies, and how pictures are written.

Every ``plot_*`` returns a Figure that belongs to no window and no pyplot state. Empty samples and NaN points are left
out of a curve; a picture with nothing to draw raises EmptySampleError.
"""

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hepcnn.atomic import atomic_path
from hepcnn.errors import EmptySampleError, require
from hepcnn.evaluation.efficiency import BinnedEfficiency, find_bins, sum_bins
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
from hepcnn.evaluation.samples import Floats

_NO_LAYOUT = {"figure.autolayout": False, "figure.constrained_layout.use": False}


def save_figure(figure: Any, stem: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write a figure as ``stem.png`` and ``stem.pdf``, each whole or not at all.

    Returns
    -------
    tuple
        The two paths.

    Raises
    ------
    HepcnnError
        When the folder cannot be written to.
    """
    stem = Path(stem)
    paths = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".pdf")
    for path in paths:
        # Without a date the same picture is the same file.
        metadata = {"CreationDate": None} if path.suffix == ".pdf" else {}
        with styled(), atomic_path(path) as partial:
            _lay_out(figure, dpi=150)
            figure.savefig(partial, dpi=150, metadata=metadata)
    return paths


def figure_to_png(figure: Any, *, dpi: int = 110) -> bytes:
    """Render a figure to the bytes of a PNG file."""
    buffer = io.BytesIO()
    with styled():
        _lay_out(figure, dpi=dpi)
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _lay_out(figure: Any, *, dpi: int) -> None:
    """Place the axes once and for all: each ``savefig`` that has a layout to find draws everything twice for it."""
    engine = figure.get_layout_engine()
    if engine is None:
        return
    before = figure.dpi
    figure.set_dpi(dpi)
    engine.execute(figure)
    figure.set_dpi(before)
    # The user's settings could bring another one in its place.
    with require("matplotlib", extra="evaluate").rc_context(_NO_LAYOUT):
        figure.set_layout_engine(None)


def plot_scores(scores: Mapping[str, tuple[Floats, Floats]], *, xlabel: str, title: str = "", bins: int = 40) -> Any:
    """Distribution of a discriminant in [0, 1] for each true class, normalised to one, with statistical errors.

    Parameters
    ----------
    scores
        By class: discriminant (n,) and weight (n,).
    xlabel
        What the discriminant is.
    title
        Such as the tagger's name.
    bins
        Number of bins.
    """
    filled = {name: pair for name, pair in scores.items() if np.sum(pair[1]) > 0}
    if not filled:
        raise EmptySampleError("no class has a jet: nothing to draw")
    edges = np.linspace(0.0, 1.0, bins + 1)
    centres, width = (edges[1:] + edges[:-1]) / 2, 1.0 / bins
    with styled():
        figure = new_figure()
        axes = figure.subplots()
        for number, (name, (score, weight)) in enumerate(filled.items()):
            w = np.asarray(weight, dtype=np.float64)
            norm = w.sum() * width
            place = find_bins(np.asarray(score, dtype=np.float64), edges)
            density = sum_bins(place, w, bins) / norm
            error = np.sqrt(sum_bins(place, w**2, bins)) / norm
            appearance = look(number)
            axes.stairs(density, edges, label=f"{name} ({len(score)} jets)", lw=2, **appearance)
            axes.stairs(density, edges, fill=True, color=appearance["color"], alpha=0.15)
            seen = density > 0
            axes.errorbar(centres[seen], density[seen], error[seen], fmt="none", color=appearance["color"], lw=1)
        axes.set(xlim=(0, 1), yscale="log", xlabel=plain(xlabel), ylabel="jets / bin width (normalised)")
        put_title(axes, title)
        bottom, top = axes.get_ylim()
        axes.set_ylim(bottom, top * 4)
        axes.legend(loc="upper center", ncols=2)
    return figure


def plot_efficiency(efficiencies: Mapping[str, BinnedEfficiency], *, xlabel: str, ylabel: str, title: str = "") -> Any:
    """Efficiency of a fixed cut in bins, with Clopper–Pearson bars; bins without jets are left out.

    Parameters
    ----------
    efficiencies
        By tagger or class.
    xlabel, ylabel
        Such as ``jet $p_T$ [GeV]`` and ``top efficiency``.
    title
        Such as the working point.
    """
    if not efficiencies or not any(np.isfinite(e.value).any() for e in efficiencies.values()):
        raise EmptySampleError("no bin has a jet: nothing to draw")
    with styled():
        figure = new_figure()
        axes = figure.subplots()
        for number, (name, efficiency) in enumerate(efficiencies.items()):
            seen = np.isfinite(efficiency.value)
            edges = efficiency.edges
            half = (np.diff(edges) / 2)[seen]
            # Side by side inside the bin, so that bars of several taggers can be told apart.
            shift = side_by_side(number, len(efficiencies))
            x = ((edges[1:] + edges[:-1]) / 2)[seen] + shift * 2 * half
            y = efficiency.value[seen]
            bars = [np.maximum(y - efficiency.low[seen], 0), np.maximum(efficiency.high[seen] - y, 0)]
            axes.errorbar(
                x, y, yerr=bars, label=name, fmt=MARKERS[number % len(MARKERS)], capsize=2.5, ms=6, lw=1.6,
                color=PALETTE[number % len(PALETTE)],
            )  # fmt: skip
        top = max(float(np.nanmax(e.high)) for e in efficiencies.values())
        room = 1.45 if len(efficiencies) <= MOST_INSIDE else 1.1
        axes.set(ylim=(0, room * top), xlabel=xlabel, ylabel=ylabel)
        first = next(iter(efficiencies.values())).edges
        axes.set_xlim(first[0], first[-1])
        put_title(axes, title)
        axes.grid(axis="y", alpha=0.3)
        put_legend(axes, "upper center", ncols=2)
    return figure
