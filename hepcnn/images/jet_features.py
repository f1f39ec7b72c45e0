"""Jet-level numbers that stand beside an image: made from the same constituents, so that tagging can make them too."""

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.substructure import make_jet_four_vectors, make_n_subjettiness

JET_FEATURES: Mapping[str, str] = {
    "pt": "transverse momentum of the constituents' sum, GeV",
    "mass": "invariant mass of the constituents' sum, GeV",
    "n_constituents": "number of constituents",
    "n_tracks": "number of charged constituents",
    "tau1": "N-subjettiness about one axis",
    "tau2": "N-subjettiness about two axes",
    "tau3": "N-subjettiness about three axes",
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


def make_jet_features(constituents: ak.Array, names: Sequence[str], *, radius: float) -> dict[str, NDArray[np.float32]]:
    """Compute jet-level numbers from constituents.

    Parameters
    ----------
    constituents
        (n_jets, var) of records with ``pt, eta, phi, energy`` (and ``charge`` for ``n_tracks``), GeV and radians.
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
    MissingExtraError
        For N-subjettiness without FastJet.
    """
    jets = make_jet_four_vectors(constituents)
    columns: dict[str, NDArray[Any]] = {"pt": jets["pt"], "mass": jets["mass"]}
    columns["n_constituents"] = ak.to_numpy(ak.num(constituents, axis=1)).astype(np.float64)
    if "n_tracks" in names:
        columns["n_tracks"] = ak.to_numpy(ak.sum(constituents["charge"] != 0, axis=1)).astype(np.float64)
    orders = [int(name[3:]) for name in names if name.startswith("tau")]
    if orders:
        tau = make_n_subjettiness(constituents, n_axes=orders, radius=radius)
        columns |= {f"tau{order}": tau[:, column] for column, order in enumerate(orders)}
    return {name: np.nan_to_num(columns[name]).astype(np.float32) for name in names}
