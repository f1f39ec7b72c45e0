"""The kinds of grids there are, and what a config may say of one."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from hepcnn.grids.base import Grid
from hepcnn.grids.cells import BoxGrid, CylinderGrid, GivenGrid
from hepcnn.grids.placed import Direction, Place, PlacedGrid
from hepcnn.grids.windows import DetectorGrid, LayersGrid, WindowGrid
from hepcnn.records import StrictModel


class GridSource(StrictModel):
    """Base of what stands for a grid in a config; what converts files puts the grid in its place."""


class NativeGrid(GridSource):
    """Stands for the grid that the files themselves say."""

    kind: Literal["native"] = "native"


class BinningGrid(GridSource):
    """Stands for the voxels of a binning ``file`` (XML, as the CaloChallenge has them) for one ``particle``."""

    kind: Literal["binning"] = "binning"
    file: str
    particle: str


class CalorimeterGrid(GridSource):
    """Stands for the cells of a ``detector``: a name that `hepcnn.calorimeters` knows, or the path of its YAML file.

    Of hits that say where they are, but not in which cell, ``origin`` and ``axis`` tell where the detector stands, see
    `PlacedGrid`.
    """

    kind: Literal["calorimeter"] = "calorimeter"
    detector: str
    origin: Place = (0.0, 0.0, 0.0)
    axis: Direction = "z"

    @property
    def is_moved(self) -> bool:
        """Whether the detector stands elsewhere than at the origin, along z."""
        return self.origin != (0.0, 0.0, 0.0) or self.axis != "z"


KINDS: Mapping[str, type[Grid]] = {
    "window": WindowGrid,
    "detector": DetectorGrid,
    "layers": LayersGrid,
    "cylinder": CylinderGrid,
    "box": BoxGrid,
    "given": GivenGrid,
    "placed": PlacedGrid,
}
SOURCES: Mapping[str, type[GridSource]] = {
    "native": NativeGrid,
    "binning": BinningGrid,
    "calorimeter": CalorimeterGrid,
}
"""What may stand for a grid in a config."""


def _kind_of(record: Any) -> Any:
    return record.get("kind", "window") if isinstance(record, Mapping) else getattr(record, "kind", None)


GridConfig = Annotated[
    Annotated[WindowGrid, pydantic.Tag("window")]
    | Annotated[DetectorGrid, pydantic.Tag("detector")]
    | Annotated[LayersGrid, pydantic.Tag("layers")]
    | Annotated[CylinderGrid, pydantic.Tag("cylinder")]
    | Annotated[BoxGrid, pydantic.Tag("box")]
    | Annotated[GivenGrid, pydantic.Tag("given")]
    | Annotated[PlacedGrid, pydantic.Tag("placed")]
    | Annotated[NativeGrid, pydantic.Tag("native")]
    | Annotated[BinningGrid, pydantic.Tag("binning")]
    | Annotated[CalorimeterGrid, pydantic.Tag("calorimeter")],
    pydantic.Discriminator(
        _kind_of,
        custom_error_type="grid_kind",
        custom_error_message=f"expected a kind among {', '.join([*KINDS, *SOURCES])}",
    ),
]
"""What a config may say of the grid: a window where it names no ``kind``."""
