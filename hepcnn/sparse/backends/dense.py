"""The backend ``dense``: scatter to a dense grid, convolve there, read the output sites. The oracle, slow by design."""

import torch
from torch import Tensor
from torch.nn import functional

from hepcnn.sparse.backends.registry import register_backend
from hepcnn.sparse.kernel_map import KernelMap
from hepcnn.sparse.sites import Sites
from hepcnn.sparse.tensor import SparseTensor
from hepcnn.sparse.window import Window

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


class DenseBackend:
    """Masked dense convolution, built of torch's own."""

    name = "dense"

    def supports(self, device: torch.device) -> bool:
        """It serves every device."""
        del device
        return True

    def convolve(self, features: Tensor, weight: Tensor, bias: Tensor | None, kernel_map: KernelMap) -> Tensor:
        """See `hepcnn.sparse.backends.registry.Backend`."""
        n_images, padded = kernel_map.batch_size, kernel_map.padded
        inputs = Sites(kernel_map.inputs, kernel_map.in_shape, n_images, padded=padded)
        outputs = Sites(kernel_map.outputs, kernel_map.out_shape, n_images, padded=padded)
        values, window = SparseTensor.on_sites(inputs, features).to_dense(), kernel_map.window
        if kernel_map.transposed:
            dense = convolve_dense_back(values, weight.transpose(0, 1), bias, window, kernel_map.out_shape)
        else:
            dense = convolve_dense(values, weight, bias, window)
        rows = dense.movedim(1, -1).flatten(0, -2)
        # One more row, which padding reads.
        rows = functional.pad(rows, (0, 0, 0, 1)) if padded else rows
        return rows.index_select(0, outputs.flat_index())


def convolve_dense(values: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
    """Convolve (B, C, S) values with torch's dense convolution, with circular padding on periodic axes."""
    padding = window.padding
    if any(window.periodic):
        values = pad_periodic(values, window)
        padding = tuple(0 if wrap else p for wrap, p in zip(window.periodic, padding, strict=True))
    conv = _CONV[len(window.kernel_size)]
    result: Tensor = conv(values, weight, bias, stride=window.stride, padding=padding, dilation=window.dilation)
    return result


def convolve_dense_back(
    values: Tensor, weight: Tensor, bias: Tensor | None, window: Window, shape: tuple[int, ...]
) -> Tensor:
    """Convolve (B, I, S') values with an (I, O, *kernel) weight back to the grid that the window slid over."""
    full: Tensor = _CONV_TRANSPOSE[len(shape)](values, weight, stride=window.stride, dilation=window.dilation)
    for axis, (size, before) in enumerate(zip(shape, window.padding, strict=True)):
        # The cell j of the full result belongs to the cell j - padding of the grid.
        length = full.shape[axis + 2]
        if window.periodic[axis]:
            ahead = -before % size
            full = _pad(full, axis, ahead, -(ahead + length) % size)
            rounds = [full.narrow(axis + 2, start, size) for start in range(0, full.shape[axis + 2], size)]
            full = torch.stack(rounds).sum(dim=0)
        else:
            full = _pad(full, axis, -before, size + before - length)
    return full if bias is None else full + bias.view(-1, *[1] * len(shape))


def _pad(values: Tensor, axis: int, before: int, after: int) -> Tensor:
    """Add zeros at both ends of a spatial axis, or cut cells off where a number is negative."""
    return functional.pad(values, [0, 0] * (values.ndim - 3 - axis) + [before, after])


def pad_periodic(values: Tensor, window: Window) -> Tensor:
    """Continue (B, C, S) values past both ends of each periodic axis by the window's padding."""
    for axis, (wrap, p) in enumerate(zip(window.periodic, window.padding, strict=True), start=2):
        if wrap and p:
            size = values.shape[axis]
            values = torch.cat([values.narrow(axis, size - p, p), values, values.narrow(axis, 0, p)], dim=axis)
    return values


register_backend(DenseBackend())
