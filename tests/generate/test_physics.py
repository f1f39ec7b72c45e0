"""Events, truth and jets, each checked along another way than the code takes."""

import awkward as ak
import numpy as np
import pytest

from hepcnn.generate.clustering import find_leading_jets, make_substructure
from hepcnn.generate.detector import apply_detector
from hepcnn.generate.pileup import PileupPool
from hepcnn.generate.pythia import Generator, get_process, make_hard_generator, make_soft_generator
from hepcnn.generate.settings import load_settings
from hepcnn.generate.truth import find_heavy_particles, match_jets

fastjet = pytest.importorskip("fastjet")
pytest.importorskip("pythia8mc")


@pytest.fixture(scope="module")
def top_events():
    generator = make_hard_generator(get_process("top"), load_settings(), seed=5)
    record = next(generator.generate(40))
    return generator, record


def test_stable_particles_carry_the_collisions_momentum(top_events):
    generator, record = top_events
    particles = generator.stable_particles(record)
    for column, expected in (
        (particles.energy, 14000.0),
        (particles.px, 0.0),
        (particles.py, 0.0),
        (particles.pz, 0.0),
    ):
        totals = np.bincount(particles.event, column, minlength=len(record))
        assert totals == pytest.approx(np.full(len(record), expected), abs=0.05)
    assert (np.bincount(particles.event, particles.charge) == 2).all()


def test_kaons_and_lambdas_live_long_enough_for_the_calorimeter(top_events):
    generator, record = top_events
    stable = set(np.abs(generator.stable_particles(record).pdg_id))
    assert {310, 3122, 211, 22, 130} <= stable
    assert not {111, 15, 5, 421} & stable


def walk_to_quarks(record, event):
    """Tops of one event and their quarks, from the top of the record down, entry by entry."""
    rows = range(record.start[event], record.start[event + 1])
    children: dict[int, list[int]] = {row: [] for row in rows}
    for row in rows[1:]:
        children[record.mother[row]].append(row)
    found = []
    for row in rows:
        if abs(record.pdg_id[row]) != 6 or any(abs(record.pdg_id[child]) == 6 for child in children[row]):
            continue
        products, quarks = list(children[row]), []
        while products:
            product = products.pop()
            if abs(record.pdg_id[product]) == 24:
                copies = [child for child in children[product] if abs(record.pdg_id[child]) == 24]
                products += copies or [c for c in children[product] if abs(record.status[c]) == 23]
            elif abs(record.status[product]) == 23:
                quarks.append(product)
        found.append((row, sorted(quarks)))
    return found


def test_tops_and_quarks_are_those_of_a_walk_down_the_record(top_events):
    _, record = top_events
    heavy = find_heavy_particles(record, get_process("top"))
    assert (np.bincount(heavy.event, minlength=len(record)) == 2).all()
    for event in range(len(record)):
        expected = {round(record.px[row], 6): quarks for row, quarks in walk_to_quarks(record, event)}
        for row in np.flatnonzero(heavy.event == event):
            px = round(heavy.pt[row] * np.cos(heavy.phi[row]), 6)
            quarks = next(q for key, q in expected.items() if abs(key - px) < 1e-4)
            phi = np.sort(np.arctan2(record.py[quarks], record.px[quarks]))
            assert np.sort(heavy.quark_phi[row]) == pytest.approx(phi)


def test_decay_quarks_carry_the_tops_momentum(top_events):
    _, record = top_events
    for event in range(len(record)):
        for row, quarks in walk_to_quarks(record, event):
            # Up to what the W gives away to radiation between its birth and its decay.
            assert record.energy[quarks].sum() == pytest.approx(record.energy[row], rel=0.2)


def test_leading_jet_is_that_of_fastjets_own_classes(top_events, card):
    generator, record = top_events
    constituents = apply_detector(generator.stable_particles(record), card, np.random.default_rng(1))
    jets = find_leading_jets(constituents, len(record), radius=0.8, pt_min=200.0)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.8)
    assert len(jets.event) > 30
    for number, event in enumerate(jets.event):
        rows = np.flatnonzero(constituents.event == event)
        inputs = []
        for row in rows:
            momentum = (constituents.px[row], constituents.py[row], constituents.pz[row], constituents.energy[row])
            pseudojet = fastjet.PseudoJet(*map(float, momentum))
            pseudojet.set_user_index(int(row))
            inputs.append(pseudojet)
        cluster = fastjet._swig.ClusterSequence(inputs, definition)
        leading = max(cluster.inclusive_jets(), key=lambda jet: jet.pt())
        assert jets.pt[number] == pytest.approx(leading.pt())
        assert jets.eta[number] == pytest.approx(leading.eta())
        assert jets.mass[number] == pytest.approx(leading.m(), abs=1e-3)
        assert sorted(c.user_index() for c in leading.constituents()) == jets.constituents[number].tolist()


def test_no_event_has_a_jet_above_the_beams_energy(top_events, card):
    generator, record = top_events
    constituents = apply_detector(generator.stable_particles(record), card, np.random.default_rng(1))
    jets = find_leading_jets(constituents, len(record), radius=0.8, pt_min=20_000.0)
    assert len(jets.event) == 0
    assert make_substructure(constituents, jets.constituents, radius=0.8)["tau1"].shape == (0,)


def test_tau1_and_soft_drop_agree_with_their_definitions(top_events, card):
    generator, record = top_events
    constituents = apply_detector(generator.stable_particles(record), card, np.random.default_rng(1))
    jets = find_leading_jets(constituents, len(record), radius=0.8, pt_min=300.0)
    substructure = make_substructure(constituents, jets.constituents, radius=0.8)
    assert (substructure["tau1"] >= substructure["tau2"]).all()
    assert (substructure["sdmass"] <= jets.mass * (1 + 1e-5)).all()
    for number in range(5):
        rows = jets.constituents[number].to_numpy()
        pt = np.hypot(constituents.px[rows], constituents.py[rows])
        y = np.arctanh(constituents.pz[rows] / constituents.energy[rows])
        phi = np.arctan2(constituents.py[rows], constituents.px[rows])
        # With one axis the winner-take-all axis is one of the constituents: the tau of the best is not above it.
        taus = []
        for axis in range(len(rows)):
            dphi = np.abs(phi - phi[axis])
            distance = np.hypot(y - y[axis], np.minimum(dphi, 2 * np.pi - dphi))
            taus.append((pt * distance).sum() / (pt.sum() * 0.8))
        assert np.min(np.abs(np.array(taus) - substructure["tau1"][number])) < 1e-5


def test_match_prefers_a_contained_particle(top_events):
    _, record = top_events
    heavy = find_heavy_particles(record, get_process("top"))
    events = np.arange(len(record))
    first = np.array([np.flatnonzero(heavy.event == event)[0] for event in events])
    match = match_jets(heavy, events, heavy.eta[first], heavy.phi[first], 0.8)
    assert match.is_near.all()
    assert (match.heavy[match.is_contained] == first[match.is_contained]).all()
    far = match_jets(heavy, events, heavy.eta[first] + 10.0, heavy.phi[first], 0.8)
    assert not far.is_near.any()
    nothing = match_jets(heavy, np.empty(0, dtype=np.int64), np.empty(0), np.empty(0), 0.8)
    assert len(nothing.heavy) == 0


def test_veto_takes_events_near_the_window():
    settings = load_settings()
    plain = Generator(
        (*get_process("qcd").commands, "PhaseSpace:pTHatMin = 300", "PartonLevel:MPI = off"), ecm_gev=14000.0, seed=1
    )
    chosen = make_hard_generator(get_process("qcd"), settings, seed=1)
    shares = []
    for generator in (plain, chosen):
        record = next(generator.generate(100))
        particles = generator.stable_particles(record)
        momenta = ak.zip({"px": particles.px, "py": particles.py, "pz": particles.pz, "E": particles.energy})
        lists = ak.unflatten(momenta, np.bincount(particles.event))
        jets = fastjet.ClusterSequence(lists, fastjet.JetDefinition(fastjet.antikt_algorithm, 0.8)).inclusive_jets()
        pt = ak.max(np.hypot(jets.px, jets.py), axis=1)
        shares.append(ak.mean((pt > 500) & (pt < 720)))
    assert shares[0] < 0.2 < 0.7 < shares[1]


def test_pileup_adds_soft_particles_and_keeps_the_hard_ones(top_events):
    generator, record = top_events
    hard = generator.stable_particles(record)
    pool = PileupPool(make_soft_generator(load_settings("lhc-pileup"), seed=2), 30)
    mixed = pool.overlay(hard, len(record), 5.0, np.random.default_rng(1))
    assert (np.diff(mixed.event) >= 0).all()
    kept = mixed.select(~mixed.is_pileup)
    for name, column in hard.columns().items():
        assert (kept.columns()[name] == column).all()
    soft = mixed.select(mixed.is_pileup)
    # Each soft collision brings the energy of two protons, turned or mirrored or not.
    n_soft = np.bincount(soft.event, soft.energy, minlength=len(record)) / 14000.0
    assert n_soft == pytest.approx(np.round(n_soft), abs=1e-3)
    assert n_soft.mean() == pytest.approx(5.0, abs=4 * np.sqrt(5.0 / len(record)))
    none = pool.overlay(hard, len(record), 0.0, np.random.default_rng(1))
    assert len(none) == len(hard)
