"""The backends ``spconv`` and ``spconv-triton``: other libraries' submanifold layers, to compare with.

They serve CUDA tensors only: spconv's CPU code gives wrong numbers with two threads, spconv-triton has none. They serve
submanifold layers without periodic axes only: the libraries number a strided layer's output sites in their own order.
"""

import importlib
from typing import Any

import torch
from torch import Tensor

from hepcnn.errors import ConfigError, InputError
from hepcnn.sparse.backends.registry import register_backend
from hepcnn.sparse.kernel_map import KernelMap


class RivalBackend:
    """One of the two libraries, whose modules have the same names and arguments.

    Parameters
    ----------
    name
        Of the backend.
    module
        The library's module that holds ``SparseConvTensor`` and ``SubMConv2d``; it is imported on first use.
    """

    def __init__(self, name: str, module: str) -> None:
        self.name, self.module = name, module

    def supports(self, device: torch.device) -> bool:
        """It serves CUDA devices."""
        return device.type == "cuda"

    def convolve(self, features: Tensor, weight: Tensor, bias: Tensor | None, kernel_map: KernelMap) -> Tensor:
        """See `hepcnn.sparse.backends.registry.Backend`."""
        if not features.is_cuda:
            raise ConfigError(f"the sparse backend '{self.name}' cannot compute on the device '{features.device}'")
        window = kernel_map.window
        if not window.submanifold or any(window.periodic):
            raise InputError(f"the sparse backend '{self.name}' serves submanifold layers without periodic axes only")
        library: Any = _import(self.name, self.module)
        layer = getattr(library, f"SubMConv{len(window.kernel_size)}d")(
            features.shape[1], weight.shape[0], window.kernel_size, dilation=window.dilation, bias=False
        ).to(features.device, features.dtype)
        # Output channels, then the kernel, then input channels: the libraries' own order of a weight.
        turned = weight.movedim(1, -1).contiguous()
        tensor = library.SparseConvTensor(features, kernel_map.inputs, list(kernel_map.in_shape), kernel_map.batch_size)
        out: Tensor = torch.func.functional_call(layer, {"weight": turned}, (tensor,)).features
        return out if bias is None else out + bias


def _import(name: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"the sparse backend '{name}' needs the module {module}, which cannot be imported") from error


register_backend(RivalBackend("spconv", "spconv.pytorch"))
register_backend(RivalBackend("spconv-triton", "spconv_triton.pytorch"))
