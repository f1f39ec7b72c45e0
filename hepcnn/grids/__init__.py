"""What a pixel is: one record gives dense shapes, flat pixel numbers, axes of plots, and what closes into a circle.

`hepcnn.images.grids` finds the pixels of constituents.
"""

from hepcnn.grids.base import Axis, Bins, Grid
from hepcnn.grids.cells import BoxGrid, BoxLayer, CellGrid, CylinderGrid, GivenGrid, VoxelLayer
from hepcnn.grids.kinds import KINDS, GridConfig, NativeGrid
from hepcnn.grids.windows import DetectorGrid, LayersGrid, WindowGrid

__all__ = [
    "KINDS",
    "Axis",
    "Bins",
    "BoxGrid",
    "BoxLayer",
    "CellGrid",
    "CylinderGrid",
    "DetectorGrid",
    "GivenGrid",
    "Grid",
    "GridConfig",
    "LayersGrid",
    "NativeGrid",
    "VoxelLayer",
    "WindowGrid",
]
