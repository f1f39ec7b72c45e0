"""The made-up experiment of docs/files.md is read as the text there says."""

import re
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepcnn.errors import SchemaError
from hepcnn.io.plan import Reading, name_label_values
from hepcnn.io.reader import iterate_jets
from tests.io.by_hand import column, distance, read_jets

DOCS = Path(__file__).parents[2] / "docs" / "files.md"


@pytest.fixture
def schema(tmp_path: Path) -> str:
    """The YAML text as it stands in the documentation."""
    (text,) = re.findall(r"```yaml\n(name: mine\n.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    return str(tmp_path / "mine.yaml")


def write_experiment(path: Path, *, tree: str = "events", without: tuple[str, ...] = ()) -> dict[str, list[Any]]:
    """What the experiment writes: 20 events in MeV, 2 jets each, 12 clusters each, a table of links."""
    random = np.random.default_rng(8)
    jets, clusters = (20, 2), (20, 12)
    columns: dict[str, Any] = {
        "jet_pt": random.uniform(2e5, 9e5, jets),
        "jet_eta": random.uniform(-2, 2, jets),
        "jet_phi": random.uniform(-np.pi, np.pi, jets),
        "jet_mass": random.uniform(1e4, 2e5, jets),
        "jet_flavour": random.choice([0, 5], jets),
        "cluster_e": random.exponential(5e4, clusters),
        "cluster_eta": random.uniform(-2, 2, clusters),
        "cluster_phi": random.uniform(-np.pi, np.pi, clusters),
        "cluster_time": random.normal(0, 1, clusters),
        "link_jet": random.integers(0, 2, (20, 9)),
        "link_cluster": np.stack([random.permutation(12)[:9] for _ in range(20)]),
        "gen_id": random.choice([6, -6, 24, -24, 1], (20, 4)),
        "gen_eta": random.uniform(-2, 2, (20, 4)),
        "gen_phi": random.uniform(-np.pi, np.pi, (20, 4)),
    }
    columns["cluster_e"][:, 3] *= -0.1
    columns["cluster_em_e"] = 0.6 * columns["cluster_e"]
    columns["cluster_had_e"] = columns["cluster_e"] - columns["cluster_em_e"]
    ragged = {name: ak.from_regular(ak.Array(values)) for name, values in columns.items() if name not in without}
    single = {"run": np.ones(20, np.int32), "event": np.arange(20) // 2, "gen_weight": random.normal(1, 0.1, 20)}
    single["dataset"] = np.arange(20) % 2
    single = {name: values for name, values in single.items() if name not in without}
    kinds = {name: f"var * {ak.to_numpy(ak.flatten(v)).dtype}" for name, v in ragged.items()}
    with uproot.recreate(path) as file:
        writer = file.mktree(tree, kinds | {name: values.dtype for name, values in single.items()})
        writer.extend(ragged | single)
    return {name: values.tolist() for name, values in (columns | single).items()}


@pytest.mark.parametrize("tree", ["events", "Events"])
def test_the_example_is_read(tmp_path: Path, schema: str, tree: str) -> None:
    made = write_experiment(tmp_path / "a.root", tree=tree)
    found = read_jets(tmp_path / "a.root", Reading(schema, event_weight=True), step=7)
    assert len(found) == 40
    for jet in found:
        event = {name: values[jet.entry] for name, values in made.items()}
        momentum = [event[f"jet_{name}"][jet.number] for name in ("pt", "eta", "phi", "mass")]
        expected = [momentum[0] / 1000, momentum[1], momentum[2], momentum[3] / 1000]
        assert [jet.pt, jet.eta, jet.phi, jet.mass] == pytest.approx(expected)
        linked = zip(event["link_jet"], event["link_cluster"], strict=True)
        mine = [at for owner, at in linked if owner == jet.number and event["cluster_e"][at] > 0]
        for name, source, unit in (
            ("energy", "cluster_e", 1000),
            ("ecal", "cluster_em_e", 1000),
            ("hcal", "cluster_had_e", 1000),
            ("time", "cluster_time", 1),
        ):
            assert column(jet, name) == pytest.approx(sorted(event[source][at] / unit for at in mine))
        assert set(column(jet, "charge")) <= {0.0}
        assert jet.weight == pytest.approx(event["gen_weight"])
        assert jet.labels["flavour"] == event["jet_flavour"][jet.number]
        near = {
            abs(event["gen_id"][at])
            for at in range(4)
            if distance(event["gen_eta"][at], event["gen_phi"][at], jet.eta, jet.phi) < 1.0
        }
        assert jet.labels["origin"] == (6 if 6 in near else 24 if 24 in near else 0)
    assert name_label_values(schema, "origin") == {0: "none", 6: "top", 24: "W"}
    assert len({jet.event_id for jet in found}) == 20


def test_the_other_collections_are_read(tmp_path: Path, schema: str) -> None:
    made = write_experiment(tmp_path / "a.root")
    for jet in read_jets(tmp_path / "a.root", f"{schema}:around"):
        event = {name: values[jet.entry] for name, values in made.items()}
        near = [
            event["cluster_e"][at] / 1000
            for at in range(12)
            if event["cluster_e"][at] > 0
            and distance(event["cluster_eta"][at], event["cluster_phi"][at], jet.eta, jet.phi) < 1.0
        ]
        assert column(jet, "energy") == pytest.approx(sorted(near))
    clustered = read_jets(tmp_path / "a.root", f"{schema}:clustered")
    assert len(clustered) > 20
    assert min(jet.pt for jet in clustered) > 20


def test_a_file_may_lack_what_is_optional(tmp_path: Path, schema: str) -> None:
    write_experiment(tmp_path / "a.root", without=("dataset", "cluster_time", "jet_flavour"))
    (batch,) = iterate_jets(tmp_path / "a.root", schema)
    assert list(batch.labels) == ["origin"]
    assert "time" not in batch.flat.fields
    assert len(set(batch.event_id.tolist())) == 10  # two datasets hold the same numbers of events
    write_experiment(tmp_path / "b.root", without=("event",))
    with pytest.raises(SchemaError, match="no branch 'event'"):
        list(iterate_jets(tmp_path / "b.root", schema))
    write_experiment(tmp_path / "c.root", without=("jet_mass",))
    with pytest.raises(SchemaError, match="no branch 'jet_m'"):
        list(iterate_jets(tmp_path / "c.root", schema))
