"""Groom, centre, rotate, flip, normalise: the steps between constituents and pixels.

The steps act on the constituents' coordinates, before they are binned, so that nothing is interpolated and no energy
moves between pixels. The order is fixed whatever the order they are named in: DeepTop's (arXiv:1803.00107), but for the
flip, which is here taken before binning too. One code serves conversion and tagging.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepcnn.config import GroomConfig
from hepcnn.constituents import Constituents
from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.grids import Grid
from hepcnn.kinematics import pt_eta_phi
from hepcnn.records import parse_model

Step = Literal["groom", "centre", "rotate", "flip", "normalise"]
STEPS: tuple[Step, ...] = ("groom", "centre", "rotate", "flip", "normalise")
VERSION = 1
"""Raised whenever the same steps give other numbers, so that a bundle can refuse images made differently."""


def check_steps(steps: Sequence[str], *, grid: Grid | None = None) -> tuple[Step, ...]:
    """Return the steps in the order they are done.

    Raises
    ------
    ConfigError
        For a step that does not exist, a rotation or flip without centring, or any step but ``normalise`` where the
        grid does not follow the jet.
    """
    for step in steps:
        if step not in STEPS:
            raise ConfigError(f"preprocess: no step '{step}'{did_you_mean(step, STEPS)}")
        if grid is not None and not grid.follows_jet and step != "normalise":
            kind = grid.model_dump()["kind"]
            raise ConfigError(
                f"preprocess: '{step}' moves or thins out jets, but the pixels of a grid of kind '{kind}' stay where "
                "they are: only 'normalise' is possible"
            )
    if {"rotate", "flip"} & set(steps) and "centre" not in steps:
        raise ConfigError("preprocess: 'rotate' and 'flip' turn the image about its centroid: name 'centre' too")
    return tuple(step for step in STEPS if step in steps)


def groom_jets(constituents: Constituents, groom: GroomConfig, *, radius: float) -> Constituents:
    """Keep the constituents that soft drop keeps; see `hepcnn.substructure.find_soft_drop`."""
    from hepcnn.substructure import find_soft_drop  # brings awkward

    momenta = {name: constituents.fields[name] for name in ("pt", "eta", "phi", "energy")}
    records = Constituents(constituents.offsets, momenta).to_awkward()
    return constituents.keep(find_soft_drop(records, z_cut=groom.z_cut, beta=groom.beta, radius=radius))


def find_frame(constituents: Constituents, steps: Sequence[Step]) -> dict[str, NDArray[np.float64]]:
    """Find where constituents are in the image of their jet.

    Without a step the origin is the jet axis, the vector sum of the constituents.

    - ``centre``: the origin is the pT-weighted centroid.
    - ``rotate``: the principal axis, that of the largest pT-weighted variance, lies along dphi.
    - ``flip``: the halves at positive deta and at positive dphi hold more pT than those opposite.

    Parameters
    ----------
    constituents
        With ``pt, eta, phi``, GeV and radians. Not changed.
    steps
        From `check_steps`.

    Returns
    -------
    dict
        ``deta`` and ``dphi``, each (n,). NaN in a constituent makes its whole jet NaN, as has a jet of no pT.
    """
    from hepcnn.images import compiled  # numba takes seconds to come

    offsets = constituents.offsets
    pt, eta, phi = (np.ascontiguousarray(constituents.fields[name]) for name in ("pt", "eta", "phi"))
    _, axis_eta, axis_phi = pt_eta_phi(*np.ascontiguousarray(constituents.momentum.T))
    deta, dphi = np.empty(len(pt)), np.empty(len(pt))
    compiled.find_distances(offsets, pt, eta, phi, axis_eta, axis_phi, "centre" in steps, deta, dphi)
    if "rotate" in steps:
        compiled.rotate_jets(offsets, pt, deta, dphi)
    if "flip" in steps:
        compiled.flip_jets(offsets, pt, deta)
        compiled.flip_jets(offsets, pt, dphi)
    return {"deta": deta, "dphi": dphi}


def describe_preprocessing(steps: Sequence[Step], groom: GroomConfig | None = None) -> dict[str, Any]:
    """What an output file and a bundle record about the preprocessing."""
    record: dict[str, Any] = {"version": VERSION, "steps": list(steps)}
    if "groom" in steps:
        record["groom"] = (groom or GroomConfig()).model_dump()
    return record


def read_preprocessing(record: Mapping[str, Any]) -> tuple[tuple[Step, ...], GroomConfig]:
    """The steps, and what grooming is told, from what `describe_preprocessing` gave.

    Raises
    ------
    ConfigError
        For another version, a step that does not exist, or wrong parameters.
    """
    if record["version"] != VERSION:
        raise ConfigError(f"preprocessing version {record['version']}: this hepcnn does version {VERSION}")
    return check_steps(record["steps"]), parse_model(GroomConfig, dict(record.get("groom", {})), where="groom")
