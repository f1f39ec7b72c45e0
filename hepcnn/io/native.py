"""The grid that files themselves say: shape of ready-made images, voxels of a family, geometry of a calorimeter."""

import json
import os
from typing import Any

from hepcnn.calorimeters import Calorimeter, parse_calorimeter
from hepcnn.errors import ConfigError, InputError, SchemaError
from hepcnn.io.larcv import LarcvTable
from hepcnn.io.plan import Reading, resolve_collection
from hepcnn.io.reader import open_table
from hepcnn.io.root import read_text
from hepcnn.io.rules import CellsLink
from hepcnn.io.tables import image_shape


def native_grid(path: str | os.PathLike[str], reading: Reading | str) -> dict[str, Any] | None:
    """The grid of ready-made images and of showers, as a record; None for families whose images are to be made.

    Raises
    ------
    InputError, SchemaError
        When the file cannot be read or does not fit the schema, or its geometry is missing or wrong.
    """
    _, collection = resolve_collection(reading)
    if collection.geometry is not None:
        return read_geometry(path, reading).grid.model_dump()
    if not isinstance(collection.link, CellsLink):
        return _grid_of_hits(path, reading) if collection.is_shower else None
    if collection.grid is not None:
        return collection.grid
    if collection.link.binned:
        raise SchemaError(
            f"{path}: such files do not say where their cells are: name the binning file, as in "
            "grid: {kind: binning, file: binning.xml, particle: photon}"
        )
    with open_table(path, reading) as (table, plan):
        column: Any = getattr(plan.collection.link, "values", None)
        return {"kind": "given", "shape": list(image_shape(table.columns[column], where=f"{path}: '{column}'"))}


def _grid_of_hits(path: str | os.PathLike[str], reading: Reading | str) -> dict[str, Any] | None:
    """That of larcv's images, which say their size; other hits without a geometry do not."""
    with open_table(path, reading) as (table, plan):
        if not isinstance(table, LarcvTable):
            return None
        return {"kind": "given", "shape": list(table.shape(plan.collection.constituents[0].cell))}


def read_geometry(path: str | os.PathLike[str], reading: Reading | str) -> Calorimeter:
    """The calorimeter that a file of hits describes.

    Raises
    ------
    InputError, SchemaError
        When the file cannot be read, has no such text, or the text describes no calorimeter.
    """
    _, collection = resolve_collection(reading)
    name = str(collection.geometry)
    text = read_text(path, name)
    if text is None:
        raise SchemaError(
            f"{path}: no text '{name}' in this file, which would say where its cells are: name the detector, as in "
            "grid: {kind: calorimeter, detector: sampling45}"
        )
    try:
        return parse_calorimeter(json.loads(text), where=f"{path}: '{name}'")
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: '{name}' is no JSON object: {error}") from error
    except ConfigError as error:
        raise InputError(str(error)) from error
