"""A bundle's weights in torch: the network as it was trained, and a session that scores with it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from hepcnn import bundle as bundles
from hepcnn.data.energy_scale import EnergyScale
from hepcnn.data.normalisation import Normalisation
from hepcnn.errors import BundleError, HepcnnError
from hepcnn.models.registry import create_model
from hepcnn.outputs import list_outputs, split_values
from hepcnn.training.energy import N_OUTPUTS
from hepcnn.training.ensemble import EnsembleNetwork
from hepcnn.training.network import ScoringNetwork, TaggerNetwork


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
        n_classes=len(manifest.class_names) if "identity" in manifest.tasks else N_OUTPUTS,
        grid=manifest.recipe.grid.shape,
        n_jet_features=len(manifest.recipe.jet_features),
        periodic=manifest.recipe.grid.periodic,
        **values["network"]["options"],
    )
    scale = EnergyScale.from_dict(values["energy_scale"]) if "energy" in manifest.tasks else None
    normalisation = Normalisation.from_dict(values["normalisation"])
    return TaggerNetwork(model, normalisation, energy=scale, identity="identity" in manifest.tasks)


def _load_weights(network: nn.Module, path: str | os.PathLike[str]) -> None:
    try:
        network.load_state_dict(load_file(Path(path) / bundles.WEIGHTS))
    except RuntimeError as error:
        raise BundleError(f"{path}: the weights do not fit this hepcnn's network: {error}") from error


class TorchSession:
    """Runs a bundle's weights as `hepcnn.tagger.sessions.OnnxSession` runs its graph; threads may share it.

    Parameters
    ----------
    path
        The bundle.
    device
        As torch names it: ``cpu``, ``cuda``, ``cuda:1`` …

    Raises
    ------
    BundleError
        As `load_network`.
    HepcnnError
        When torch cannot use the device.
    """

    def __init__(self, path: str | os.PathLike[str], device: str) -> None:
        network = load_scoring(path)
        scoring = network if isinstance(network, EnsembleNetwork) else ScoringNetwork(network)
        self._path, self._device, self._tasks = Path(path), device, network.tasks
        try:
            self._scoring = scoring.eval().to(device)
        except (RuntimeError, AssertionError) as error:
            raise HepcnnError(f"device '{device}': torch cannot use it: {str(error).splitlines()[0]}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return TorchSession, (str(self._path), self._device)

    def get_inputs(self) -> list[Any]:
        """The inputs that the exported graph has, too."""
        return [SimpleNamespace(name="images"), SimpleNamespace(name="jet_features")]

    def run(self, names: Sequence[str] | None, feed: Mapping[str, Any]) -> list[Any]:
        """Score arrays by the names of the inputs; gives the outputs of these names, by default all."""
        inputs = [torch.from_numpy(np.ascontiguousarray(feed[key])) for key in ("images", "jet_features")]
        with torch.inference_mode():
            values = self._scoring(*(one.to(self._device) for one in inputs)).cpu().numpy()
        found = split_values(values, self._tasks)
        return [found[name] for name in names or list_outputs(self._tasks)]
