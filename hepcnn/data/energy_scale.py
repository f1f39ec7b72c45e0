"""What brings energies to order one for a network. Fitted on the training split only; stored in the bundle."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.data.dataset import JetColumns
from hepcnn.errors import ConfigError, InputError

CHANNELS = ("energy", "pt")
"""Channels whose sum over an image is a raw energy, the first that there is."""
TRUTH = "energy"


@dataclass(frozen=True)
class EnergyScale:
    """``ln(E / raw sum)`` of the training showers: ``offset`` is its mean, ``spread`` its standard deviation.

    The raw sum is that of the images' ``channel`` (its number), at least ``floor`` GeV: so a shower without a cell has
    an energy, too.
    """

    channel: int
    floor: float
    offset: float
    spread: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "EnergyScale":
        """The inverse of `to_dict`."""
        return cls(**values)


def true_energy(columns: JetColumns) -> NDArray[np.float32]:
    """True energies in GeV, (N,).

    Raises
    ------
    InputError
        When the images hold none, or one that is not positive.
    """
    if TRUTH not in columns.truth:
        known = ", ".join(columns.truth) or "none"
        raise InputError(
            f"the images hold no true '{TRUTH}' (they hold: {known}), which the task 'energy' learns from: add it to "
            "images.truth, and convert again"
        )
    energy = np.asarray(columns.truth[TRUTH], np.float32)
    bad = ~(energy > 0) | ~np.isfinite(energy)
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        where = columns.describe_origin(np.array([first]))[0]
        raise InputError(
            f"the true energy of {int(bad.sum())} of {len(energy)} showers is no positive number of GeV, the first is "
            f"{energy[first]:g} ({where})"
        )
    return energy


def energy_channel(columns: JetColumns) -> int:
    """Number of the channel whose sum over an image is the raw energy.

    Raises
    ------
    ConfigError
        When there is none, or images are normalised, so that they do not know their energy.
    """
    if "normalise" in columns.attributes["preprocess"].get("steps", ()):
        raise ConfigError("images.preprocess: 'normalise' takes the energy away, which the task 'energy' needs")
    for name in CHANNELS:
        if name in columns.channels:
            return columns.channels.index(name)
    raise ConfigError(f"images.channels: the task 'energy' needs one of {', '.join(CHANNELS)}")


def fit_energy_scale(train: JetColumns) -> EnergyScale:
    """Fit the scale on training showers, whose raw sums are their ``pt`` (cells have no direction).

    Raises
    ------
    InputError, ConfigError
        As `true_energy` and `energy_channel`.
    """
    energy, channel = true_energy(train).astype(np.float64), energy_channel(train)
    floor = float(energy.min()) / 10
    ratio = np.log(energy / np.maximum(np.asarray(train.jets["pt"], np.float64), floor))
    spread = float(ratio.std())
    return EnergyScale(channel, floor, float(ratio.mean()), spread if spread > 1e-3 else 1e-3)
