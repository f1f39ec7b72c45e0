"""The grid that stands behind a word of the config: that of the files, of a binning file, or of a detector."""

import os
from collections.abc import Sequence
from typing import Any

from hepcnn.calorimeters import Calorimeter, read_calorimeter
from hepcnn.config import ImagesConfig
from hepcnn.convert.inputs import Source
from hepcnn.errors import ConfigError, InputError, SchemaError
from hepcnn.grids import BinningGrid, CalorimeterGrid, CellGrid, Grid, GridSource, NativeGrid, PlacedGrid
from hepcnn.images.binning import read_binning
from hepcnn.images.grids import describe_grid, grid_from_record
from hepcnn.io.native import native_grid
from hepcnn.io.plan import Reading, resolve_collection


def resolve_grid(sources: Sequence[Source], images: ImagesConfig) -> ImagesConfig:
    """Put the grid itself where the config names what says it.

    Raises
    ------
    ConfigError
        For a detector that does not exist.
    InputError, SchemaError
        When files disagree, with each other or with the detector, or one cannot be read (unless ``skip_bad``).
    """
    if not isinstance(images.grid, GridSource):
        return images
    grid = find_grid(images.grid, by_place=_says_places(sources))
    if isinstance(images.grid, NativeGrid):
        grid = _of_files(sources, skip_bad=images.skip_bad)
    elif isinstance(images.grid, CalorimeterGrid):
        _check_all(sources, images.grid.detector, grid, skip_bad=images.skip_bad)
    # Without any, the recipe says that there is no native grid.
    return images if grid is None else images.model_copy(update={"grid": grid})


def _says_places(sources: Sequence[Source]) -> bool:
    """Whether constituents say where they are and not in which cell."""
    collections = [resolve_collection(source.reading)[1] for source in sources]
    by_place = {any(rules.x is not None for rules in collection.constituents) for collection in collections}
    if len(by_place) > 1:
        raise ConfigError("grid: some of these files have hits with cells, and some hits at places: convert them apart")
    return by_place == {True}


def find_grid(source: GridSource, *, by_place: bool = False) -> Grid | None:
    """The grid of a binning file or of a detector; None where the files have to say it.

    Parameters
    ----------
    source
        What the config says.
    by_place
        Whether a detector's cells have to be found by x, y and z.

    Raises
    ------
    ConfigError
        For a detector that does not exist, or one that is moved though hits name their cells.
    InputError
        For a binning file that cannot be read.
    """
    if isinstance(source, BinningGrid):
        return read_binning(source.file, source.particle)
    if isinstance(source, CalorimeterGrid):
        detector = read_calorimeter(source.detector)
        if by_place:
            return place_cells(detector, source)
        if source.is_moved:
            raise ConfigError("grid: 'origin' and 'axis' are for hits at places, but these name their cells")
        return detector.grid
    return None


def place_cells(detector: Calorimeter, source: CalorimeterGrid) -> PlacedGrid:
    """The cells of a detector where it stands."""
    record = {"cells": detector.grid.model_dump(), "fronts": detector.fronts.tolist(), "backs": detector.backs.tolist()}
    return PlacedGrid.model_validate(record | source.model_dump(include={"origin", "axis"}))


def _of_files(sources: Sequence[Source], *, skip_bad: bool) -> Grid | None:
    found: dict[str, Any] = {}
    for path, record in _native_records(sources, skip_bad=skip_bad).items():
        first = next(iter(found), path)
        if record != found.setdefault(first, record):
            told = [describe_grid(grid_from_record(grid)) if grid else "none" for grid in (record, found[first])]
            differ = f"its grid is {told[0]}, but that of {first} is {told[1]}"
            raise InputError(f"{path}: {differ}" + (", and their edges differ" if told[0] == told[1] else ""))
    record = next(iter(found.values()), None)
    return None if record is None else grid_from_record(record)


def _native_records(sources: Sequence[Source], *, skip_bad: bool) -> dict[str, Any]:
    records = {}
    for source in sources:
        try:
            records[source.path] = native_grid(source.path, source.reading)
        except (InputError, SchemaError):
            # Such a file is set aside when its turn comes.
            if not skip_bad:
                raise
    return records


def check_geometry(
    path: str | os.PathLike[str], reading: Reading | str, grid: Grid, *, whose: str = "those of the tagger's images"
) -> None:
    """Check that a file whose hits name their cells means the cells of a grid, if it describes them.

    Raises
    ------
    InputError
        When it describes others, or cannot be read.
    """
    if resolve_collection(reading)[1].geometry is None or not isinstance(grid, CellGrid):
        return
    try:
        record = native_grid(path, reading)
    except SchemaError:
        return  # a file without geometry is what naming a detector is for
    if record is not None and grid_from_record(record) != grid:
        raise InputError(f"{path}: the file describes other cells than {whose}")


def _check_all(sources: Sequence[Source], detector: str, grid: Grid | None, *, skip_bad: bool) -> None:
    for source in sources:
        try:
            if grid is not None:
                whose = f"those of detector '{detector}'; 'grid: {{kind: native}}' takes the file's own"
                check_geometry(source.path, source.reading, grid, whose=whose)
        except InputError:
            # Such a file is set aside when its turn comes.
            if not skip_bad:
                raise
