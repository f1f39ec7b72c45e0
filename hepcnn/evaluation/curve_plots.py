"""Pictures of curves over the signal efficiency: ROC, rejection, significance improvement, with a ratio below."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.bands import Band
from hepcnn.evaluation.plot_style import MOST_INSIDE, PALETTE, look, new_figure, plain, put_legend, put_title, styled

STATISTICAL, WITH_SEEDS = 0.35, 0.15
"""Opacities of the two bands; less where many lie on each other."""
MANY = 4


def plot_rejection(
    bands: Mapping[str, Band], *, signal: str, background: str, auc: Mapping[str, str] | None = None, title: str = ""
) -> Any:
    """Rejection over signal efficiency for several taggers, on a logarithmic axis, and their ratios to the first.

    Parameters
    ----------
    bands
        By tagger, in the order of the legend, which also names a tagger that no background jet passes.
    signal, background
        Names for the axes.
    auc
        By tagger, what the legend adds about it.
    title
        Such as the study.

    Raises
    ------
    EmptySampleError
        For no tagger.
    """
    with styled():
        figure, axes, below = _draw(bands, auc or {}, title)
        grid = np.linspace(0.01, 1.0, 100)
        axes.plot(grid, 1 / grid, color="0.6", lw=1, ls=":", label="guessing")
        _label(axes, below, signal, f"background rejection $1/\\epsilon_b$ ({plain(background)})")
        axes.set(ylim=(1, 4 * _highest(bands, 10.0)), yscale="log")
        _legend(axes, bands, "upper right")
    return figure


def plot_roc(
    bands: Mapping[str, Band], *, signal: str, background: str, auc: Mapping[str, str] | None = None, title: str = ""
) -> Any:
    """Background efficiency (logarithmic) over signal efficiency, and ratios to the first; see `plot_rejection`."""
    with styled():
        figure, axes, below = _draw(bands, auc or {}, title)
        grid = np.linspace(0.01, 1.0, 100)
        axes.plot(grid, grid, color="0.6", lw=1, ls=":", label="guessing")
        _label(axes, below, signal, f"background efficiency $\\epsilon_b$ ({plain(background)})")
        known = [band.value[band.value > 0] for band in bands.values()]
        lowest = min((float(values.min()) for values in known if len(values)), default=1e-3)
        axes.set(ylim=(lowest / 2, 1.5), yscale="log")
        _legend(axes, bands, "lower right")
    return figure


def plot_significance(bands: Mapping[str, Band], *, signal: str, background: str, title: str = "") -> Any:
    """Significance improvement over signal efficiency, and ratios to the first; see `plot_rejection`."""
    with styled():
        figure, axes, below = _draw(bands, {}, title)
        axes.axhline(1.0, color="0.6", lw=1, ls=":", label="no cut")
        _label(axes, below, signal, f"significance improvement $\\epsilon_s/\\epsilon_b^{{1/2}}$ ({plain(background)})")
        axes.set(ylim=(0, 1.35 * _highest(bands, 1.0)))
        _legend(axes, bands, "upper right")
    return figure


def _draw(bands: Mapping[str, Band], auc: Mapping[str, str], title: str) -> tuple[Any, Any, Any]:
    """The curves in an upper panel and, for two taggers or more, ratios to the first in a lower one."""
    if not bands:
        raise EmptySampleError("no curve: nothing to draw")
    several = len(bands) > 1
    figure = new_figure(size=(8.0, 7.5) if several else None)
    if several:
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        figure.get_layout_engine().set(h_pad=0.03, hspace=0.05)
    else:
        axes, below = figure.subplots(), None
    first = next(iter(bands))
    share = min(1.0, MANY / len(bands))
    for number, (name, band) in enumerate(bands.items()):
        label = plain(name) + (f"  AUC {auc[name]}" if name in auc else "")
        if not np.isfinite(band.value).any():
            label += " (no background passes)"
        _draw_band(axes, band, number, label, share)
        if below is not None:
            _draw_band(below, band.ratio_to(bands[first]), number, "", share)
    if below is not None:
        below.set_ylim(*_ratio_range(bands, first))
        below.set_ylabel("ratio to " + plain(first if len(first) < 14 else "first"), fontsize=13)
        below.grid(which="major", alpha=0.3)
    axes.grid(which="major", alpha=0.3)
    put_title(axes, title)
    return figure, axes, below


def _draw_band(axes: Any, band: Band, number: int, label: str, share: float) -> None:
    known = np.isfinite(band.value)
    axes.plot(band.x[known], band.value[known], label=label, **look(number))
    ends = [(band.stat_low, band.stat_high, STATISTICAL)]
    if band.n_seeds > 1:
        ends.append((band.low, band.high, WITH_SEEDS))
    for low, high, opacity in ends:
        # An interval that reaches infinity ends beyond the top of the axis.
        high = np.where(np.isfinite(high), high, 1e9)
        axes.fill_between(
            band.x[known], low[known], high[known], color=PALETTE[number % len(PALETTE)], alpha=opacity * share, lw=0
        )


def _ratio_range(bands: Mapping[str, Band], first: str) -> tuple[float, float]:
    """What most of the ratios above a few per cent of efficiency fill, 1 included."""
    ratios = [band.ratio_to(bands[first]) for band in bands.values()]
    values = np.concatenate([ratio.value[ratio.x > 0.1] for ratio in ratios])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.5, 1.5
    low, high = np.quantile(values, [0.02, 0.98])
    margin = 0.15 * max(float(high - low), 0.2)
    return max(0.0, min(float(low), 1.0) - margin), min(max(float(high), 1.0) + margin, 10.0)


def _highest(bands: Mapping[str, Band], least: float) -> float:
    return max(float(np.max(b.value, where=np.isfinite(b.value), initial=least)) for b in bands.values())


def _label(axes: Any, below: Any, signal: str, ylabel: str) -> None:
    (axes if below is None else below).set_xlabel(f"signal efficiency $\\epsilon_s$ ({plain(signal)})")
    axes.set(xlim=(0, 1), ylabel=ylabel)


def _legend(axes: Any, bands: Mapping[str, Band], place: str) -> None:
    note = "bands: 68 %, statistical"
    if any(band.n_seeds > 1 for band in bands.values()):
        note += "\n(dark), with seeds (light)" if len(bands) >= MOST_INSIDE else " (dark), with seeds (light)"
    put_legend(axes, place, title=note, title_fontsize=11)
