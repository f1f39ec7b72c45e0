"""Sparse convolutions with torch's signatures; their ``state_dict`` exchanges with ``torch.nn.ConvNd``.

A submanifold convolution computes on the input's own sites [1]_. A strided one has an output site wherever its window
holds an active input. Inactive sites count as zero, as in a dense convolution followed by a mask, and the bias is added
on active sites only. Every module takes a `SparseTensor` or a `MaskedDense` and returns the same kind.

.. [1] B. Graham, L. van der Maaten, "Submanifold Sparse Convolutional Networks", arXiv:1706.01307.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from hepcnn.errors import ConfigError, InputError
from hepcnn.sparse.backends.dense import convolve_dense
from hepcnn.sparse.backends.registry import check_backend, get_backend
from hepcnn.sparse.kernel_map import map_sites
from hepcnn.sparse.tensor import Activation, MaskedDense, SparseTensor
from hepcnn.sparse.window import Window

Size = int | Sequence[int]
Item = TypeVar("Item", int, bool)


def per_axis(value: Item | Sequence[Item], dims: int, name: str, least: int = 0) -> tuple[Item, ...]:
    """Spread one number over all axes, and check its range."""
    values = (value,) * dims if isinstance(value, int) else tuple(value)
    if len(values) != dims or any(not isinstance(v, int) or v < least for v in values):
        raise ConfigError(f"{name} must be an integer of at least {least}, or {dims} of them, got {value!r}")
    return values


def make_window(
    dims: int, kernel_size: Size, stride: Size, padding: Size, dilation: Size, periodic: bool | Sequence[bool]
) -> Window:
    """Spread the arguments of a strided convolution over all axes, and check them."""
    return Window(
        per_axis(kernel_size, dims, "kernel_size", 1),
        per_axis(stride, dims, "stride", 1),
        per_axis(padding, dims, "padding"),
        per_axis(dilation, dims, "dilation", 1),
        per_axis(periodic, dims, "periodic"),
    )


def follow_autocast(features: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Cast as autocast would, which cannot see into a backend's own autograd functions; else dtypes have to agree."""
    kind = features.device.type
    if torch.is_autocast_enabled(kind) and features.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(kind)
        return features.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if features.dtype != weight.dtype:
        raise InputError(f"features are {features.dtype} and the weights {weight.dtype}: cast one of them")
    return features, weight, bias


class SparseConvNd(nn.Module):
    """What all sparse convolutions share.

    Parameters
    ----------
    in_channels, out_channels
        C of the input and of the output.
    window
        The geometry.
    bias
        Whether to add a learnt bias.
    backend
        The name of the backend; None leaves the choice to `use_backend`.
    """

    dims: int

    def __init__(self, in_channels: int, out_channels: int, window: Window, bias: bool, backend: str | None) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1:
            raise ConfigError(f"channels must be positive, got {in_channels} and {out_channels}")
        if backend is not None:
            check_backend(backend)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.window, self.backend = window, backend
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *window.kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights as ``torch.nn.ConvNd`` does."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Activation) -> Activation:
        """Convolve.

        Parameters
        ----------
        x
            Features (N, C) or masked values (B, C, S); N = 0 and B = 0 are allowed.

        Raises
        ------
        InputError
            When the kind, number of axes, channels or dtype of the input do not fit.
        ConfigError
            When the window does not fit the grid, or the backend cannot serve the device.
        """
        if isinstance(x, MaskedDense):
            self._check(x.values.ndim - 2, x.values.shape[1])
            return self._forward_dense(x)
        if not isinstance(x, SparseTensor):
            raise InputError(f"expected a SparseTensor or MaskedDense, got {type(x).__name__}")
        self._check(len(x.spatial_shape), x.features.shape[1])
        kernel_map, outputs = map_sites(x.sites, self.window)
        features = get_backend(self.backend, x.device).convolve(
            *follow_autocast(x.features, self.weight, self.bias), kernel_map
        )
        return SparseTensor.on_sites(outputs, features if self.bias is None else outputs.clear_padding(features))

    def _forward_dense(self, x: MaskedDense) -> MaskedDense:
        values = convolve_dense(x.values, self.weight, self.bias, self.window)
        mask = x.mask
        if not self.window.submanifold:
            # A window that holds an active site sums to at least one; small integers are exact in every float type.
            mask = convolve_dense(x.mask, x.mask.new_ones(1, 1, *self.window.kernel_size), None, self.window)
            mask = (mask > 0).to(values.dtype)
        return MaskedDense(values * mask, mask)

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
        if not w.submanifold:
            parts.append(f"stride={w.stride}, padding={w.padding}")
        parts += [f"dilation={w.dilation}"] if max(w.dilation) > 1 else []
        parts += [f"periodic={w.periodic}"] if any(w.periodic) else []
        parts += ["bias=False"] if self.bias is None else []
        return ", ".join(parts)


class _SubmanifoldConv(SparseConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        dilation: Size = 1,
        bias: bool = True,
        *,
        periodic: bool | Sequence[bool] = False,
        backend: str | None = None,
    ) -> None:
        kernel = per_axis(kernel_size, self.dims, "kernel_size", 1)
        if any(k % 2 == 0 for k in kernel):
            raise ConfigError(f"a submanifold kernel needs a centre: kernel_size must be odd, got {kernel_size!r}")
        spread = per_axis(dilation, self.dims, "dilation", 1)
        window = Window(
            kernel,
            (1,) * self.dims,
            tuple(d * (k // 2) for k, d in zip(kernel, spread, strict=True)),
            spread,
            per_axis(periodic, self.dims, "periodic"),
            submanifold=True,
        )
        super().__init__(in_channels, out_channels, window, bias, backend)


class _SparseConv(SparseConvNd):
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
        window = make_window(self.dims, kernel_size, stride, padding, dilation, periodic)
        super().__init__(in_channels, out_channels, window, bias, backend)


class SubmanifoldConv1d(_SubmanifoldConv):
    """Submanifold convolution along one axis."""

    dims = 1


class SubmanifoldConv2d(_SubmanifoldConv):
    """Submanifold convolution over two axes."""

    dims = 2


class SubmanifoldConv3d(_SubmanifoldConv):
    """Submanifold convolution over three axes."""

    dims = 3


class SparseConv1d(_SparseConv):
    """Strided sparse convolution along one axis."""

    dims = 1


class SparseConv2d(_SparseConv):
    """Strided sparse convolution over two axes."""

    dims = 2


class SparseConv3d(_SparseConv):
    """Strided sparse convolution over three axes."""

    dims = 3
