"""What a pixel can hold: each channel is the sum over its constituents of one number per constituent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import ConfigError, SchemaError, did_you_mean

Fields = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Channel:
    """One channel: what it is, the constituent fields it needs, its value per constituent, and its unit.

    ``scales_with_pt`` says whether normalising the jet to unit pT divides it.
    """

    title: str
    needs: tuple[str, ...]
    value: Callable[[Fields], NDArray[np.float64]]
    scales_with_pt: bool = True


def _transverse(field: str) -> Callable[[Fields], NDArray[np.float64]]:
    return lambda fields: fields[field] / np.cosh(fields["eta"])


CHANNELS: Mapping[str, Channel] = {
    "pt": Channel("transverse momentum, GeV", ("pt",), lambda fields: fields["pt"]),
    "energy": Channel("energy, GeV", ("energy",), lambda fields: fields["energy"]),
    "ecal": Channel("transverse energy in the electromagnetic calorimeter, GeV", ("ecal", "eta"), _transverse("ecal")),
    "hcal": Channel("transverse energy in the hadronic calorimeter, GeV", ("hcal", "eta"), _transverse("hcal")),
    "track_pt": Channel(
        "transverse momentum of charged constituents, GeV",
        ("pt", "charge"),
        lambda fields: fields["pt"] * (fields["charge"] != 0),
    ),
    "neutral_pt": Channel(
        "transverse momentum of neutral constituents, GeV",
        ("pt", "charge"),
        lambda fields: fields["pt"] * (fields["charge"] == 0),
    ),
    "multiplicity": Channel("number of constituents", (), lambda fields: np.ones_like(fields["pt"]), False),
    "track_multiplicity": Channel(
        "number of charged constituents", ("charge",), lambda fields: (fields["charge"] != 0).astype(np.float64), False
    ),
}


def check_channels(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names if every one is a channel, none twice.

    Raises
    ------
    ConfigError
        Naming the wrong one and the nearest that exist.
    """
    if not names:
        raise ConfigError("channels: at least one is needed" + did_you_mean("", CHANNELS))
    for name in names:
        if name not in CHANNELS:
            raise ConfigError(f"channels: no channel '{name}'{did_you_mean(name, CHANNELS)}")
    if len(set(names)) < len(names):
        raise ConfigError(f"channels: a name stands twice in {', '.join(names)}")
    return tuple(names)


def check_fields(names: Sequence[str], fields: Sequence[str], *, where: str) -> None:
    """Check that constituents have what the channels need.

    Raises
    ------
    SchemaError
        Naming the channel, the missing field, and the channels that are possible.
    """
    for name in names:
        missing = [field for field in CHANNELS[name].needs if field not in fields]
        if missing:
            possible = [other for other, channel in CHANNELS.items() if set(channel.needs) <= set(fields)]
            raise SchemaError(
                f"{where}: channel '{name}' needs {', '.join(repr(field) for field in missing)} of each constituent, "
                f"which is not there; possible channels: {', '.join(possible)}"
            )
