"""Jets that FastJet makes, against FastJet's own loop over particles, and what must hold for any event."""

import sys
from pathlib import Path
from typing import Any

import fastjet
import h5py
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from numpy.typing import NDArray

from hepcnn.config import ClusteringConfig
from hepcnn.errors import InputError, MissingExtraError, SchemaError
from hepcnn.io import inspect
from hepcnn.io.clustering import cluster_events
from hepcnn.io.inspect import inspect_file
from hepcnn.io.plan import Reading, jet_radius
from hepcnn.io.reader import iterate_jets
from hepcnn.io.rules import ClusterLink
from hepcnn.io.sources import SourceRows
from hepcnn.kinematics import delta_phi
from tests.io.layouts import BLOSC, write_pandas_fixed, write_toptag

fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
ALGORITHMS = {
    "antikt": fastjet.antikt_algorithm,
    "cambridge": fastjet.cambridge_algorithm,
    "kt": fastjet.kt_algorithm,
}


def cluster_by_hand(
    pt: Any, eta: Any, phi: Any, *, algorithm: str = "antikt", radius: float = 1.0, pt_min: float = 20.0
) -> list[tuple[float, float, float, float, set[int]]]:
    """(pt, eta, phi, mass, constituents) of massless particles' jets, the hardest first, one event at a time."""
    particles = []
    for number, (size, y, angle) in enumerate(zip(pt, eta, phi, strict=True)):
        if size > 0:
            momentum = size * np.cos(angle), size * np.sin(angle), size * np.sinh(y)
            particle = fastjet.PseudoJet(*map(float, momentum), float(size * np.cosh(y)))
            particle.set_user_index(number)
            particles.append(particle)
    sequence = fastjet._swig.ClusterSequence(particles, fastjet.JetDefinition(ALGORITHMS[algorithm], radius))
    jets = sorted(sequence.inclusive_jets(pt_min), key=lambda jet: -jet.pt())
    return [(jet.pt(), jet.eta(), jet.phi_std(), jet.m(), {c.user_index() for c in jet.constituents()}) for jet in jets]


def lhco_file(shared_data: Path) -> Path:
    return shared_data / "lhco_h5" / "lhco_tiny_rows0000-0599.h5"


@pytest.mark.parametrize("schema", ["lhco", "lhco:all-jets"])
def test_lhc_olympics_by_hand(shared_data: Path, schema: str) -> None:
    path = lhco_file(shared_data)
    with h5py.File(path) as file:
        rows = file["df/block0_values"][:]
    found: dict[int, list[Any]] = {}
    signal = np.zeros(600, np.int64)
    for batch in iterate_jets(path, schema):
        for at in range(len(batch)):
            signal[batch.entry[at]] = batch.labels["signal"][at]
            jet = (batch.pt[at], batch.eta[at], batch.phi[at], batch.mass[at])
            found.setdefault(int(batch.entry[at]), []).append((jet, np.sort(batch.constituents[at]["pt"].to_numpy())))
    assert np.array_equal(signal, rows[:, 2100])
    assert signal.sum() == 55
    for entry, row in enumerate(rows):
        pt, eta, phi = row[:2100].reshape(700, 3).T
        expected = cluster_by_hand(pt, eta, phi)[: 2 if schema == "lhco" else None]
        assert len(found[entry]) == len(expected)
        for (jet, members), (*values, inside) in zip(found[entry], expected, strict=True):
            assert jet[:2] == pytest.approx(values[:2], rel=1e-9)
            assert abs(delta_phi(jet[2], values[2])) < 1e-9
            assert jet[3] == pytest.approx(values[3], rel=1e-6, abs=1e-3)
            assert members == pytest.approx(np.sort(pt[list(inside)]), rel=1e-12)


def test_lhc_olympics_is_recognised(shared_data: Path) -> None:
    found = inspect_file(lhco_file(shared_data))
    assert found.schema == "lhco"
    assert {fit.schema: fit.n_jets for fit in found.fits}["lhco"] == 1200
    assert [item["dataset"] for item in found.contents] == ["*"]
    (batch,) = iterate_jets(lhco_file(shared_data), "lhco:event")
    assert len(batch) == 600


def test_a_long_file_is_not_clustered_through_to_be_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.zeros((30, 2101))
    rows[:, :3] = 100.0, 0.5, 1.0
    path = write_pandas_fixed(tmp_path / "a.h5", "df", [(list(range(2101)), rows)])
    for most, expected in ((30, 30), (12, 12)):
        monkeypatch.setattr(inspect, "MOST_CLUSTERED", most)
        found = inspect_file(path)
        assert {fit.schema: fit.n_jets for fit in found.fits} == {
            "lhco": expected,
            "lhco:all-jets": expected,
            "lhco:event": 30,
        }
        assert [f"first {most} events" in note for note in found.notes] == ([] if most == 30 else [True, True])


def test_without_fastjet_a_file_is_recognised_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.zeros((3, 2101))
    rows[:, :3] = 100.0, 0.5, 1.0
    path = write_pandas_fixed(tmp_path / "a.h5", "df", [(list(range(2101)), rows)])
    monkeypatch.setitem(sys.modules, "fastjet", None)
    found = inspect_file(path)
    assert found.schema == "lhco"
    assert {fit.schema: fit.n_jets for fit in found.fits} == {"lhco": None, "lhco:all-jets": None, "lhco:event": 3}
    assert all("hepcnn[generate]" in note for note in found.notes)
    with pytest.raises(MissingExtraError, match=r"hepcnn\[generate\]"):
        list(iterate_jets(path, "lhco"))


def test_black_boxes_have_no_truth(tmp_path: Path) -> None:
    rows = np.zeros((3, 2100))
    rows[:, :3] = 100.0, 0.5, 1.0
    path = write_pandas_fixed(tmp_path / "a.h5", "df", [(list(range(2100)), rows)], **BLOSC)
    assert inspect_file(path).schema == "lhco"
    (batch,) = iterate_jets(path, "lhco")
    assert batch.pt == pytest.approx([100.0] * 3)
    assert dict(batch.labels) == {}


@pytest.mark.parametrize(
    "clustering",
    [
        ClusteringConfig(radius=0.4, pt_min=30.0),
        ClusteringConfig(algorithm="cambridge", radius=1.2, pt_min=50.0, leading=3),
        ClusteringConfig(algorithm="kt", radius=0.6, pt_min=10.0, eta_max=1.5),
    ],
)
def test_a_reading_may_cluster_in_another_way(shared_data: Path, clustering: ClusteringConfig) -> None:
    path = lhco_file(shared_data)
    reading = Reading("lhco", clustering=clustering)
    assert jet_radius(reading) == clustering.radius
    batch = next(iterate_jets(path, reading, entry_stop=40))
    with h5py.File(path) as file:
        rows = file["df/block0_values"][:40]
    expected = []
    for row in rows:
        jets = cluster_by_hand(
            *row[:2100].reshape(700, 3).T,
            algorithm=clustering.algorithm,
            radius=clustering.radius,
            pt_min=clustering.pt_min,
        )
        kept = [jet for jet in jets if clustering.eta_max is None or abs(jet[1]) < clustering.eta_max]
        expected += kept[: clustering.leading]
    assert batch.pt == pytest.approx([jet[0] for jet in expected], rel=1e-9)
    assert batch.eta == pytest.approx([jet[1] for jet in expected], rel=1e-9, abs=1e-12)
    assert batch.flat.counts.tolist() == [len(jet[4]) for jet in expected]


def test_any_family_can_be_clustered_again(tmp_path: Path) -> None:
    path = write_toptag(tmp_path / "a.h5", 30)
    (whole,) = iterate_jets(path, "toptag")
    (again,) = iterate_jets(path, Reading("toptag", clustering=ClusteringConfig(radius=0.2, pt_min=5.0)))
    assert set(again.entry.tolist()) <= set(range(30))
    assert len(again) > 30
    for at in range(30):
        assert again.pt[again.entry == at].max() < whole.flat.fields["pt"][whole.flat.jet == at].sum() + 1e-6
    # The label is that of the entry: it goes to each of its jets.
    assert np.array_equal(again.labels["is_signal"], whole.labels["is_signal"][again.entry])
    with pytest.raises(SchemaError, match="nothing to cluster"):
        list(iterate_jets(path, Reading("images", clustering=ClusteringConfig())))


@st.composite
def events(draw: st.DrawFn) -> list[NDArray[np.float64]]:
    """Some events of (pt, eta, phi), some of them empty, with zeros in between."""
    seed, sizes = draw(st.integers(0, 2**32 - 1)), draw(st.lists(st.integers(0, 25), min_size=1, max_size=5))
    rng = np.random.default_rng(seed)
    made = []
    for size in sizes:
        pt = rng.exponential(30.0, size) * (rng.random(size) < 0.8)
        made.append(np.stack([pt, rng.normal(0, 1.5, size), rng.uniform(-np.pi, np.pi, size)], axis=1))
    return made


Jets = list[list[tuple[NDArray[np.float64], frozenset[int]]]]


def run(made: list[NDArray[np.float64]], *, radius: float = 0.8, pt_min: float = 0.0) -> Jets:
    """For each event its jets: (pt, eta, phi, mass) and the numbers of the constituents."""
    pt, eta, phi = np.concatenate(made).T
    counts = np.array([len(event) for event in made])
    rows = SourceRows({"pt": pt, "eta": eta, "phi": phi, "energy": pt * np.cosh(eta)}, counts, None)
    link = ClusterLink(kind="cluster", pt_min=pt_min)
    n_jets, jet, constituent, columns = cluster_events(rows, link, radius=radius)
    starts = np.cumsum(counts) - counts
    found: Jets = []
    first = 0
    for event, n in enumerate(n_jets):
        members = [constituent[jet == number] - starts[event] for number in range(first, first + n)]
        values = np.stack([columns[name][first : first + n] for name in ("pt", "eta", "phi", "mass")], axis=1)
        found.append([(v, frozenset(m.tolist())) for v, m in zip(values, members, strict=True)])
        assert all(len(set(m.tolist())) == len(m) for m in members)
        first += n
    assert first == len(columns["pt"])
    return found


@hypothesis.given(events())
def test_a_particle_is_in_one_jet_at_most_and_the_hardest_jet_is_first(made: list[NDArray[np.float64]]) -> None:
    for event, jets in zip(made, run(made, pt_min=20.0), strict=True):
        members = [number for _, inside in jets for number in inside]
        assert len(members) == len(set(members))
        assert all(event[number, 0] > 0 for number in members)
        sizes = [values[0] for values, _ in jets]
        assert sizes == sorted(sizes, reverse=True)
        assert all(size >= 20.0 for size in sizes)


@hypothesis.given(events())
def test_without_a_cut_nothing_is_lost(made: list[NDArray[np.float64]]) -> None:
    for event, jets in zip(made, run(made), strict=True):
        assert {number for _, inside in jets for number in inside} == set(np.flatnonzero(event[:, 0]).tolist())
        momentum = sum(v[0] * np.exp(1j * v[2]) for v, _ in jets)
        assert momentum == pytest.approx(np.sum(event[:, 0] * np.exp(1j * event[:, 2])), abs=1e-9)


@hypothesis.given(events())
def test_a_huge_radius_makes_one_jet_of_all(made: list[NDArray[np.float64]]) -> None:
    for event, jets in zip(made, run(made, radius=100.0), strict=True):
        assert len(jets) == (1 if event[:, 0].any() else 0)


@hypothesis.given(events(), st.randoms(use_true_random=False), st.floats(-10, 10))
def test_order_and_rotation_change_nothing(made: list[NDArray[np.float64]], random: Any, angle: float) -> None:
    orders = [random.sample(range(len(event)), len(event)) for event in made]
    moved = [event[order] + np.array([0.0, 0.0, angle]) for event, order in zip(made, orders, strict=True)]
    for order, jets, others in zip(orders, run(made), run(moved), strict=True):
        assert {inside for _, inside in jets} == {frozenset(order[number] for number in inside) for _, inside in others}
        for (values, _), (shifted, _) in zip(jets, others, strict=True):
            assert shifted[[0, 1]] == pytest.approx(values[[0, 1]], rel=1e-7, abs=1e-9)
            assert abs(delta_phi(shifted[2], values[2] + angle)) < 1e-7


@hypothesis.given(events(), st.sampled_from([0.3, 0.8, 1.5]))
def test_batches_are_the_loop(made: list[NDArray[np.float64]], radius: float) -> None:
    for event, jets in zip(made, run(made, radius=radius, pt_min=5.0), strict=True):
        expected = cluster_by_hand(*event.T, radius=radius, pt_min=5.0)
        assert [inside for _, inside in jets] == [frozenset(inside) for *_, inside in expected]
        for (values, _), (*wanted, _) in zip(jets, expected, strict=True):
            assert values[0] == pytest.approx(wanted[0], rel=1e-9)
            assert values[3] == pytest.approx(wanted[3], rel=1e-5, abs=1e-4)


def test_one_particle_and_nothing() -> None:
    single = np.array([[50.0, 0.3, -1.0]])
    found = run([np.zeros((0, 3)), single, np.zeros((4, 3)), np.array([[3.0, 0.0, 0.0]])], pt_min=20.0)
    assert [len(jets) for jets in found] == [0, 1, 0, 0]
    assert found[1][0][0] == pytest.approx([50.0, 0.3, -1.0, 0.0], abs=1e-5)


BAD = [
    ("pt", np.nan, "NaN or infinite values"),
    ("eta", np.inf, "NaN or infinite values"),
    ("phi", np.nan, "NaN or infinite values"),
    ("pt", -1.0, "negative energy or pT"),
]


@pytest.mark.parametrize(("column", "value", "reason"), BAD)
def test_events_that_fastjet_cannot_cluster_are_counted(tmp_path: Path, column: str, value: float, reason: str) -> None:
    rng = np.random.default_rng(1)
    rows = np.zeros((5, 2101))
    rows[:, :60] = np.stack(
        [rng.uniform(20, 90, (5, 20)), rng.normal(0, 1, (5, 20)), rng.uniform(-3, 3, (5, 20))], axis=2
    ).reshape(5, 60)
    good = write_pandas_fixed(tmp_path / "good.h5", "df", [(list(range(2101)), rows)])
    rows[2, 9 + ["pt", "eta", "phi"].index(column)] = value
    path = write_pandas_fixed(tmp_path / "bad.h5", "df", [(list(range(2101)), rows)])
    (expected,), (batch,) = iterate_jets(good, "lhco"), iterate_jets(path, "lhco")
    assert batch.entry[~batch.usable].tolist() == [2]
    assert batch.flat.counts[~batch.usable].tolist() == [20]
    with pytest.raises(InputError, match=rf"bad\.h5.*entry 2, jet 0: {reason}"):
        batch.require_usable()
    others = expected.entry != 2
    assert np.array_equal(batch.pt[batch.usable], expected.pt[others])
    assert np.array_equal(batch.flat.select(batch.usable).fields["pt"], expected.flat.select(others).fields["pt"])
