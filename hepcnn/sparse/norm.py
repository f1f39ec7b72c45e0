"""Layers that act on each active site alone: norms and activations."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepcnn.errors import InputError
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
            return x.replace(super().forward(x.features))
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
            return x.replace(self.function(x.features))
        values = self.function(x.values)
        return MaskedDense(values if self._keeps_zero else values * x.mask, x.mask)
