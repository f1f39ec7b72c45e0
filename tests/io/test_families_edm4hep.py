"""EDM4hep files against the file read by hand, jet by jet, in plain loops."""

from pathlib import Path
from typing import Any

import awkward as ak
import fastjet
import numpy as np
import pytest
import uproot
import vector

from hepcnn.errors import InputError, SchemaError
from hepcnn.io.inspect import inspect_file
from hepcnn.io.plan import Reading
from hepcnn.io.reader import iterate_jets
from tests.io.by_hand import assert_same_batches, column, distance, read_jets

PARTICLES = "ReconstructedParticles"
KINEMATICS = ("momentum.x", "momentum.y", "momentum.z", "energy", "charge")
# Of the file: events, jets, linked particles, the list of positions, the kind of particles.
FILES = {
    "test_FCC_Winter2023.root": (100, 268, 5938, "Jet#2.index", "type"),
    "p8_ee_WW_ecm240_edm4hep.root": (10, 26, 617, "_Jet_particles.index", "PDG"),
}


@pytest.fixture(params=FILES)
def path(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    return shared_data / "edm4hep_root" / str(request.param)


def read_columns(path: Path, names: list[str]) -> dict[str, list[Any]]:
    tree = uproot.open(path)["events"]
    return {name: tree[name].array().tolist() for name in names}


def momenta(columns: dict[str, list[Any]], name: str, entry: int) -> list[Any]:
    parts = (columns[f"{name}.{part}"][entry] for part in ("momentum.x", "momentum.y", "momentum.z", "energy"))
    return [vector.obj(px=x, py=y, pz=z, E=e) for x, y, z, e in zip(*parts, strict=True)]


def test_jets_hold_a_range_of_positions(path: Path) -> None:
    n_events, n_jets, n_linked, index, kind = FILES[path.name]
    names = [f"{name}.{part}" for name in ("Jet", PARTICLES) for part in KINEMATICS]
    ranges = ["Jet.particles_begin", "Jet.particles_end", index]
    columns = read_columns(path, [*names, "Jet.mass", *ranges, f"{PARTICLES}.{kind}"])
    found = iter(read_jets(path, "edm4hep", step=9))
    total = 0
    for entry in range(n_events):
        particles = momenta(columns, PARTICLES, entry)
        begins, ends, positions = (columns[name][entry] for name in ranges)
        for number, axis in enumerate(momenta(columns, "Jet", entry)):
            jet = next(found)
            assert (jet.entry, jet.number) == (entry, number)
            assert [jet.pt, jet.eta, jet.phi] == pytest.approx([axis.pt, axis.eta, axis.phi], rel=1e-5)
            assert jet.mass == columns["Jet.mass"][entry][number]
            mine = positions[begins[number] : ends[number]]
            total += len(mine)
            assert column(jet, "energy") == pytest.approx(sorted(particles[at].E for at in mine))
            assert column(jet, "pt") == pytest.approx(sorted(particles[at].pt for at in mine), rel=1e-5)
            assert column(jet, "charge") == sorted(columns[f"{PARTICLES}.charge"][entry][at] for at in mine)
            photons = sum(particles[at].E for at in mine if columns[f"{PARTICLES}.{kind}"][entry][at] == 22)
            assert sum(column(jet, "ecal")) == pytest.approx(photons, abs=1e-9)
            # The relation is the right one: particles add up to the jet, within the detector's last step.
            whole = sum((particles[at] for at in mine[1:]), particles[mine[0]])
            assert pytest.approx(axis.E, rel=0.2) == whole.E
    assert next(found, None) is None
    assert total == n_linked
    assert n_jets == len(read_jets(path, "edm4hep"))


def test_partons_near_the_axis(path: Path) -> None:
    names = ["momentum.x", "momentum.y", "momentum.z", "PDG", "generatorStatus"]
    columns = read_columns(path, [f"Particle.{name}" for name in names])
    values = set()
    for jet in read_jets(path, "edm4hep"):
        near = set()
        for x, y, z, pdg, status in zip(*(columns[f"Particle.{name}"][jet.entry] for name in names), strict=True):
            if status in (2, 23) and abs(pdg) in (1, 2, 3, 4, 5, 21) and np.hypot(x, y) > 0:
                direction = vector.obj(px=x, py=y, pz=z)
                if distance(direction.eta, direction.phi, jet.eta, jet.phi) < 0.4:
                    near.add(abs(pdg))
        expected = next((kind for kind in (5, 4, 3, 2, 1, 21) if kind in near), 0)
        assert jet.labels["parton"] == expected
        values.add(expected)
    assert len(values) > 2


def test_whole_events_and_clustered_ones(path: Path) -> None:
    columns = read_columns(path, [f"{PARTICLES}.{part}" for part in KINEMATICS])
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.4)
    events = read_jets(path, "edm4hep:event")
    clustered = read_jets(path, "edm4hep:clustered")
    assert len(events) == FILES[path.name][0]
    for jet in events:
        particles = momenta(columns, PARTICLES, jet.entry)
        assert column(jet, "energy") == pytest.approx(sorted(p.E for p in particles))
        pseudo = [fastjet.PseudoJet(p.px, p.py, p.pz, p.E) for p in particles]
        expected = sorted(
            (j.pt() for j in fastjet.ClusterSequence(pseudo, definition).inclusive_jets(5.0)), reverse=True
        )
        assert [c.pt for c in clustered if c.entry == jet.entry] == pytest.approx(expected, rel=1e-4)


def test_events_without_header_are_told_apart_by_their_jets(shared_data: Path) -> None:
    old, new = (shared_data / "edm4hep_root" / name for name in FILES)
    for path in (old, new):
        jets = read_jets(path, "edm4hep")
        assert len({jet.event_id for jet in jets}) == len({jet.entry for jet in jets})
        assert [jet.event_id for jet in read_jets(path, "edm4hep", step=3)] == [jet.event_id for jet in jets]
    (batch,) = iterate_jets(new, Reading("edm4hep", event_weight=True))
    assert list(batch.keys) == ["EventHeader.runNumber", "EventHeader.eventNumber"]
    assert set(batch.weight.tolist()) == {1.0}
    with pytest.raises(SchemaError, match=r"no branch 'EventHeader\.weight'"):
        list(iterate_jets(old, Reading("edm4hep", event_weight=True)))


def test_hits_without_energy_are_nothing(path: Path) -> None:
    """Delphes' hits have none: every jet is empty, and that is said, not hidden."""
    for schema in ("edm4hep:jet-hits", "edm4hep:hits"):
        (batch,) = iterate_jets(path, schema)
        assert batch.flat.n == 0
        assert batch.problems["no constituents"].all()
        with pytest.raises(InputError, match="no constituents"):
            batch.require_usable()


def write_hits(path: Path) -> dict[str, ak.Array]:
    """A file with calorimeter hits of some energy, named as EDM4hep has them; positions in mm."""
    random = np.random.default_rng(5)
    counts = np.array([40, 0, 70])
    n = int(counts.sum())
    values = {f"CalorimeterHits.position.{axis}": random.uniform(-2000, 2000, n) for axis in "xyz"}
    values["CalorimeterHits.energy"] = random.exponential(1.0, n)
    columns = {name: ak.unflatten(column.astype(np.float32), counts) for name, column in values.items()}
    for axis in "xyz":
        columns[f"Jet.momentum.{axis}"] = ak.Array(random.normal(0, 30, (3, 2)).astype(np.float32).tolist())
    columns["Jet.mass"] = ak.values_astype(ak.Array([[5.0, 5.0]] * 3), np.float32)
    with uproot.recreate(path) as file:
        file.mktree("events", dict.fromkeys(columns, "var * float32")).extend(columns)
    return columns


def test_hits_of_a_file_with_energies(tmp_path: Path) -> None:
    columns = {name: values.tolist() for name, values in write_hits(tmp_path / "a.root").items()}
    hits = [columns[f"CalorimeterHits.{name}"] for name in ("position.x", "position.y", "position.z", "energy")]
    expected = [
        [(vector.obj(px=x, py=y, pz=z), e) for x, y, z, e in zip(*(column[n] for column in hits), strict=True)]
        for n in range(3)
    ]
    events = read_jets(tmp_path / "a.root", "edm4hep:hits")
    for event in events:
        assert column(event, "energy") == pytest.approx(sorted(e for _, e in expected[event.entry]))
        # Massless: the momentum points from the origin to the hit.
        transverse = sorted(e * place.pt / place.mag for place, e in expected[event.entry])
        assert column(event, "pt") == pytest.approx(transverse, rel=1e-5)
    assert [len(event.constituents) for event in events] == [40, 0, 70]
    jets = read_jets(tmp_path / "a.root", "edm4hep:jet-hits")
    assert len(jets) == 6
    for jet in jets:
        near = [e for place, e in expected[jet.entry] if distance(place.eta, place.phi, jet.eta, jet.phi) < 0.4]
        assert column(jet, "energy") == pytest.approx(sorted(near))
    assert sum(len(jet.constituents) for jet in jets) > 5
    assert inspect_file(tmp_path / "a.root").schema in ("edm4hep:hits", "edm4hep:jet-hits")


def test_as_rntuple_of_records(shared_data: Path, tmp_path: Path) -> None:
    """podio's RNTuples hold collections of records, whose fields have the branches' names."""
    path = shared_data / "edm4hep_root" / "p8_ee_WW_ecm240_edm4hep.root"
    tree = uproot.open(path)["events"]
    parts = {
        "Jet": ["mass", "particles_begin", "particles_end", "momentum.x", "momentum.y", "momentum.z"],
        "ReconstructedParticles": ["PDG", *KINEMATICS],
        "Particle": ["PDG", "generatorStatus", "momentum.x", "momentum.y", "momentum.z"],
        "_Jet_particles": ["index", "collectionID"],
        "EventHeader": ["eventNumber", "runNumber", "weight"],
    }
    columns = {}
    for name, fields in parts.items():
        flat = {field: tree[f"{name}.{field}"].array() for field in fields if "momentum" not in field}
        if any("momentum" in field for field in fields):
            flat["momentum"] = ak.zip({axis: tree[f"{name}.momentum.{axis}"].array() for axis in "xyz"})
        columns[name] = ak.zip(flat)
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mkrntuple("events", columns)
    for schema in ("edm4hep", "edm4hep:event", "edm4hep:clustered"):
        assert_same_batches(*(list(iterate_jets(file, schema, step=4)) for file in (path, tmp_path / "a.root")))
    assert inspect_file(tmp_path / "a.root", count=False).schema == "edm4hep"


def test_a_file_of_other_collections_is_not_taken_for_jets(shared_data: Path) -> None:
    path = shared_data / "bad" / "edm4hep.root"
    found = inspect_file(path)
    assert found.schema is None
    assert found.nearest is not None
    assert found.nearest.schema.startswith("edm4hep")
    with pytest.raises(SchemaError, match=r"no branch 'ReconstructedParticles.*did you mean 'ReconstructedParticleC"):
        list(iterate_jets(path, "edm4hep:event"))
