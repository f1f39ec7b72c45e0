"""Jets by FastJet's awkward interface: the leading anti-kt jet of each event, and the substructure of jets.

Shape letters: K constituents of all events, J jets.
"""

from dataclasses import dataclass, fields
from typing import Any

import awkward as ak
import numpy as np

from hepcnn.errors import require
from hepcnn.generate.particles import Constituents, Floats, Integers
from hepcnn.kinematics import mass, pt_eta_phi
from hepcnn.substructure import make_n_subjettiness, make_soft_drop_mass


@dataclass(frozen=True)
class LeadingJets:
    """The leading jet of events that have one: (J,) each, GeV; J lists of rows of the constituents."""

    event: Integers
    pt: Floats
    eta: Floats
    phi: Floats
    energy: Floats
    mass: Floats
    constituents: ak.Array

    def select(self, rows: Integers) -> "LeadingJets":
        """The jets of an index array."""
        return LeadingJets(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def find_leading_jets(constituents: Constituents, n_events: int, *, radius: float, pt_min: float) -> LeadingJets:
    """Cluster every event and pick its jet of highest pT.

    Parameters
    ----------
    constituents
        K rows ordered by event.
    n_events
        Events in the batch; those without constituents give no jet.
    radius
        R of the anti-kt algorithm (arXiv:0802.1189), with four-momenta added.
    pt_min
        Leading jets below this pT in GeV are left out.

    Returns
    -------
    LeadingJets
        In the order of the events; each jet's constituents in the order they came.

    Raises
    ------
    MissingExtraError
        When fastjet is not installed.
    """
    fastjet = require("fastjet", extra="generate")
    start = np.searchsorted(constituents.event, np.arange(n_events + 1))
    momenta = _as_momenta(constituents.px, constituents.py, constituents.pz, constituents.energy, start)
    sequence = fastjet.ClusterSequence(momenta, fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
    jets, members = sequence.inclusive_jets(min_pt=pt_min), sequence.constituent_index(min_pt=pt_min)
    pt_squared = jets.px**2 + jets.py**2
    event = np.flatnonzero(ak.to_numpy(ak.num(jets, axis=1)) > 0)
    leading = np.asarray(ak.argmax(pt_squared[event], axis=1), dtype=np.int64)
    jets, members = jets[event, leading], members[event, leading]
    rows = ak.sort(members, axis=1) + start[event]
    px, py, pz, energy = (np.asarray(jets[name], dtype=np.float64) for name in ("px", "py", "pz", "E"))
    pt, eta, phi = pt_eta_phi(px, py, pz)
    return LeadingJets(event, pt, eta, phi, energy, mass(energy, px, py, pz), rows)


def make_substructure(constituents: Constituents, rows: ak.Array, *, radius: float) -> dict[str, Floats]:
    """N-subjettiness and soft-drop mass of jets.

    Parameters
    ----------
    constituents
        K rows.
    rows
        J lists of rows, none empty.
    radius
        The jets' R.

    Returns
    -------
    dict of ndarray
        ``tau1`` to ``tau4`` and ``sdmass`` (GeV), (J,) each; empty for no jet. tau_N is 0 for up to N constituents.

    Notes
    -----
    tau_N (arXiv:1108.2701) with the normalised measure, beta = 1, and as axes the winner-take-all axes of the exclusive
    kt jets. Soft drop (arXiv:1402.2657) with z_cut = 0.1, beta = 0 on the Cambridge/Aachen tree of the constituents.
    """
    picked = ak.to_numpy(ak.flatten(rows))
    pt, eta, phi = pt_eta_phi(constituents.px[picked], constituents.py[picked], constituents.pz[picked])
    momenta = ak.zip({"pt": pt, "eta": eta, "phi": phi, "energy": constituents.energy[picked]})
    jets = ak.unflatten(momenta, ak.num(rows, axis=1))
    tau = make_n_subjettiness(jets, n_axes=(1, 2, 3, 4), radius=radius, axes="WTA_KT_Axes")
    columns: dict[str, Floats] = {f"tau{n + 1}": tau[:, n] for n in range(4)}
    columns["sdmass"] = make_soft_drop_mass(jets, radius=radius).astype(np.float64)
    return columns


def _as_momenta(px: Floats, py: Floats, pz: Floats, energy: Floats, start: Integers) -> Any:
    """Lists of four-momenta in the layout that FastJet's interface takes without a copy."""
    names = ("px", "py", "pz", "E")
    record = ak.contents.RecordArray(
        [ak.contents.NumpyArray(np.ascontiguousarray(c)) for c in (px, py, pz, energy)], names
    )
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(start.astype(np.int64)), record))
