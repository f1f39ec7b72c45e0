"""Jet-level numbers equal what awkward arithmetic and FastJet give."""

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcnn.constituents import Constituents
from hepcnn.errors import ConfigError, InputError
from hepcnn.images.jet_features import check_jet_features, make_jet_features
from hepcnn.substructure import make_jet_four_vectors, make_n_subjettiness
from tests.images.jets import changed, jets_of, toy_jets

PLAIN = ("pt", "mass", "n_constituents", "n_tracks")


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_numbers_equal_those_of_records(seed: int) -> None:
    jets = toy_jets(20, seed=seed)
    found, records = make_jet_features(jets, PLAIN, radius=0.8), jets.to_awkward()
    vectors = make_jet_four_vectors(records)
    assert found["pt"] == pytest.approx(vectors["pt"], rel=1e-6)
    assert found["mass"] == pytest.approx(vectors["mass"], rel=1e-5)
    assert found["n_constituents"].tolist() == ak.num(records).tolist()
    assert found["n_tracks"].tolist() == ak.sum(records["charge"] != 0, axis=1).tolist()
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}


def test_blocks_give_the_same_bits() -> None:
    jets = toy_jets(1000, seed=3)
    whole = make_jet_features(jets, PLAIN, radius=0.8)
    for start, stop in ((0, 1), (1, 700), (700, 1000)):
        part = make_jet_features(Constituents.from_awkward(jets.to_awkward()[start:stop]), PLAIN, radius=0.8)
        assert all(np.array_equal(part[name], whole[name][start:stop]) for name in PLAIN)


def test_n_subjettiness_is_fastjets() -> None:
    pytest.importorskip("fastjet")
    jets = toy_jets(5, seed=4)
    found = make_jet_features(jets, ("tau2", "tau1"), radius=0.8)
    expected = make_n_subjettiness(jets.to_awkward(), n_axes=(1, 2), radius=0.8)
    assert found["tau1"] == pytest.approx(expected[:, 0], rel=1e-6)
    assert found["tau2"] == pytest.approx(expected[:, 1], rel=1e-6)


def test_a_jet_without_constituents_has_zeros() -> None:
    jets = jets_of([], [{"pt": 5.0, "eta": 0.3, "phi": 3.0, "energy": 5.0 * np.cosh(0.3), "charge": 1.0}], [])
    found = make_jet_features(jets, PLAIN, radius=0.8)
    assert found["pt"] == pytest.approx([0, 5, 0])
    assert found["n_tracks"].tolist() == found["n_constituents"].tolist() == [0, 1, 0]
    assert found["mass"] == pytest.approx([0, 0, 0], abs=1e-3)
    assert len(make_jet_features(jets.slice(0, 0), PLAIN, radius=0.8)["pt"]) == 0


def test_what_cannot_be_computed_is_named() -> None:
    jets = toy_jets(3, seed=1)
    energy = jets.fields["energy"].copy()
    energy[jets.offsets[1]] = np.nan
    with pytest.raises(InputError, match="'mass' of 1 of 3 jets is NaN"):
        make_jet_features(changed(jets, energy=energy), ("pt", "mass"), radius=0.8)
    with pytest.raises(InputError, match="'charge' is missing"):
        make_jet_features(jets_of([{"pt": 1.0, "eta": 0.0, "phi": 0.0}]), ("n_tracks",), radius=0.8)
    with pytest.raises(ConfigError, match="no jet feature 'mas'; did you mean 'mass'"):
        check_jet_features(["mas"])
