"""Pictures of what a network looks at and has learnt; arrays in, no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import EmptySampleError, require
from hepcnn.evaluation.image_plots import AXIS_LABELS
from hepcnn.evaluation.plot_style import PALETTE, head_figure, new_figure, plain, put_title, styled
from hepcnn.grids import Axis


def plot_maps(
    maps: Mapping[str, Mapping[str, ArrayLike]],
    *,
    axes: tuple[Axis, Axis],
    colour_label: str,
    is_signed: bool = True,
    limit: float | None = None,
    title: str = "",
) -> Any:
    """Draw maps over the image as a table of panels on one colour scale; pixels that are NaN are left blank.

    Parameters
    ----------
    maps
        By row, by column: (n_eta, n_phi). A panel that a row lacks stays empty.
    axes
        Those of the grid.
    colour_label
        What the colours mean.
    is_signed
        Whether values of both signs occur: colours are then symmetric about 0, white.
    limit
        Largest value of the scale; by default the 99.5 % quantile of all values, so that one pixel does not rule.
    title
        Above the first panel.

    Raises
    ------
    EmptySampleError
        When no map has a finite pixel.
    """
    columns = list(dict.fromkeys(column for row in maps.values() for column in row))
    arrays = [np.asarray(image, dtype=np.float64) for row in maps.values() for image in row.values()]
    finite = np.concatenate([image[np.isfinite(image)] for image in arrays]) if arrays else np.zeros(0)
    if not len(finite):
        raise EmptySampleError(f"{colour_label}: no map has a finite pixel: nothing to draw")
    largest = limit or float(np.quantile(np.abs(finite), 0.995)) or float(np.abs(finite).max()) or 1.0
    colours = {"vmin": -largest if is_signed else 0.0, "vmax": largest, "cmap": "RdBu_r" if is_signed else "magma"}
    cells = [(row, column, maps[row].get(column)) for row in maps for column in columns]
    # A single row that is too long for a page is wrapped.
    n_columns = 3 if len(maps) == 1 and len(columns) > 4 else len(columns)
    n_rows = -(-len(cells) // n_columns)
    with styled():
        figure = new_figure(size=(3.9 * n_columns + 1.3, 3.8 * n_rows))
        panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
        empty: tuple[str, str, ArrayLike | None] = ("", "", None)
        for panel, (row, column, image) in zip(panels.ravel(), [*cells, *[empty] * n_columns], strict=False):
            if image is None:
                panel.set_axis_off()
                continue
            panel.set_facecolor("0.85")
            shown = np.ma.masked_invalid(np.asarray(image, dtype=np.float64))
            drawn = panel.pcolormesh(axes[0].edges, axes[1].edges, shown.T, rasterized=True, **colours)
            panel.set(xlim=axes[0].edges[[0, -1]], ylim=axes[1].edges[[0, -1]])
            name = ", ".join(part for part in (plain(row), plain(column)) if part)
            panel.set_title(name, loc="left", fontsize=13)
        for panel in panels[-1]:
            panel.set_xlabel(AXIS_LABELS.get(axes[0].name, axes[0].name))
        for panel in panels[:, 0]:
            panel.set_ylabel(AXIS_LABELS.get(axes[1].name, axes[1].name))
        bar = figure.colorbar(drawn, ax=panels, aspect=25, pad=0.02)
        bar.set_label(colour_label, fontsize=13)
        head_figure(figure, title)
    return figure


def plot_kernels(kernels: ArrayLike, *, channels: Sequence[str], title: str = "", n_shown: int = 16) -> Any:
    """Draw the kernels that meet the image: a row per channel of the image, a column per kernel.

    Parameters
    ----------
    kernels
        (D, C, k, k). Of more than ``n_shown`` those with the largest norm are drawn, in that order.
    channels
        Names of the C channels.
    title
        Such as the layer's name.
    n_shown
        At most so many columns.
    """
    every = np.asarray(kernels, dtype=np.float64)
    order = np.argsort(-np.linalg.norm(every.reshape(len(every), -1), axis=1), kind="stable")[:n_shown]
    chosen = every[order]
    largest = float(np.abs(chosen).max()) or 1.0
    with styled():
        figure = new_figure(size=(0.75 * len(chosen) + 2.6, 0.78 * len(channels) + 0.9))
        axes = _tile(figure, len(channels), len(chosen))
        for row, name in enumerate(channels):
            for column, kernel in enumerate(chosen):
                drawn = _draw_tile(axes, row, column, kernel[row], cmap="RdBu_r", vmin=-largest, vmax=largest)
            _name_row(axes, row, plain(name))
        for column, number in enumerate(order):
            axes.text(column + 0.5, -0.08, str(number), ha="center", va="bottom", fontsize=10)
        figure.colorbar(drawn, ax=axes, label="weight", aspect=15, pad=0.01)
        head_figure(figure, title)
    return figure


def plot_feature_maps(
    image: ArrayLike,
    maps: Mapping[str, ArrayLike],
    *,
    title: str = "",
    n_shown: int = 8,
    n_stages: int = 10,
    channel: str = "",
) -> Any:
    """Draw what comes out of each stage for one jet: a row per stage, the image itself first.

    Parameters
    ----------
    image
        (n_eta, n_phi), one channel of the jet.
    maps
        By stage: (D, h, w). Of more than ``n_shown`` those that vary most are drawn, in that order.
    title, channel
        Which jet this is, and which channel of it.
    n_shown, n_stages
        At most so many columns, and so many stages, of more of which some are left out evenly.
    """
    rows: dict[str, NDArray[np.float64]] = {f"image ({channel})" if channel else "image": np.asarray(image)[None]}
    names = list(maps)
    for place in np.unique(np.linspace(0, len(names) - 1, min(len(names), n_stages)).round().astype(int)):
        name = names[place]
        values = np.asarray(maps[name], dtype=np.float64)
        order = np.argsort(-values.std(axis=(1, 2)), kind="stable")[:n_shown]
        rows[name] = values[order]
    with styled():
        figure = new_figure(size=(1.35 * n_shown + 2.2, 1.4 * len(rows) + 0.6))
        axes = _tile(figure, len(rows), n_shown)
        for row, (name, values) in enumerate(rows.items()):
            for column, one in enumerate(values):
                # Each on its own scale: maps of one stage differ by orders of magnitude.
                _draw_tile(axes, row, column, one, cmap="viridis")
            size = "×".join(map(str, values.shape[1:]))
            _name_row(axes, row, f"{plain(name)}\n{size}")
        head_figure(figure, title)
    return figure


def _tile(figure: Any, n_rows: int, n_columns: int) -> Any:
    """Axes without ticks, one unit a tile, the first row at the top: a hundred axes would take a minute to lay out."""
    axes = figure.subplots()
    axes.set(xlim=(0, n_columns), ylim=(n_rows, 0))
    axes.set_axis_off()
    return axes


def _draw_tile(axes: Any, row: int, column: int, image: NDArray[Any], **colours: Any) -> Any:
    """Draw an image, eta to the right and phi upwards, into its tile."""
    patches = require("matplotlib.patches", extra="evaluate")
    extent = (column + 0.06, column + 0.94, row + 0.94, row + 0.06)
    # A frame, so that pale pixels at the border do not run into the gap.
    axes.add_patch(patches.Rectangle((extent[0], extent[3]), 0.88, 0.88, fill=False, lw=0.8, zorder=3))
    return axes.imshow(image.T, origin="lower", extent=extent, aspect="auto", interpolation="nearest", **colours)


def _name_row(axes: Any, row: int, text: str) -> None:
    axes.text(-0.08, row + 0.5, text, ha="right", va="center", fontsize=12)


def plot_depths(
    names: Sequence[str],
    auc: ArrayLike,
    error: ArrayLike,
    *,
    whole: tuple[float, float] | None = None,
    title: str = "",
) -> Any:
    """Draw the AUC of linear probes against depth.

    Parameters
    ----------
    names
        Of the depths, the image first.
    auc, error
        Of each, NaN where there is no error.
    whole
        AUC and error of the network's own score on the same jets, drawn as a line.
    title
        Such as the tagger's name.
    """
    if not len(names):
        raise EmptySampleError("no depth was probed: nothing to draw")
    ticker = require("matplotlib.ticker", extra="evaluate")
    x, y, dy = np.arange(len(names)), np.asarray(auc, np.float64), np.nan_to_num(np.asarray(error, np.float64))
    with styled():
        figure = new_figure(size=(max(8.0, 0.75 * len(names) + 3), 6.0))
        axes = figure.subplots()
        axes.errorbar(x, y, yerr=dy, marker="o", capsize=3, color=PALETTE[0], label="linear probe of pooled maps")
        if whole is not None:
            axes.axhline(whole[0], color=PALETTE[2], ls="--", label="the network itself")
            axes.axhspan(whole[0] - whole[1], whole[0] + whole[1], color=PALETTE[2], alpha=0.15, lw=0)
        axes.set_xticks(x, [plain(name) for name in names], rotation=35, ha="right", fontsize=12)
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.set(ylabel="AUC", xlim=(-0.5, len(names) - 0.5))
        axes.grid(axis="y", alpha=0.3)
        axes.legend(loc="lower right")
        put_title(axes, title)
    return figure
