"""Jet observables against explicit formulas and configurations with known answers."""

import itertools

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hepcnn.errors import InputError
from hepcnn.kinematics import delta_phi
from hepcnn.substructure import (
    FEATURES,
    make_energy_correlators,
    make_jet_four_vectors,
    make_n_subjettiness,
    make_soft_drop_mass,
    make_substructure,
    stack_features,
)

pytest.importorskip("fastjet")


def jets(*constituents: list[tuple[float, float, float]]) -> ak.Array:
    """Massless constituents (pt, eta, phi) of each jet."""
    flat = np.array([c for jet in constituents for c in jet], dtype=float).reshape(-1, 3)
    pt, eta, phi = flat.T
    records = ak.zip({"pt": pt, "eta": eta, "phi": phi, "energy": pt * np.cosh(eta)})
    return ak.unflatten(records, [len(jet) for jet in constituents])


def random_jets(n: int, *, seed: int = 0, phi: float = 0.0) -> ak.Array:
    rng = np.random.default_rng(seed)
    counts = rng.integers(4, 25, n)
    total = int(counts.sum())
    pt, eta = rng.exponential(10, total) + 0.5, rng.normal(0.3, 0.25, total)
    angle = (rng.normal(phi, 0.25, total) + np.pi) % (2 * np.pi) - np.pi
    return ak.unflatten(ak.zip({"pt": pt, "eta": eta, "phi": angle, "energy": pt * np.cosh(eta)}), counts)


def kt_axes(jet: ak.Array, n: int) -> list[tuple[float, float]]:
    """Exclusive kt by the definition: O(n³), E-scheme, rapidity and phi of what is left."""
    pt, eta, phi, energy = (ak.to_numpy(jet[f]) for f in ("pt", "eta", "phi", "energy"))
    p = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy], axis=1)
    while len(p) > n:
        y, f, kt2 = np.arctanh(p[:, 2] / p[:, 3]), np.arctan2(p[:, 1], p[:, 0]), p[:, 0] ** 2 + p[:, 1] ** 2
        distance = (y[:, None] - y) ** 2 + delta_phi(f[:, None], f) ** 2
        distance = np.minimum(kt2[:, None], kt2) * distance
        distance[np.tril_indices(len(p))] = np.inf
        i, j = np.unravel_index(np.argmin(distance), distance.shape)
        p[i] += p[j]
        p = np.delete(p, j, axis=0)
    return [(float(np.arctanh(q[2] / q[3])), float(np.arctan2(q[1], q[0]))) for q in p]


def tau_of_axes(jet: ak.Array, axes: list[tuple[float, float]], *, beta: float, radius: float) -> float:
    """N-subjettiness by the definition, for given axes."""
    pt, eta, phi = (ak.to_numpy(jet[f]) for f in ("pt", "eta", "phi"))
    distance = np.min([np.hypot(eta - y, delta_phi(phi, f)) ** beta for y, f in axes], axis=0)
    return float(np.sum(pt * distance) / np.sum(pt * radius**beta))


@pytest.mark.parametrize("beta", [1.0, 2.0])
@pytest.mark.parametrize("phi", [0.0, np.pi])
def test_tau_is_the_formula_on_kt_axes(beta: float, phi: float) -> None:
    sample = random_jets(30, phi=phi)
    found = make_n_subjettiness(sample, beta=beta, radius=0.8, axes="KT_Axes")
    for jet, taus in zip(sample, found, strict=True):
        expected = [tau_of_axes(jet, kt_axes(jet, n), beta=beta, radius=0.8) for n in (1, 2, 3)]
        assert taus == pytest.approx(expected, rel=1e-9)


def test_minimised_axes_are_no_worse_and_near_the_best_single_axis() -> None:
    from scipy.optimize import minimize

    sample = random_jets(20)
    kt, minimised = make_n_subjettiness(sample, axes="KT_Axes"), make_n_subjettiness(sample)
    assert (minimised <= kt * (1 + 1e-9)).all()
    assert minimised.mean() < 0.98 * kt.mean()
    for jet, tau in zip(sample, minimised[:, 0], strict=True):
        start = np.array(kt_axes(jet, 1)[0])
        best = minimize(
            lambda axis, jet=jet: tau_of_axes(jet, [tuple(axis)], beta=1.0, radius=0.8), start, method="Nelder-Mead"
        )
        assert tau == pytest.approx(best.fun, rel=2e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(0, 12))
def test_energy_correlators_are_the_formula(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    pt, eta, phi = rng.exponential(20, n) + 0.5, rng.normal(0.3, 0.2, n), rng.normal(2.9, 0.2, n)
    found = make_energy_correlators(jets(list(zip(pt, eta, phi, strict=True))))
    z = pt / max(pt.sum(), 1e-9)
    angle = np.hypot(eta[:, None] - eta, delta_phi(phi[:, None], phi))
    e2 = sum(z[i] * z[j] * angle[i, j] for i, j in itertools.combinations(range(n), 2))
    triples = itertools.combinations(range(n), 3)
    e3 = sum(z[i] * z[j] * z[k] * angle[i, j] * angle[i, k] * angle[j, k] for i, j, k in triples)
    assert found["c2"][0] == pytest.approx(e3 / e2**2 if n > 2 else 0.0, rel=1e-9)
    assert found["d2"][0] == pytest.approx(e3 / e2**3 if n > 2 else 0.0, rel=1e-9)


def test_constituents_of_one_direction_have_no_correlators() -> None:
    jet = jets([(10.0, 0.1, 0.2)] * 4)
    assert {name: values.tolist() for name, values in make_energy_correlators(jet).items()} == {"c2": [0], "d2": [0]}


def test_prongs_have_the_taus_they_must() -> None:
    one = [(100.0, 0.1, 3.1), (50.0, 0.1, 3.1), (10.0, 0.1, 3.1), (1.0, 0.1, 3.1)]
    two = [(100.0, 0.0, 3.1), (50.0, 0.0, 3.1), (80.0, 0.3, -3.1), (20.0, 0.3, -3.1), (5.0, 0.3, -3.1)]
    three = [*two, (60.0, -0.4, 3.0), (9.0, -0.4, 3.0)]
    taus = make_n_subjettiness(jets(one, two, three))
    assert taus[0] == pytest.approx([0, 0, 0], abs=1e-6)
    assert taus[1, 0] > 0.1
    assert taus[1, 1:] == pytest.approx([0, 0], abs=1e-6)
    assert (taus[2, :2] > 0.05).all()
    assert taus[2, 2] == pytest.approx(0, abs=1e-6)


def test_few_constituents_have_documented_values_and_keep_their_place() -> None:
    sample = jets([], [(30.0, 0.5, -1.0)], [(100.0, 0.0, 0.0), (100.0, 0.4, 0.0)], [], list(3 * [(5.0, 0.0, 0.0)]))
    observables = make_substructure(sample, soft_drop=True)
    assert all(np.isfinite(values).all() and values.shape == (5,) for values in observables.values())
    assert observables["multiplicity"].tolist() == [0, 1, 2, 0, 3]
    assert observables["pt"] == pytest.approx([0, 30, 200, 0, 15])
    assert observables["eta"][:3] == pytest.approx([0, 0.5, 0.2], abs=1e-2)
    assert observables["tau1"][[0, 1, 3]].tolist() == [0, 0, 0]
    assert observables["tau1"][2] == pytest.approx(0.25, rel=1e-6)
    for name in ("tau2", "tau3", "tau21", "tau32"):
        assert observables[name][:4] == pytest.approx(0, abs=1e-6)
    expected_mass = np.sqrt(2 * 100 * 100 * (np.cosh(0.4) - 1))
    assert observables["mass"][:4] == pytest.approx([0, 0, expected_mass, 0], abs=1e-4)
    assert observables["soft_drop_mass"][2] == pytest.approx(expected_mass, rel=1e-5)


def test_no_jets_give_empty_columns() -> None:
    observables = make_substructure(random_jets(3)[:0], soft_drop=True)
    assert all(values.shape == (0,) for values in observables.values())
    assert stack_features(observables).shape == (0, len(FEATURES))
    assert make_n_subjettiness(jets([], [])).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_four_vectors_are_sums_and_mass_may_stand_for_energy() -> None:
    sample = random_jets(20, phi=np.pi)
    found = make_jet_four_vectors(sample)
    px, py = (ak.to_numpy(ak.sum(sample.pt * f(sample.phi), axis=1)) for f in (np.cos, np.sin))
    assert found["pt"] == pytest.approx(np.hypot(px, py), rel=1e-5)
    with_mass = ak.zip({"pt": sample.pt, "eta": sample.eta, "phi": sample.phi, "mass": 0 * sample.pt})
    for name, values in make_jet_four_vectors(with_mass).items():
        assert values == pytest.approx(found[name], rel=1e-5)


def test_soft_drop_takes_off_a_soft_branch_and_keeps_a_hard_one() -> None:
    soft = [(500.0, 0.0, 0.0), (500.0, 0.0, 0.05), (20.0, 0.6, 0.0)]
    hard = [(500.0, 0.0, 0.0), (500.0, 0.0, 0.05), (400.0, 0.6, 0.0)]
    mass, groomed = make_jet_four_vectors(jets(soft, hard))["mass"], make_soft_drop_mass(jets(soft, hard))
    core = make_jet_four_vectors(jets(soft[:2]))["mass"][0]
    assert groomed == pytest.approx([core, mass[1]], rel=1e-5)


def test_fastjets_banner_stays_off_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    make_n_subjettiness(random_jets(2))
    assert capfd.readouterr().out == ""


def test_unusable_constituents_are_named() -> None:
    sample = random_jets(3)
    with pytest.raises(InputError, match="'phi'"):
        make_substructure(sample[["pt", "eta", "energy"]])
    with pytest.raises(InputError, match="'energy' or 'mass'"):
        make_substructure(sample[["pt", "eta", "phi"]])
    broken = ak.with_field(sample, ak.where(sample.pt == sample.pt[0, 0], np.nan, sample.eta), "eta")
    with pytest.raises(InputError, match=r"1 of .* values of eta are NaN"):
        make_substructure(broken)
    with pytest.raises(InputError, match="did you mean 'tau21'"):
        stack_features({"tau21": [1.0]}, names=("tau12",))
