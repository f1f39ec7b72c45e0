"""Layers that act on each active site alone: norms and activations."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepcnn.errors import InputError
from hepcnn.sparse.sites import Sites
from hepcnn.sparse.tensor import Activation, MaskedDense, SparseTensor


class SparseBatchNorm(nn.BatchNorm1d):
    """Batch norm over active sites only; ``state_dict`` exchanges with ``torch.nn.BatchNorm2d`` and its kin.

    Fewer than two active sites have no variance: such a batch is normalised by the running statistics and does not
    change them.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim != 2 or input.shape[1] != self.num_features:
            raise InputError(f"batch norm of {self.num_features} channels got features of {tuple(input.shape)}")

    def forward(self, x: Activation) -> Activation:  # type: ignore[override]
        """Normalise each channel over the active sites of the batch."""
        if isinstance(x, SparseTensor):
            if x.sites.padded:
                return x.replace(self._padded_rows(x.features, x.sites))
            return x.replace(self._rows(x.features))
        if self.training:
            active = x.mask[:, 0] != 0
            rows = self._rows(x.values.movedim(1, -1)[active])
            values = torch.zeros_like(x.values.movedim(1, -1)).masked_scatter(active.unsqueeze(-1), rows)
            return MaskedDense(values.movedim(-1, 1), x.mask)
        values = functional.batch_norm(
            x.values, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )
        return MaskedDense(values * x.mask, x.mask)

    def _rows(self, rows: Tensor) -> Tensor:
        if rows.shape[0] >= 2 or not self.training:
            return super().forward(rows)
        self._check_input_dim(rows)
        return functional.batch_norm(
            rows, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )

    def _padded_rows(self, rows: Tensor, sites: Sites) -> Tensor:
        """What `_rows` computes, over the rows that are sites, without asking the device how many there are."""
        self._check_input_dim(rows)
        values = rows.to(torch.promote_types(rows.dtype, torch.float32))
        mean, variance = self.running_mean, self.running_var
        if self.training or mean is None or variance is None:
            mean, variance = self._measure(values, sites)
        scaled = (values - mean) * torch.rsqrt(variance + self.eps)
        if self.affine:
            scaled = scaled * self.weight + self.bias
        return sites.clear_padding(scaled.to(rows.dtype))

    def _measure(self, values: Tensor, sites: Sites) -> tuple[Tensor, Tensor]:
        """Mean and variance over the sites; those that run, and no change of them, where there are fewer than two."""
        count = sites.real().sum().to(values.dtype)
        mean = values.sum(0) / count.clamp(min=1)
        variance = sites.clear_padding((values - mean).square()).sum(0) / count.clamp(min=1)
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return mean, variance
        known = count >= 2
        with torch.no_grad():
            self.num_batches_tracked.add_(known)
            batches = self.num_batches_tracked.clamp(min=1).to(values.dtype)
            momentum = 1 / batches if self.momentum is None else self.momentum
            unbiased = variance * (count / (count - 1).clamp(min=1))
            for running, measured in ((self.running_mean, mean), (self.running_var, unbiased)):
                running.copy_(torch.where(known, running + momentum * (measured.to(running.dtype) - running), running))
        return torch.where(known, mean, self.running_mean), torch.where(known, variance, self.running_var)


class SparseLayerNorm(nn.LayerNorm):
    """Layer norm over the channels of each active site; ``state_dict`` exchanges with ``torch.nn.LayerNorm``.

    Parameters
    ----------
    channels
        C; the other parameters are those of ``torch.nn.LayerNorm``.
    """

    def __init__(self, channels: int, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True) -> None:
        super().__init__(channels, eps, elementwise_affine, bias)

    def forward(self, x: Activation) -> Activation:  # type: ignore[override]
        """Normalise the channels of every active site."""
        channels = x.features.shape[1] if isinstance(x, SparseTensor) else x.values.shape[1]
        if (channels,) != self.normalized_shape:
            raise InputError(f"layer norm of {self.normalized_shape[0]} channels got {channels}")
        if isinstance(x, SparseTensor):
            return x.replace(x.sites.clear_padding(super().forward(x.features)))
        return MaskedDense(super().forward(x.values.movedim(1, -1)).movedim(-1, 1) * x.mask, x.mask)


class SparseActivation(nn.Module):
    """Apply an element-wise module, such as ``torch.nn.ReLU()``, on active sites."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.function = function
        with torch.no_grad():
            self._keeps_zero = bool((function(torch.zeros(1)) == 0).all())

    def forward(self, x: Activation) -> Activation:
        """Apply the function to the features of every active site."""
        if isinstance(x, SparseTensor):
            values = self.function(x.features)
            return x.replace(values if self._keeps_zero else x.sites.clear_padding(values))
        values = self.function(x.values)
        return MaskedDense(values if self._keeps_zero else values * x.mask, x.mask)
