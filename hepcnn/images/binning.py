"""The binning files of the CaloChallenge (arXiv:2410.21611): XML that says where a shower's voxels are."""

import os
from typing import Any
from xml.etree import ElementTree

from hepcnn.errors import ConfigError, InputError, did_you_mean
from hepcnn.grids import CylinderGrid
from hepcnn.records import parse_model


def read_binning(path: str | os.PathLike[str], particle: str) -> CylinderGrid:
    """Read a binning file.

    Parameters
    ----------
    path
        An XML file ``<Bins> <Bin name="photon"> <Layer id="0" r_edges="0,5,10" n_bin_alpha="1"/> …``; radii in mm.
    particle
        The ``name`` of the ``Bin`` to take.

    Returns
    -------
    CylinderGrid
        Its ``model_dump()`` is the record that a config or a schema holds. Layers without voxels (a single edge) are
        left out, as the challenge's HDF5 files do.

    Raises
    ------
    InputError
        When the file cannot be read, has no such particle, or a layer without edges or with wrong ones.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f"{path}: cannot read this binning: {error}") from error
    particles = {bins.get("name", ""): bins for bins in root}
    if particle not in particles:
        raise InputError(f"{path}: no binning for '{particle}'{did_you_mean(particle, particles)}")
    layers = []
    for number, layer in enumerate(particles[particle]):
        read = _read_layer(layer, where=f"{path}: {particle}, layer {layer.get('id', number)}")
        if len(read["r_edges"]) > 1:
            layers.append(read)
    try:
        return parse_model(CylinderGrid, {"layers": layers}, where=f"{path}: {particle}")
    except ConfigError as error:
        raise InputError(str(error)) from error


def _read_layer(layer: ElementTree.Element, *, where: str) -> dict[str, Any]:
    try:
        edges = [float(edge) for edge in layer.attrib["r_edges"].split(",")]
        return {"r_edges": edges, "n_alpha": int(layer.attrib["n_bin_alpha"])}
    except (KeyError, ValueError) as error:
        raise InputError(f"{where}: expected r_edges='0,5,10' and n_bin_alpha='1': {error!r}") from error
