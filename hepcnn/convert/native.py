"""The grid of ready-made images, on which all files must agree."""

from collections.abc import Sequence
from typing import Any

from hepcnn.config import ImagesConfig
from hepcnn.convert.inputs import Source
from hepcnn.errors import InputError, SchemaError
from hepcnn.grids import NativeGrid
from hepcnn.images.grids import grid_from_record
from hepcnn.io.reader import native_grid


def resolve_grid(sources: Sequence[Source], images: ImagesConfig) -> ImagesConfig:
    """Put the grid of the files where the config says ``{kind: native}``.

    Raises
    ------
    InputError, SchemaError
        When files disagree, or one cannot be read (unless ``skip_bad``).
    """
    if not isinstance(images.grid, NativeGrid):
        return images
    found: dict[str, Any] = {}
    for source in sources:
        try:
            record = native_grid(source.path, source.reading)
        except (InputError, SchemaError):
            if not images.skip_bad:
                raise
            continue
        first = next(iter(found), source.path)
        if record != found.setdefault(first, record):
            raise InputError(f"{source.path}: its grid is {record}, but that of {first} is {found[first]}")
    record = next(iter(found.values()), None)
    # Without any, the recipe says that there is no native grid.
    return images if record is None else images.model_copy(update={"grid": grid_from_record(record)})
