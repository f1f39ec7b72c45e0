"""Constituents of many jets laid end to end: what every file family is read into, and what images are made of."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.kinematics import cos_sin

BLOCK = 65_536
"""Constituents gone through at once where several steps follow: their numbers stay in the processor's cache."""


@dataclass(frozen=True)
class Constituents:
    """Those of jet j are ``offsets[j]:offsets[j+1]`` of each field.

    ``offsets`` (N+1,) int64 begins with 0 and ends with n; ``fields`` are columns (n,) float64 by name: ``pt, eta, phi,
    energy`` in GeV and radians and, where the source has them, ``charge``, ``ecal``, ``hcal``, ``layer``, ``cell`` and
    named features.
    """

    offsets: NDArray[np.int64]
    fields: Mapping[str, NDArray[np.float64]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def n(self) -> int:
        """Constituents of all jets."""
        return int(self.offsets[-1])

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Constituents of each jet, (N,)."""
        return np.diff(self.offsets)

    @cached_property
    def jet(self) -> NDArray[np.int64]:
        """The number of the jet that each constituent belongs to, (n,)."""
        return np.repeat(np.arange(len(self)), self.counts)

    def sum(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Add up one number per constituent, (n,), jet by jet, (N,); 0 for a jet without constituents."""
        return _sum_segments(np.asarray(values, dtype=np.float64), self.offsets)

    @cached_property
    def momentum(self) -> NDArray[np.float64]:
        """The vector sum ``px, py, pz`` of each jet in GeV, (N, 3); 0 for a jet without constituents."""
        sums = np.empty((len(self), 3))
        for start, stop in self.blocks():
            first, last = self.offsets[start], self.offsets[stop]
            pt, eta, phi = (self.fields[name][first:last] for name in ("pt", "eta", "phi"))
            cosine, sine = cos_sin(phi)
            for axis, factor in enumerate((cosine, sine, np.sinh(eta))):
                sums[start:stop, axis] = _sum_segments(pt * factor, self.offsets[start : stop + 1] - first)
        return sums

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, int]]:
        """Ranges of jets with at most ``size`` constituents each, or a single jet that has more."""
        start = 0
        while start < len(self):
            stop = int(np.searchsorted(self.offsets, self.offsets[start] + size, side="right")) - 1
            stop = max(stop, start + 1)
            yield start, stop
            start = stop

    def any(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether a mask over constituents, (n,), holds anywhere in each jet, (N,)."""
        found = np.zeros(len(self), dtype=np.bool_)
        found[self.jet[mask]] = True
        return found

    def keep(self, mask: NDArray[np.bool_]) -> "Constituents":
        """Only the constituents of a mask (n,); every jet stays, some perhaps empty."""
        if mask.all():
            return self
        counts = np.bincount(self.jet[mask], minlength=len(self))
        return Constituents(offsets_of(counts), {name: values[mask] for name, values in self.fields.items()})

    def select(self, jets: NDArray[np.bool_]) -> "Constituents":
        """Only the jets of a mask (N,)."""
        if jets.all():
            return self
        inside = np.repeat(jets, self.counts)
        fields = {name: values[inside] for name, values in self.fields.items()}
        return Constituents(offsets_of(self.counts[jets]), fields)

    def slice(self, start: int, stop: int, *, names: Iterable[str] | None = None) -> "Constituents":
        """The jets ``start`` to ``stop``, the latter excluded, with all fields or those named."""
        first, last = self.offsets[start], self.offsets[stop]
        fields = {name: self.fields[name][first:last] for name in (self.fields if names is None else names)}
        part = Constituents(self.offsets[start : stop + 1] - first, fields)
        if "momentum" in self.__dict__:
            part.__dict__["momentum"] = self.momentum[start:stop]
        return part

    @classmethod
    def from_awkward(cls, jets: ak.Array) -> "Constituents":
        """From records (N, var), each field a number."""
        flat = ak.flatten(jets, axis=1)
        fields = {name: np.asarray(ak.to_numpy(flat[name]), dtype=np.float64) for name in ak.fields(flat)}
        return cls(offsets_of(ak.to_numpy(ak.num(jets, axis=1))), fields)

    def to_awkward(self) -> ak.Array:
        """As records (N, var)."""
        return ak.unflatten(ak.zip(dict(self.fields)), self.counts)


def _sum_segments(values: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    filled = offsets[:-1] < offsets[1:]
    sums = np.zeros(len(filled))
    # An empty segment would give the value that stands at its start.
    if filled.any():
        sums[filled] = np.add.reduceat(values, offsets[:-1][filled])
    return sums


def offsets_of(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Where each jet begins when the counts are laid end to end, and where the last one ends: (N+1,) for (N,)."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])
