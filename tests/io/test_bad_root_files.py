"""Columns that do not fit together, links to nothing, damaged baskets: each a clear error with its place."""

import re
import shutil
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepcnn.errors import InputError
from hepcnn.io.inspect import inspect_file
from hepcnn.io.reader import iterate_jets

NANO: dict[str, Any] = {
    "run": [1, 1, 1],
    "luminosityBlock": [1, 1, 1],
    "event": [1, 2, 3],
    **{f"FatJet_{name}": [[300.0, 200.0], [], [250.0]] for name in ("pt", "eta", "phi", "mass")},
    "FatJet_hadronFlavour": [[0, 5], [], [4]],
    **{f"PFCand_{name}": [[1.0, 2.0], [], [3.0]] for name in ("pt", "eta", "phi", "mass")},
    "PFCand_pdgId": [[211, 22], [], [130]],
    "FatJetPFCand_jetIdx": [[0, 1], [], [0]],
    "FatJetPFCand_pfCandIdx": [[0, 1], [], [0]],
}
ATLAS: dict[str, Any] = {
    "EventInfoAuxDyn.runNumber": [1, 1],
    "EventInfoAuxDyn.eventNumber": [1, 2],
    **{f"AnalysisJetsAuxDyn.{name}": [[3e4], [2e4]] for name in ("pt", "m")},
    **{f"AnalysisJetsAuxDyn.{name}": [[0.0], [0.5]] for name in ("eta", "phi")},
    "CaloCalTopoClustersAuxDyn.calE": [[5e3], [6e3, 7e3]],
    **{f"CaloCalTopoClustersAuxDyn.cal{name}": [[0.1], [0.4, 0.5]] for name in ("Eta", "Phi")},
    "CaloCalTopoClustersAuxDyn.e_sampl": [[[1e3, 4e3]], [[6e3], [3e3, 4e3]]],
    "CaloCalTopoClusters.m_samplingPattern": [[0b110], [0b1, 0b1010]],
}
PODIO: dict[str, Any] = {
    **{f"Jet.momentum.{axis}": [[9.0, 1.0], [5.0]] for axis in "xyz"},
    "Jet.mass": [[1.0, 1.0], [1.0]],
    "Jet.particles_begin": [[0, 2], [0]],
    "Jet.particles_end": [[2, 3], [1]],
    "_Jet_particles.index": [[0, 2, 1], [0]],
    "_Jet_particles.collectionID": [[7, 7, 7], [7]],
    **{f"ReconstructedParticles.momentum.{axis}": [[3.0, 1.0, 6.0], [5.0]] for axis in "xyz"},
    "ReconstructedParticles.energy": [[9.0, 9.0, 20.0], [9.0]],
    "ReconstructedParticles.charge": [[1.0, 0.0, -1.0], [1.0]],
    "ReconstructedParticles.PDG": [[211, 22, 211], [211]],
}
FAMILIES = {"nanoaod": ("Events", NANO), "atlas:clusters": ("CollectionTree", ATLAS), "edm4hep": ("events", PODIO)}


def write(path: Path, schema: str, changes: dict[str, Any]) -> Path:
    """A file of a family; RNTuple, where each column has a length of its own."""
    tree, columns = FAMILIES[schema]
    with uproot.recreate(path) as file:
        # No dots in the names of an RNTuple's fields.
        file.mkrntuple(tree, {name.replace(".", ":"): ak.Array(v) for name, v in (columns | changes).items()})
    return path


@pytest.mark.parametrize("schema", FAMILIES)
def test_the_files_are_good_as_they_are(tmp_path: Path, schema: str) -> None:
    (batch,) = iterate_jets(write(tmp_path / "a.root", schema, {}), schema)
    batch.require_usable()
    assert len(batch) == {"nanoaod": 3, "atlas:clusters": 2, "edm4hep": 3}[schema]


@pytest.mark.parametrize(
    ("schema", "changes", "message"),
    [
        ("nanoaod", {"PFCand_pt": [["a", "b"], [], ["c"]]}, "'PFCand_pt' holds no numbers, but var * string"),
        ("nanoaod", {"PFCand_pt": [[True, True], [], [False]]}, "'PFCand_pt' holds no numbers, but var * bool"),
        ("nanoaod", {"FatJet_eta": [["1", "2"], [], ["3"]]}, "'FatJet_eta' holds no numbers, but var * string"),
        ("nanoaod", {"PFCand_eta": [1.0, 2.0, 3.0]}, "'PFCand_eta' should be a list in each entry, it is 3 * float64"),
        (
            "nanoaod",
            {"FatJet_phi": [[1.0], [], [2.0]]},
            "entry 0: 'FatJet_pt' and 'FatJet_phi' differ in length (2 and 1)",
        ),
        (
            "nanoaod",
            {"PFCand_phi": [[1.0, 2.0], [], []]},
            "entry 2: 'PFCand_pt' and 'PFCand_phi' differ in length (1 and 0)",
        ),
        (
            "nanoaod",
            {"FatJetPFCand_jetIdx": [[0, 1], [0], [0]]},
            "entry 1: 'FatJetPFCand_jetIdx' and 'FatJetPFCand_pfCandIdx' differ in length (1 and 0)",
        ),
        (
            "nanoaod",
            {"FatJetPFCand_jetIdx": [[0, 1], [], [1]]},
            "entry 2: 'FatJetPFCand_jetIdx' holds 1, but the event has 1",
        ),
        ("nanoaod", {"FatJetPFCand_pfCandIdx": [[0, -1], [], [0]]}, "entry 0: 'FatJetPFCand_pfCandIdx' holds -1"),
        (
            "nanoaod",
            {"FatJet_hadronFlavour": [[0, 5], [4], [4]]},
            "entry 1: 'FatJet_hadronFlavour' has 1 values for 0 jets",
        ),
        (
            "nanoaod",
            {"FatJet_hadronFlavour": [[0, 0.5], [], [4]]},
            "'FatJet_hadronFlavour' should hold whole numbers, one is 0.5",
        ),
        (
            "atlas:clusters",
            {"CaloCalTopoClusters.m_samplingPattern": [[0b110], [0b1, 0b1]]},
            "names 1 samplings of a constituent (number 2 of the block from entry 0), "
            "'CaloCalTopoClustersAuxDyn.e_sampl' holds 2",
        ),
        (
            "atlas:clusters",
            {"CaloCalTopoClustersAuxDyn.e_sampl": [[[1e3, 4e3]], [[6e3]]]},
            "entry 1: 'CaloCalTopoClustersAuxDyn.calEta' and 'CaloCalTopoClustersAuxDyn.e_sampl' differ in length (2",
        ),
        (
            "atlas:clusters",
            {"CaloCalTopoClustersAuxDyn.e_sampl": [[1e3], [6e3, 3e3]]},
            "'CaloCalTopoClustersAuxDyn.e_sampl' should hold lists of lists",
        ),
        ("edm4hep", {"Jet.particles_end": [[2, 4], [1]]}, "entry 0: 'Jet.particles_end' holds 4, but the event has 4"),
        (
            "edm4hep",
            {"Jet.particles_begin": [[0, 2], [2]]},
            "entry 1: 'Jet.particles_begin' holds 2, but the event has 2",
        ),
        (
            "edm4hep",
            {"Jet.particles_end": [[2, 1], [1]]},
            "'Jet.particles_begin' holds 2, which is after 'Jet.particles_end', 1",
        ),
        ("edm4hep", {"Jet.particles_end": [[2], [1]]}, "entry 0: 'Jet.particles_end' has 1 values for 2 jets"),
        (
            "edm4hep",
            {"_Jet_particles.index": [[0, 2, 3], [0]]},
            "entry 0: '_Jet_particles.index' holds 3, but the event has 3",
        ),
        ("edm4hep", {"_Jet_particles.collectionID": [[7, 7, 8], [7]]}, "names several collections (7, 8)"),
    ],
)
def test_columns_that_do_not_fit(tmp_path: Path, schema: str, changes: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "bad.root", schema, changes)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        list(iterate_jets(path, schema))
    assert f"bad.root: tree '{FAMILIES[schema][0]}'" in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "changes", "reason", "jets"),
    [
        ("nanoaod", {"PFCand_pt": [[1.0, np.nan], [], [3.0]]}, "NaN or infinite values", [1]),
        ("nanoaod", {"PFCand_eta": [[1.0, 2.0], [], [np.inf]]}, "NaN or infinite values", [2]),
        ("nanoaod", {"FatJet_phi": [[np.nan, 2.0], [], [1.0]]}, "NaN or infinite values", [0]),
        ("nanoaod", {"PFCand_pt": [[-1.0, 2.0], [], [3.0]]}, "negative energy or pT", [0]),
        ("nanoaod", {"FatJet_pt": [[300.0, -5.0], [], [250.0]]}, "negative energy or pT", [1]),
        ("atlas:clusters", {"AnalysisJetsAuxDyn.m": [[np.inf], [2e4]]}, "NaN or infinite values", [0]),
        ("edm4hep", {"ReconstructedParticles.energy": [[9.0, 9.0, 20.0], [-9.0]]}, "negative energy or pT", [2]),
        ("edm4hep", {"ReconstructedParticles.momentum.x": [[3.0, np.nan, 6.0], [5.0]]}, "NaN or infinite values", [1]),
    ],
)
def test_numbers_that_are_none(
    tmp_path: Path, schema: str, changes: dict[str, Any], reason: str, jets: list[int]
) -> None:
    (batch,) = iterate_jets(write(tmp_path / "bad.root", schema, changes), schema)
    assert np.flatnonzero(batch.problems[reason]).tolist() == jets
    with pytest.raises(
        InputError, match=rf"bad\.root.*entry {batch.entry[jets[0]]}, jet {batch.jet[jets[0]]}: {reason}"
    ):
        batch.require_usable()


def test_noise_below_zero_is_left_out_where_the_schema_says_so(tmp_path: Path) -> None:
    changes = {"CaloCalTopoClustersAuxDyn.e_sampl": [[[-1e3, 4e3]], [[6e3], [3e3, -4e3]]]}
    path = write(tmp_path / "a.root", "atlas:clusters", changes)
    (batch,) = iterate_jets(path, "atlas:clusters")
    assert batch.flat.fields["energy"].tolist() == [4.0, 6.0, 3.0]
    assert batch.flat.fields["layer"].tolist() == [2.0, 0.0, 1.0]
    changes = {"CaloCalTopoClustersAuxDyn.calE": [[-5e3], [60e3, -7e3]]}
    path = write(tmp_path / "b.root", "atlas:clusters", changes)
    for schema in ("atlas:clusters-whole", "atlas:clustered"):
        (batch,) = iterate_jets(path, schema)
        assert batch.flat.fields["energy"].tolist() == [60.0], schema


@pytest.mark.parametrize(
    ("specimen", "tree", "branch", "schema"),
    [
        ("nano_root/pfnano.root", "Events", "PFCands_eta", "pfnano"),
        ("atlas_root/PHYSLITE_example.root", "CollectionTree", "AnalysisJetsAuxDyn.EnergyPerSampling", "atlas"),
        ("edm4hep_root/test_FCC_Winter2023.root", "events", "Jet#2.index", "edm4hep"),
        ("delphes_root/delphes_towers_10ev.root", "Delphes", "Jet.Constituents", "delphes"),
    ],
)
def test_a_basket_that_is_destroyed(
    shared_data: Path, tmp_path: Path, specimen: str, tree: str, branch: str, schema: str
) -> None:
    path = tmp_path / "bad.root"
    shutil.copyfile(shared_data / specimen, path)
    with uproot.open(path) as file:
        found = file[tree][branch]
        start, length = int(found.member("fBasketSeek")[0]), int(found.member("fBasketBytes")[0])
    content = bytearray(path.read_bytes())
    content[start + length // 4 : start + length] = bytes(length - length // 4)
    path.write_bytes(bytes(content))
    message = rf"bad\.root: cannot read branch '{re.escape(branch)}' of tree '{tree}', entries 0 to \d+ \(damaged"
    with pytest.raises(InputError, match=message):
        list(iterate_jets(path, schema))
    with pytest.raises(InputError, match=message):
        inspect_file(path)
    assert inspect_file(path, count=False).schema == schema
