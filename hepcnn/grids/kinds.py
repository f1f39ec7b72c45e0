"""The kinds of grids there are, and what a config may say of one."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from hepcnn.grids.base import Grid
from hepcnn.grids.cells import BoxGrid, CylinderGrid, GivenGrid
from hepcnn.grids.windows import DetectorGrid, LayersGrid, WindowGrid
from hepcnn.records import StrictModel


class NativeGrid(StrictModel):
    """Stands for the grid that the files themselves say; what converts files puts that in its place."""

    kind: Literal["native"] = "native"


KINDS: Mapping[str, type[Grid]] = {
    "window": WindowGrid,
    "detector": DetectorGrid,
    "layers": LayersGrid,
    "cylinder": CylinderGrid,
    "box": BoxGrid,
    "given": GivenGrid,
}


def _kind_of(record: Any) -> Any:
    return record.get("kind", "window") if isinstance(record, Mapping) else getattr(record, "kind", None)


GridConfig = Annotated[
    Annotated[WindowGrid, pydantic.Tag("window")]
    | Annotated[DetectorGrid, pydantic.Tag("detector")]
    | Annotated[LayersGrid, pydantic.Tag("layers")]
    | Annotated[CylinderGrid, pydantic.Tag("cylinder")]
    | Annotated[BoxGrid, pydantic.Tag("box")]
    | Annotated[GivenGrid, pydantic.Tag("given")]
    | Annotated[NativeGrid, pydantic.Tag("native")],
    pydantic.Discriminator(
        _kind_of,
        custom_error_type="grid_kind",
        custom_error_message=f"expected a kind among {', '.join(KINDS)}, native",
    ),
]
"""What a config may say of the grid: a window where it names no ``kind``."""
