"""Pictures of showers: average profiles along and across the axis, and single showers in three dimensions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import EmptySampleError, InputError, require
from hepcnn.evaluation.plot_style import MARKERS, head_figure, look, new_figure, plain, put_legend, styled
from hepcnn.evaluation.samples import Floats, check_weight

MOST_CELLS = 3000
"""Cells of a shower that are drawn, those of most energy."""


@dataclass(frozen=True)
class Profile:
    """A mean over showers in bins, with the standard error of the mean.

    ``edges`` (B+1,); ``value`` and ``error`` (B,).
    """

    edges: Floats
    value: Floats
    error: Floats


def make_profile(content: ArrayLike, weight: ArrayLike | None, edges: ArrayLike, *, density: bool = False) -> Profile:
    """Average what showers have in bins.

    Parameters
    ----------
    content
        (N, B), such as fractions of energy by layer.
    weight
        (N,).
    edges
        (B+1,) of the bins.
    density
        Divide by the bins' widths.

    Raises
    ------
    InputError
        For shapes that do not fit.
    EmptySampleError
        Without a shower, or where weights do not add up to more than zero.
    """
    values, limits = np.asarray(content, np.float64), np.asarray(edges, np.float64)
    if values.ndim != 2 or limits.shape != (values.shape[1] + 1,):
        raise InputError(f"content has shape {values.shape} and edges {limits.shape}; expected (N, B) and (B + 1,)")
    w = check_weight(weight, n_jets=len(values))
    if not w.sum() > 0:
        raise EmptySampleError("no shower has a weight: there is no profile")
    w = w / w.sum()
    mean = w @ values
    error = np.sqrt((w**2) @ (values - mean) ** 2)
    width = np.diff(limits) if density else 1.0
    return Profile(limits, mean / width, error / width)


def plot_profiles(
    profiles: Mapping[str, Profile], *, xlabel: str, ylabel: str, title: str = "", is_log: bool = False
) -> Any:
    """Average profiles as steps with errors.

    Parameters
    ----------
    profiles
        By what they are of.
    xlabel, ylabel, title
        For the axes.
    is_log
        Whether the vertical axis is logarithmic.
    """
    if not profiles:
        raise EmptySampleError("no profile: nothing to draw")
    with styled():
        figure = new_figure()
        axes = figure.subplots()
        for number, (name, profile) in enumerate(profiles.items()):
            appearance = look(number)
            axes.stairs(profile.value, profile.edges, label=plain(name), lw=1.8, **appearance)
            centres = (profile.edges[1:] + profile.edges[:-1]) / 2
            axes.errorbar(
                centres,
                profile.value,
                profile.error,
                fmt=MARKERS[number % len(MARKERS)],
                ms=3,
                lw=1,
                color=appearance["color"],
            )
        axes.set(xlabel=xlabel, ylabel=ylabel)
        first = next(iter(profiles.values()))
        axes.set_xlim(first.edges[0], first.edges[-1])
        if is_log:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_title(plain(title), loc="left")
        axes.grid(alpha=0.3)
        put_legend(axes, "upper right")
    return figure


@dataclass(frozen=True)
class DrawnShower:
    """The cells of a shower: ``x, y, z`` in mm (or numbers of cells) and ``energy`` in GeV, (n,) each."""

    title: str
    x: Floats
    y: Floats
    z: Floats
    energy: Floats


def plot_showers(
    showers: Sequence[DrawnShower], *, labels: tuple[str, str, str] = ("z [mm]", "x [mm]", "y [mm]"), title: str = ""
) -> Any:
    """Showers in three dimensions, one panel each: every cell a mark, its size and colour the energy.

    Parameters
    ----------
    showers
        In order.
    labels
        Of the axis of the calorimeter, and of the two across it.
    title
        Above all.

    Raises
    ------
    EmptySampleError
        When no cell has energy.
    """
    drawn = [(shower, np.flatnonzero(shower.energy > 0)) for shower in showers]
    if not any(len(cells) for _, cells in drawn):
        raise EmptySampleError("no cell has energy: nothing to draw")
    colors = require("matplotlib.colors", extra="evaluate")
    # Registers the projection.
    require("mpl_toolkits.mplot3d", extra="evaluate")
    highest = max(float(shower.energy[cells].max()) for shower, cells in drawn if len(cells))
    norm = colors.LogNorm(highest * 1e-4, highest, clip=True)
    extent = [_extent([getattr(shower, axis)[cells] for shower, cells in drawn]) for axis in ("z", "x", "y")]
    n_columns = min(len(drawn), 2 if len(drawn) == 4 else 3)
    n_rows = -(-len(drawn) // n_columns)
    with styled():
        figure = new_figure(size=(5.6 * n_columns + 0.8, 5.2 * n_rows))
        panels = []
        for number, (shower, cells) in enumerate(drawn):
            panel = figure.add_subplot(n_rows, n_columns, number + 1, projection="3d")
            panels.append(panel)
            order = cells[np.argsort(shower.energy[cells])][-MOST_CELLS:]
            energy = shower.energy[order]
            marks = panel.scatter(
                shower.z[order], shower.x[order], shower.y[order], c=energy, norm=norm, cmap="viridis_r",
                s=2 + 60 * np.sqrt(energy / highest), alpha=0.8, linewidths=0, depthshade=False,
            )  # fmt: skip
            panel.set(xlim=extent[0], ylim=extent[1], zlim=extent[2])
            panel.set_box_aspect((1.6, 1, 1), zoom=1.1)
            for setter, label in zip((panel.set_xlabel, panel.set_ylabel, panel.set_zlabel), labels, strict=True):
                setter(label, fontsize=11, labelpad=6)
            panel.tick_params(labelsize=8, pad=0)
            panel.locator_params(nbins=5)
            panel.view_init(elev=18, azim=-65)
            panel.set_title(plain(shower.title), loc="left", fontsize=13)
        figure.colorbar(marks, ax=panels, label="energy of a cell [GeV]", shrink=0.6, pad=0.08, aspect=25)
        head_figure(figure, title)
    return figure


def _extent(values: Sequence[Floats]) -> tuple[float, float]:
    every = np.concatenate(list(values))
    low, high = float(every.min()), float(every.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
