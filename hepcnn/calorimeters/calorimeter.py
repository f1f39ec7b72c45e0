"""A calorimeter: sections of layers of cells, and all that follows from them.

Coordinates: z in mm from the calorimeter's face inwards, x and y in mm across it, (0, 0) on the axis. Shape letters:
L layers, C cells of all layers.
"""

from functools import cached_property
from typing import Any, Self

import numpy as np
import pydantic
from numpy.typing import ArrayLike, NDArray

from hepcnn.calorimeters.materials import Material, read_materials
from hepcnn.calorimeters.sections import BoxCells, CylinderCells, DeadCells, NotNegative, Section
from hepcnn.calorimeters.stack import Stack, make_stack
from hepcnn.errors import did_you_mean
from hepcnn.grids import BoxGrid, CylinderGrid
from hepcnn.records import StrictModel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Calorimeter(StrictModel):
    """A detector as its YAML file describes it.

    ``sections`` follow each other from the face inwards. ``materials`` adds to those of hepcnn, or replaces them.
    ``distance`` is how far in front of the face particles come from, in mm. ``dead`` cells are never read out.
    """

    name: str = "calorimeter"
    title: str = ""
    distance: NotNegative = 1500.0
    materials: dict[str, Material] = {}
    sections: tuple[Section, ...]
    dead: DeadCells = DeadCells()

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.sections:
            raise ValueError("sections: one at least is needed")
        known = self.all_materials
        for section in self.sections:
            for key in ("absorber", "active"):
                plate = getattr(section, key)
                if plate and plate.material not in known:
                    raise ValueError(
                        f"section '{section.name}': {key}: no material '{plate.material}'"
                        f"{did_you_mean(plate.material, known)}"
                    )
        names = [section.name for section in self.sections]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two sections are called '{twice[0]}'")
        if len({section.segmentation.kind for section in self.sections}) > 1:
            raise ValueError("some sections have cylindrical cells and some rectangular ones; one kind is needed")
        self._check_places()
        if self.dead.cells and max(self.dead.cells) >= self.n_cells:
            raise ValueError(f"dead: cell {max(self.dead.cells)} is beyond the last, {self.n_cells - 1}")
        return self

    def _check_places(self) -> None:
        end, before = 0.0, ""
        for section in self.sections:
            if section.front is not None and section.front < end:
                raise ValueError(
                    f"section '{section.name}' begins at {section.front:g} mm, inside '{before}', which ends at "
                    f"{end:g} mm"
                )
            end = (end if section.front is None else section.front) + section.length
            before = section.name

    @property
    def all_materials(self) -> dict[str, Material]:
        """hepcnn's materials and the detector's own."""
        return {**read_materials(), **self.materials}

    @cached_property
    def grid(self) -> CylinderGrid | BoxGrid:
        """The image of the calorimeter: a cell's number is the ``cell`` of the grid."""
        layers = [section.segmentation.layer for section in self.sections for _ in range(section.layers)]
        if isinstance(self.sections[0].segmentation, CylinderCells):
            return CylinderGrid.model_validate({"layers": layers})
        return BoxGrid.model_validate({"layers": layers})

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """The effective material of each section."""
        return tuple(make_stack(section, self.all_materials) for section in self.sections)

    @property
    def n_layers(self) -> int:
        """L, layers of all sections."""
        return sum(section.layers for section in self.sections)

    @cached_property
    def section_of_layer(self) -> Integers:
        """Number of the section that each layer belongs to, (L,)."""
        return np.repeat(np.arange(len(self.sections)), [section.layers for section in self.sections])

    @cached_property
    def fronts(self) -> Floats:
        """z of each layer's front in mm, (L,)."""
        places, end = [], 0.0
        for section in self.sections:
            begin = end if section.front is None else section.front
            places.append(begin + np.arange(section.layers) * (section.thickness + section.gap))
            end = begin + section.length
        return np.concatenate(places)

    @cached_property
    def backs(self) -> Floats:
        """z of each layer's back in mm, (L,): its plates' end, the gap behind it excluded."""
        return self.fronts + self.by_layer([section.thickness for section in self.sections])

    @cached_property
    def depths_x0(self) -> Floats:
        """Radiation lengths in front of each layer, and in front of all that is behind the last, (L + 1,)."""
        per_layer = [(s.thickness + s.gap) / t.x0 for s, t in zip(self.sections, self.stacks, strict=True)]
        return np.concatenate([[0.0], np.cumsum(self.by_layer(per_layer))])

    @cached_property
    def depths_lambda(self) -> Floats:
        """Nuclear interaction lengths in front of each layer, and in front of all behind the last, (L + 1,)."""
        per_layer = [(s.thickness + s.gap) / t.lambda_int for s, t in zip(self.sections, self.stacks, strict=True)]
        return np.concatenate([[0.0], np.cumsum(self.by_layer(per_layer))])

    @property
    def sampling_fractions(self) -> Floats:
        """Part of a minimum ionising particle's energy that each layer's active material takes, (L,)."""
        return self.by_layer([stack.sampling_fraction for stack in self.stacks])

    @property
    def noise(self) -> Floats:
        """Standard deviation of each layer's cells in GeV, (L,)."""
        return self.by_layer([section.noise for section in self.sections])

    @property
    def thresholds(self) -> Floats:
        """Energy from which each layer's cells are read out in GeV, (L,)."""
        return self.by_layer([section.threshold for section in self.sections])

    def by_layer(self, values: ArrayLike) -> Floats:
        """One number of each section, given to each of its layers, (L,)."""
        return np.asarray(values, dtype=np.float64)[self.section_of_layer]

    @cached_property
    def shapes(self) -> Integers:
        """Cells of each layer along both directions, (L, 2): alpha and r, or x and y."""
        return np.array([section.segmentation.shape for section in self.sections])[self.section_of_layer]

    @cached_property
    def offsets(self) -> Integers:
        """Number of each layer's first cell, and of all cells, (L + 1,)."""
        return np.concatenate([[0], np.cumsum(self.shapes.prod(axis=1))])

    @property
    def n_cells(self) -> int:
        """C, cells of all layers."""
        return sum(section.layers * int(np.prod(section.segmentation.shape)) for section in self.sections)

    @cached_property
    def layer_of_cell(self) -> Integers:
        """The layer of each cell, (C,)."""
        return np.repeat(np.arange(self.n_layers), np.diff(self.offsets))

    def cell_of(self, layer: ArrayLike, x: ArrayLike, y: ArrayLike) -> Integers:
        """The cell at a place.

        Parameters
        ----------
        layer
            Layers, from 0.
        x, y
            Places across in mm, of a shape that fits the layers'.

        Returns
        -------
        array of int64
            Numbers of cells; -1 outside, for a layer that does not exist, and where x or y is not a number. Lower
            edges belong to a cell, upper ones do not.
        """
        layer, x, y = np.broadcast_arrays(np.asarray(layer), np.asarray(x, float), np.asarray(y, float))
        cell = np.full(layer.shape, -1, dtype=np.int64)
        inside = (layer >= 0) & (layer < self.n_layers) & np.isfinite(x) & np.isfinite(y)
        numbers = self.section_of_layer[np.where(inside, layer, 0).astype(np.int64)]
        for number, section in enumerate(self.sections):
            here = inside & (numbers == number)
            found = _find_in_layer(section.segmentation, x[here], y[here])
            first = self.offsets[layer[here].astype(np.int64)]
            cell[here] = np.where(found < 0, -1, first + found)
        return cell

    @cached_property
    def cell_centres(self) -> tuple[Floats, Floats, Floats, Integers]:
        """x, y, z in mm and the layer of each cell, (C,) each: the middle of its edges and of its layer's plates."""
        across = [_find_centres(section.segmentation) for section in self.sections for _ in range(section.layers)]
        z = (0.5 * (self.fronts + self.backs))[self.layer_of_cell]
        x, y = (np.concatenate([pair[k] for pair in across]) for k in (0, 1))
        return x, y, z, self.layer_of_cell

    @cached_property
    def dead_cells(self) -> Integers:
        """Numbers of the cells that are never read out, rising."""
        chance = np.random.default_rng(self.dead.seed).random(self.n_cells) < self.dead.fraction
        return np.union1d(np.flatnonzero(chance), np.array(self.dead.cells, dtype=np.int64))

    def to_record(self) -> dict[str, Any]:
        """What `hepcnn.calorimeters.parse_calorimeter` makes this calorimeter of; fits into JSON."""
        return self.model_dump(mode="json")


def _find_in_layer(cells: CylinderCells | BoxCells, x: Floats, y: Floats) -> Integers:
    if isinstance(cells, BoxCells):
        layer = cells.layer
        column, row = (
            np.searchsorted(np.array(edges), values, side="right") - 1
            for edges, values in ((layer.x_edges, x), (layer.y_edges, y))
        )
        n_columns, n_rows = cells.shape
        inside = (column >= 0) & (column < n_columns) & (row >= 0) & (row < n_rows)
        return np.where(inside, column * n_rows + row, -1)
    n_alpha, n_r = cells.shape
    ring = np.searchsorted(np.array(cells.r_edges), np.hypot(x, y), side="right") - 1
    # An angle of pi is -pi's: both touch the first cell.
    alpha = np.floor((np.arctan2(y, x) + np.pi) * (n_alpha / (2 * np.pi))).astype(np.int64) % n_alpha
    return np.where((ring >= 0) & (ring < n_r), alpha * n_r + ring, -1)


def _find_centres(cells: CylinderCells | BoxCells) -> tuple[Floats, Floats]:
    if isinstance(cells, BoxCells):
        layer = cells.layer
        middles = [0.5 * (np.array(edges[1:]) + np.array(edges[:-1])) for edges in (layer.x_edges, layer.y_edges)]
        x, y = np.meshgrid(*middles, indexing="ij")
        return x.ravel(), y.ravel()
    edges = np.array(cells.r_edges)
    alpha = -np.pi + (np.arange(cells.n_alpha) + 0.5) * (2 * np.pi / cells.n_alpha)
    angles, radii = np.meshgrid(alpha, 0.5 * (edges[1:] + edges[:-1]), indexing="ij")
    return (radii * np.cos(angles)).ravel(), (radii * np.sin(angles)).ravel()
