"""Settings in Pythia's own words, as commands; refused where hepcnn decides them or Pythia does not know them."""

from collections.abc import Mapping
from typing import Any

from hepcnn.errors import ConfigError, did_you_mean, require

DECIDED: Mapping[str, str] = {
    "beams:ecm": "ecm_gev",
    "random:seed": "the seed",
    "random:setseed": "the seed",
    "phasespace:pthatmin": "pt_hat_min",
    "phasespace:pthatmax": "pt_hat_max",
    "partonlevel:mpi": "mpi",
    "particledecays:limittau0": "the detector",
    "particledecays:tau0max": "the detector",
}
"""Pythia's settings, in small letters, that other keys decide."""
KINDS = ("Flag", "Mode", "Parm", "Word")


def make_commands(settings: Mapping[str, bool | int | float | str]) -> tuple[str, ...]:
    """Lines for Pythia, in the order given: a tune comes before what changes it."""
    return tuple(f"{name} = {_write(value)}" for name, value in settings.items())


def _write(value: bool | int | float | str) -> str:
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def check_commands(settings: Mapping[str, bool | int | float | str]) -> None:
    """Ask Pythia whether it knows settings and takes their values.

    Raises
    ------
    ConfigError
        Naming the setting and the nearest that exist, or the value, or the key of hepcnn that decides it.
    MissingExtraError
        When pythia8mc is not installed, and there is a setting.
    """
    if not settings:
        return
    pythia = require("pythia8mc", extra="generate").Pythia("", False)
    database = pythia.settings
    for name, line in zip(settings, make_commands(settings), strict=True):
        if (key := DECIDED.get(name.lower())) is not None:
            raise ConfigError(f"pythia.{name}: {key} decides this, leave it out")
        if not any(getattr(database, f"is{kind}")(name) for kind in (*KINDS, "FVec", "MVec", "PVec", "WVec")):
            maps = [getattr(database, f"get{kind}Map")("") for kind in KINDS]
            known = [str(entries[key].name) for entries in maps for key in entries]
            raise ConfigError(f"pythia.{name}: Pythia has no such setting{did_you_mean(name, known)}")
        # Pythia writes to standard output what is out of range, and, unless told not to, all else that it refuses.
        if not _is_in_range(database, name, settings[name]) or not pythia.readString(line, False):
            raise ConfigError(f"pythia.{name}: Pythia does not take the value {settings[name]!r}")


def _is_in_range(database: Any, name: str, value: bool | int | float | str) -> bool:
    """Whether a number is within the limits that Pythia has for it; what is no number is left to Pythia."""
    if isinstance(value, bool | str):
        return True
    for entries in (database.getModeMap(name), database.getParmMap(name)):
        if name.lower() in entries:
            entry = entries[name.lower()]
            return not (entry.hasMin and value < entry.valMin) and not (entry.hasMax and value > entry.valMax)
    return True
