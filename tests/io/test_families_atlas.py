"""ATLAS files against the file read by hand, jet by jet, in plain loops."""

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from hepcnn.io.plan import Reading, name_label_values
from hepcnn.io.reader import iterate_jets
from tests.io.by_hand import assert_same_batches, column, distance, read_jets

JETS = "AnalysisJetsAuxDyn"
LARGE = "AnalysisLargeRJetsAuxDyn"
MOMENTUM = ("pt", "eta", "phi", "m")
SAMPLINGS_OF_ECAL = (0, 1, 2, 3, 4, 5, 6, 7, 21)


@pytest.fixture
def physlite(shared_data: Path) -> Path:
    return shared_data / "atlas_root" / "PHYSLITE_example.root"


@pytest.fixture
def with_clusters(shared_data: Path) -> Path:
    return shared_data / "atlas_root" / "uproot-issue-123b.root"


def read_events(path: Path, names: list[str]) -> ak.Array:
    tree = uproot.open(path)["CollectionTree"]
    return ak.zip({name: tree[name].array() for name in names}, depth_limit=1)


@pytest.mark.parametrize("step", [7, 500])
def test_jets_are_towers_of_their_samplings(physlite: Path, step: int) -> None:
    names = [f"{JETS}.{name}" for name in (*MOMENTUM, "EnergyPerSampling", "PartonTruthLabelID", "ConeTruthLabelID")]
    axis = [f"{JETS}.JetConstitScaleMomentum_{name}" for name in ("eta", "phi")]
    events = read_events(physlite, [*names, *axis])
    found = iter(read_jets(physlite, "atlas", step=step))
    for entry, event in enumerate(events):
        for number in range(len(event[f"{JETS}.pt"])):
            jet = next(found)
            assert (jet.entry, jet.number) == (entry, number)
            expected = [float(event[f"{JETS}.{name}"][number]) for name in MOMENTUM]
            assert [jet.pt, jet.eta, jet.phi, jet.mass] == pytest.approx(
                [expected[0] / 1000, expected[1], expected[2], expected[3] / 1000]
            )
            energies = event[f"{JETS}.EnergyPerSampling"][number].tolist()
            filled = {layer: energy / 1000 for layer, energy in enumerate(energies) if energy > 0}
            assert {int(c["layer"]): c["energy"] for c in jet.constituents} == pytest.approx(filled)
            eta, phi = (float(event[name][number]) for name in axis)
            assert all((c["eta"], c["phi"]) == (eta, phi) for c in jet.constituents)
            assert column(jet, "pt") == pytest.approx(sorted(e / np.cosh(eta) for e in filled.values()), rel=1e-6)
            ecal = {layer: energy for layer, energy in filled.items() if layer in SAMPLINGS_OF_ECAL}
            assert sum(column(jet, "ecal")) == pytest.approx(sum(ecal.values()))
            assert sum(column(jet, "hcal")) == pytest.approx(sum(filled.values()) - sum(ecal.values()), abs=1e-9)
            assert jet.labels["parton"] == event[f"{JETS}.PartonTruthLabelID"][number]
            assert jet.labels["cone"] == event[f"{JETS}.ConeTruthLabelID"][number]
    assert next(found, None) is None


def test_ecal_is_what_atlas_calls_the_electromagnetic_fraction(physlite: Path) -> None:
    """The file's own EMFrac tells which samplings are electromagnetic, for the jets without noise below zero."""
    scale = [f"{JETS}.JetConstitScaleMomentum_{name}" for name in ("pt", "eta", "m")]
    events = read_events(physlite, [f"{JETS}.EMFrac", f"{JETS}.EnergyPerSampling", *scale])
    pt, eta, mass, fraction = (ak.to_numpy(ak.flatten(events[name])) for name in (*scale, f"{JETS}.EMFrac"))
    energy = np.hypot(pt * np.cosh(eta), mass) / 1000
    is_clean = ak.to_numpy(ak.flatten(ak.all(events[f"{JETS}.EnergyPerSampling"] >= 0, axis=2)))
    found = np.array([sum(column(jet, "ecal")) for jet in read_jets(physlite, "atlas")]) / energy
    agrees = np.isclose(found, fraction, atol=1e-5)[is_clean]
    assert is_clean.sum() > 300
    assert agrees.mean() > 0.85  # the rest are jets for whose tracks the file counts less


def test_names_of_labels(physlite: Path) -> None:
    labels = np.concatenate([batch.labels["parton"] for batch in iterate_jets(physlite, "atlas")])
    names = name_label_values("atlas", "parton")
    counts = {names[int(value)]: int(n) for value, n in zip(*np.unique(labels, return_counts=True), strict=True)}
    assert counts == {"none": 482, "d": 56, "u": 82, "s": 28, "b": 1, "gluon": 232}
    (batch,) = iterate_jets(physlite, "atlas:large-r")
    truth = name_label_values("atlas:large-r", "truth")
    assert [truth[int(v)] for v in batch.labels["truth"]].count("qcd") == 96


@pytest.mark.parametrize(
    ("schema", "clusters", "axis", "radius"),
    [
        ("atlas:clusters", "CaloCalTopoClusters", f"{JETS}.", 0.4),
        ("atlas:clusters-whole", "CaloCalTopoClusters", f"{JETS}.", 0.4),
        ("atlas:egamma", "egammaClusters", f"{JETS}.", 0.4),
        ("atlas:large-r-clusters", "CaloCalTopoClusters", f"{LARGE}.JetConstitScaleMomentum_", 1.0),
    ],
)
def test_clusters_around_the_axis(with_clusters: Path, schema: str, clusters: str, axis: str, radius: float) -> None:
    names = [f"{clusters}AuxDyn.{name}" for name in ("calE", "calEta", "calPhi", "e_sampl")]
    events = read_events(with_clusters, [*(axis + n for n in MOMENTUM), *names, f"{clusters}.m_samplingPattern"])
    found = iter(read_jets(with_clusters, schema, step=30))
    n_linked = 0
    for event in events:
        energies, etas, phis, samplings, patterns = (event[name].tolist() for name in events.fields[4:])
        for pt, eta, phi, mass in zip(*(event[axis + name].tolist() for name in MOMENTUM), strict=True):
            jet = next(found)
            assert [jet.pt, jet.eta, jet.phi, jet.mass] == pytest.approx([pt / 1000, eta, phi, mass / 1000])
            near = [at for at in range(len(etas)) if distance(etas[at], phis[at], eta, phi) < radius]
            n_linked += len(near)
            if schema.endswith("clusters"):
                layers = {at: [bit for bit in range(28) if patterns[at] >> bit & 1] for at in near}
                expected = [
                    (float(layer), energy / 1000)
                    for at in near
                    for layer, energy in zip(layers[at], samplings[at], strict=True)
                    if energy > 0
                ]
                assert column(jet, "layer") == sorted(layer for layer, _ in expected)
                assert column(jet, "energy") == pytest.approx(sorted(energy for _, energy in expected))
                ecal = sum(energy for layer, energy in expected if layer in SAMPLINGS_OF_ECAL)
                assert sum(column(jet, "ecal")) == pytest.approx(ecal)
            else:
                assert column(jet, "energy") == pytest.approx(sorted(energies[at] / 1000 for at in near))
    assert next(found, None) is None
    assert n_linked > 60


def test_egamma_clusters_of_physlite(physlite: Path) -> None:
    clusters = [f"egammaClustersAuxDyn.{name}" for name in ("calE", "calEta", "calPhi")]
    events = read_events(physlite, [f"{JETS}.eta", f"{JETS}.phi", *clusters])
    for jet in read_jets(physlite, "atlas:egamma"):
        event = events[jet.entry]
        near = [
            energy / 1000
            for energy, eta, phi in zip(*(event[name].tolist() for name in clusters), strict=True)
            if distance(eta, phi, jet.eta, jet.phi) < 0.4
        ]
        assert column(jet, "ecal") == column(jet, "energy") == pytest.approx(sorted(near))


def test_events_are_told_apart_by_dataset_run_and_number(physlite: Path) -> None:
    jets = read_jets(physlite, "atlas")
    numbers = read_events(physlite, ["EventInfoAuxDyn.eventNumber"])["EventInfoAuxDyn.eventNumber"]
    assert len({jet.event_id for jet in jets}) == len({int(numbers[jet.entry]) for jet in jets})
    weights = read_events(physlite, ["EventInfoAuxDyn.mcEventWeights"])["EventInfoAuxDyn.mcEventWeights"]
    weighted = read_jets(physlite, Reading("atlas", event_weight=True))
    assert [jet.weight for jet in weighted] == [float(weights[jet.entry][0]) for jet in weighted]
    assert {jet.weight for jet in jets} == {1.0}


SMALL, LARGE_TRUTH = ("AntiKt4TruthDressedWZJetsAux", 0.3), ("AntiKt10TruthSoftDropBeta100Zcut10JetsAux", 0.75)


@pytest.mark.parametrize(
    ("name", "schema", "truth_of"),
    [
        ("PHYSLITE_example.root", "atlas", SMALL),
        ("PHYSLITE_example.root", "atlas:large-r", LARGE_TRUTH),
        ("uproot-issue-123b.root", "atlas:clusters", SMALL),
    ],
)
def test_truth_is_that_of_the_nearest_generated_jet(
    shared_data: Path, name: str, schema: str, truth_of: tuple[str, float]
) -> None:
    path, (generated, radius) = shared_data / "atlas_root" / name, truth_of
    events = read_events(path, [f"{generated}.{part}" for part in MOMENTUM])
    n_matched = n_alone = 0
    for batch in iterate_jets(path, schema, step=30):
        for row, entry in enumerate(batch.entry):
            truth = list(zip(*(events[f"{generated}.{part}"][entry].tolist() for part in MOMENTUM), strict=True))
            apart = [distance(eta, phi, batch.eta[row], batch.phi[row]) for _, eta, phi, _ in truth]
            if min(apart, default=9.0) >= radius:
                n_alone += 1
                assert np.isnan([batch.extra[key][row] for key in ("energy", "pt", "mass")]).all()
                continue
            n_matched += 1
            pt, eta, _, mass = truth[int(np.argmin(apart))]
            energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)
            found = [batch.extra[key][row] for key in ("energy", "pt", "mass")]
            assert found == pytest.approx([energy / 1000, pt / 1000, mass / 1000], rel=1e-5)
    assert n_matched > 50
    assert n_alone or schema == "atlas:large-r"


@pytest.mark.parametrize("schema", ["atlas", "atlas:egamma", "atlas:large-r"])
def test_as_rntuple_with_colons(physlite: Path, tmp_path: Path, schema: str) -> None:
    """As ATLAS writes them: 'EventData', and 'AnalysisJetsAuxDyn:pt'."""
    wanted = ("AnalysisJetsAuxDyn.", f"{LARGE}.", "egammaClustersAuxDyn.", "EventInfoAuxDyn.")
    tree = uproot.open(physlite)["CollectionTree"]
    types = ("std::vector<float>", "std::vector<int32_t>", "std::vector<std::vector<float>>", "uint32_t", "uint64_t")
    kept = [b.name for b in tree.itervalues() if b.name.startswith(wanted) and b.typename in types]
    with uproot.recreate(tmp_path / "a.root") as file:
        columns = {name.replace(".", ":"): tree[name].array() for name in kept}
        writer = file.mkrntuple("EventData", {name: array[:0] for name, array in columns.items()})
        for start in (0, 40, 70):
            stop = {0: 40, 40: 70, 70: 100}[start]
            writer.extend({name: array[start:stop] for name, array in columns.items()})
    reading = Reading(schema, event_weight=True)
    for options in ({"step": 7}, {"entry_start": 13, "entry_stop": 55}, {}):
        one, other = (list(iterate_jets(path, reading, **options)) for path in (physlite, tmp_path / "a.root"))
        assert sum(len(batch) for batch in one) > 40
        assert_same_batches(one, other)
