"""Jet-level numbers that stand beside an image: made from the same constituents, so that tagging can make them too."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.constituents import Constituents
from hepcnn.errors import ConfigError, InputError, did_you_mean
from hepcnn.kinematics import mass as invariant_mass
from hepcnn.substructure import CORRELATORS, make_energy_correlators, make_n_subjettiness

JET_FEATURES: Mapping[str, str] = {
    "pt": "transverse momentum of the constituents' sum, GeV",
    "mass": "invariant mass of the constituents' sum, GeV",
    "n_constituents": "number of constituents",
    "n_tracks": "number of charged constituents",
    "tau1": "N-subjettiness about one axis",
    "tau2": "N-subjettiness about two axes",
    "tau3": "N-subjettiness about three axes",
    "c2": "ratio C2 of energy correlation functions",
    "d2": "ratio D2 of energy correlation functions",
}


def check_jet_features(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names if every one exists.

    Raises
    ------
    ConfigError
        Naming the wrong one and the nearest that exist.
    """
    for name in names:
        if name not in JET_FEATURES:
            raise ConfigError(f"jet_features: no jet feature '{name}'{did_you_mean(name, JET_FEATURES)}")
    return tuple(dict.fromkeys(names))


def make_jet_features(
    constituents: Constituents, names: Sequence[str], *, radius: float
) -> dict[str, NDArray[np.float32]]:
    """Compute jet-level numbers from constituents.

    Parameters
    ----------
    constituents
        With ``pt, eta, phi``, and ``energy`` for the mass and what FastJet computes, ``charge`` for ``n_tracks``; GeV
        and radians.
    names
        Which, from `JET_FEATURES`.
    radius
        The jet radius, which normalises N-subjettiness.

    Returns
    -------
    dict
        One (n_jets,) float32 per name. A jet without constituents has 0 everywhere.

    Raises
    ------
    InputError
        For a missing field, or NaN or infinite values.
    MissingExtraError
        For N-subjettiness and energy correlators without FastJet.
    """
    columns: dict[str, NDArray[Any]] = {}
    for name in names:
        if name == "pt":
            columns[name] = np.hypot(constituents.momentum[:, 0], constituents.momentum[:, 1])
        elif name == "mass":
            energy = constituents.sum(_field(constituents, "energy"))
            columns[name] = invariant_mass(energy, *constituents.momentum.T)
        elif name == "n_constituents":
            columns[name] = constituents.counts
        elif name == "n_tracks":
            columns[name] = constituents.sum(_field(constituents, "charge") != 0)
    columns |= _make_substructure(constituents, names, radius=radius)
    for name, column in columns.items():
        if n_bad := int((~np.isfinite(column)).sum()):
            raise InputError(f"constituents: '{name}' of {n_bad} of {len(column)} jets is NaN or infinite")
    return {name: columns[name].astype(np.float32) for name in names}


def _make_substructure(
    constituents: Constituents, names: Sequence[str], *, radius: float
) -> dict[str, NDArray[np.float64]]:
    """What FastJet computes: ``tau1`` …, ``c2`` and ``d2``, those of them that are wanted."""
    orders = [int(name[3:]) for name in names if name.startswith("tau")]
    correlators = [name for name in names if name in CORRELATORS]
    if not orders and not correlators:
        return {}
    used = Constituents(
        constituents.offsets, {name: _field(constituents, name) for name in ("pt", "eta", "phi", "energy")}
    ).to_awkward()
    columns: dict[str, NDArray[np.float64]] = {}
    if orders:
        tau = make_n_subjettiness(used, n_axes=orders, radius=radius)
        columns |= {f"tau{order}": tau[:, column] for column, order in enumerate(orders)}
    if correlators:
        found = make_energy_correlators(used)
        columns |= {name: found[name] for name in correlators}
    return columns


def _field(constituents: Constituents, name: str) -> NDArray[np.float64]:
    if name not in constituents.fields:
        raise InputError(f"constituents have the fields {sorted(constituents.fields)}, '{name}' is missing")
    return constituents.fields[name]
