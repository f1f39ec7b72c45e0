"""The versions that are installed against those of ``requirements.lock``, with which the tests pass."""

import importlib.metadata
import re
from collections.abc import Mapping
from pathlib import Path

from packaging.markers import Marker
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from hepcnn.doctor.finding import Finding

LOCKS = tuple(Path(__file__).parents[up] / "requirements.lock" for up in (2, 1))
"""Of a checkout, and of an installed package."""
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)(?:\s*;\s*([^\\]+))?", re.MULTILINE)
SHOWN = 6


def examine_versions(lock: Path | None = None) -> Finding:
    """Which packages have another version than the lock says.

    What is not installed at all is left to the extras; a local part of a version (``+cpu``) is no difference.
    """
    found = [path for path in (LOCKS if lock is None else (lock,)) if path.is_file()]
    if not found:
        return Finding("versions", True, "no requirements.lock here to compare with", False)
    pinned = read_lock(found[0].read_text(encoding="utf-8"))
    installed = _list_installed()
    both = sorted(set(pinned) & set(installed))
    other = [name for name in both if _public(installed[name]) != _public(pinned[name])]
    if not other:
        return Finding("versions", True, f"{len(both)} packages as in requirements.lock", False)
    told = ", ".join(f"{name} {installed[name]} (lock: {pinned[name]})" for name in other[:SHOWN])
    rest = f" and {len(other) - SHOWN} more" if len(other) > SHOWN else ""
    mend = "pip install -r requirements.lock brings what was tested"
    return Finding("versions", False, f"{len(other)} of {len(both)} differ: {told}{rest}", False, mend)


def read_lock(text: str) -> dict[str, str]:
    """Versions by canonical name, of the lines that are for this system and Python."""
    return {
        canonicalize_name(name): version
        for name, version, marker in PINNED.findall(text)
        if not marker or Marker(marker.strip()).evaluate()
    }


def _list_installed() -> Mapping[str, str]:
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name:  # a damaged installation has none
            found.setdefault(canonicalize_name(name), distribution.version)
    return found


def _public(version: str) -> str:
    try:
        return Version(version).public
    except InvalidVersion:
        return version
