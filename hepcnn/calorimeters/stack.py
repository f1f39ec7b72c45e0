"""Plates seen as one effective material, as GFLASH's formulas of sampling calorimeters take them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hepcnn.calorimeters.materials import SCALE_ENERGY_MEV, Material
from hepcnn.calorimeters.sections import Section

LIVAN_WIGMANS = 0.027
"""Of a = 2.7 % sqrt(d / f): plates' resolution by the thickness d of the active ones in mm and the sampling fraction f
(M. Livan, R. Wigmans, Calorimetry for Collider Physics, Springer 2019, section 4.2)."""

INTRINSIC = 0.45
"""Of 45 % / sqrt(E): what nuclear binding fluctuates by in calorimeters that do not compensate (same book, 4.7)."""


@dataclass(frozen=True)
class Stack:
    """The effective material of a section.

    Attributes
    ----------
    z, a
        Means by mass.
    x0, lambda_int, moliere_radius
        In mm along the section, the gap included.
    critical_energy
        In MeV.
    sampling_frequency
        Samplings in one radiation length; infinite for a homogeneous section.
    e_mip
        Signal of an electromagnetic shower to that of minimum ionising particles; 1 for a homogeneous section.
    sampling_fraction
        Of what a minimum ionising particle leaves in a layer, the part in active material.
    mip_energy
        What a minimum ionising particle leaves in a layer's active material, in GeV and on the electromagnetic scale.
    sampling_term
        a of a / sqrt(E), for electromagnetic showers, E in GeV.
    hadron_term
        The same for hadronic ones without neutral pions: `INTRINSIC` and twice the sampling term, in quadrature.

    Notes
    -----
    G. Grindhammer, S. Peters, hep-ex/0001020, section 3: lengths add as their inverses by thickness, F_S = X0 / (d_a +
    d_p) and e/mip = 1 / (1 + 0.007 (Z_p - Z_a)), p for passive and a for active.
    """

    z: float
    a: float
    x0: float
    lambda_int: float
    moliere_radius: float
    critical_energy: float
    sampling_frequency: float
    e_mip: float
    sampling_fraction: float
    mip_energy: float
    sampling_term: float
    hadron_term: float


def make_stack(section: Section, materials: Mapping[str, Material]) -> Stack:
    """The effective material of a section whose materials are known."""
    plates = [plate for plate in (section.absorber, section.active) if plate]
    made_of = [materials[plate.material] for plate in plates]
    thick = [section.samplings * plate.thickness for plate in plates]
    masses = [material.density * d for material, d in zip(made_of, thick, strict=True)]
    length = section.thickness + section.gap
    x0 = length / sum(d / material.x0 for material, d in zip(made_of, thick, strict=True))
    moliere = length / sum(d / material.moliere_radius for material, d in zip(made_of, thick, strict=True))
    losses = [material.energy_loss * d for material, d in zip(made_of, thick, strict=True)]
    fraction = losses[-1] / sum(losses)
    e_mip = 1.0 / (1.0 + 0.007 * (made_of[0].z - made_of[-1].z)) if section.absorber else 1.0
    term = LIVAN_WIGMANS * math.sqrt(section.active.thickness / fraction) if section.absorber else 0.0
    term = term if section.sampling_term is None else section.sampling_term
    return Stack(
        z=sum(m * material.z for m, material in zip(masses, made_of, strict=True)) / sum(masses),
        a=sum(m * material.a for m, material in zip(masses, made_of, strict=True)) / sum(masses),
        x0=x0,
        lambda_int=length / sum(d / material.lambda_int for material, d in zip(made_of, thick, strict=True)),
        moliere_radius=moliere,
        critical_energy=SCALE_ENERGY_MEV * x0 / moliere,
        sampling_frequency=x0 * section.samplings / length if section.absorber else math.inf,
        e_mip=e_mip,
        sampling_fraction=fraction,
        mip_energy=sum(losses) / e_mip / 1000,
        sampling_term=term,
        hadron_term=math.hypot(INTRINSIC, 2 * term) if section.hadron_term is None else section.hadron_term,
    )
