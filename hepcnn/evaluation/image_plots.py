"""The average jet image per class: the picture that says at a glance what a tagger can see."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import EmptySampleError, InputError, require
from hepcnn.evaluation.plot_style import head_figure, new_figure, plain, styled
from hepcnn.evaluation.samples import Floats, check_label, check_weight
from hepcnn.grids import Axis

AXIS_LABELS: Mapping[str, str] = {
    "deta": r"$\Delta\eta$",
    "dphi": r"$\Delta\phi$",
    "eta": r"$\eta$",
    "phi": r"$\phi$",
    "alpha": r"$\alpha$",
    "r": "r, mm",
}


def make_average_images(
    indptr: ArrayLike,
    index: ArrayLike,
    value: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    class_names: Sequence[str],
    grid: tuple[int, ...],
) -> dict[str, Floats]:
    """Average sparse images over the jets of each class.

    Parameters
    ----------
    indptr
        (N+1,) where each jet's pixels start.
    index
        (nnz,) flat pixel numbers in C order over the grid.
    value
        (nnz,) one channel.
    label, weight
        (N,).
    class_names
        Names of the classes.
    grid
        Pixels along each axis.

    Returns
    -------
    dict
        By class, of the shape of the grid. A class without jets (or with only zero weights) is left out.

    Raises
    ------
    InputError
        For pixels outside the grid, or labels out of range.
    """
    starts, pixels = np.asarray(indptr, dtype=np.int64), np.asarray(index, dtype=np.int64)
    n_jets, n_pixels = len(starts) - 1, math.prod(grid)
    if len(pixels) and (pixels.min() < 0 or pixels.max() >= n_pixels):
        raise InputError(
            f"pixel number {pixels.max()} is outside the grid {'x'.join(map(str, grid))}, expected < {n_pixels}"
        )
    labels = check_label(label, n_jets=n_jets, n_classes=len(class_names))
    weights = check_weight(weight, n_jets=n_jets)
    jet = np.repeat(np.arange(n_jets), np.diff(starts))
    content = np.asarray(value, dtype=np.float64) * weights[jet]
    averages = {}
    for number, name in enumerate(class_names):
        total = weights[labels == number].sum()
        if total > 0:
            mine = labels[jet] == number
            summed = np.bincount(pixels[mine], weights=content[mine], minlength=n_pixels)
            averages[name] = (summed / total).reshape(grid)
    return averages


def project_images(
    images: Mapping[str, NDArray[Any]], axes: Sequence[Axis]
) -> tuple[dict[str, NDArray[Any]], tuple[Axis, Axis]]:
    """Add up images over all but the two axes that have the most pixels.

    Parameters
    ----------
    images
        By class, of the shape of the axes.
    axes
        Those of the grid. A single one gets a second of one pixel.

    Returns
    -------
    tuple
        The images, each (n, m), and their two axes.
    """
    every = [*axes, Axis("", np.array([0.0, 1.0]))] if len(axes) == 1 else list(axes)
    sizes = [len(axis.edges) - 1 for axis in every]
    kept = choose_axes(sizes)
    others = tuple(place for place in range(len(every)) if place not in kept)
    flat = {name: np.asarray(image).reshape(sizes).sum(axis=others) for name, image in images.items()}
    return flat, (every[kept[0]], every[kept[1]])


def choose_axes(sizes: Sequence[int]) -> tuple[int, int]:
    """Which two of two or more axes have the most pixels, given how many each has."""
    return max(combinations(range(len(sizes)), 2), key=lambda pair: sizes[pair[0]] * sizes[pair[1]])


def plot_average_images(
    images: Mapping[str, NDArray[Any]],
    *,
    axes: tuple[Axis, Axis],
    colour_label: str = "mean pixel",
    is_rotated: bool = False,
    difference: tuple[str, str] | None = None,
    what: str = "jet",
) -> Any:
    """Average image per class on one logarithmic colour scale, and the difference of two of them.

    Parameters
    ----------
    images
        By class, (n, m), not negative. Empty pixels are drawn in the darkest colour.
    axes
        Those of the images, see `project_images`.
    colour_label
        What a pixel holds.
    is_rotated
        Whether the jets were turned, which the labels of deta and dphi then say.
    difference
        Two classes, first minus second; by default the first two where there are just two.
    what
        What the images are of, for the titles.

    Raises
    ------
    EmptySampleError
        When no image has a positive pixel.
    """
    colors = require("matplotlib.colors", extra="evaluate")
    if not images or not any((np.asarray(i) > 0).any() for i in images.values()):
        raise EmptySampleError("no average image has a positive pixel: nothing to draw")
    if difference is None and len(images) == 2:
        first, second = images
        difference = first, second
    highest = max(float(np.max(i)) for i in images.values())
    norm = colors.LogNorm(highest * 1e-5, highest, clip=True)
    n_panels = len(images) + (difference is not None)
    n_columns = min(n_panels, 3)
    n_rows = -(-n_panels // n_columns)
    with styled():
        figure = new_figure(size=(5.4 * n_columns, 4.9 * n_rows))
        panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
        for panel, (name, image) in zip(panels, images.items(), strict=False):
            drawn = _draw_pixels(panel, image, axes, norm, "viridis")
            panel.set_title(f"average {plain(name)} {what}", loc="left")
        figure.colorbar(drawn, ax=list(panels[: len(images)]), label=colour_label, pad=0.02, aspect=25)
        if difference is not None:
            _draw_difference(figure, panels[len(images)], images, difference, axes)
        for panel in panels[:n_panels]:
            panel.set(xlabel=_label_axis(axes[0], is_rotated), ylabel=_label_axis(axes[1], is_rotated))
            # ATLAS's style would round them outward.
            panel.set(xlim=axes[0].edges[[0, -1]], ylim=axes[1].edges[[0, -1]])
        for panel in panels[n_panels:]:
            panel.set_axis_off()
        head_figure(figure)
    return figure


def _label_axis(axis: Axis, is_rotated: bool) -> str:
    turned = " (rotated)" if is_rotated and axis.name in ("deta", "dphi") else ""
    return AXIS_LABELS.get(axis.name, axis.name) + turned


def _draw_pixels(panel: Any, image: Any, axes: tuple[Axis, Axis], norm: Any, colours: str) -> Any:
    # Not imshow: pixels of a cylinder are not equally wide.
    return panel.pcolormesh(axes[0].edges, axes[1].edges, np.asarray(image).T, norm=norm, cmap=colours, rasterized=True)


def _draw_difference(
    figure: Any,
    panel: Any,
    images: Mapping[str, NDArray[Any]],
    pair: tuple[str, str],
    axes: tuple[Axis, Axis],
) -> None:
    colors = require("matplotlib.colors", extra="evaluate")
    change = np.asarray(images[pair[0]]) - np.asarray(images[pair[1]])
    largest = float(np.abs(change).max()) or 1.0
    # Linear near zero, logarithmic beyond: the core is a thousand times brighter than the prongs around it. The linear
    # part ends at a power of ten, so that ticks are equally far apart.
    highest = int(np.floor(np.log10(largest)))
    powers = 10.0 ** np.arange(highest - 2, highest + 1)
    norm = colors.SymLogNorm(powers[0], vmin=-largest, vmax=largest)
    drawn = _draw_pixels(panel, change, axes, norm, "RdBu_r")
    panel.set_title(f"{plain(pair[0])} minus {plain(pair[1])}", loc="left")
    bar = figure.colorbar(
        drawn, ax=panel, label="difference", pad=0.02, aspect=25, ticks=[*-powers[::-1], 0.0, *powers]
    )
    bar.ax.minorticks_off()
