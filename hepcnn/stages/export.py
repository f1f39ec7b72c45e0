"""A bundle's graph as a file of its own, after it was compared with the weights it was made from."""

import os
import shutil
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from hepcnn import bundle as bundles
from hepcnn.atomic import atomic_path
from hepcnn.data.normalisation import Normalisation
from hepcnn.errors import BundleError
from hepcnn.export import check_parity
from hepcnn.models.registry import create_model
from hepcnn.training.network import TaggerNetwork

N_RANDOM_JETS, OCCUPANCY = 64, 0.03


def load_network(path: str | os.PathLike[str]) -> TaggerNetwork:
    """Rebuild the trained network of a bundle, on the CPU, in evaluation mode.

    Raises
    ------
    BundleError
        When the bundle is damaged, or this hepcnn's network of that name has other weights.
    """
    manifest = bundles.read_manifest(path)
    values = manifest.values
    normalisation = Normalisation.from_dict(values["normalisation"])
    model = create_model(
        values["network"]["name"],
        in_channels=len(manifest.recipe.channels),
        n_classes=len(manifest.class_names),
        grid=manifest.recipe.grid.shape,
        n_jet_features=len(manifest.recipe.jet_features),
        periodic=manifest.recipe.grid.periodic,
        **values["network"]["options"],
    )
    network = TaggerNetwork(model, normalisation)
    try:
        network.load_state_dict(load_file(Path(path) / bundles.WEIGHTS))
    except RuntimeError as error:
        raise BundleError(f"{path}: the weights do not fit network '{values['network']['name']}': {error}") from error
    return network.eval()


def export_bundle(path: str | os.PathLike[str], output: str | os.PathLike[str]) -> float:
    """Copy a bundle's ONNX graph once its scores equal the network's on random sparse images.

    Returns
    -------
    float
        The largest difference of a probability.

    Raises
    ------
    BundleError
        When the bundle is damaged.
    ExportError
        When the graph scores otherwise than the network.
    """
    network = load_network(path)
    recipe = bundles.read_manifest(path).recipe
    random = np.random.default_rng(1)
    shape = (N_RANDOM_JETS, len(recipe.channels), *recipe.grid.shape)
    active = random.random((N_RANDOM_JETS, 1, *recipe.grid.shape)) < OCCUPANCY
    images = (random.exponential(0.05, shape) * active).astype(np.float32)
    features = random.exponential(100.0, (N_RANDOM_JETS, len(recipe.jet_features))).astype(np.float32)
    source = Path(path) / bundles.MODEL
    difference = check_parity(network, source, images=images, jet_features=features)
    with atomic_path(output) as partial:
        shutil.copyfile(source, partial)
    return difference
