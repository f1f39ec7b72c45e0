"""Constituents of many jets laid end to end: what every file family is read into, and what images are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray


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
        return np.asarray(np.bincount(self.jet, weights=values, minlength=len(self)), dtype=np.float64)

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

    def slice(self, start: int, stop: int) -> "Constituents":
        """The jets ``start`` to ``stop``, the latter excluded."""
        first, last = self.offsets[start], self.offsets[stop]
        fields = {name: values[first:last] for name, values in self.fields.items()}
        return Constituents(self.offsets[start : stop + 1] - first, fields)

    @classmethod
    def from_awkward(cls, jets: ak.Array) -> "Constituents":
        """From records (N, var), each field a number."""
        flat = ak.flatten(jets, axis=1)
        fields = {name: np.asarray(ak.to_numpy(flat[name]), dtype=np.float64) for name in ak.fields(flat)}
        return cls(offsets_of(ak.to_numpy(ak.num(jets, axis=1))), fields)

    def to_awkward(self) -> ak.Array:
        """As records (N, var)."""
        return ak.unflatten(ak.zip(dict(self.fields)), self.counts)


def offsets_of(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Where each jet begins when the counts are laid end to end, and where the last one ends: (N+1,) for (N,)."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])
