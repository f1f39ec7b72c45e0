"""What goes into the compiled loops: rows of sub-showers and tracks, and the layers that they cross.

A shower is a list of rows: an electron is one, a photon its two electrons, a pion a track, a hadronic cascade and the
electromagnetic showers of its neutral pions. Lengths in mm, energies in GeV; ``start`` is the depth of a row's begin
behind the calorimeter's face, in radiation or interaction lengths perpendicular to the layers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepcnn.calorimeters import Calorimeter
from hepcnn.calorimeters.sections import CylinderCells

Rows = NDArray[np.void]
Layers = NDArray[np.void]
Floats = NDArray[np.float64]

ELECTROMAGNETIC, HADRONIC, TRACK = 0, 1, 2

ROW = np.dtype(
    [
        ("owner", np.int64),
        ("kind", np.int64),
        ("energy", np.float64),
        # A point of the axis, its slopes dx/dz and dy/dz, and the cosine of its angle to the normal.
        ("x", np.float64),
        ("y", np.float64),
        ("z", np.float64),
        ("slope_x", np.float64),
        ("slope_y", np.float64),
        ("cosine", np.float64),
        ("start", np.float64),
        # The gamma distribution of the energy in depth.
        ("alpha", np.float64),
        ("beta", np.float64),
        # That of the spots, and how many there are on average.
        ("spots", np.float64),
        ("spot_alpha", np.float64),
        ("spot_beta", np.float64),
        # tau is tau_scale times the depth; then what the radial profile depends on.
        ("tau_scale", np.float64),
        ("log_energy", np.float64),
        ("material_z", np.float64),
        ("inverse_fs", np.float64),
        ("e_mip", np.float64),
        # Of a hadronic cascade: its median radius in interaction lengths, at the start and by depth.
        ("radius", np.float64),
        ("radius_slope", np.float64),
        # Where a track ends.
        ("z_end", np.float64),
    ]
)

LAYER = np.dtype(
    [
        ("front", np.float64),
        ("back", np.float64),
        ("x0_front", np.float64),
        ("x0_back", np.float64),
        ("lambda_front", np.float64),
        ("lambda_back", np.float64),
        ("lambda_int", np.float64),
        ("moliere", np.float64),
        ("em_term2", np.float64),
        ("hadron_term2", np.float64),
        ("h_over_e", np.float64),
        ("mip_energy", np.float64),
        ("mip_width", np.float64),
        ("first_cell", np.int64),
        ("round", np.int64),
        ("n_first", np.int64),
        ("n_second", np.int64),
        ("low_first", np.float64),
        ("low_second", np.float64),
        ("per_first", np.float64),
        ("per_second", np.float64),
    ]
)

MIP_WIDTH = 0.10
"""Width of Moyal's distribution of one sampling of a minimum ionising particle, to the mean: 36 % full width at half
maximum, as a few millimetres of scintillator have."""


@dataclass(frozen=True)
class Tables:
    """A calorimeter as the compiled loops see it.

    Attributes
    ----------
    layers
        (L,) of `LAYER`.
    radii2
        (L, most rings + 1) float64: squared radii of the rings' edges in mm2, infinite behind the last.
    depths_x0, depths_lambda, places
        (2 L,) float64: depths at the fronts and ends of all layers, and their z in mm.
    """

    layers: Layers
    radii2: Floats
    depths_x0: Floats
    depths_lambda: Floats
    places: Floats

    def find_z(self, depth: Floats, *, unit: str) -> Floats:
        """The place in mm at a depth in ``"x0"`` or ``"lambda"``; beyond the last layer, behind the calorimeter."""
        depths = self.depths_x0 if unit == "x0" else self.depths_lambda
        beyond = np.maximum(depth - depths[-1], 0.0)
        return np.asarray(np.interp(depth, depths, self.places) + 1e4 * beyond)

    def find_depth(self, z: Floats, *, unit: str) -> Floats:
        """The depth in ``"x0"`` or ``"lambda"`` at a place in mm; that of the calorimeter behind it."""
        return np.asarray(np.interp(z, self.places, self.depths_x0 if unit == "x0" else self.depths_lambda))


def make_tables(calorimeter: Calorimeter) -> Tables:
    """The tables of a calorimeter."""
    layers = np.zeros(calorimeter.n_layers, dtype=LAYER)
    ends = calorimeter.fronts + calorimeter.by_layer([s.thickness + s.gap for s in calorimeter.sections])
    layers["front"], layers["back"] = calorimeter.fronts, calorimeter.backs
    layers["x0_front"], layers["x0_back"] = calorimeter.depths_x0[:-1], calorimeter.depths_x0[1:]
    layers["lambda_front"], layers["lambda_back"] = calorimeter.depths_lambda[:-1], calorimeter.depths_lambda[1:]
    stacks, sections = calorimeter.stacks, calorimeter.sections
    layers["lambda_int"] = calorimeter.by_layer([stack.lambda_int for stack in stacks])
    layers["moliere"] = calorimeter.by_layer([stack.moliere_radius for stack in stacks])
    layers["em_term2"] = calorimeter.by_layer([stack.sampling_term**2 for stack in stacks])
    layers["hadron_term2"] = calorimeter.by_layer([stack.hadron_term**2 for stack in stacks])
    layers["h_over_e"] = calorimeter.by_layer([1 / section.e_h for section in sections])
    layers["mip_energy"] = calorimeter.by_layer([stack.mip_energy for stack in stacks])
    layers["mip_width"] = calorimeter.by_layer([MIP_WIDTH / np.sqrt(section.samplings) for section in sections])
    layers["first_cell"] = calorimeter.offsets[:-1]
    layers["n_first"], layers["n_second"] = calorimeter.shapes.T
    most = (
        max(len(s.segmentation.r_edges) for s in sections if isinstance(s.segmentation, CylinderCells))
        if (isinstance(sections[0].segmentation, CylinderCells))
        else 1
    )
    radii2 = np.full((calorimeter.n_layers, most), np.inf)
    for layer, number in enumerate(calorimeter.section_of_layer):
        cells = sections[number].segmentation
        if isinstance(cells, CylinderCells):
            layers["round"][layer], layers["per_first"][layer] = 1, cells.n_alpha / (2 * np.pi)
            radii2[layer, : len(cells.r_edges)] = np.square(cells.r_edges)
        else:
            edges = cells.layer
            layers["low_first"][layer], layers["low_second"][layer] = edges.x_edges[0], edges.y_edges[0]
            layers["per_first"][layer], layers["per_second"][layer] = 1 / cells.pitch[0], 1 / cells.pitch[1]
    return Tables(
        layers,
        radii2,
        np.column_stack([layers["x0_front"], layers["x0_back"]]).ravel(),
        np.column_stack([layers["lambda_front"], layers["lambda_back"]]).ravel(),
        np.column_stack([calorimeter.fronts, ends]).ravel(),
    )
