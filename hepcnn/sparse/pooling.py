"""Pooling over windows and over whole images, and the step to a dense tensor."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepcnn.errors import ConfigError, InputError
from hepcnn.sparse.backends.dense import convolve_dense
from hepcnn.sparse.conv import Size, per_axis
from hepcnn.sparse.kernel_map import map_sites
from hepcnn.sparse.table_pool import TableMax, TableSum
from hepcnn.sparse.tensor import Activation, MaskedDense, SparseTensor
from hepcnn.sparse.window import Window

_MAX_POOL = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}


class _WindowPool(nn.Module):
    """What window pools share; an output site exists wherever the window holds an active input.

    Parameters
    ----------
    kernel_size, stride, padding
        As in ``torch.nn.MaxPoolNd``: an integer or one per axis; the stride defaults to the kernel size.
    """

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        super().__init__()
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def window(self, dims: int) -> Window:
        """The geometry over a number of axes."""
        kernel = per_axis(self.kernel_size, dims, "kernel_size", 1)
        padding = per_axis(self.padding, dims, "padding")
        if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
            raise ConfigError(f"padding {padding} is more than half of the pooling window {kernel}")
        return Window(kernel, per_axis(self.stride, dims, "stride", 1), padding, (1,) * dims, (False,) * dims)

    def extra_repr(self) -> str:
        """Shown by ``print``."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class SparseMaxPool(_WindowPool):
    """Maximum over the active sites in each window: inactive ones do not count as zero."""

    def forward(self, x: Activation) -> Activation:
        """Pool."""
        if isinstance(x, MaskedDense):
            window = self.window(x.values.ndim - 2)
            pool: Callable[..., Tensor] = _MAX_POOL[x.values.ndim - 2]
            shape = (window.kernel_size, window.stride, window.padding)
            mask = pool(x.mask, *shape)
            lowest = torch.finfo(x.values.dtype).min
            values = pool(torch.where(x.mask > 0, x.values, lowest), *shape)
            return MaskedDense(torch.where(mask > 0, values, 0.0), mask)
        kernel_map, outputs = map_sites(x.sites, self.window(len(x.spatial_shape)))
        highest = TableMax.apply(x.features, kernel_map.table, kernel_map.back())
        return SparseTensor.on_sites(outputs, outputs.clear_padding(highest))


class SparseAvgPool(_WindowPool):
    """Mean over the active sites in each window: inactive ones do not count. ``periodic`` closes axes into circles."""

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        *,
        periodic: bool | Sequence[bool] = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.periodic = periodic

    def window(self, dims: int) -> Window:
        """The geometry over a number of axes."""
        return replace(super().window(dims), periodic=per_axis(self.periodic, dims, "periodic"))

    def forward(self, x: Activation) -> Activation:
        """Pool."""
        if isinstance(x, MaskedDense):
            window = self.window(x.values.ndim - 2)
            channels = x.values.shape[1]
            ones = x.mask.new_ones(1, 1, *window.kernel_size)
            count = convolve_dense(x.mask, ones, None, window)
            total = convolve_dense(x.values.flatten(0, 1).unsqueeze(1), ones, None, window)
            total = total.view(-1, channels, *total.shape[2:])
            return MaskedDense(total / count.clamp(min=1), (count > 0).to(x.values.dtype))
        kernel_map, outputs = map_sites(x.sites, self.window(len(x.spatial_shape)))
        # Every output meets an input; padding alone meets none.
        count = (kernel_map.table >= 0).sum(0).clamp(min=1).unsqueeze(1)
        total = TableSum.apply(x.features, kernel_map.table, kernel_map.back())
        return SparseTensor.on_sites(outputs, total / count.to(x.dtype))


class _GlobalPool(nn.Module):
    """Pool each image to one row: (N, C) or (B, C, S) to (B, C). An image without active sites gives zeros."""

    def _reduce(self, x: SparseTensor, how: str) -> Tensor:
        order, lengths = x.sites.segments()
        features = x.features if order is None else x.features.index_select(0, order)
        if features.shape[0] == 0:
            return features.new_zeros(x.batch_size, features.shape[1])
        # Each segment is reduced by one thread in one order, unlike index_add over repeated rows.
        return torch.segment_reduce(features.contiguous(), how, lengths=lengths, axis=0, unsafe=True)


class GlobalSumPool(_GlobalPool):
    """Sum over the active sites of each image."""

    def forward(self, x: Activation) -> Tensor:
        """Pool."""
        if isinstance(x, SparseTensor):
            return self._reduce(x, "sum")
        return x.values.flatten(2).sum(dim=2)


class GlobalAvgPool(_GlobalPool):
    """Mean over the active sites of each image."""

    def forward(self, x: Activation) -> Tensor:
        """Pool."""
        if isinstance(x, SparseTensor):
            count = x.sites.segments()[1].clamp(min=1).unsqueeze(1)
            return self._reduce(x, "sum") / count
        return x.values.flatten(2).sum(dim=2) / x.mask.flatten(2).sum(dim=2).clamp(min=1)


class GlobalMaxPool(_GlobalPool):
    """Maximum over the active sites of each image."""

    def forward(self, x: Activation) -> Tensor:
        """Pool."""
        if isinstance(x, SparseTensor):
            present = x.sites.segments()[1].unsqueeze(1) > 0
            return torch.where(present, self._reduce(x, "max"), 0.0)
        lowest = torch.finfo(x.values.dtype).min
        highest = torch.where(x.mask > 0, x.values, lowest).flatten(2).amax(dim=2)
        return torch.where(x.mask.flatten(2).amax(dim=2) > 0, highest, 0.0)


class ToDense(nn.Module):
    """Leave the sparse world: (B, C, S) with zeros on inactive sites, ready for ordinary layers."""

    def forward(self, x: Activation) -> Tensor:
        """Convert."""
        if isinstance(x, MaskedDense):
            return x.values
        if isinstance(x, SparseTensor):
            return x.to_dense()
        raise InputError(f"expected a SparseTensor or MaskedDense, got {type(x).__name__}")
