"""The columns of the output tree: JetClass's layout, with calorimeter energies beside it.

Shape letters: K constituents of all jets, J jets.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hepcnn.generate.clustering import LeadingJets
from hepcnn.generate.particles import Constituents, Floats, Integers, Kind
from hepcnn.generate.pythia import Process
from hepcnn.generate.truth import HeavyParticles
from hepcnn.kinematics import delta_phi, pt_eta_phi

LABELS = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
NOT_SIMULATED = ("d0val", "d0err", "dzval", "dzerr")
FLAGS = {
    "isChargedHadron": Kind.CHARGED_HADRON,
    "isNeutralHadron": Kind.NEUTRAL_HADRON,
    "isPhoton": Kind.PHOTON,
    "isElectron": Kind.ELECTRON,
    "isMuon": Kind.MUON,
}
Columns = dict[str, npt.NDArray[np.generic]]


def make_part_columns(constituents: Constituents, jets: LeadingJets, counts: Integers) -> Columns:
    """Columns of the constituents.

    Parameters
    ----------
    constituents
        The constituents of all jets, jet by jet (K rows).
    jets
        J jets.
    counts
        Constituents of each jet (J,).

    Returns
    -------
    dict of ndarray
        (K,) each: energies and momenta in GeV as float32.

    Notes
    -----
    As in JetClass, ``part_deta`` is ``(eta - jet_eta) sign(jet_eta)``, so that a jet looks the same on both sides of
    the detector, and ``part_dphi`` is the plain wrapped difference. Impact parameters are not simulated and 0.
    """
    jet = np.repeat(np.arange(len(counts)), counts)
    _, eta, phi = pt_eta_phi(constituents.px, constituents.py, constituents.pz)
    side = np.where(jets.eta > 0.0, 1.0, -1.0)
    floats: dict[str, Floats] = {
        "px": constituents.px,
        "py": constituents.py,
        "pz": constituents.pz,
        "energy": constituents.energy,
        "deta": (eta - jets.eta[jet]) * side[jet],
        "dphi": delta_phi(phi, jets.phi[jet]),
        "ecal": constituents.ecal,
        "hcal": constituents.hcal,
    }
    floats |= {name: np.zeros(len(jet)) for name in NOT_SIMULATED}
    columns: Columns = {f"part_{name}": column.astype(np.float32) for name, column in floats.items()}
    columns["part_charge"] = constituents.charge.astype(np.int32)
    columns |= {f"part_{name}": constituents.kind == kind for name, kind in FLAGS.items()}
    return columns


def make_jet_columns(
    jets: LeadingJets,
    counts: Integers,
    substructure: Mapping[str, Floats],
    process: Process,
    heavy: HeavyParticles,
    matched: Integers,
    first_event: int,
) -> Columns:
    """Columns of the jets.

    Parameters
    ----------
    jets
        J jets, ``event`` counted within the batch.
    counts
        Constituents of each jet (J,).
    substructure
        ``tau1`` … and ``sdmass`` (GeV), (J,) each.
    process
        Decides the label.
    heavy
        Candidates for the particle that made the jet.
    matched
        Row of ``heavy`` for each jet (J,), -1 for none, which writes zeros.
    first_event
        Number of the batch's first event in the file.

    Returns
    -------
    dict of ndarray
        (J,) each; float32 but for numbers, labels and the event.
    """
    floats = {
        "jet_pt": jets.pt,
        "jet_eta": jets.eta,
        "jet_phi": jets.phi,
        "jet_energy": jets.energy,
        **{f"jet_{name}": column for name, column in substructure.items()},
    }
    found, row = matched >= 0, np.maximum(matched, 0)
    for name in ("pt", "eta", "phi"):
        column: Floats = getattr(heavy, name)
        floats[f"aux_genpart_{name}"] = np.where(found, column[row], 0.0) if len(column) else np.zeros(len(row))
    columns: Columns = {name: column.astype(np.float32) for name, column in floats.items()}
    pdg_id = np.where(found, heavy.pdg_id[row], 0) if len(heavy.pdg_id) else np.zeros(len(row))
    columns["aux_genpart_pid"] = pdg_id.astype(np.int32)
    columns["jet_nparticles"] = counts.astype(np.int32)
    columns |= {f"label_{label}": np.full(len(counts), label == process.label, dtype=np.bool_) for label in LABELS}
    columns["event_number"] = (jets.event + first_event).astype(np.int64)
    return columns
