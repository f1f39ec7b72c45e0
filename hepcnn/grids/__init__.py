"""What a pixel is: one record gives dense shapes, flat pixel numbers, axes of plots, and what closes into a circle.

`hepcnn.images.grids` finds the pixels of constituents.
"""

from hepcnn.grids.base import Axis, Bins, Grid
from hepcnn.grids.cells import BoxGrid, BoxLayer, CellGrid, CylinderGrid, GivenGrid, VoxelLayer
from hepcnn.grids.kinds import KINDS, SOURCES, BinningGrid, CalorimeterGrid, GridConfig, GridSource, NativeGrid
from hepcnn.grids.placed import PlacedGrid
from hepcnn.grids.windows import DetectorGrid, LayersGrid, WindowGrid

__all__ = [
    "KINDS",
    "SOURCES",
    "Axis",
    "BinningGrid",
    "Bins",
    "BoxGrid",
    "BoxLayer",
    "CalorimeterGrid",
    "CellGrid",
    "CylinderGrid",
    "DetectorGrid",
    "GivenGrid",
    "Grid",
    "GridConfig",
    "GridSource",
    "LayersGrid",
    "NativeGrid",
    "PlacedGrid",
    "VoxelLayer",
    "WindowGrid",
]
