"""A bundle's graph as a file of its own, after it was compared with the weights it was made from."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from hepcnn import bundle as bundles
from hepcnn.atomic import atomic_path
from hepcnn.data.normalisation import Normalisation
from hepcnn.errors import BundleError
from hepcnn.export import check_parity
from hepcnn.images.recipe import ImageRecipe
from hepcnn.models.registry import create_model
from hepcnn.training.ensemble import EnsembleNetwork
from hepcnn.training.network import TaggerNetwork

N_RANDOM_JETS, OCCUPANCY = 64, 0.03


def load_network(path: str | os.PathLike[str]) -> TaggerNetwork:
    """Rebuild the trained network of a bundle, on the CPU, in evaluation mode.

    Raises
    ------
    BundleError
        When the bundle is damaged, holds several networks, or this hepcnn's network of that name has other weights.
    """
    manifest = bundles.read_manifest(path)
    if "members" in manifest.values:
        raise BundleError(f"{path}: an ensemble of {len(manifest.values['members'])} networks: name one of its members")
    network = _build(manifest, manifest.values)
    _load_weights(network, path)
    return network.eval()


def load_scoring(path: str | os.PathLike[str]) -> TaggerNetwork | EnsembleNetwork:
    """Rebuild what a bundle scores with: a network, or several of which the mean is taken; see `load_network`."""
    manifest = bundles.read_manifest(path)
    if "members" not in manifest.values:
        return load_network(path)
    ensemble = EnsembleNetwork([_build(manifest, member) for member in manifest.values["members"]])
    _load_weights(ensemble, path)
    return ensemble.eval()


def _build(manifest: bundles.Manifest, values: Mapping[str, Any]) -> TaggerNetwork:
    """A network with fresh weights, as the ``network`` and ``normalisation`` of a manifest or of a member say."""
    model = create_model(
        values["network"]["name"],
        in_channels=len(manifest.recipe.channels),
        n_classes=len(manifest.class_names),
        grid=manifest.recipe.grid.shape,
        n_jet_features=len(manifest.recipe.jet_features),
        periodic=manifest.recipe.grid.periodic,
        **values["network"]["options"],
    )
    return TaggerNetwork(model, Normalisation.from_dict(values["normalisation"]))


def _load_weights(network: nn.Module, path: str | os.PathLike[str]) -> None:
    try:
        network.load_state_dict(load_file(Path(path) / bundles.WEIGHTS))
    except RuntimeError as error:
        raise BundleError(f"{path}: the weights do not fit this hepcnn's network: {error}") from error


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
    network = load_scoring(path)
    images, features = make_random_jets(bundles.read_manifest(path).recipe)
    source = Path(path) / bundles.MODEL
    difference = check_parity(network, source, images=images, jet_features=features)
    with atomic_path(output) as partial:
        shutil.copyfile(source, partial)
    return difference


def make_random_jets(recipe: ImageRecipe) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random sparse images (N, C, and the axes of the grid) and jet-level numbers (N, F), to compare networks on."""
    random = np.random.default_rng(1)
    shape = (N_RANDOM_JETS, len(recipe.channels), *recipe.grid.shape)
    active = random.random((N_RANDOM_JETS, 1, *recipe.grid.shape)) < OCCUPANCY
    images = (random.exponential(0.05, shape) * active).astype(np.float32)
    features = random.exponential(100.0, (N_RANDOM_JETS, len(recipe.jet_features))).astype(np.float32)
    return images, features
