"""Pictures of a tagger's performance. Every ``plot_*`` returns a Figure that belongs to no window and no pyplot state.

Empty samples and NaN points are left out of a curve; a picture with nothing to draw raises EmptySampleError.
"""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepcnn.atomic import atomic_path
from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.curves import RocCurve
from hepcnn.evaluation.efficiency import BinnedEfficiency
from hepcnn.evaluation.metrics import RejectionCurve
from hepcnn.evaluation.plot_style import MARKERS, PALETTE, look, new_figure, plain, styled
from hepcnn.evaluation.samples import Floats


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
            figure.savefig(partial, dpi=150, metadata=metadata)
    return paths


def figure_to_png(figure: Any, *, dpi: int = 110) -> bytes:
    """Render a figure to the bytes of a PNG file."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def plot_rejection(
    curves: Mapping[str, RejectionCurve],
    *,
    signal: str,
    background: str,
    auc: Mapping[str, str] | None = None,
    note: str = "bands: 68 % statistical",
) -> Any:
    """Rejection over signal efficiency for several taggers, on a logarithmic axis, with error bands.

    Parameters
    ----------
    curves
        By tagger, in the order of the legend, which also names a tagger that no background jet passes.
    signal, background
        Names for the axes.
    auc
        By tagger, what the legend adds about it.
    note
        What the bands show.
    """
    if not curves:
        raise EmptySampleError("no rejection curve: nothing to draw")
    with styled():
        figure = new_figure()
        axes = figure.subplots()
        for number, (name, curve) in enumerate(curves.items()):
            known = np.isfinite(curve.rejection)
            label = f"{name}  AUC {auc[name]}" if auc and name in auc else name
            if not known.any():
                label += " (no background passes)"
            axes.plot(curve.eps_s[known], curve.rejection[known], label=label, **look(number))
            # An interval that reaches infinity ends at the top of the axis.
            high = np.where(np.isfinite(curve.high), curve.high, 1e9)
            axes.fill_between(
                curve.eps_s[known], curve.low[known], high[known], color=PALETTE[number % len(PALETTE)], alpha=0.2, lw=0
            )
        grid = np.linspace(0.01, 1.0, 100)
        axes.plot(grid, 1 / grid, color="0.6", lw=1, ls=":", label="guessing")
        highest = max(float(np.max(c.rejection, where=np.isfinite(c.rejection), initial=10.0)) for c in curves.values())
        axes.set(xlim=(0, 1), ylim=(1, 4 * highest), yscale="log")
        axes.set_xlabel(f"signal efficiency $\\epsilon_s$ ({plain(signal)})")
        axes.set_ylabel(f"background rejection $1/\\epsilon_b$ ({plain(background)})")
        axes.grid(which="major", alpha=0.3)
        axes.legend(loc="upper right", title=note, title_fontsize=11)
    return figure


def plot_roc(curves: Mapping[str, RocCurve], *, signal: str, background: str) -> Any:
    """Background efficiency (logarithmic) over signal efficiency for several taggers."""
    if not curves:
        raise EmptySampleError("no ROC curve: nothing to draw")
    with styled():
        figure = new_figure()
        axes = figure.subplots()
        for number, (name, curve) in enumerate(curves.items()):
            shown = curve.eps_b > 0
            axes.plot(curve.eps_s[shown], curve.eps_b[shown], label=name, **look(number))
        lowest = min(float(c.eps_b[c.eps_b > 0].min()) for c in curves.values())
        axes.set(xlim=(0, 1), ylim=(lowest / 2, 1.5), yscale="log")
        axes.set_xlabel(f"signal efficiency $\\epsilon_s$ ({plain(signal)})")
        axes.set_ylabel(f"background efficiency $\\epsilon_b$ ({plain(background)})")
        axes.grid(which="major", alpha=0.3)
        axes.legend(loc="lower right")
    return figure


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
            density = np.histogram(score, edges, weights=w)[0] / norm
            error = np.sqrt(np.histogram(score, edges, weights=w**2)[0]) / norm
            appearance = look(number)
            axes.stairs(density, edges, label=f"{name} ({len(score)} jets)", lw=2, **appearance)
            axes.stairs(density, edges, fill=True, color=appearance["color"], alpha=0.15)
            seen = density > 0
            axes.errorbar(centres[seen], density[seen], error[seen], fmt="none", color=appearance["color"], lw=1)
        axes.set(xlim=(0, 1), yscale="log", xlabel=plain(xlabel), ylabel="jets / bin width (normalised)")
        axes.set_title(plain(title), loc="left")
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
            shift = (number - (len(efficiencies) - 1) / 2) * 0.35 / max(len(efficiencies), 1)
            x = ((edges[1:] + edges[:-1]) / 2)[seen] + shift * 2 * half
            y = efficiency.value[seen]
            bars = [np.maximum(y - efficiency.low[seen], 0), np.maximum(efficiency.high[seen] - y, 0)]
            axes.errorbar(
                x, y, yerr=bars, label=name, fmt=MARKERS[number % len(MARKERS)], capsize=2.5, ms=6, lw=1.6,
                color=PALETTE[number % len(PALETTE)],
            )  # fmt: skip
        top = max(float(np.nanmax(e.high)) for e in efficiencies.values())
        axes.set(ylim=(0, 1.45 * top), xlabel=xlabel, ylabel=ylabel)
        first = next(iter(efficiencies.values())).edges
        axes.set_xlim(first[0], first[-1])
        axes.set_title(title, loc="left")
        axes.grid(axis="y", alpha=0.3)
        axes.legend(loc="upper center", ncols=2)
    return figure


def plot_training(histories: Mapping[str, Sequence[Mapping[str, float]]]) -> Any:
    """Loss and AUC per epoch.

    Parameters
    ----------
    histories
        By run: one record per epoch with ``epoch`` and any of ``train_loss``, ``val_loss``, ``val_auc``.
    """
    if not any(histories.values()):
        raise EmptySampleError("no training has an epoch: nothing to draw")
    with styled():
        figure = new_figure(size=(12.0, 5.0))
        panels = figure.subplots(1, 2)
        for number, (name, records) in enumerate(histories.items()):
            color = PALETTE[number % len(PALETTE)]
            for axes, key, line, suffix in (
                (panels[0], "train_loss", "--", " (train)"),
                (panels[0], "val_loss", "-", " (validation)"),
                (panels[1], "val_auc", "-", ""),
            ):
                points = [(r["epoch"], r[key]) for r in records if key in r]
                if points:
                    x, y = zip(*points, strict=True)
                    axes.plot(x, y, line, marker="o", ms=4, color=color, label=f"{name}{suffix}")
        for axes, label in ((panels[0], "loss"), (panels[1], "AUC on validation jets")):
            axes.set(xlabel="epoch", ylabel=label)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend(fontsize=10, loc="upper right" if axes is panels[0] else "lower right")
    return figure
