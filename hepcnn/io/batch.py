"""Jets of a block of entries, as every family comes out: GeV, radians, the file's order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.constituents import Constituents
from hepcnn.errors import InputError
from hepcnn.io.columns import Float

NO_CONSTITUENTS = "no constituents"
NOT_NEGATIVE = ("pt", "energy", "ecal", "hcal")


@dataclass(frozen=True)
class JetBatch:
    """Jets of a block of entries.

    ``flat`` holds the constituents, ``pt, eta, phi, energy`` and, where the file has them, ``charge``, ``ecal``,
    ``hcal``, ``layer``, ``cell`` and named features; ``pt, eta, phi, mass, weight`` are (n_jets,). ``entry`` and
    ``jet`` say where each jet comes from. ``event_id`` (n_jets,) uint64 is equal for the jets of one event and depends
    on nothing else. ``labels`` holds what the file says of each jet, (n_jets,) by the label's name; ``keys`` the
    columns that identify an event, (n_entries,) by name; ``extra`` other numbers that the schema names, (n_jets,).

    ``is_shower`` says that an entry is a shower whose cells hold energies. Of such ``n_cells`` is how many cells an
    entry has, where the file holds all; ``keeps_negative`` says whether negative energies are no problem, and ``empty``
    what becomes of jets without constituents: ``refuse`` makes that a problem, ``drop`` one that stops nobody, ``keep``
    none.
    """

    where: str
    first_entry: int
    n_entries: int
    flat: Constituents
    pt: Float
    eta: Float
    phi: Float
    mass: Float
    entry: NDArray[np.int64]
    jet: NDArray[np.int64]
    event_id: NDArray[np.uint64]
    weight: Float
    labels: Mapping[str, NDArray[np.int64]]
    keys: Mapping[str, NDArray[Any]]
    extra: Mapping[str, Float] = field(default_factory=dict)
    is_shower: bool = False
    n_cells: int | None = None
    keeps_negative: bool = False
    empty: str = "refuse"

    def __len__(self) -> int:
        return len(self.pt)

    @cached_property
    def constituents(self) -> ak.Array:
        """The constituents as records, (n_jets, var)."""
        return self.flat.to_awkward()

    @cached_property
    def problems(self) -> dict[str, NDArray[np.bool_]]:
        """Which jets cannot be used, by reason: each a mask (n_jets,)."""
        not_finite = ~(np.isfinite(self.pt) & np.isfinite(self.eta) & np.isfinite(self.phi) & np.isfinite(self.mass))
        # What is no energy may have any sum.
        negative = (self.pt < 0) & (self.is_shower or not self.keeps_negative)
        for name, values in self.flat.fields.items():
            not_finite |= self.flat.any(~np.isfinite(values))
            if name in NOT_NEGATIVE and not self.keeps_negative:
                negative |= self.flat.any(values < 0)
        return {
            NO_CONSTITUENTS: (self.flat.counts == 0) & (self.empty != "keep"),
            "NaN or infinite values": not_finite,
            "negative energy or pT": negative,
        }

    def stops(self, problem: str) -> bool:
        """Whether a problem stops who does not leave bad jets out."""
        return problem != NO_CONSTITUENTS or self.empty != "drop"

    @property
    def usable(self) -> NDArray[np.bool_]:
        """The jets without a problem: a mask (n_jets,)."""
        return np.asarray(~np.logical_or.reduce(list(self.problems.values())), dtype=np.bool_)

    def require_usable(self) -> None:
        """Raise for the first jet that cannot be used.

        Raises
        ------
        InputError
            Naming file, entry, jet and the reason, and how many more there are in this block.
        """
        for reason, mask in self.problems.items():
            if mask.any() and self.stops(reason):
                at = int(np.flatnonzero(mask)[0])
                raise InputError(
                    f"{self.where}, entry {self.entry[at]}, jet {self.jet[at]}: {reason} "
                    f"({mask.sum()} of {len(self)} jets in this block); --skip-bad leaves such jets out and counts them"
                )
