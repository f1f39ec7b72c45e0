"""What a model costs and how far it sees."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hepcnn.models.base import JetTagger
from hepcnn.sparse.conv import SparseConvNd
from hepcnn.sparse.tensor import SparseTensor

# What FLOPs of sparse layers are counted at: the pixels of a typical jet, scattered around the axis.
NOMINAL_PIXELS = 50
NOMINAL_SPREAD = 0.15
OFF_PATH = ("shortcut", "downsample")


def describe_model(model: JetTagger, grid: Sequence[int], in_channels: int) -> dict[str, Any]:
    """Count parameters and operations, and compute the receptive field.

    Parameters
    ----------
    model
        The model; it is left as it was.
    grid, in_channels
        The shape of the images.

    Returns
    -------
    dict
        ``parameters``; ``flops`` per jet and forward pass, two per multiply-add (sparse layers: at ``NOMINAL_PIXELS``
        active pixels); ``receptive_field`` of one cell of the last feature map, in pixels per axis; ``stride``, the
        distance between such cells in pixels; ``input_format``.
    """
    training = model.training
    model.eval()
    # Sparse backends may pad short matrices: over many jets the padding does not count.
    n_jets = 128 if model.input_format == "sparse" else 1
    device = next(model.parameters()).device
    images: Tensor | SparseTensor = nominal_images(n_jets, in_channels, grid).to(device)
    if isinstance(images, Tensor) and model.input_format == "sparse":
        images = SparseTensor.from_dense(images)
    jet_features = torch.zeros(n_jets, model.n_jet_features, device=device) if model.n_jet_features else None
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(images, jet_features)
    field, stride = receptive_field(model, images)
    model.train(training)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "flops": round(counter.get_total_flops() / n_jets),
        "receptive_field": list(field),
        "stride": list(stride),
        "input_format": model.input_format,
    }


def nominal_images(n_jets: int, in_channels: int, grid: Sequence[int]) -> Tensor:
    """(n_jets, C, n_eta, n_phi) with up to `NOMINAL_PIXELS` active pixels each, the same for every call."""
    generator = torch.Generator().manual_seed(1)
    images = torch.zeros(n_jets, in_channels, *grid)
    jet = torch.arange(n_jets).unsqueeze(1)
    eta, phi = (
        (size / 2 + torch.randn(n_jets, NOMINAL_PIXELS, generator=generator) * NOMINAL_SPREAD * size)
        .long()
        .clamp(0, size - 1)
        for size in grid
    )
    images[jet, :, eta, phi] = 1.0
    return images


def receptive_field(model: JetTagger, images: Tensor | SparseTensor) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size and distance, in pixels per axis, of what the cells of the last feature map see.

    Along the main path each window of k cells, d apart, adds d (k - 1) times the distance between its cells, and its
    stride multiplies that distance (doi:10.23915/distill.00021).
    """
    windows: list[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = []
    handles = []
    for name, module in model.named_modules():
        if not any(part in OFF_PATH for part in name.split(".")) and _window(module) is not None:
            handles.append(module.register_forward_hook(lambda m, *_: windows.append(_window(m))))  # type: ignore
    with torch.no_grad():
        model.features(images)
    for handle in handles:
        handle.remove()
    field, jump = [1, 1], [1, 1]
    for kernel, stride, dilation in windows:
        for axis in range(2):
            field[axis] += dilation[axis] * (kernel[axis] - 1) * jump[axis]
            jump[axis] *= stride[axis]
    return (field[0], field[1]), (jump[0], jump[1])


def _window(module: nn.Module) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """Kernel size, stride and dilation of a layer that has a window."""
    if isinstance(module, SparseConvNd):
        return module.window.kernel_size, module.window.stride, module.window.dilation
    if isinstance(module, nn.Conv2d | nn.MaxPool2d):
        return _two(module.kernel_size), _two(module.stride), _two(module.dilation)
    if isinstance(module, nn.AvgPool2d):
        return _two(module.kernel_size), _two(module.stride), (1, 1)
    return None


def _two(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else value
