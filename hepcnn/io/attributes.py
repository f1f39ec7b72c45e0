"""What describes hepcnn's own HDF5 files: their attributes, written and read."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from hepcnn.atomic import interrupts_held
from hepcnn.errors import InputError

IMAGES_FORMAT, SCORES_FORMAT = "hepcnn-images", "hepcnn-scores"
VERSION = 1
REQUIRED_ATTRIBUTES = {
    IMAGES_FORMAT: ("version", "grid", "channels", "class_names", "preprocess", "jet_features", "radius", "sources"),
    SCORES_FORMAT: ("version", "class_names"),
}


def set_attributes(file: Any, attributes: Mapping[str, Any]) -> None:
    """Store what describes a file; anything but a text or a number is stored as JSON."""
    with interrupts_held():
        for name, value in attributes.items():
            file.attrs[name] = value if isinstance(value, str | int | float) else json.dumps(value)


def read_attributes(file: Any, path: str | os.PathLike[str], expected: str) -> dict[str, Any]:
    """All attributes of an open file.

    Parameters
    ----------
    file, path
        The file, and how messages call it.
    expected
        Its format, one of `REQUIRED_ATTRIBUTES`.

    Returns
    -------
    dict
        With ``truth`` of images, which is empty where files of older releases have none.

    Raises
    ------
    InputError
        When it is of another format or of a newer version, or lacks an attribute.
    """
    found = file.attrs.get("format")
    if found != expected:
        raise InputError(
            f"{path}: expected a file of format '{expected}', found {f'{found!r}' if found else 'no format attribute'}"
        )
    missing = [name for name in REQUIRED_ATTRIBUTES[expected] if name not in file.attrs]
    if missing:
        raise InputError(f"{path}: incomplete: no attribute {', '.join(missing)}")
    if file.attrs["version"] > VERSION:
        raise InputError(f"{path}: version {file.attrs['version']} is newer than this hepcnn knows ({VERSION})")
    found = {name: _parse_attribute(value) for name, value in file.attrs.items()}
    return {"truth": []} | found if expected == IMAGES_FORMAT else found


def _parse_attribute(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value.item() if isinstance(value, np.generic) else value
