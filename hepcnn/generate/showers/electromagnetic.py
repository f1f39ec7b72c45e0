"""Electromagnetic showers by G. Grindhammer and S. Peters, hep-ex/0001020: the longitudinal profile and its spread.

Formulas are numbered as in the paper's appendix, A.1 for homogeneous and A.2 for sampling calorimeters. The radial
profile is in `hepcnn.generate.showers.compiled`. Shape letter: R rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.calorimeters import Calorimeter
from hepcnn.generate.showers.tables import ELECTROMAGNETIC, ROW, Floats, Rows, Tables

LEAST_T, LEAST_ALPHA, MOST_SPREAD = 0.3, 1.1, 0.5
"""Limits outside of the formulas' reach, below some 100 MeV: of T in X0, of alpha, and of both logarithms' spread."""
HOMOGENEOUS_TERM = 0.02
"""c of a homogeneous section where spots are counted by that of a sampling one."""


@dataclass(frozen=True)
class Media:
    """The sections' materials as the formulas take them, one entry a section or a row: `hepcnn.calorimeters.stack`."""

    z: Floats
    critical_energy: Floats
    inverse_fs: Floats
    e_mip: Floats
    sampling_term: Floats

    def of(self, numbers: NDArray[np.int64]) -> "Media":
        """Those of some sections."""
        return Media(*(getattr(self, name)[numbers] for name in self.__dataclass_fields__))


def make_media(calorimeter: Calorimeter) -> Media:
    """The materials of a calorimeter's sections; critical energies in GeV."""
    stacks = calorimeter.stacks
    return Media(
        z=np.array([stack.z for stack in stacks]),
        critical_energy=np.array([stack.critical_energy / 1000 for stack in stacks]),
        inverse_fs=np.array([1 / stack.sampling_frequency for stack in stacks]),
        e_mip=np.array([stack.e_mip for stack in stacks]),
        sampling_term=np.array([stack.sampling_term for stack in stacks]),
    )


def mean_logs(log_y: Floats, media: Media) -> tuple[Floats, Floats]:
    """Means of ln T and ln alpha, (R,) each, by ln(E / E_c): A.1.2 and A.2.2."""
    depth = np.maximum(log_y - 0.812, 0.1) - 0.55 * media.inverse_fs - 0.69 * (1 - media.e_mip)
    shape = 0.81 + (0.458 + 2.26 / media.z) * log_y - 0.476 * media.inverse_fs
    return np.log(np.maximum(depth, LEAST_T)), np.log(np.maximum(shape, LEAST_ALPHA))


def spread_logs(log_y: Floats, media: Media) -> tuple[Floats, Floats, Floats]:
    """Standard deviations of ln T and ln alpha, and their correlation, (R,) each: A.1.2 and A.2.2."""
    sampling = media.inverse_fs > 0
    spreads = []
    for (a, b), (c, d) in (((-2.5, 1.25), (-1.4, 1.26)), ((-0.82, 0.79), (-0.58, 0.86))):
        inverse = np.where(sampling, a + b * log_y, c + d * log_y)
        spreads.append(1 / np.maximum(inverse, 1 / MOST_SPREAD))
    correlation = np.where(sampling, 0.784, 0.705) - 0.023 * log_y
    return spreads[0], spreads[1], np.clip(correlation, -1.0, 1.0)


def count_spots(energy: Floats, media: Media) -> Floats:
    """Mean numbers of spots, (R,), by energies in GeV: A.1.4 and A.2.4."""
    sampled = 10.3 / np.maximum(media.sampling_term, HOMOGENEOUS_TERM) * energy**0.959
    return np.where(media.inverse_fs > 0, sampled, 93.0 * np.log(media.z) * energy**0.876)


def make_showers(
    rng: np.random.Generator,
    calorimeter: Calorimeter,
    tables: Tables,
    *,
    owner: NDArray[np.int64],
    energy: Floats,
    axis: dict[str, Floats],
    start: Floats,
) -> Rows:
    """Rows of electrons' showers.

    Parameters
    ----------
    rng
        Of the fluctuations.
    calorimeter, tables
        Where they are.
    owner, energy
        Shower and energy in GeV of each, (R,). Those without energy, or that start behind the calorimeter, are left
        out.
    axis
        ``x, y, z, slope_x, slope_y, cosine`` (R,) of their axes.
    start
        Radiation lengths from the face to where they begin, (R,).

    Returns
    -------
    array of `hepcnn.generate.showers.tables.ROW`
        At most R of them.
    """
    normal = rng.standard_normal((2, len(energy)))
    kept = (energy > 0) & (start < tables.depths_x0[-1])
    owner, energy, start, normal = owner[kept], energy[kept], start[kept], normal[:, kept]
    behind = np.searchsorted(calorimeter.depths_x0[1:], start, side="right")
    media = make_media(calorimeter).of(calorimeter.section_of_layer[behind])
    log_y = np.log(energy / media.critical_energy)
    (mean_t, mean_alpha), (spread_t, spread_alpha, rho) = mean_logs(log_y, media), spread_logs(log_y, media)
    plus, minus = np.sqrt((1 + rho) / 2), np.sqrt((1 - rho) / 2)
    depth = np.maximum(np.exp(mean_t + spread_t * (plus * normal[0] + minus * normal[1])), LEAST_T)
    alpha = np.maximum(np.exp(mean_alpha + spread_alpha * (plus * normal[0] - minus * normal[1])), LEAST_ALPHA)
    sampling = media.inverse_fs > 0
    spot_depth = depth * np.where(sampling, 0.813 + 0.0019 * media.z, 0.698 + 0.00212 * media.z)
    spot_alpha = alpha * np.where(sampling, 0.844 + 0.0026 * media.z, 0.639 + 0.00334 * media.z)
    typical = np.exp(mean_alpha)
    columns: dict[str, Any] = {
        "owner": owner,
        "energy": energy,
        "start": start,
        **{name: values[kept] for name, values in axis.items()},
        "alpha": alpha,
        "beta": (alpha - 1) / depth,
        "spots": count_spots(energy, media),
        "spot_alpha": spot_alpha,
        "spot_beta": np.maximum(spot_alpha - 1, 0.05) / spot_depth,
        # t / <t> exp<ln alpha> / (exp<ln alpha> - 1), where <t> = T alpha / (alpha - 1).
        "tau_scale": (alpha - 1) / (alpha * depth) * typical / (typical - 1),
        "log_energy": np.log(energy),
        "material_z": media.z,
        "inverse_fs": media.inverse_fs,
        "e_mip": media.e_mip,
    }
    return fill_rows(ELECTROMAGNETIC, columns)


def fill_rows(kind: int, columns: dict[str, Any]) -> Rows:
    """Rows of a kind from their columns; what is not named is 0."""
    rows = np.zeros(len(columns["owner"]), dtype=ROW)
    rows["kind"] = kind
    for name, values in columns.items():
        rows[name] = values
    return rows
