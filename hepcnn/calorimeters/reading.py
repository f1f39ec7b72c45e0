"""Detectors by name, from a user's file, and from the record that travels with data."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hepcnn.calorimeters.calorimeter import Calorimeter
from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.records import parse_model, read_yaml

FOLDER = Path(__file__).parent / "detectors"


def list_detectors() -> list[str]:
    """Names of the detectors that come with hepcnn."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_calorimeter(detector: str | os.PathLike[str]) -> Calorimeter:
    """Read a detector.

    Parameters
    ----------
    detector
        A name among `list_detectors`, or the path of a YAML file; the file's name without suffix is the detector's,
        unless the file says another.

    Raises
    ------
    ConfigError
        When there is no such detector or file, or when its content does not fit `Calorimeter`: the message names file
        and key.
    """
    path = Path(detector)
    if str(detector) in list_detectors():
        path = FOLDER / f"{detector}.yaml"
    elif path.suffix not in (".yaml", ".yml") and not path.is_file():
        raise ConfigError(
            f"no detector '{detector}'{did_you_mean(str(detector), list_detectors())} (or give a file: name.yaml)"
        )
    return parse_calorimeter({"name": path.stem, **read_yaml(path)}, where=str(path))


def parse_calorimeter(record: Mapping[str, Any], *, where: str) -> Calorimeter:
    """Make a calorimeter of what its `Calorimeter.to_record` gave, or a YAML file holds.

    Raises
    ------
    ConfigError
        With one line for each wrong key or value; ``where`` is what it calls the source.
    """
    return parse_model(Calorimeter, dict(record), where=where)
