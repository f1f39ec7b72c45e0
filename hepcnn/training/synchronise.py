"""Batch normalisation over the jets of all processes.

Torch's own ``SyncBatchNorm`` works on GPUs only, and would replace modules. Here a call of ``batch_norm`` in training
is computed with the statistics of the whole batch, whoever calls it: torch's modules, timm's, or the sparse ones.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from hepcnn.sparse.norm import SparseBatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """A sum to which every process adds, and whose gradient therefore is the sum of all processes' gradients."""

    @staticmethod
    def forward(_: Any, value: Tensor) -> Tensor:
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        torch.distributed.all_reduce(total)
        return total


def batch_norm_of_all(
    values: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.batch_norm`` with the mean and variance of all processes' values (n, C, ...).

    Fewer than two values of a channel have no variance: they are normalised by the running statistics, which stay.
    """
    if not training:
        return functional.batch_norm(values, running_mean, running_var, weight, bias, False, momentum, eps)
    # Half precision is too coarse for sums.
    exact = values if values.dtype == torch.float64 else values.float()
    others, shape = [axis for axis in range(values.ndim) if axis != 1], (1, -1, *(1,) * (values.ndim - 2))
    here = values.numel() // values.shape[1]
    sums = torch.cat([exact.sum(others), exact.new_tensor([here])])
    total: Tensor = _SumOverProcesses.apply(sums)
    count = total[-1].detach()
    # Who has two values knows that there are enough, without waiting for the device.
    if here < 2 and count < 2:
        return functional.batch_norm(values, running_mean, running_var, weight, bias, False, momentum, eps)
    mean = total[:-1] / count
    # The mean first, then the squares about it: nothing is lost where the mean is large.
    centred = exact - mean.view(shape)
    squares: Tensor = _SumOverProcesses.apply(centred.square().sum(others))
    variance = squares / count
    with torch.no_grad():
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((squares / (count - 1)).to(running_var.dtype), momentum)
    normalised = centred * torch.rsqrt(variance + eps).view(shape)
    if weight is not None:
        normalised = normalised * weight.view(shape)
    if bias is not None:
        normalised = normalised + bias.view(shape)
    return normalised.to(values.dtype)


class _Synchronised(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is functional.batch_norm:
            # Without this mode, or the function would call itself.
            return batch_norm_of_all(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def synchronised_batch_norm(network: nn.Module, *, world: int) -> Iterator[None]:
    """Normalise over all processes within the block; every one of them must run the same layers."""
    if world == 1:
        yield
        return
    sparse = [module for module in network.modules() if isinstance(module, SparseBatchNorm)]
    for module in sparse:
        # How many sites there are is judged over all processes, not by each for itself.
        module._rows = super(SparseBatchNorm, module).forward  # type: ignore[method-assign, assignment]
    try:
        with _Synchronised():
            yield
    finally:
        for module in sparse:
            del module._rows
