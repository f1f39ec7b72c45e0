"""Pictures of what networks look at: what they draw."""

import numpy as np
import pytest

from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.explain_plots import plot_depths, plot_feature_maps, plot_kernels, plot_maps
from hepcnn.grids import WindowGrid

AXES = WindowGrid(n_eta=4, n_phi=6, half_width=1.0).axes


def test_maps_share_a_symmetric_scale_and_leave_nan_blank() -> None:
    one = np.full((4, 6), 0.5)
    one[0, 0] = np.nan
    figure = plot_maps({"qcd": {"low": one}, "top": {"low": -2 * one, "high": one}}, axes=AXES, colour_label="x")  # type: ignore[arg-type]
    shown = [panel for panel in figure.axes if panel.axison and panel.collections]
    drawn = [panel.collections[0] for panel in shown][:3]
    assert all(mesh.get_clim() == (-1.0, 1.0) for mesh in drawn)
    # eta runs along x: the blank pixel is the first in both.
    assert np.ma.getmaskarray(drawn[0].get_array()).reshape(6, 4)[0, 0]
    assert np.ma.getmaskarray(drawn[0].get_array()).sum() == 1
    assert [panel.get_title(loc="left") for panel in shown][:3] == ["qcd, low", "top, low", "top, high"]
    with pytest.raises(EmptySampleError, match="no map has a finite pixel"):
        plot_maps({"a": {"b": one * np.nan}}, axes=AXES, colour_label="x")  # type: ignore[arg-type]


def test_the_strongest_kernels_are_shown_first() -> None:
    kernels = np.ones((20, 2, 3, 3)) * np.arange(20).reshape(-1, 1, 1, 1)
    figure = plot_kernels(kernels, channels=("pt", "ecal"), n_shown=4)
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["pt", "ecal", "19", "18", "17", "16"]
    assert [float(image.get_array()[0, 0]) for image in axes.images] == [19.0, 18.0, 17.0, 16.0] * 2


def test_feature_maps_have_a_row_per_stage() -> None:
    maps = {"one": np.random.default_rng(0).random((12, 4, 6)), "two": np.zeros((3, 2, 3))}
    figure = plot_feature_maps(np.zeros((4, 6)), maps, n_shown=5, title="top")
    tiles = [image.get_extent() for image in figure.axes[0].images]
    assert [sum(int(tile[3]) == row for tile in tiles) for row in range(3)] == [1, 5, 3]
    many = plot_feature_maps(np.zeros((4, 6)), {str(n): np.ones((1, 2, 2)) for n in range(25)}, n_stages=4)
    assert [text.get_text().split()[0] for text in many.axes[0].texts] == ["image", "0", "8", "16", "24"]
    # phi runs upwards inside a tile, though rows of tiles run down.
    assert all(bottom > top for _, _, bottom, top in tiles)


def test_depths_are_drawn_in_order_with_their_errors() -> None:
    figure = plot_depths(["image", "a", "b"], [0.7, 0.8, 0.9], [0.01, np.nan, 0.02], whole=(0.95, 0.01))
    line = figure.axes[0].containers[0].lines[0]
    assert line.get_ydata().tolist() == [0.7, 0.8, 0.9]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["image", "a", "b"]
    with pytest.raises(EmptySampleError):
        plot_depths([], [], [])
