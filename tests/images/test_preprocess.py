"""The frame of an image is what its steps promise, and grooming is soft drop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcnn.config import GroomConfig
from hepcnn.constituents import Constituents
from hepcnn.errors import ConfigError, MissingExtraError
from hepcnn.images.grids import DetectorGrid, WindowGrid
from hepcnn.images.pixelate import make_pixels
from hepcnn.images.preprocess import check_steps, describe_preprocessing, find_frame, groom_jets, read_preprocessing
from hepcnn.substructure import make_jet_four_vectors, make_soft_drop_mass
from tests.images.jets import jets_of, toy_jets

STEPS = ("centre", "rotate", "flip", "normalise")


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_the_frame_is_what_it_says(seed: int) -> None:
    jets = toy_jets(10, seed=seed, n_prongs=3)
    frame, pt = find_frame(jets, STEPS), jets.fields["pt"]
    deta, dphi = frame["deta"], frame["dphi"]
    scale = jets.sum(pt)
    for moment in (pt * deta, pt * dphi, pt * deta * dphi):
        assert jets.sum(moment) / scale == pytest.approx(0, abs=1e-12)
    assert (jets.sum(pt * dphi**2) >= jets.sum(pt * deta**2)).all()
    for coordinate in (deta, dphi):
        assert (jets.sum(pt * (coordinate > 0)) >= jets.sum(pt * (coordinate < 0))).all()


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.floats(-np.pi, np.pi), st.booleans())
def test_a_turned_or_mirrored_jet_has_the_same_frame(seed: int, angle: float, mirrored: bool) -> None:
    random = np.random.default_rng(seed)
    # Elongated, so that the principal axis is well defined.
    x, y, pt = random.normal(0, 0.05, 30), random.normal(0, 0.2, 30), random.exponential(10, 30)
    frames = []
    for turn, sign in ((0.0, 1.0), (angle, -1.0 if mirrored else 1.0)):
        turned = (x + 1j * y) * np.exp(1j * turn)
        fields = {"pt": pt, "eta": sign * turned.real, "phi": turned.imag}
        frames.append(find_frame(Constituents(np.array([0, 30]), fields), STEPS))
    for name in ("deta", "dphi"):
        assert frames[1][name] == pytest.approx(frames[0][name], abs=1e-11)


def test_without_steps_the_origin_is_the_vector_sum() -> None:
    jets = toy_jets(20, seed=4)
    axis = make_jet_four_vectors(jets.to_awkward())
    frame = find_frame(jets, ())
    assert frame["deta"] == pytest.approx(jets.fields["eta"] - axis["eta"][jets.jet], abs=1e-5)
    turned = np.exp(1j * (frame["dphi"] + axis["phi"][jets.jet]))
    assert turned == pytest.approx(np.exp(1j * jets.fields["phi"]), abs=1e-5)


def test_soft_drop_keeps_what_gives_its_mass() -> None:
    pytest.importorskip("fastjet")
    jets = with_soft_halo(toy_jets(60, seed=5, n_prongs=2))
    groomed = groom_jets(jets, GroomConfig(z_cut=0.1, beta=0.0), radius=0.8)
    mass = make_jet_four_vectors(groomed.to_awkward())["mass"]
    assert mass == pytest.approx(make_soft_drop_mass(jets.to_awkward(), z_cut=0.1, beta=0.0, radius=0.8), rel=1e-5)
    assert (groomed.counts < jets.counts).any()
    assert (groomed.counts > 0).all()


def with_soft_halo(jets: Constituents) -> Constituents:
    """A soft constituent more per jet, at its rim."""
    first = jets.offsets[:-1]
    fields = {name: np.insert(values, first, values[first]) for name, values in jets.fields.items()}
    place = first + np.arange(len(jets))
    fields["eta"][place] += 0.7
    for name in ("pt", "energy"):
        fields[name][place] = 1.0
    fields["energy"][place] = np.cosh(fields["eta"][place])
    return Constituents(jets.offsets + np.arange(len(jets) + 1), fields)


def test_soft_drop_by_hand() -> None:
    """Two hard prongs and a soft one at the rim: it goes, with beta = 2 too, since z_cut (1/0.8)^2 is larger still."""
    pytest.importorskip("fastjet")
    prongs = [(100.0, 0.0, 0.0), (80.0, 0.2, 0.0), (4.0, -0.9, 0.0)]
    records = [{"pt": pt, "eta": eta, "phi": phi, "energy": pt * np.cosh(eta)} for pt, eta, phi in prongs]
    jets = jets_of(records, records[:1], [])
    for beta in (0.0, 2.0):
        assert groom_jets(jets, GroomConfig(beta=beta), radius=0.8).counts.tolist() == [2, 1, 0]
    assert groom_jets(jets, GroomConfig(z_cut=0.01), radius=0.8).counts.tolist() == [3, 1, 0]
    pixels = make_pixels(jets, grid=WindowGrid(n_eta=8, n_phi=8), channels=("pt",), steps=("groom", "centre"))
    assert pixels.pt_inside.tolist() == [180, 100, 0]


def test_constituents_of_one_momentum_stay_or_go_together() -> None:
    pytest.importorskip("fastjet")
    soft = {"pt": 1.0, "eta": 0.7, "phi": 0.0, "energy": np.cosh(0.7), "charge": 1.0}
    hard = {"pt": 50.0, "eta": 0.0, "phi": 0.0, "energy": 50.0, "charge": 0.0}
    jets = jets_of([hard, soft, hard | {"charge": 1.0}, soft | {"charge": -1.0}])
    groomed = groom_jets(jets, GroomConfig(), radius=0.8)
    assert groomed.fields["charge"].tolist() == [0.0, 1.0]


def test_grooming_needs_fastjet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fastjet", None)
    with pytest.raises(MissingExtraError, match="fastjet"):
        groom_jets(toy_jets(2, seed=1), GroomConfig(), radius=0.8)


def test_wrong_steps_bring_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no step 'center'; did you mean 'centre'"):
        check_steps(["center"])
    with pytest.raises(ConfigError, match="name 'centre' too"):
        check_steps(["rotate"])
    with pytest.raises(ConfigError, match=r"'centre' moves or thins out jets.*'detector'.*only 'normalise'"):
        check_steps(["normalise", "centre"], grid=DetectorGrid())
    assert check_steps(["normalise"], grid=DetectorGrid()) == ("normalise",)
    assert check_steps(["normalise", "groom", "centre"]) == ("groom", "centre", "normalise")


def test_the_description_reads_back() -> None:
    assert describe_preprocessing(("centre",)) == {"version": 1, "steps": ["centre"]}
    groom = GroomConfig(z_cut=0.2, beta=1.0)
    record = describe_preprocessing(("groom", "centre"), groom)
    assert record["groom"] == {"z_cut": 0.2, "beta": 1.0}
    assert read_preprocessing(record) == (("groom", "centre"), groom)
    assert read_preprocessing({"version": 1, "steps": []}) == ((), GroomConfig())
    with pytest.raises(ConfigError, match="preprocessing version 2: this hepcnn does version 1"):
        read_preprocessing({"version": 2, "steps": []})
