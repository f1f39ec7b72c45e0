"""Inside a network: its first kernels, its feature maps, and what a linear model could read off at each depth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from hepcnn.errors import EmptySampleError, InputError, require
from hepcnn.evaluation.metrics import auc
from hepcnn.explain.scoring import batches, cut
from hepcnn.models.layers_as_channels import LayersAsChannels
from hepcnn.sparse.tensor import MaskedDense, SparseTensor


def list_stages(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts of a network from images to the last map, in order, each with its name; the head is not among them."""
    told = getattr(model, "stages", None)
    if callable(told):
        stages: list[tuple[str, nn.Module]] = told()
        return stages
    found = []
    for name, child in model.named_children():
        if name != "head":
            parts = [(f"{name}.{key}", part) for key, part in child.named_children()]
            found += parts if isinstance(child, nn.Sequential) else [(name, child)]
    return [(name, part) for name, part in found if any(True for _ in part.parameters())]


def find_first_kernels(model: nn.Module, in_channels: int) -> tuple[str, NDArray[np.float32]]:
    """The kernels that meet the image.

    Returns
    -------
    tuple
        The name of the layer, and its kernels (D, C, k, k), or (D, C, k, k, k) over three axes. Those of a network that
        takes layers as channels are added up over the layers.

    Raises
    ------
    InputError
        When no layer has kernels over the image's channels.
    """
    taken = in_channels * (model.grid[0] if isinstance(model, LayersAsChannels) else 1)
    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim in (4, 5) and weight.shape[1] == taken:
            kernels = weight.detach().cpu().numpy()
            by_layer = kernels.reshape(len(kernels), in_channels, -1, *kernels.shape[2:])
            return name, kernels if taken == in_channels else by_layer.sum(axis=2)
    raise InputError(f"no layer of {type(model).__name__} has kernels over {in_channels} channels")


@torch.no_grad()
def collect_maps(
    model: nn.Module, images: Tensor, jet_features: Tensor | None = None, *, pool: bool = False
) -> dict[str, NDArray[np.float32]]:
    """What comes out of each stage of a network.

    Parameters
    ----------
    model
        In evaluation mode.
    images, jet_features
        (N, C, and the axes of the grid) and (N, F), as the model gets them.
    pool
        Average each map over the grid: (N, D) instead of (N, D, and its axes).

    Returns
    -------
    dict
        By stage, in the order in which they ran.
    """
    found: dict[str, list[NDArray[np.float32]]] = {}
    hooks = []
    for name, stage in list_stages(model):

        def keep(_: nn.Module, __: Any, output: Any, name: str = name) -> None:
            maps = _as_dense(output)
            # A copy: layers that come after may work in place.
            found.setdefault(name, []).append((maps.flatten(2).mean(dim=2) if pool else maps.clone()).cpu().numpy())

        hooks.append(stage.register_forward_hook(keep))
    try:
        for part in batches(len(images)):
            model(images[part], cut(jet_features, part))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _as_dense(output: Any) -> Tensor:
    """Feature maps (N, D, and two or three axes) of a stage: dense, sparse, or the last of several levels."""
    if isinstance(output, list | tuple):
        return _as_dense(output[-1])
    if isinstance(output, MaskedDense):
        return output.values
    if isinstance(output, SparseTensor):
        return output.to_dense()
    if isinstance(output, Tensor) and output.ndim in (4, 5):
        return output
    raise InputError(f"a stage gave {type(output).__name__}, expected feature maps of two or three axes")


@dataclass(frozen=True)
class DepthPoint:
    """How well the classes come apart at one depth: the AUC of a linear probe, with its statistical error."""

    name: str
    n_features: int
    auc: float
    err_stat: float | None


def probe_depths(
    features: Mapping[str, ArrayLike], is_signal: ArrayLike, *, test_fraction: float = 0.5, seed: int = 0
) -> list[DepthPoint]:
    """Fit a logistic regression at each depth on some of the jets, and measure it on the others.

    Parameters
    ----------
    features
        By depth, in order: (N, D) numbers.
    is_signal
        (N,).
    test_fraction
        Fraction of the jets of each class that the probes are measured on.
    seed
        Of the choice of these jets.

    Raises
    ------
    EmptySampleError
        For fewer than four jets of a class.
    InputError
        For numbers that are not finite, or of other jets.

    Notes
    -----
    Alain and Bengio, arXiv:1610.01644. All probes see the same jets; the errors (DeLong) are thus larger than those of
    the differences between depths. Features are standardised and the regression has scikit-learn's default penalty.
    """
    selection, pipeline, linear, scaling = (
        require(f"sklearn.{name}", extra="evaluate")
        for name in ("model_selection", "pipeline", "linear_model", "preprocessing")
    )
    truth = np.asarray(is_signal, dtype=bool)
    fewest = int(min(truth.sum(), (~truth).sum()))
    if fewest < 4:
        raise EmptySampleError(f"the smaller class has {fewest} jets: a probe needs at least four")
    fitted, tested = selection.train_test_split(
        np.arange(len(truth)), test_size=test_fraction, random_state=seed, stratify=truth
    )
    points = []
    for name, values in features.items():
        numbers = np.asarray(values, dtype=np.float64)
        if numbers.ndim != 2 or len(numbers) != len(truth) or not np.isfinite(numbers).all():
            raise InputError(f"{name}: features {numbers.shape} of {len(truth)} jets: expected finite ones, (N, D)")
        probe = pipeline.make_pipeline(scaling.StandardScaler(), linear.LogisticRegression(max_iter=1000))
        probe.fit(numbers[fitted], truth[fitted])
        measured = auc(probe.decision_function(numbers[tested]), truth[tested])
        points.append(DepthPoint(name, numbers.shape[1], measured.value, measured.err_stat))
    return points
