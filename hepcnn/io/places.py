"""Where a column stands in an HDF5 file, and columns that are numbered alike."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np


class NumberBlock:
    """A dataset, or one field of a compound dataset: one column, or many side by side."""

    def __init__(self, dataset: Any, field: str | None = None) -> None:
        self.dataset, self.field = dataset, field
        self.name = str(dataset.name)
        self.label = self.name if field is None else f"{self.name}/{field}"
        self.length = len(dataset)
        full = dataset.dtype if field is None else dataset.dtype[field]
        # Of entries that are lists of their own lengths, the type of their elements; else None.
        self.list_of = None if h5py.check_string_dtype(full) else h5py.check_vlen_dtype(full)
        base: Any = full.base if self.list_of is None else self.list_of
        self.shape: tuple[int, ...] = (*dataset.shape[1:], *full.shape)
        # Not texts, nor what pandas pickles.
        self.holds_numbers = base is not str and np.dtype(base).kind in "biuf"
        self.described = str(base) if self.holds_numbers else "text or pickled objects"


@dataclass(frozen=True)
class Place:
    """A block, and the number of a column in it where it holds many."""

    block: NumberBlock
    column: int | None = None

    def __str__(self) -> str:
        shape = self.block.shape[0 if self.column is None else 1 :]
        lists = "[var]" if self.block.list_of is not None else ""
        return f"{self.block.described}{list(shape) if shape else ''}{lists}"


def find_series(names: Iterable[str]) -> dict[str, list[str]]:
    """Columns numbered alike without a gap: ``E_*`` for ``E_0, E_1, …``, in the order of their numbers."""
    numbered: dict[str, dict[int, str]] = {}
    for name in names:
        stem = name.rstrip("0123456789")
        digits = name[len(stem) :]
        if digits and str(int(digits)) == digits:
            numbered.setdefault(f"{stem}*", {})[int(digits)] = name
    return {
        series: [members[number] for number in sorted(members)]
        for series, members in numbered.items()
        if len(members) > 1 and max(members) - min(members) == len(members) - 1
    }


def as_slice(numbers: Sequence[int]) -> Any:
    """Equally spaced numbers as a slice, which NumPy looks at without copying; others as they are."""
    steps = set(np.diff(numbers).tolist())
    if len(steps) != 1 or min(steps) <= 0:
        return list(numbers)
    return slice(numbers[0], numbers[-1] + 1, steps.pop())
