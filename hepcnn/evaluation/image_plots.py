"""The average jet image per class: the picture that says at a glance what a tagger can see."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import EmptySampleError, InputError, require
from hepcnn.evaluation.plot_style import new_figure, plain, styled
from hepcnn.evaluation.samples import Floats, check_label, check_weight


def make_average_images(
    indptr: ArrayLike,
    index: ArrayLike,
    value: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    class_names: Sequence[str],
    grid: tuple[int, int],
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
        (n_eta, n_phi).

    Returns
    -------
    dict
        By class, (n_eta, n_phi). A class without jets (or with only zero weights) is left out.

    Raises
    ------
    InputError
        For pixels outside the grid, or labels out of range.
    """
    starts, pixels = np.asarray(indptr, dtype=np.int64), np.asarray(index, dtype=np.int64)
    n_jets, n_pixels = len(starts) - 1, grid[0] * grid[1]
    if len(pixels) and (pixels.min() < 0 or pixels.max() >= n_pixels):
        raise InputError(f"pixel number {pixels.max()} is outside the grid {grid[0]}x{grid[1]}, expected < {n_pixels}")
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


def plot_average_images(
    images: Mapping[str, NDArray[Any]],
    *,
    extent: tuple[float, float, float, float],
    colour_label: str = "mean pixel",
    axis_labels: tuple[str, str] = (r"$\Delta\eta$", r"$\Delta\phi$"),
    difference: tuple[str, str] | None = None,
) -> Any:
    """Average image per class on one logarithmic colour scale, and the difference of two of them.

    Parameters
    ----------
    images
        By class, (n_eta, n_phi), not negative. Empty pixels are drawn in the darkest colour.
    extent
        Lowest and highest eta, lowest and highest phi of the grid, relative to the jet axis.
    colour_label
        What a pixel holds.
    axis_labels
        Of eta and phi; say here if images are rotated.
    difference
        Two classes, first minus second; by default the first two where there are just two.

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
        for axes, (name, image) in zip(panels, images.items(), strict=False):
            drawn = axes.imshow(np.asarray(image).T, origin="lower", extent=extent, norm=norm, cmap="viridis")
            axes.set_title(f"average {plain(name)} jet", loc="left")
        figure.colorbar(drawn, ax=list(panels[: len(images)]), label=colour_label, pad=0.02, aspect=25)
        if difference is not None:
            _draw_difference(figure, panels[len(images)], images, difference, extent, colour_label)
        for axes in panels[:n_panels]:
            axes.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
        for axes in panels[n_panels:]:
            axes.set_axis_off()
    return figure


def _draw_difference(
    figure: Any,
    axes: Any,
    images: Mapping[str, NDArray[Any]],
    pair: tuple[str, str],
    extent: tuple[float, float, float, float],
    colour_label: str,
) -> None:
    colors = require("matplotlib.colors", extra="evaluate")
    change = np.asarray(images[pair[0]]) - np.asarray(images[pair[1]])
    largest = float(np.abs(change).max()) or 1.0
    # Linear near zero, logarithmic beyond: the core is a thousand times brighter than the prongs around it.
    norm = colors.SymLogNorm(largest * 1e-3, vmin=-largest, vmax=largest)
    drawn = axes.imshow(change.T, origin="lower", extent=extent, norm=norm, cmap="RdBu_r")
    axes.set_title(f"{plain(pair[0])} minus {plain(pair[1])}", loc="left")
    figure.colorbar(drawn, ax=axes, label=f"difference of {colour_label}", pad=0.02, aspect=25)
