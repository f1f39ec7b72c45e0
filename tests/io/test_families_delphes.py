"""Delphes and JetClass-like files: labels, weights, clustered jets and features, against the file read by hand."""

from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import pytest
import uproot

from hepcnn.io.plan import Reading, list_labels, name_label_values
from hepcnn.io.reader import iterate_jets
from hepcnn.io.root import write_tree
from tests.io.by_hand import column, distance, read_jets
from tests.toy import make_toy_jets

CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")


@pytest.fixture
def delphes(shared_data: Path) -> Path:
    return shared_data / "delphes_root" / "delphes_towers_10ev.root"


@pytest.mark.parametrize(
    ("schema", "jets", "radius"),
    [("delphes", "Jet", 0.5), ("delphes:fatjet", "FatJet", 0.8), ("delphes:fatjet-towers", "FatJet", 0.8)],
)
def test_labels_and_weights(delphes: Path, schema: str, jets: str, radius: float) -> None:
    tree = uproot.open(delphes)["Delphes"]
    names = [f"{jets}.Flavor", "Particle.PID", "Particle.Eta", "Particle.Phi", "Event.Weight", f"{jets}.PT"]
    events = {name: tree[name].array().tolist() for name in names}
    found = read_jets(delphes, Reading(schema, event_weight=True), step=3)
    assert [jet.pt for jet in found] == [pt for event in events[f"{jets}.PT"] for pt in event]
    for jet in found:
        flavour, kinds, etas, phis, weight, _ = (events[name][jet.entry] for name in names)
        assert jet.labels["flavour"] == flavour[jet.number]
        assert [jet.weight] == weight
        heavy = [at for at, kind in enumerate(kinds) if abs(kind) in (6, 23, 24, 25) and abs(etas[at]) < 50]
        near = {abs(kinds[at]) for at in heavy if distance(etas[at], phis[at], jet.eta, jet.phi) < radius}
        assert jet.labels["resonance"] == next((kind for kind in (6, 25, 24, 23) if kind in near), 0)


@pytest.mark.parametrize("kind", ["clustered-towers", "clustered"])
def test_clustered_events(delphes: Path, kind: str) -> None:
    tree = uproot.open(delphes)["Delphes"]
    sizes = (
        {"Tower": "ET"}
        if kind == "clustered-towers"
        else {
            "EFlowTrack": "PT",
            "EFlowPhoton": "ET",
            "EFlowNeutralHadron": "ET",
        }
    )
    found = read_jets(delphes, f"delphes:{kind}", step=4)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, 1.0)
    for entry in range(tree.num_entries):
        particles = []
        for name, size in sizes.items():
            columns = [tree[f"{name}.{part}"].array()[entry].tolist() for part in (size, "Eta", "Phi")]
            momenta = np.array(columns[0]) * np.cosh(columns[1])
            energies = momenta if name == "EFlowTrack" else tree[f"{name}.E"].array()[entry].tolist()
            for pt, eta, phi, energy in zip(*columns, energies, strict=True):
                particles.append(fastjet.PseudoJet(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy))
        clusters = fastjet.ClusterSequence(particles, definition)
        expected = sorted(clusters.inclusive_jets(20.0), key=lambda jet: -jet.pt())
        jets = [jet for jet in found if jet.entry == entry]
        assert [jet.pt for jet in jets] == pytest.approx([jet.pt() for jet in expected], rel=1e-4)
        for jet, axis in zip(jets, expected, strict=True):
            assert column(jet, "energy") == pytest.approx(sorted(c.e() for c in axis.constituents()), rel=1e-4)
    assert "flavour" not in list_labels(f"delphes:{kind}")


def write_jetclass(path: Path, *, features: bool) -> np.ndarray:
    """JetClass's layout: ten columns that say the class, of which one is set but for two jets."""
    columns = dict(make_toy_jets(40, n_prongs=2, seed=3))
    kinds = np.random.default_rng(1).integers(0, 10, 40)
    for number, name in enumerate(CLASSES):
        columns[f"label_{name}"] = kinds == number
    columns["label_Hbb"] = columns["label_Hbb"] & (np.arange(40) != 7)
    columns["label_QCD"] = columns["label_QCD"] | (np.arange(40) == 11) & (kinds != 0)
    columns = {name: value for name, value in columns.items() if name not in ("part_ecal", "part_hcal")}
    if features:
        columns["part_d0val"] = columns["part_px"] * 0.01
        columns["part_dzval"] = columns["part_py"] * 0.02
    write_tree(path, "tree", [columns])
    expected = kinds.copy()
    expected[7] = -1 if kinds[7] == 1 else kinds[7]
    expected[11] = -1 if kinds[11] != 0 else 0
    return expected


def test_jetclass_labels_and_features(tmp_path: Path) -> None:
    expected = write_jetclass(tmp_path / "a.root", features=True)
    (batch,) = iterate_jets(tmp_path / "a.root", "jetclass")
    assert batch.labels["class"].tolist() == expected.tolist()
    assert name_label_values("jetclass", "class") == dict(enumerate(CLASSES))
    px = np.cos(batch.flat.fields["phi"]) * batch.flat.fields["pt"]
    assert batch.flat.fields["d0"] == pytest.approx(0.01 * px, rel=1e-4, abs=1e-4)


def test_a_file_may_lack_labels_and_features(tmp_path: Path) -> None:
    write_jetclass(tmp_path / "a.root", features=False)
    (batch,) = iterate_jets(tmp_path / "a.root", "jetclass")
    assert "class" in batch.labels
    assert not {"d0", "dz"} & set(batch.flat.fields)
    columns = make_toy_jets(5, n_prongs=1, seed=1)
    write_tree(tmp_path / "b.root", "tree", [{k: v for k, v in columns.items() if not k.startswith("label_")}])
    (batch,) = iterate_jets(tmp_path / "b.root", "jetclass")
    assert batch.labels == {}
    assert ak.sum(batch.flat.counts) == batch.flat.n > 0
