"""The backend ``dense``: scatter to a dense grid, convolve there, read the output sites. The oracle, slow by design."""

import torch
from torch import Tensor
from torch.nn import functional

from hepcnn.sparse.backends.registry import register_backend
from hepcnn.sparse.kernel_map import KernelMap, Window
from hepcnn.sparse.tensor import Sites, SparseTensor

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


class DenseBackend:
    """Masked dense convolution, built of torch's own."""

    name = "dense"

    def supports(self, device: torch.device) -> bool:
        """It serves every device."""
        del device
        return True

    def convolve(self, features: Tensor, weight: Tensor, bias: Tensor | None, kernel_map: KernelMap) -> Tensor:
        """See `hepcnn.sparse.backends.registry.Backend`."""
        inputs = Sites(kernel_map.inputs, kernel_map.in_shape, kernel_map.batch_size)
        outputs = Sites(kernel_map.outputs, kernel_map.out_shape, kernel_map.batch_size)
        dense = convolve_dense(SparseTensor.on_sites(inputs, features).to_dense(), weight, bias, kernel_map.window)
        return dense.movedim(1, -1).flatten(0, -2).index_select(0, outputs.flat_index())


def convolve_dense(values: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> Tensor:
    """Convolve (B, C, S) values with torch's dense convolution, with circular padding on periodic axes."""
    padding = window.padding
    if any(window.periodic):
        values = pad_periodic(values, window)
        padding = tuple(0 if wrap else p for wrap, p in zip(window.periodic, padding, strict=True))
    conv = _CONV[len(window.kernel_size)]
    result: Tensor = conv(values, weight, bias, stride=window.stride, padding=padding, dilation=window.dilation)
    return result


def pad_periodic(values: Tensor, window: Window) -> Tensor:
    """Continue (B, C, S) values past both ends of each periodic axis by the window's padding."""
    for axis, (wrap, p) in enumerate(zip(window.periodic, window.padding, strict=True), start=2):
        if wrap and p:
            size = values.shape[axis]
            values = torch.cat([values.narrow(axis, size - p, p), values, values.narrow(axis, 0, p)], dim=axis)
    return values


register_backend(DenseBackend())
