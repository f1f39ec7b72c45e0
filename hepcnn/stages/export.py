"""A bundle's graph as a file of its own, after it was compared with the weights it was made from."""

import os
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hepcnn import bundle as bundles
from hepcnn.atomic import atomic_path
from hepcnn.export import check_parity
from hepcnn.images.recipe import ImageRecipe
from hepcnn.tagger.torch_runtime import load_network, load_scoring

__all__ = ["export_bundle", "load_network", "load_scoring", "make_random_jets"]
N_RANDOM_JETS, OCCUPANCY = 64, 0.03


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
