"""Transposed sparse convolutions: from the coordinates that a strided one made back to those it came from.

What ``torch.nn.ConvTransposeNd`` computes, read at the remembered sites; ``state_dict`` exchanges with it.
"""

import math
from collections.abc import Sequence

import torch
from torch import nn

from hepcnn.errors import ConfigError, InputError
from hepcnn.sparse.backends.dense import convolve_dense_back
from hepcnn.sparse.backends.registry import check_backend, get_backend
from hepcnn.sparse.conv import Size, follow_autocast, make_window
from hepcnn.sparse.kernel_map import map_back
from hepcnn.sparse.tensor import Activation, MaskedDense, SparseTensor


class SparseInverseConvNd(nn.Module):
    """What all transposed sparse convolutions share.

    Parameters
    ----------
    in_channels, out_channels
        C of the input and of the output.
    kernel_size, stride, padding, dilation, periodic
        Those of the strided convolution whose way is gone back.
    bias
        Whether to add a learnt bias, on the output sites.
    backend
        The name of the backend; None leaves the choice to `use_backend`.
    """

    dims: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        bias: bool = True,
        *,
        periodic: bool | Sequence[bool] = False,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1:
            raise ConfigError(f"channels must be positive, got {in_channels} and {out_channels}")
        if backend is not None:
            check_backend(backend)
        self.in_channels, self.out_channels, self.backend = in_channels, out_channels, backend
        self.window = make_window(self.dims, kernel_size, stride, padding, dilation, periodic)
        self.weight = nn.Parameter(torch.empty(in_channels, out_channels, *self.window.kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights as ``torch.nn.ConvTransposeNd`` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Activation, target: Activation) -> Activation:
        """Convolve back.

        Parameters
        ----------
        x
            Features (M, C) on the sites that the strided convolution made, or masked values (B, C, S').
        target
            Whose sites to return to, of the same kind; its features do not matter.

        Raises
        ------
        InputError
            When kinds, axes, channels or dtypes do not fit, or the strided convolution does not lead from ``target``'s
            sites to those of ``x``.
        ConfigError
            When the window does not fit the grid, or the backend cannot serve the device.
        """
        if isinstance(x, SparseTensor) and isinstance(target, SparseTensor):
            self._check(len(x.spatial_shape), x.features.shape[1])
            kernel_map = map_back(x.sites, self.window, target.sites)
            features, weight, bias = follow_autocast(x.features, self.weight, self.bias)
            backend = get_backend(self.backend, x.device)
            values = backend.convolve(features, weight.transpose(0, 1), bias, kernel_map)
            return SparseTensor.on_sites(target.sites, values if bias is None else target.sites.clear_padding(values))
        if isinstance(x, MaskedDense) and isinstance(target, MaskedDense):
            self._check(x.values.ndim - 2, x.values.shape[1])
            shape = tuple(target.values.shape[2:])
            if self.window.output_shape(shape) != tuple(x.values.shape[2:]):
                raise InputError(f"the window leads from {shape} to {self.window.output_shape(shape)}, not to "
                                 f"{tuple(x.values.shape[2:])}")  # fmt: skip
            values = convolve_dense_back(x.values, self.weight, self.bias, self.window, shape)
            return MaskedDense(values * target.mask, target.mask)
        raise InputError(
            f"expected two SparseTensors or two MaskedDense, got {type(x).__name__} and {type(target).__name__}"
        )

    def _check(self, dims: int, channels: int) -> None:
        if dims != self.dims or channels != self.in_channels:
            raise InputError(
                f"{type(self).__name__} expects {self.dims} axes and {self.in_channels} channels, "
                f"got {dims} axes and {channels} channels"
            )

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        w = self.window
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={w.kernel_size}"]
        parts.append(f"stride={w.stride}, padding={w.padding}, dilation={w.dilation}")
        parts += [f"periodic={w.periodic}"] if any(w.periodic) else []
        parts += ["bias=False"] if self.bias is None else []
        return ", ".join(parts)


class SparseInverseConv1d(SparseInverseConvNd):
    """Transposed sparse convolution along one axis."""

    dims = 1


class SparseInverseConv2d(SparseInverseConvNd):
    """Transposed sparse convolution over two axes."""

    dims = 2


class SparseInverseConv3d(SparseInverseConvNd):
    """Transposed sparse convolution over three axes."""

    dims = 3
