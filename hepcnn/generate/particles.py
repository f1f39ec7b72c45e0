"""The two flat tables that pass through the detector: stable particles in, energy-flow constituents out.

Shape letters: P stable particles and K constituents of all events of a batch, ordered by event.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Kind(IntEnum):
    """What the energy flow takes a constituent for."""

    CHARGED_HADRON = 0
    NEUTRAL_HADRON = 1
    PHOTON = 2
    ELECTRON = 3
    MUON = 4


class Table:
    """A dataclass of columns of equal length."""

    event: Integers

    def __len__(self) -> int:
        return len(self.event)

    def select(self, where: Flags | Integers) -> Self:
        """The rows that a mask or an index array picks."""
        return type(self)(**{name: column[where] for name, column in self.columns().items()})

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """The columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    @classmethod
    def concatenate(cls, tables: Sequence[Self]) -> Self:
        """One table below the other."""
        names = tables[0].columns()
        return cls(**{name: np.concatenate([table.columns()[name] for table in tables]) for name in names})


@dataclass(frozen=True)
class Particles(Table):
    """Stable particles, (P,) each: momenta in GeV, charge in units of e, all taken to come from the origin."""

    event: Integers
    pdg_id: Integers
    charge: Integers
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    is_pileup: Flags


@dataclass(frozen=True)
class Constituents(Table):
    """Energy-flow objects, (K,) each: four-momentum and calorimeter energies in GeV, `Kind` in ``kind``."""

    event: Integers
    px: Floats
    py: Floats
    pz: Floats
    energy: Floats
    ecal: Floats
    hcal: Floats
    charge: Integers
    kind: npt.NDArray[np.int8]
    is_pileup: Flags
