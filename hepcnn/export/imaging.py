"""Constituents → images and jet-level numbers as nodes of an ONNX graph: what `hepcnn.images` does, in float64.

Shapes: N jets, P constituents at most, C channels, F fields. Every column is (N, P), every number of a jet (N, 1).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from hepcnn.errors import ExportError
from hepcnn.export.nodes import Value, arcsinh, arctan2, concatenate, cosine, sinh
from hepcnn.images.channels import Channel, find_channel
from hepcnn.images.grids import CellGrid, GivenGrid, Grid, PlacedGrid
from hepcnn.images.recipe import ImageRecipe

TWO_PI = 2 * math.pi
BY_PLACE = "cells that are found by place need a search in edges, which graphs have not"
EDGE, TIE = 1e-9, 1e-12
"""As `hepcnn.images.compiled` has them; a test compares."""
FEATURES = ("pt", "mass", "n_constituents", "n_tracks")
"""Jet-level numbers that a graph can make. The others need FastJet's clustering."""


def list_fields(recipe: ImageRecipe) -> tuple[str, ...]:
    """The constituent fields that the graph of a recipe takes, in its order."""
    needed = ["pt", "eta", "phi", *recipe.grid.needs]
    needed += [field for name in recipe.channels for field in find_channel(name).needs]
    needed += ["charge"] if "n_tracks" in recipe.jet_features else []
    needed += ["energy"] if "mass" in recipe.jet_features else []
    return tuple(dict.fromkeys(needed))


def list_given(recipe: ImageRecipe) -> tuple[str, ...]:
    """The jet-level numbers that must be given to the graph."""
    return tuple(name for name in recipe.jet_features if name not in FEATURES)


@dataclass(frozen=True)
class Momentum:
    """Vector sum of a jet, each (N, 1), GeV."""

    px: Value
    py: Value
    pz: Value


def sum_momenta(columns: Mapping[str, Value]) -> Momentum:
    """Add up constituents."""
    pt, phi = columns["pt"], columns["phi"]
    return Momentum((pt * cosine(phi)).sum(), (pt * phi.apply("Sin")).sum(), (pt * sinh(columns["eta"])).sum())


def make_features(
    columns: Mapping[str, Value], valid: Value, given: Value | None, recipe: ImageRecipe, momentum: Momentum | None
) -> Value | None:
    """The jet-level numbers, (N, F) float32; None where a recipe has none."""
    parts = []
    for name in recipe.jet_features:
        if name in FEATURES:
            parts.append(_make_feature(name, columns, valid, momentum).cast(TensorProto.FLOAT))
        elif given is not None:
            place = np.array([list_given(recipe).index(name)])
            parts.append(given.apply("Gather", place, axis=1))
    return concatenate(parts, axis=1) if parts else None


def _make_feature(name: str, columns: Mapping[str, Value], valid: Value, momentum: Momentum | None) -> Value:
    if name == "n_tracks":
        return (valid & ~columns["charge"].apply("Equal", 0.0)).double().sum()
    if name == "n_constituents" or momentum is None:
        return valid.double().sum()
    px, py, pz = momentum.px, momentum.py, momentum.pz
    if name == "pt":
        return (px * px + py * py).sqrt()
    energy = columns["energy"].sum()
    return (energy * energy - px * px - py * py - pz * pz).apply("Max", 0.0).sqrt()


def find_frame(columns: Mapping[str, Value], momentum: Momentum, steps: Sequence[str]) -> dict[str, Value]:
    """Where constituents are in the image of their jet, as `hepcnn.images.preprocess.find_frame` says."""
    pt = columns["pt"]
    transverse = (momentum.px * momentum.px + momentum.py * momentum.py).sqrt()
    x = columns["eta"] - arcsinh(momentum.pz / transverse)
    y = _wrap(columns["phi"] - arctan2(momentum.py, momentum.px))
    if "centre" in steps:
        total = pt.sum()
        x, y = (values - (pt * values).sum() / total for values in (x, y))
    if "rotate" in steps:
        x, y = _rotate(pt, x, y)
    if "flip" in steps:
        x, y = _flip(pt, x), _flip(pt, y)
    return {"deta": x, "dphi": y}


def _wrap(angle: Value) -> Value:
    return angle - TWO_PI * ((angle + math.pi) / TWO_PI).floor()


def _rotate(pt: Value, x: Value, y: Value) -> tuple[Value, Value]:
    across, along, mixed = ((pt * a * b).sum() for a, b in ((x, x), (y, y), (x, y)))
    limit = TIE * (across + along)
    twist, stretch = ((values.apply("Abs") <= limit).where(0.0, values) for values in (2.0 * mixed, along - across))
    # Cosine and sine of half the angle of (stretch, twist), the larger one by the root, which then loses no digits.
    length = (twist * twist + stretch * stretch).sqrt()
    is_zero = length <= 0.0
    length = is_zero.where(1.0, length)
    larger = is_zero.where(1.0, (0.5 + 0.5 * stretch.apply("Abs") / length).sqrt())
    smaller = 0.5 * twist.apply("Abs") / length / larger
    upright = stretch >= 0.0
    cosine_, sine = upright.where(larger, smaller), upright.where(smaller, larger)
    sine = (twist >= 0.0).where(sine, -sine)
    return x * cosine_ - y * sine, y * cosine_ + x * sine


def _flip(pt: Value, values: Value) -> Value:
    positive, negative = (pt * (values > TIE).double()).sum(), (pt * (values < -TIE).double()).sum()
    return values * (negative > positive * (1 + TIE)).where(-1.0, 1.0)


def find_pixels(grid: Grid, points: Mapping[str, Value], valid: Value) -> tuple[Value, Value]:
    """Which constituents are inside, and the number of their pixel (int64; 0 for one outside).

    Raises
    ------
    ExportError
        For a grid whose pixels are found by place.
    """
    if isinstance(grid, PlacedGrid):
        raise ExportError(f"constituents: {BY_PLACE}: export with '--input images'")
    if isinstance(grid, CellGrid):
        axes: list[tuple[str, float, float, int, bool]] = [("cell", 0.0, 1.0, grid.n_cells, False)]
    else:
        axes = [
            (axis.name, axis.edges[0], (len(axis.edges) - 1) / (axis.edges[-1] - axis.edges[0]), n, axis.periodic)
            for axis, n in zip(grid.axes, grid.shape, strict=True)
        ]
    inside, bins = valid, []
    for name, low, scale, n_bins, periodic in axes:
        column = _wrap(points[name]) if periodic else points[name]
        scaled = (column - float(low)) * float(scale) + EDGE
        if periodic:
            # Rounding took an angle just below pi to pi.
            scaled = (scaled >= float(n_bins)).where(n_bins - 0.5, scaled)
        inside = inside & (scaled >= 0.0) & (scaled < float(n_bins))
        bins.append((scaled.floor(), float(n_bins)))
    pixel = bins[0][0]
    for place, n in bins[1:]:
        pixel = pixel * n + place
    index = inside.where(pixel, 0.0).cast(TensorProto.INT64)
    if isinstance(grid, CellGrid) and not isinstance(grid, GivenGrid):
        index = valid.nodes.constant(grid.pixel_of_cell).apply("Gather", index, axis=0)
    return inside, index


def fill_images(recipe: ImageRecipe, columns: Mapping[str, Value], inside: Value, index: Value) -> Value:
    """Images (N, C, and the axes of the grid) float32: channels added up in float64, then rounded."""
    n_pixels = recipe.grid.n_pixels
    channels = [find_channel(name) for name in recipe.channels]
    pt = columns["pt"]
    total = pt.sum()
    factor = (total > 0.0).where(1.0 / total, 1.0) if "normalise" in recipe.steps else None
    values = [_channel_values(channel, columns, inside, factor) for channel in channels]
    means = [place for place, channel in enumerate(channels) if channel.is_mean]
    if means:
        values.append(inside.where(pt, 0.0))
    sums = _scatter(values, index, n_pixels)
    if means:
        sums = _divide_means(sums, means, len(channels))
    return sums.cast(TensorProto.FLOAT).reshape(0, len(channels), *recipe.grid.shape)


def _channel_values(channel: Channel, columns: Mapping[str, Value], inside: Value, factor: Value | None) -> Value:
    taken = inside
    if channel.among != "all":
        neutral = columns["charge"].apply("Equal", 0.0)
        taken = inside & (neutral if channel.among == "neutral" else ~neutral)
    if channel.field is None:
        return taken.double()
    value = columns[channel.field]
    if channel.transverse:
        grown = columns["eta"].apply("Exp")
        value = value * (2.0 / (grown + 1.0 / grown))
    if channel.is_mean:
        value = value * columns["pt"]
    if factor is not None and channel.scales_with_pt:
        value = value * factor
    return taken.where(value, 0.0)


def _scatter(values: Sequence[Value], index: Value, n_pixels: int) -> Value:
    """Add (N, P) columns up by pixel, (N, columns, pixels)."""
    places = [index if k == 0 else index + np.array(k * n_pixels) for k in range(len(values))]
    length = np.array([len(values) * n_pixels])
    n_jets = index.apply("Shape", start=0, end=1)
    shape = n_jets.apply("Concat", length, axis=0)
    zero: dict[str, Any] = {"value": TensorProto(data_type=TensorProto.DOUBLE, dims=[1], double_data=[0.0])}
    empty = shape.apply("ConstantOfShape", **zero)
    filled = empty.apply(
        "ScatterElements", concatenate(places, axis=1), concatenate(values, axis=1), axis=1, reduction="add"
    )
    return filled.reshape(0, len(values), n_pixels)


def _divide_means(sums: Value, means: Sequence[int], n_channels: int) -> Value:
    """Divide the columns of means by the pT of their pixel, the last column, which goes."""
    parts = sums.nodes.add("Split", sums, outputs=n_channels + 1, axis=1, num_outputs=n_channels + 1)
    weight = (parts[-1] > 0.0).where(parts[-1], 1.0)
    return concatenate([part / weight if k in means else part for k, part in enumerate(parts[:-1])], axis=1)
