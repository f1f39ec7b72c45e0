"""NanoAOD as trees and RNTuples, made of a real PFNano file's content; labels; the Level-1 trigger's objects."""

import itertools
from pathlib import Path
from typing import Any

import awkward as ak
import fastjet
import numpy as np
import pytest
import uproot

from hepcnn.errors import InputError, SchemaError
from hepcnn.io.inspect import inspect_file
from hepcnn.io.plan import Reading, list_features
from hepcnn.io.reader import iterate_jets
from hepcnn.io.root import list_trees
from tests.io.by_hand import assert_same_batches, column, distance, read_jets

COLLECTIONS = {
    "FatJet": ["pt", "eta", "phi", "mass", "hadronFlavour"],
    "Jet": ["pt", "eta", "phi", "mass", "hadronFlavour", "partonFlavour"],
    "GenPart": ["pt", "eta", "phi", "pdgId"],
    "PFCand": ["pt", "eta", "phi", "mass", "pdgId"],
    "FatJetPFCand": ["jetIdx", "pfCandIdx"],
    "JetPFCand": ["jetIdx", "pfCandIdx"],
}
SINGLE = ["run", "luminosityBlock", "event", "genWeight"]


@pytest.fixture
def pfnano(shared_data: Path) -> Path:
    return shared_data / "nano_root" / "pfnano.root"


def make_nanoaod(pfnano: Path) -> dict[str, Any]:
    """Content of a PFNano file under the names of NanoAOD v15: momenta of candidates times their PUPPI weight."""
    tree = uproot.open(pfnano)["Events"]
    old = {"PFCand": "PFCands", "FatJetPFCand": "FatJetPFCands", "JetPFCand": "JetPFCands", "pfCandIdx": "pFCandsIdx"}
    weight = tree["PFCands_puppiWeight"].array()
    content: dict[str, Any] = {name: tree[name].array() for name in SINGLE}
    for collection, fields in COLLECTIONS.items():
        columns = {f: tree[f"{old.get(collection, collection)}_{old.get(f, f)}"].array() for f in fields}
        if collection == "PFCand":
            columns |= {name: columns[name] * weight for name in ("pt", "mass")}
        content[collection] = columns
    return content


def write_tree_of(content: dict[str, Any], path: Path) -> Path:
    columns = {name: ak.zip(value) if isinstance(value, dict) else value for name, value in content.items()}
    with uproot.recreate(path) as file:
        file.mktree("Events", {name: array.type.content for name, array in columns.items()}).extend(columns)
    return path


def write_rntuple_of(content: dict[str, Any], path: Path, *, records: bool) -> Path:
    """As CMSSW writes it, collections of records; or as ROOT's importer does, a list for each branch."""
    columns: dict[str, Any] = {}
    for name, value in content.items():
        if not isinstance(value, dict):
            columns[name] = value
        elif records:
            columns[name] = ak.zip(value)
        else:
            columns |= {f"{name}_{field}": array for field, array in value.items()}
    with uproot.recreate(path) as file:
        writer = file.mkrntuple("Events", {name: array[:6] for name, array in columns.items()})
        writer.extend({name: array[6:] for name, array in columns.items()})
    return path


@pytest.mark.parametrize(("collection", "jets"), [("ak8", "FatJet"), ("ak4", "Jet")])
def test_nanoaod_by_hand(pfnano: Path, tmp_path: Path, collection: str, jets: str) -> None:
    path = write_tree_of(make_nanoaod(pfnano), tmp_path / "a.root")
    tree = uproot.open(path)["Events"]
    events = ak.zip({name: tree[name].array() for name in tree.keys()}, depth_limit=1)  # noqa: SIM118 (a tree iterates over blocks)
    charges = uproot.open(pfnano)["Events"]["PFCands_charge"].array()
    found = iter(read_jets(path, f"nanoaod:{collection}", step=4))
    for entry, event in enumerate(events):
        owners, candidates = (event[f"{jets}PFCand_{name}"].tolist() for name in ("jetIdx", "pfCandIdx"))
        for number in range(len(event[f"{jets}_pt"])):
            jet = next(found)
            expected = [float(event[f"{jets}_{name}"][number]) for name in ("pt", "eta", "phi", "mass")]
            assert [jet.pt, jet.eta, jet.phi, jet.mass] == expected
            mine = [at for owner, at in zip(owners, candidates, strict=True) if owner == number]
            mine = [at for at in mine if event["PFCand_pt"][at] > 0]
            assert column(jet, "pt") == pytest.approx(sorted(float(event["PFCand_pt"][at]) for at in mine))
            # The charge follows from the kind: the file this was made of has it.
            assert column(jet, "charge") == sorted(float(charges[entry][at]) for at in mine)
            assert jet.labels["hadron"] == event[f"{jets}_hadronFlavour"][number]
            if jets == "Jet":
                assert jet.labels["parton"] == event["Jet_partonFlavour"][number]
    assert next(found, None) is None


@pytest.mark.parametrize("collection", ["ak8", "ak4"])
def test_nanoaod_is_pfnano_weighted(pfnano: Path, tmp_path: Path, collection: str) -> None:
    path = write_tree_of(make_nanoaod(pfnano), tmp_path / "a.root")
    new, old = read_jets(path, f"nanoaod:{collection}"), read_jets(pfnano, f"pfnano:{collection}")
    assert [(jet.event_id, jet.pt, jet.labels) for jet in new] == [(jet.event_id, jet.pt, jet.labels) for jet in old]
    if collection == "ak8":
        for one, other in zip(new, old, strict=True):
            for name in ("pt", "energy", "ecal", "hcal", "charge"):
                assert column(one, name) == pytest.approx(column(other, name), rel=1e-5, abs=1e-7)


def test_rntuples_read_as_the_tree(pfnano: Path, tmp_path: Path) -> None:
    content = make_nanoaod(pfnano)
    tree = write_tree_of(content, tmp_path / "tree.root")
    for records in (True, False):
        path = write_rntuple_of(content, tmp_path / f"{records}.root", records=records)
        (table,) = list_trees(path)
        assert (table.name, table.n_entries) == ("Events", 10)
        found = inspect_file(path)
        assert found.schema == "nanoaod"
        assert {fit.schema: fit.n_jets for fit in found.fits} == {"nanoaod": 24, "nanoaod:ak4": 64}
        for schema in ("nanoaod", "nanoaod:ak4"):
            reading = Reading(schema, event_weight=True)
            for options in ({"step": 3}, {"entry_start": 2, "entry_stop": 9}, {}):
                assert_same_batches(*(list(iterate_jets(file, reading, **options)) for file in (tree, path)))


def test_a_damaged_rntuple_is_refused(pfnano: Path, tmp_path: Path) -> None:
    path = write_rntuple_of(make_nanoaod(pfnano), tmp_path / "a.root", records=True)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.root.*cut short"):
        list_trees(path)
    content = bytearray(whole)
    middle = len(content) // 3
    content[middle : middle + 20_000] = bytes(20_000)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"a\.root.*(cannot read branch|damaged)"):
        list(itertools.chain(*(iterate_jets(path, schema) for schema in ("nanoaod", "nanoaod:ak4"))))


@pytest.mark.parametrize(("schema", "jets"), [("pfnano", "FatJet"), ("pfnano:ak4", "Jet")])
def test_pfnano_labels_by_hand(pfnano: Path, schema: str, jets: str) -> None:
    events = uproot.open(pfnano)["Events"].arrays([f"{jets}_hadronFlavour", "genWeight"])
    found = read_jets(pfnano, Reading(schema, event_weight=True), step=6)
    for jet in found:
        assert jet.labels["hadron"] == events[f"{jets}_hadronFlavour"][jet.entry][jet.number]
        assert jet.weight == pytest.approx(float(events["genWeight"][jet.entry]))
    assert {jet.labels["hadron"] for jet in found} >= {0, 4}


def test_tops_and_bosons_near_the_axis(shared_data: Path, tmp_path: Path) -> None:
    """Jets and generated particles of 200 real tt events; the candidates, which they lack, are one a jet."""
    tree = uproot.open(shared_data / "nano_root" / "nano_tt_v12.root")["Events"]
    content: dict[str, Any] = {name: tree[name].array() for name in SINGLE}
    for name in ("FatJet", "GenPart"):
        content[name] = {f: tree[f"{name}_{f}"].array() for f in COLLECTIONS[name]}
    content["PFCand"] = {f: content["FatJet"][f] for f in ("pt", "eta", "phi", "mass")}
    content["PFCand"]["pdgId"] = ak.values_astype(content["FatJet"]["pt"] * 0 + 211, np.int32)
    place = ak.values_astype(ak.local_index(content["FatJet"]["pt"]), np.int32)
    content["FatJetPFCand"] = {"jetIdx": place, "pfCandIdx": place}
    path = write_tree_of(content, tmp_path / "a.root")
    particles = {name: content["GenPart"][name].tolist() for name in ("pdgId", "eta", "phi")}
    found = read_jets(path, "nanoaod", step=33)
    for jet in found:
        near = {
            abs(kind)
            for kind, eta, phi in zip(*(particles[name][jet.entry] for name in particles), strict=True)
            if abs(kind) in (6, 23, 24, 25) and distance(eta, phi, jet.eta, jet.phi) < 0.8
        }
        assert jet.labels["resonance"] == next((kind for kind in (6, 25, 24, 23) if kind in near), 0)
    assert {0, 6, 24} <= {jet.labels["resonance"] for jet in found}


def test_features_are_read_where_they_are_asked_for(pfnano: Path) -> None:
    assert list_features("pfnano") == ("d0", "dz")
    fields = [
        set(next(iterate_jets(pfnano, Reading("pfnano", features=names))).flat.fields) for names in (None, (), ("dz",))
    ]
    assert fields[0] - fields[1] == {"d0", "dz"}
    assert fields[2] - fields[1] == {"dz"}
    with pytest.raises(SchemaError, match="offers no feature 'dzz' of its constituents; did you mean 'dz'"):
        list(iterate_jets(pfnano, Reading("pfnano", features=("dzz",))))


def test_files_without_constituents_or_entries(shared_data: Path) -> None:
    found = inspect_file(shared_data / "nano_root" / "nano_tt_v12.root")
    assert found.schema is None
    assert found.nearest is not None
    assert found.nearest.schema == "nanoaod"
    assert {"PFCand_pt", "FatJetPFCand_jetIdx"} <= set(found.nearest.missing)
    with pytest.raises(SchemaError, match=r"nano_tt_v12\.root: tree 'Events' has no branch 'FatJetPFCand_jetIdx'"):
        list(iterate_jets(shared_data / "nano_root" / "nano_tt_v12.root", "nanoaod"))
    empty = inspect_file(shared_data / "bad" / "nano_dy_empty.root")
    assert empty.schema is None
    assert "'Events' has no entries" in empty.notes


@pytest.mark.parametrize(("schema", "branch"), [("l1calo", "pf"), ("l1calo:puppi", "pup")])
def test_trigger_objects_in_nested_records(shared_data: Path, schema: str, branch: str) -> None:
    path = shared_data / "l1calo_root" / "uproot-issue-643.root"
    tree = uproot.open(path)["ntuple0/objects"]
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.4)
    found = read_jets(path, schema, step=10)
    for entry, (objects, generated) in enumerate(zip(tree[branch].array(), tree["gen"].array(), strict=True)):
        pseudo = [
            fastjet.PseudoJet(o["first"]["fP"]["fX"], o["first"]["fP"]["fY"], o["first"]["fP"]["fZ"], o["first"]["fE"])
            for o in objects.tolist()
        ]
        clusters = fastjet.ClusterSequence(pseudo, definition)
        expected = sorted(clusters.inclusive_jets(20.0), key=lambda j: -j.pt())
        jets = [jet for jet in found if jet.entry == entry]
        assert [jet.pt for jet in jets] == pytest.approx([j.pt() for j in expected], rel=1e-4)
        for jet, axis in zip(jets, expected, strict=True):
            assert column(jet, "energy") == pytest.approx(sorted(c.e() for c in axis.constituents()), rel=1e-5)
            near = {
                abs(g["second"])
                for g in generated.tolist()
                for p in [fastjet.PseudoJet(*(g["first"]["fP"][f"f{axis}"] for axis in "XYZ"), g["first"]["fE"])]
                if distance(p.eta(), p.phi(), jet.eta, jet.phi) < 0.4
            }
            assert jet.labels["generated"] == next((kind for kind in (15, 6, 5, 4) if kind in near), 0)
    assert inspect_file(path, count=False).schema == "l1calo"


def test_a_field_that_a_record_has_not(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "l1calo_root" / "uproot-issue-643.root"
    for number, name in enumerate(("pf/first.fP.fW", "pf/first.fP", "pf/third", "pff/second")):
        schema = tmp_path / f"{number}.yaml"
        schema.write_text(
            "name: mine\ntitle: mine\ntree: ntuple0/objects\ndefault: pf\ncollections:\n  pf:\n    title: pf\n"
            f"    link: {{kind: entry}}\n    constituents: [{{pt: {name}, eta: pf/first.fE, phi: pf/first.fE}}]\n"
        )
        with pytest.raises(SchemaError, match=f"no branch '{name}'"):
            list(iterate_jets(path, str(schema)))


def test_charges_of_leptons_are_against_their_ids(tmp_path: Path) -> None:
    content = {
        "run": np.zeros(1, np.int32),
        "luminosityBlock": np.zeros(1, np.int32),
        "event": np.zeros(1, np.int64),
        "FatJet": {name: ak.Array([[1.0]]) for name in ("pt", "eta", "phi", "mass")},
        "PFCand": {name: ak.Array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]) for name in ("pt", "eta", "phi", "mass")},
        "FatJetPFCand": {"jetIdx": ak.Array([[0] * 6]), "pfCandIdx": ak.Array([list(range(6))])},
    }
    content["PFCand"]["pdgId"] = ak.Array([[11, -13, 211, -211, 22, 130]])
    columns = {name: ak.zip(v) if isinstance(v, dict) else ak.Array(v) for name, v in content.items()}
    path = write_tree_of(columns, tmp_path / "a.root")
    (jet,) = read_jets(path, "nanoaod")
    assert [c["charge"] for c in jet.constituents] == [-1, 1, 1, -1, 0, 0]
