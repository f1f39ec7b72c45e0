"""Angles and momenta, against the vector library."""

import numpy as np
import pytest
import vector
from hypothesis import given
from hypothesis import strategies as st

from hepcnn import kinematics

angles = st.floats(-50, 50)


@given(angles, angles)
def test_delta_phi_equals_vectors(one: float, other: float) -> None:
    expected = vector.obj(pt=1.0, phi=one, eta=0.0).deltaphi(vector.obj(pt=1.0, phi=other, eta=0.0))
    found = kinematics.delta_phi(one, other)
    assert -np.pi <= found < np.pi
    assert np.cos(found) == pytest.approx(np.cos(expected), abs=1e-9)
    assert np.sin(found) == pytest.approx(np.sin(expected), abs=1e-9)


@given(angles, angles, st.integers(-3, 3))
def test_delta_phi_does_not_see_whole_turns(one: float, other: float, turns: int) -> None:
    moved = kinematics.delta_phi(one + 2 * np.pi * turns, other)
    assert np.exp(1j * moved) == pytest.approx(np.exp(1j * kinematics.delta_phi(one, other)), abs=1e-9)


@given(st.floats(0.1, 1000), st.floats(-5, 5), st.floats(-3.1, 3.1), st.floats(0, 200))
def test_four_momenta_equal_vectors(pt: float, eta: float, phi: float, mass: float) -> None:
    expected = vector.obj(pt=pt, eta=eta, phi=phi, mass=mass)
    px, py, pz = kinematics.px_py_pz(pt, eta, phi)
    assert (px, py, pz) == pytest.approx((expected.px, expected.py, expected.pz))
    assert kinematics.pt_eta_phi(px, py, pz) == pytest.approx((pt, eta, phi))
    assert kinematics.rapidity(expected.E, pz) == pytest.approx(expected.rapidity, abs=1e-6)
    assert kinematics.mass(expected.E, px, py, pz) ** 2 == pytest.approx(mass**2, abs=1e-6 * expected.E**2)


def test_edges() -> None:
    assert kinematics.delta_r(0.0, np.pi - 0.1, 0.0, -np.pi + 0.1) == pytest.approx(0.2)
    assert np.isnan(kinematics.pt_eta_phi(0.0, 0.0, 0.0)[1])
    assert kinematics.pt_eta_phi(0.0, 0.0, 1.0)[1] == np.inf
    assert kinematics.mass(1.0, 1.0, 1e-9, 0.0) == 0.0
    assert len(kinematics.wrap_phi(np.array([]))) == 0
