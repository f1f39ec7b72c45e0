"""What a pixel can hold: each channel is a sum, or a mean, over its constituents of one number per constituent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hepcnn.errors import ConfigError, SchemaError, did_you_mean


@dataclass(frozen=True)
class Channel:
    """One channel: what it is, and what is added up.

    Parameters
    ----------
    title
        With its unit.
    field
        The constituent field that is added up; None counts.
    among
        Which constituents take part.
    transverse
        Whether the field is an energy of which the transverse part, ``E / cosh(eta)``, is meant.
    scales_with_pt
        Whether normalising the jet to unit pT divides it.
    is_mean
        Whether it is the pT-weighted mean of the field instead of its sum.
    """

    title: str
    field: str | None
    among: Literal["all", "charged", "neutral"] = "all"
    transverse: bool = False
    scales_with_pt: bool = True
    is_mean: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """The constituent fields it is made of."""
        fields = (self.field, "eta" if self.transverse else None, None if self.among == "all" else "charge")
        return tuple(field for field in fields if field is not None)


CHANNELS: Mapping[str, Channel] = {
    "pt": Channel("transverse momentum, GeV", "pt"),
    "energy": Channel("energy, GeV", "energy"),
    "ecal": Channel("transverse energy in the electromagnetic calorimeter, GeV", "ecal", transverse=True),
    "hcal": Channel("transverse energy in the hadronic calorimeter, GeV", "hcal", transverse=True),
    "track_pt": Channel("transverse momentum of charged constituents, GeV", "pt", "charged"),
    "neutral_pt": Channel("transverse momentum of neutral constituents, GeV", "pt", "neutral"),
    "multiplicity": Channel("number of constituents", None, scales_with_pt=False),
    "track_multiplicity": Channel("number of charged constituents", None, "charged", scales_with_pt=False),
}
RULES: Mapping[str, str] = {"sum": "sum of {}", "pt_mean": "pT-weighted mean of {}"}
"""Channels of any constituent field: ``sum:<field>`` and ``pt_mean:<field>``. Normalising leaves both as they are."""


def find_channel(name: str) -> Channel:
    """The channel of this name, one of `CHANNELS` or ``rule:field`` with a rule of `RULES`.

    Raises
    ------
    ConfigError
        Naming the wrong one and the nearest that exist.
    """
    rule, colon, field = name.partition(":")
    if not colon and name in CHANNELS:
        return CHANNELS[name]
    if rule in RULES and field:
        return Channel(RULES[rule].format(field), field, scales_with_pt=False, is_mean=rule == "pt_mean")
    known = [*CHANNELS, *(f"{rule}:<field>" for rule in RULES)]
    raise ConfigError(f"channels: no channel '{name}'{did_you_mean(name, known)}")


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
        find_channel(name)
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
        missing = [field for field in find_channel(name).needs if field not in fields]
        if missing:
            possible = [other for other, channel in CHANNELS.items() if set(channel.needs) <= set(fields)]
            raise SchemaError(
                f"{where}: channel '{name}' needs {', '.join(repr(field) for field in missing)} of each constituent, "
                f"which is not there; possible channels: {', '.join(possible)}, and {' and '.join(RULES)} of "
                f"{', '.join(fields)}"
            )
