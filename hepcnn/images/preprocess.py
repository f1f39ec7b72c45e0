"""Centre, rotate, flip, normalise: the steps between constituents and pixels.

The steps act on the constituents' coordinates, before they are binned, so that nothing is interpolated and no energy
moves between pixels. The order is fixed whatever the order they are named in: DeepTop's (arXiv:1803.00107), but for the
flip, which is here taken before binning too. One code serves conversion and tagging.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.kinematics import delta_phi, pt_eta_phi, px_py_pz

Step = Literal["centre", "rotate", "flip", "normalise"]
STEPS: tuple[Step, ...] = ("centre", "rotate", "flip", "normalise")
VERSION = 1
"""Raised whenever the same steps give other numbers, so that a bundle can refuse images made differently."""

Float = NDArray[np.float64]


@dataclass(frozen=True)
class FlatJets:
    """Constituents of many jets laid end to end.

    ``jet`` (n,) is the number of the jet each constituent belongs to; ``deta``, ``dphi`` (n,) are relative to the
    image's centre; ``fields`` holds the other numbers per constituent; ``scale`` (n_jets,) is what the channels of each
    jet are divided by.
    """

    n_jets: int
    jet: NDArray[np.int64]
    deta: Float
    dphi: Float
    fields: dict[str, Float]
    scale: Float


def check_steps(steps: Sequence[str]) -> tuple[Step, ...]:
    """Return the steps in the order they are done.

    Raises
    ------
    ConfigError
        For a step that does not exist, or a rotation or flip without centring.
    """
    for step in steps:
        if step not in STEPS:
            raise ConfigError(f"preprocess: no step '{step}'{did_you_mean(step, STEPS)}")
    if {"rotate", "flip"} & set(steps) and "centre" not in steps:
        raise ConfigError("preprocess: 'rotate' and 'flip' turn the image about its centroid: name 'centre' too")
    return tuple(step for step in STEPS if step in steps)


def apply_preprocessing(constituents: ak.Array, steps: Sequence[Step]) -> FlatJets:
    """Bring constituents into the frame of their jet's image.

    Without a step the origin is the jet axis, the vector sum of the constituents.

    - ``centre``: the origin is the pT-weighted centroid.
    - ``rotate``: the principal axis, that of the largest pT-weighted variance, lies along dphi.
    - ``flip``: the halves at positive deta and at positive dphi hold more pT than those opposite.
    - ``normalise``: channels that scale with pT are divided by the jet's scalar sum of pT.

    Parameters
    ----------
    constituents
        (n_jets, var) of records with ``pt, eta, phi`` and more, GeV and radians. Not changed.
    steps
        From `check_steps`.

    Returns
    -------
    FlatJets
        A jet without constituents, or with zero pT, has none here and a scale of 1.

    Notes
    -----
    NaN in a constituent makes its whole jet NaN and so leaves it without pixels; readers refuse such jets before.
    """
    counts = ak.to_numpy(ak.num(constituents, axis=1))
    n_jets = len(counts)
    jet = np.repeat(np.arange(n_jets), counts)
    flat = ak.flatten(constituents, axis=1)
    fields = {name: ak.to_numpy(flat[name]).astype(np.float64) for name in ak.fields(flat)}
    pt = fields["pt"]
    deta, dphi = _relative_to_axis(fields, jet, n_jets)
    total = _sum(pt, jet, n_jets)
    safe_total = np.where(total > 0, total, 1.0)
    if "centre" in steps:
        deta = deta - (_sum(pt * deta, jet, n_jets) / safe_total)[jet]
        dphi = dphi - (_sum(pt * dphi, jet, n_jets) / safe_total)[jet]
    if "rotate" in steps:
        deta, dphi = _rotate(deta, dphi, pt, jet, n_jets)
    if "flip" in steps:
        deta, dphi = (_flip(coordinate, pt, jet, n_jets) for coordinate in (deta, dphi))
    scale = safe_total if "normalise" in steps else np.ones(n_jets)
    return FlatJets(n_jets, jet, deta, dphi, fields, scale)


def _sum(values: Float, jet: NDArray[np.int64], n_jets: int) -> Float:
    return np.asarray(np.bincount(jet, weights=values, minlength=n_jets), dtype=np.float64)


def _relative_to_axis(fields: dict[str, Float], jet: NDArray[np.int64], n_jets: int) -> tuple[Float, Float]:
    px, py, pz = px_py_pz(fields["pt"], fields["eta"], fields["phi"])
    _, eta, phi = pt_eta_phi(_sum(px, jet, n_jets), _sum(py, jet, n_jets), _sum(pz, jet, n_jets))
    return fields["eta"] - eta[jet], np.asarray(delta_phi(fields["phi"], phi[jet]))


def _rotate(deta: Float, dphi: Float, pt: Float, jet: NDArray[np.int64], n_jets: int) -> tuple[Float, Float]:
    var_eta = _sum(pt * deta**2, jet, n_jets)
    var_phi = _sum(pt * dphi**2, jet, n_jets)
    covariance = _sum(pt * deta * dphi, jet, n_jets)
    # The angle of the principal axis of a 2×2 covariance, from the dphi axis.
    angle = 0.5 * np.arctan2(2 * covariance, var_phi - var_eta)
    cosine, sine = np.cos(angle)[jet], np.sin(angle)[jet]
    return deta * cosine - dphi * sine, dphi * cosine + deta * sine


def _flip(coordinate: Float, pt: Float, jet: NDArray[np.int64], n_jets: int) -> Float:
    positive = _sum(pt * (coordinate > 0), jet, n_jets)
    negative = _sum(pt * (coordinate < 0), jet, n_jets)
    return coordinate * np.where(negative > positive, -1.0, 1.0)[jet]


def describe_preprocessing(steps: Sequence[Step]) -> dict[str, Any]:
    """What an output file and a bundle record about the preprocessing."""
    return {"version": VERSION, "steps": list(steps)}
