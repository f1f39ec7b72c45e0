"""Which jets are converted: those whose pT, eta, mass or number of constituents is within bounds."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from hepcnn.config import Bounds, SelectionVariable
from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.io.batch import JetBatch

VARIABLES: tuple[str, ...] = get_args(SelectionVariable)
UNITS = {"pt": " GeV", "mass": " GeV"}


def iterate_selections(batch: JetBatch, select: Mapping[Any, Bounds]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """For each selection, in order: how the jets that fail it are called, and which pass it, (n_jets,).

    A bound that is None is none; a value at the lower bound passes, one at the upper does not, and NaN does not.
    """
    for name, (low, high) in select.items():
        if low is None and high is None:
            continue
        values = _read_variable(batch, name)
        passed = np.isfinite(values)
        if low is not None:
            passed &= values >= low
        if high is not None:
            passed &= values < high
        yield _describe(name, low, high), passed


def _read_variable(batch: JetBatch, name: str) -> NDArray[np.float64]:
    if name == "n_constituents":
        return batch.flat.counts.astype(np.float64)
    values: NDArray[np.float64] = np.asarray(getattr(batch, name.removeprefix("abs_")), dtype=np.float64)
    return np.abs(values) if name.startswith("abs_") else values


def _describe(name: str, low: float | None, high: float | None) -> str:
    unit = UNITS.get(name, "")
    if low is None:
        return f"{name} not below {high:g}{unit}"
    return f"{name} below {low:g}{unit}" if high is None else f"{name} outside [{low:g}, {high:g}){unit}"


def parse_selections(texts: Sequence[str]) -> dict[str, tuple[float | None, float | None]]:
    """Read selections as the command line gives them: ``pt=550:650``, ``abs_eta=:2``.

    Raises
    ------
    ConfigError
        For a text of another form, an unknown variable, or one that is selected twice.
    """
    found: dict[str, tuple[float | None, float | None]] = {}
    for text in texts:
        match = re.fullmatch(r"\s*(\w+)\s*=([^:]*):([^:]*)", text)
        if not match:
            raise ConfigError(f"--select {text}: expected NAME=MIN:MAX, as in pt=550:650 or abs_eta=:2")
        name = match[1]
        if name not in VARIABLES:
            raise ConfigError(f"--select {text}: no variable '{name}'{did_you_mean(name, VARIABLES)}")
        if name in found:
            raise ConfigError(f"--select {text}: '{name}' is selected twice")
        found[name] = _parse_bound(text, match[2]), _parse_bound(text, match[3])
    return found


def _parse_bound(text: str, bound: str) -> float | None:
    try:
        return float(bound) if bound.strip() else None
    except ValueError as error:
        raise ConfigError(f"--select {text}: '{bound.strip()}' is not a number") from error
