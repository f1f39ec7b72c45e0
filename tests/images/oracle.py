"""The same images by other means: NumPy, one array operation over all jets a step, nothing compiled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hepcnn.constituents import Constituents
from hepcnn.images.grids import Grid


@dataclass(frozen=True)
class Frame:
    """Coordinates (n,) relative to the image's centre."""

    deta: np.ndarray
    dphi: np.ndarray


def find_frame(jets: Constituents, steps: Sequence[str]) -> Frame:
    """Axis, centroid, principal axis and flip of all jets."""
    jet, pt, eta, phi = jets.jet, jets.fields["pt"], jets.fields["eta"], jets.fields["phi"]

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(jet, weights=values, minlength=len(jets))

    px, py, pz = (total(p) for p in (pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)))
    with np.errstate(all="ignore"):
        axis_eta, axis_phi = np.arcsinh(pz / np.hypot(px, py)), np.arctan2(py, px)
    deta, dphi = eta - axis_eta[jet], np.angle(np.exp(1j * (phi - axis_phi[jet])))
    scale = np.where(total(pt) > 0, total(pt), 1.0)
    if "centre" in steps:
        deta, dphi = (values - (total(pt * values) / scale)[jet] for values in (deta, dphi))
    if "rotate" in steps:
        # The eigenvector of the larger eigenvalue of the covariance goes to dphi.
        with np.errstate(all="ignore"):
            angle = 0.5 * np.arctan2(2 * total(pt * deta * dphi), total(pt * dphi**2) - total(pt * deta**2))[jet]
        turned = (deta + 1j * dphi) * np.exp(1j * angle)
        deta, dphi = turned.real, turned.imag
    if "flip" in steps:
        deta, dphi = (
            values * np.where(total(pt * (values < 0)) > total(pt * (values > 0)), -1.0, 1.0)[jet]
            for values in (deta, dphi)
        )
    return Frame(deta, dphi)


def channel_values(name: str, fields: dict[str, np.ndarray]) -> np.ndarray:
    """What each constituent adds to a channel."""
    pt, one = fields["pt"], np.ones_like(fields["pt"])
    if ":" in name:
        return fields[name.partition(":")[2]] * (pt if name.startswith("pt_mean") else 1.0)
    if name in ("ecal", "hcal"):
        return fields[name] / np.cosh(fields["eta"])
    value = {"energy": fields.get("energy")}.get(name, one if "multiplicity" in name else pt)
    if name.startswith("track"):
        return value * (fields["charge"] != 0)
    return value * (fields["charge"] == 0) if name.startswith("neutral") else value


def make_pixels(
    jets: Constituents, grid: Grid, channels: Sequence[str], steps: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Jet and pixel (m,) and channels (m, C) of every pixel that holds a constituent, jet by jet, pixels rising."""
    fields = dict(jets.fields)
    if grid.follows_jet:
        frame = find_frame(jets, steps)
        fields |= {"deta": frame.deta, "dphi": frame.dphi}
    if "phi" in {axis.name for axis in grid.axes}:
        fields["phi"] = np.angle(np.exp(1j * fields["phi"]))
    points = [fields[axis.name] for axis in grid.axes]
    bins = [np.searchsorted(axis.edges, x, side="right") - 1 for axis, x in zip(grid.axes, points, strict=True)]
    inside = np.logical_and.reduce([(b >= 0) & (b < n) for b, n in zip(bins, grid.shape, strict=True)])
    jet, pixel = jets.jet[inside], np.ravel_multi_index([b[inside] for b in bins], grid.shape)
    cells, place = np.unique(jet * grid.n_pixels + pixel, return_inverse=True)
    fields = {name: values[inside] for name, values in fields.items()}
    total = np.bincount(jets.jet, weights=jets.fields["pt"], minlength=len(jets))
    pt_sum = np.bincount(place, weights=fields["pt"], minlength=len(cells))
    value = np.empty((len(cells), len(channels)))
    for column, name in enumerate(channels):
        value[:, column] = np.bincount(place, weights=channel_values(name, fields), minlength=len(cells))
        if name.startswith("pt_mean"):
            value[:, column] /= pt_sum
        if "normalise" in steps and "multiplicity" not in name and ":" not in name:
            value[:, column] /= total[cells // grid.n_pixels]
    return cells // grid.n_pixels, cells % grid.n_pixels, value


def make_images(jets: Constituents, grid: Grid, channels: Sequence[str], steps: Sequence[str]) -> np.ndarray:
    """Dense images (N, C, …) in float64."""
    jet, pixel, value = make_pixels(jets, grid, channels, steps)
    images = np.zeros((len(jets), len(channels), grid.n_pixels))
    images[jet, :, pixel] = value
    return images.reshape(len(jets), len(channels), *grid.shape)
