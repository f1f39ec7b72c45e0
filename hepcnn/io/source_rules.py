"""What a schema says of one collection of constituents: which columns hold momenta, hits and other numbers."""

from typing import Literal

import pydantic

from hepcnn.config import StrictModel
from hepcnn.io.rules import Column, NamedColumns, Negative, OptionalColumn


class ParticleIdSplit(StrictModel):
    """Calorimeter energies estimated from the kind of particle, for files that hold no deposit per constituent.

    A constituent whose |PDG id| is in ``ecal`` counts with its whole energy as ECAL, one in ``hcal`` as HCAL, any other
    (muons) as neither. One in ``charged`` has a charge of 1: the sign of its id, the opposite for leptons.
    """

    pdg_id: Column
    ecal: frozenset[int]
    hcal: frozenset[int]
    charged: frozenset[int] = frozenset()


class SamplingSplit(StrictModel):
    """Energy per calorimeter sampling: a list in each constituent, which becomes one constituent a sampling.

    The sampling's number is the place in the list or, where the list holds only some samplings, that of the bit in
    ``pattern``, from the lowest. The energy of samplings in ``ecal`` is ECAL energy, of those in ``hcal`` HCAL energy.
    """

    energy: Column
    pattern: OptionalColumn = None
    ecal: frozenset[int] = frozenset()
    hcal: frozenset[int] = frozenset()


class ConstituentSource(StrictModel):
    """Branches of one collection of constituents, in the file's unit.

    The momentum is given as (pt, eta, phi); as (px, py, pz); as (energy, eta, phi); or, for hits, as a position
    (x, y, z) and an energy, or as the number of a ``cell`` and an energy. Hits of one ``shower``, and all that name
    their cell, have no direction: their pt is their energy, eta and phi are 0. Several hits in a cell add up in its
    pixel. Where neither ``energy`` nor ``mass`` is named the constituents are massless. ``weight`` scales momentum and
    energy (PUPPI). ``constant`` gives fields that the collection has not, like the charge of photons. ``negative`` says
    what becomes of negative energies, see `hepcnn.io.rules.Negative`. ``features`` are further numbers by name; a file
    may lack them.
    """

    pt: OptionalColumn = None
    eta: OptionalColumn = None
    phi: OptionalColumn = None
    px: OptionalColumn = None
    py: OptionalColumn = None
    pz: OptionalColumn = None
    x: OptionalColumn = None
    y: OptionalColumn = None
    z: OptionalColumn = None
    cell: OptionalColumn = None
    shower: bool = False
    energy: OptionalColumn = None
    mass: OptionalColumn = None
    charge: OptionalColumn = None
    ecal: OptionalColumn = None
    hcal: OptionalColumn = None
    layer: OptionalColumn = None
    weight: OptionalColumn = None
    unique_id: OptionalColumn = None
    split: ParticleIdSplit | None = None
    sampling: SamplingSplit | None = None
    constant: dict[Literal["charge", "ecal", "hcal"], float] = {}
    features: NamedColumns = {}
    negative: Negative = "refuse"

    @pydantic.model_validator(mode="after")
    def _has_momentum(self) -> "ConstituentSource":
        if self.cell is not None:
            return self._is_hit()
        polar, cartesian, position = (self.eta, self.phi), (self.px, self.py, self.pz), (self.x, self.y, self.z)
        given = [all(form) for form in (polar, cartesian, position)]
        touched = [any(form) for form in (polar, cartesian, position)]
        has_size = self.pt is not None or self.energy is not None
        if sum(given) != 1 or given != touched or (not given[1] and not has_size) or (given[1] and self.pt is not None):
            raise ValueError("name eta and phi with pt or energy; or px, py and pz; or x, y and z with energy")
        if given[2] and self.energy is None:
            raise ValueError("hits at x, y and z need their energy")
        if self.shower and not given[2]:
            raise ValueError("'shower' is for hits at x, y and z, or with a cell")
        return self

    def _is_hit(self) -> "ConstituentSource":
        others = ("pt", "eta", "phi", "px", "py", "pz", "x", "y", "z", "mass", "split", "sampling")
        if self.energy is None or any(getattr(self, name) is not None for name in others):
            raise ValueError("hits with a cell need their energy, and have no momentum, place or mass")
        return self

    @property
    def is_shower(self) -> bool:
        """Whether these are hits without a direction."""
        return self.shower or self.cell is not None
