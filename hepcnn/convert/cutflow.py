"""Jets in = jets out + jets left out, by reason, and always checked."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import HepcnnError

NO_CLASS = -1
"""Stands for jets that cannot be counted with a class."""


class Stage(IntEnum):
    """In which order jets are left out."""

    LABEL = 0
    EMPTY = 1
    PROBLEM = 2
    SELECTION = 3
    DUPLICATE = 4


class Cutflow:
    """How many jets of each class were read and written, and how many were left out, in order."""

    def __init__(self) -> None:
        self.read: dict[int, int] = {}
        self.written: dict[int, int] = {}
        # By class, stage, place within the stage, reason: sorted, they are in order.
        self._left_out: dict[tuple[int, int, int, str], int] = {}

    def count_read(self, owner: NDArray[np.int64]) -> None:
        """Add jets, (n,) class numbers."""
        _add(self.read, owner)

    def count_written(self, owner: NDArray[np.int64]) -> None:
        """Add jets that were written, (n,) class numbers."""
        _add(self.written, owner)

    def leave_out(self, owner: NDArray[np.int64], stage: Stage, place: int, reason: str) -> None:
        """Add jets that were left out, (n,) class numbers."""
        counts: dict[int, int] = {}
        _add(counts, owner)
        for number, count in counts.items():
            key = number, int(stage), place, reason
            self._left_out[key] = self._left_out.get(key, 0) + count

    def take_back_written(self, owner: NDArray[np.int64]) -> None:
        """Take away jets that are not written after all, (n,) class numbers."""
        counts: dict[int, int] = {}
        _add(counts, owner)
        for number, count in counts.items():
            self.written[number] -= count

    @property
    def n_read(self) -> int:
        """Jets of all classes."""
        return sum(self.read.values())

    @property
    def n_written(self) -> int:
        """Jets of all classes that were written."""
        return sum(self.written.values())

    def left_out(self, number: int | None = None) -> dict[str, int]:
        """Jets left out by reason, in order: of one class, or of all."""
        found: dict[tuple[int, int, str], int] = {}
        for (owner, *key), count in self._left_out.items():
            if number in (None, owner):
                found[tuple(key)] = found.get(tuple(key), 0) + count  # type: ignore[index,arg-type]
        return {reason: found[stage, place, reason] for stage, place, reason in sorted(found)}

    def count_stage(self, stage: Stage) -> dict[str, int]:
        """Jets left out at one stage, by reason."""
        found: dict[str, int] = {}
        for (_, at, _, reason), count in sorted(self._left_out.items()):
            if at == stage:
                found[reason] = found.get(reason, 0) + count
        return found

    def add(self, other: "Cutflow") -> None:
        """Add all of another."""
        for mine, theirs in ((self.read, other.read), (self.written, other.written)):
            for number, count in theirs.items():
                mine[number] = mine.get(number, 0) + count
        for key, count in other._left_out.items():
            self._left_out[key] = self._left_out.get(key, 0) + count

    def check(self, where: str) -> None:
        """Raise ``HepcnnError`` where jets in are not jets out + jets left out, which would be a fault of hepcnn."""
        for number, n_read in self.read.items():
            n_written, n_out = self.written.get(number, 0), sum(self.left_out(number).values())
            if n_read != n_written + n_out:
                raise HepcnnError(f"{where}: {n_read} jets in, but {n_written} out and {n_out} left out; report this")

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "read": list(self.read.items()),
            "written": list(self.written.items()),
            "left_out": [[*key, count] for key, count in self._left_out.items()],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Sequence[Any]]) -> "Cutflow":
        """The inverse of `to_json`."""
        made = cls()
        made.read, made.written = dict(values["read"]), dict(values["written"])
        made._left_out = {(owner, at, place, reason): count for owner, at, place, reason, count in values["left_out"]}
        return made


def _add(counts: dict[int, int], owner: NDArray[np.int64]) -> None:
    for number, count in zip(*np.unique(owner, return_counts=True), strict=True):
        counts[int(number)] = counts.get(int(number), 0) + int(count)
