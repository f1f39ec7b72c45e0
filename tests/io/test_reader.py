"""Every family against the file read by hand, jet by jet, in plain loops."""

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import vector
import yaml

from hepcnn.errors import InputError, SchemaError
from hepcnn.io.reader import JetBatch, iterate_jets
from hepcnn.io.schema import SCHEMA_FOLDER
from tests.toy import make_toy_jets, write_toy_jets


def read_all(path: Path, schema: str, step: int = 20_000) -> list[tuple[int, int, list[dict[str, float]], float]]:
    """(entry, jet, constituents, jet pt) of every jet."""
    found = []
    for batch in iterate_jets(path, schema, step=step):
        found += [
            (int(batch.entry[at]), int(batch.jet[at]), batch.constituents[at].tolist(), float(batch.pt[at]))
            for at in range(len(batch))
        ]
    return found


def sorted_pt(constituents: list[dict[str, float]]) -> list[float]:
    return sorted((c["pt"] for c in constituents), reverse=True)


@pytest.mark.parametrize("step", [3, 20_000])
@pytest.mark.parametrize(("schema", "jets"), [("pfnano", "FatJet"), ("pfnano:ak4", "Jet")])
def test_pfnano_by_hand(shared_data: Path, schema: str, jets: str, step: int) -> None:
    path = shared_data / "nano_root" / "pfnano.root"
    table = f"{jets}PFCands"
    names = ["PFCands_pt", "PFCands_eta", "PFCands_phi", "PFCands_mass", "PFCands_puppiWeight", "PFCands_pdgId"]
    events = uproot.open(path)["Events"].arrays([f"{jets}_pt", f"{table}_jetIdx", f"{table}_pFCandsIdx", *names])
    found = read_all(path, schema, step)
    expected_pt = [float(pt) for event in events for pt in event[f"{jets}_pt"]]
    assert [pt for *_, pt in found] == pytest.approx(expected_pt)
    for entry, jet, constituents, _ in found:
        event = events[entry]
        mine = [
            int(candidate)
            for owner, candidate in zip(event[f"{table}_jetIdx"], event[f"{table}_pFCandsIdx"], strict=True)
            if owner == jet
        ]
        weight = [float(event["PFCands_puppiWeight"][i]) if jets == "FatJet" else 1.0 for i in mine]
        vectors = [
            vector.obj(**{name: float(event[f"PFCands_{name}"][i]) for name in ("pt", "eta", "phi", "mass")})
            for i in mine
        ]
        kept = [(v, w, i) for v, w, i in zip(vectors, weight, mine, strict=True) if w > 0]
        assert len(constituents) == len(kept)
        assert sorted_pt(constituents) == pytest.approx(sorted((v.pt * w for v, w, _ in kept), reverse=True), rel=1e-5)
        energy = sum(v.E * w for v, w, _ in kept)
        assert sum(c["energy"] for c in constituents) == pytest.approx(energy, rel=1e-5)
        photons = sum(v.E * w for v, w, i in kept if abs(event["PFCands_pdgId"][i]) in (2, 11, 22))
        assert sum(c["ecal"] for c in constituents) == pytest.approx(photons, rel=1e-5, abs=1e-9)


def test_puppi_constituents_make_up_the_uncorrected_jet(shared_data: Path) -> None:
    """CMS stores the corrected pT; without the correction it is that of the PUPPI-weighted constituents' sum."""
    path = shared_data / "nano_root" / "pfnano.root"
    events = uproot.open(path)["Events"].arrays(["FatJet_pt", "FatJet_rawFactor"])
    raw = ak.to_numpy(ak.flatten(events["FatJet_pt"] * (1 - events["FatJet_rawFactor"])))
    (batch,) = iterate_jets(path, "pfnano")
    assert sum_pt(batch) == pytest.approx(raw, rel=5e-3)


def test_delphes_fatjets_are_the_sum_of_what_they_refer_to(shared_data: Path) -> None:
    (batch,) = iterate_jets(shared_data / "delphes_root" / "delphes_towers_10ev.root", "delphes:fatjet")
    assert len(batch) == 6
    assert sum_pt(batch) == pytest.approx(batch.pt, rel=1e-4)


def sum_pt(batch: JetBatch) -> Any:
    parts = vector.zip({name: batch.constituents[name] for name in ("pt", "eta", "phi", "energy")})
    return ak.to_numpy(ak.sum(parts, axis=1).pt)


def test_delphes_references_by_hand(shared_data: Path) -> None:
    path = shared_data / "delphes_root" / "delphes_towers_10ev.root"
    tree = uproot.open(path)["Delphes"]
    kinds = {"EFlowTrack": "PT", "EFlowPhoton": "ET", "EFlowNeutralHadron": "ET"}
    references = tree["Jet.Constituents"].array()
    lookup: list[dict[int, float]] = [{} for _ in range(tree.num_entries)]
    for kind, field in kinds.items():
        ids, values = tree[f"{kind}.fUniqueID"].array(), tree[f"{kind}.{field}"].array()
        for entry in range(tree.num_entries):
            lookup[entry] |= {int(i) % 2**24: float(v) for i, v in zip(ids[entry], values[entry], strict=True)}
    found = read_all(path, "delphes")
    assert len(found) == sum(len(event) for event in references) == 74
    for entry, jet, constituents, _ in found:
        expected = sorted((lookup[entry][int(r)] for r in references[entry][jet].refs), reverse=True)
        assert sorted_pt(constituents) == pytest.approx(expected, rel=1e-6)


def test_delphes_towers_by_hand(shared_data: Path) -> None:
    path = shared_data / "delphes_root" / "delphes_towers_10ev.root"
    names = ["Jet.Eta", "Jet.Phi", "Tower.ET", "Tower.Eta", "Tower.Phi", "Tower.Eem"]
    events = uproot.open(path)["Delphes"].arrays(names)
    for entry, jet, constituents, _ in read_all(path, "delphes:jet-towers", step=4):
        event = events[entry]
        axis = vector.obj(pt=1.0, eta=float(event["Jet.Eta"][jet]), phi=float(event["Jet.Phi"][jet]))
        towers = [
            vector.obj(pt=float(et), eta=float(eta), phi=float(phi))
            for et, eta, phi in zip(event["Tower.ET"], event["Tower.Eta"], event["Tower.Phi"], strict=True)
        ]
        near = [number for number, tower in enumerate(towers) if tower.deltaR(axis) < 0.5]
        expected = sorted((towers[number].pt for number in near), reverse=True)
        assert sorted_pt(constituents) == pytest.approx(expected)
        ecal = sum(float(event["Tower.Eem"][number]) for number in near)
        assert sum(c["ecal"] for c in constituents) == pytest.approx(ecal, rel=1e-6)


def test_generated_layout_by_hand(tmp_path: Path) -> None:
    path = write_toy_jets(tmp_path / "a.root", n_jets=50, n_prongs=3, seed=1)
    columns = make_toy_jets(50, n_prongs=3, seed=1)
    found = read_all(path, "hepcnn", step=7)
    assert [entry for entry, *_ in found] == list(range(50))
    for entry, _, constituents, pt in found:
        expected = np.hypot(columns["part_px"][entry], columns["part_py"][entry])
        assert [c["pt"] for c in constituents] == pytest.approx(expected.tolist(), rel=1e-5)
        assert pt == pytest.approx(float(columns["jet_pt"][entry]))


def test_events_keep_their_identity_whatever_the_block_size(shared_data: Path) -> None:
    path = shared_data / "nano_root" / "pfnano.root"
    whole = np.concatenate([batch.event_id for batch in iterate_jets(path, "pfnano")])
    blocks = np.concatenate([batch.event_id for batch in iterate_jets(path, "pfnano", step=2)])
    assert np.array_equal(whole, blocks)
    assert len(set(whole.tolist())) == 10


def test_jets_without_constituents_in_the_file(shared_data: Path) -> None:
    with pytest.raises(SchemaError, match="no branch 'FatJetPFCands_jetIdx'"):
        list(iterate_jets(shared_data / "nano_root" / "nano_tt_v12.root", "pfnano"))


@pytest.mark.parametrize(
    ("branch", "value", "reason"),
    [
        ("part_px", np.nan, "NaN or infinite values"),
        ("part_energy", -1.0, "negative energy or pT"),
        ("part_ecal", np.inf, "NaN or infinite values"),
        ("part_hcal", -5.0, "negative energy or pT"),
    ],
)
def test_bad_constituents_name_entry_and_reason(tmp_path: Path, branch: str, value: float, reason: str) -> None:
    columns = make_toy_jets(20, n_prongs=1, seed=1)
    counts = ak.num(columns[branch])
    flat = ak.to_numpy(ak.flatten(columns[branch])).copy()
    flat[int(ak.sum(counts[:7])) + 2] = value
    path = write_toy_jets(tmp_path / "a.root", n_jets=20, n_prongs=1, seed=1, **{branch: ak.unflatten(flat, counts)})
    (batch,) = iterate_jets(path, "hepcnn")
    assert np.flatnonzero(~batch.usable).tolist() == [7]
    with pytest.raises(InputError, match=rf"a\.root.*entry 7, jet 0: {reason} \(1 of 20 jets"):
        batch.require_usable()


def test_empty_jets_are_found(tmp_path: Path) -> None:
    columns = make_toy_jets(5, n_prongs=1, seed=1)
    emptied = {
        name: ak.where(np.arange(5) == 2, ak.Array([[]] * 5), values) if name.startswith("part_") else values
        for name, values in columns.items()
    }
    path = write_toy_jets(tmp_path / "a.root", n_jets=5, n_prongs=1, seed=1, **emptied)
    (batch,) = iterate_jets(path, "hepcnn")
    assert batch.problems["no constituents"].tolist() == [False, False, True, False, False]


def test_a_family_without_masses_has_that_of_the_constituents(tmp_path: Path) -> None:
    content = yaml.safe_load((SCHEMA_FOLDER / "hepcnn.yaml").read_text())
    del content["collections"]["jets"]["jets"]["energy"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    path = write_toy_jets(tmp_path / "a.root", n_jets=20, n_prongs=3, seed=1)
    (without,), (with_energy,) = iterate_jets(path, str(tmp_path / "mine.yaml")), iterate_jets(path, "hepcnn")
    assert without.mass == pytest.approx(with_energy.mass, rel=1e-2)
    assert without.usable.all()


def write_pfnano(path: Path, jet_index: list[list[int]], candidate_index: list[list[int]]) -> Path:
    """A file in PFNano's layout with two events of two jets and three candidates each."""
    ones, integers = ak.Array([[1.0, 2.0, 3.0]] * 2), ak.Array([[1, 2, 3]] * 2)
    events: dict[str, Any] = {f"FatJet_{name}": ak.Array([[100.0, 50.0]] * 2) for name in ("pt", "eta", "phi", "mass")}
    links = {"FatJetPFCands_jetIdx": jet_index, "FatJetPFCands_pFCandsIdx": candidate_index}
    candidates = {f"PFCands_{name}": ones for name in ("pt", "eta", "phi", "mass", "puppiWeight")}
    candidates |= {f"PFCands_{name}": integers for name in ("charge", "pdgId")}
    keys = {name: np.arange(2) for name in ("run", "luminosityBlock", "event")}
    with uproot.recreate(path) as file:
        # One collection, one counter: as NanoAOD has it.
        groups = {"FatJet": events, "FatJetPFCands": {k: ak.Array(v) for k, v in links.items()}, "PFCands": candidates}
        zipped = {
            group: ak.zip({name.removeprefix(f"{group}_"): values for name, values in columns.items()})
            for group, columns in groups.items()
        }
        columns = zipped | keys
        kinds = {name: v.type.content if isinstance(v, ak.Array) else v.dtype for name, v in columns.items()}
        file.mktree("Events", kinds).extend(columns)
    return path


def test_links_are_followed(tmp_path: Path) -> None:
    path = write_pfnano(tmp_path / "a.root", [[1, 0, 1], [0]], [[0, 1, 2], [2]])
    found = {(entry, jet): sorted_pt(constituents) for entry, jet, constituents, _ in read_all(path, "pfnano")}
    assert found == {(0, 0): [4.0], (0, 1): [9.0, 1.0], (1, 0): [9.0], (1, 1): []}


@pytest.mark.parametrize(
    ("jets", "candidates", "message"),
    [
        ([[0, 2], [0]], [[0, 1], [2]], r"entry 0: 'FatJetPFCands_jetIdx' holds 2, but the event has 2"),
        ([[0, 1], [0]], [[0, 1], [3]], r"entry 1: 'FatJetPFCands_pFCandsIdx' holds 3, but the event has 3"),
        ([[0, -1], [0]], [[0, 1], [2]], r"entry 0: 'FatJetPFCands_jetIdx' holds -1"),
    ],
)
def test_links_to_nothing_are_refused(
    tmp_path: Path, jets: list[list[int]], candidates: list[list[int]], message: str
) -> None:
    path = write_pfnano(tmp_path / "a.root", jets, candidates)
    with pytest.raises(InputError, match=message):
        list(iterate_jets(path, "pfnano"))
