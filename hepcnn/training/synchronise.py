"""Layers that see one batch, whatever number of processes shares it: batch normalisation and dropout.

Torch's own ``SyncBatchNorm`` works on GPUs only, and would replace modules. Here a call of ``batch_norm`` in training
is computed with the statistics of the whole batch, whoever calls it: torch's modules, timm's, or the sparse ones. And
what dropout draws, of units or of whole blocks, is drawn for the whole batch by every process, which takes the rows of
its jets.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from hepcnn.data.batches import Rows
from hepcnn.models.base import LAST
from hepcnn.sparse.norm import SparseBatchNorm
from hepcnn.training.batch_norm import folded_batch_norm, measure, normalise_by


def add_over_processes(own: Tensor) -> Tensor:
    """The sum of all processes' tensors, in the place of this one's."""
    torch.distributed.all_reduce(own)
    return own


def gather_of_processes(own: Tensor) -> Tensor:
    """The tensors (k,) of all processes, (processes, k)."""
    parts = [torch.empty_like(own) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, own)
    return torch.stack(parts)


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
    here = values.numel() // values.shape[1]
    measured = measure(values).joined(gather_of_processes)
    # Who has two values knows that there are enough, without waiting for the device.
    if here < 2 and measured.count < 2:
        return functional.batch_norm(values, running_mean, running_var, weight, bias, False, momentum, eps)
    numbers = running_mean, running_var, weight, bias
    return normalise_by(values, measured, *numbers, momentum=momentum, eps=eps, add_up=add_over_processes)


def draw_for_all(like: Tensor, rows: Rows, draw: Callable[[Tensor], Tensor]) -> Tensor:
    """Draw numbers for the jets of all processes, and take those of this process's.

    Parameters
    ----------
    like
        (b, ...), of this process's jets. Where the rows are not jets, but the pixels of sparse images, say, the numbers
        are drawn for them alone: it is not known how many the other processes have.
    rows
        Which jets these are.
    draw
        Gets a tensor of ones, (B, ...), laid out in memory as ``like`` is, and fills or replaces it.
    """
    is_jets = like.shape[0] == rows.here
    shape = (rows.total if is_jets else like.shape[0], *like.shape[1:])
    drawn = draw(torch.empty_like(like.new_empty(1).expand(shape), memory_format=_layout_of(like)).fill_(1))
    return rows.of(drawn) if is_jets else drawn


def _layout_of(values: Tensor) -> torch.memory_format:
    last = LAST.get(values.ndim - 2, torch.contiguous_format)
    is_last = values.is_contiguous(memory_format=last) and not values.is_contiguous()
    return last if is_last else torch.contiguous_format


class _OneBatch(TorchFunctionMode):
    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.rows = rows

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
        if func is functional.dropout:
            return self._drop(*args, **(kwargs or {}))
        if func is Tensor.bernoulli_:
            values, *rest = args
            return values.copy_(draw_for_all(values, self.rows, lambda ones: ones.bernoulli_(*rest, **(kwargs or {}))))
        return func(*args, **(kwargs or {}))

    def _drop(self, values: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return values
        factor = draw_for_all(values.detach(), self.rows, lambda ones: functional.dropout(ones, p))
        return values.mul_(factor) if inplace else values * factor


class _Folded(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is functional.batch_norm:
            func = folded_batch_norm
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def one_batch(network: nn.Module, *, rows: Rows, world: int, fold: bool = False) -> Iterator[None]:
    """Normalise, and draw what is dropped, over the jets of all processes; every one must run the same layers.

    ``fold`` lets a process that is alone normalise by `folded_batch_norm`: on a CPU, where nothing is compiled.
    """
    if world == 1:
        with _Folded() if fold else contextlib.nullcontext():
            yield
        return
    sparse = [module for module in network.modules() if isinstance(module, SparseBatchNorm)]
    for module in sparse:
        # How many sites there are is judged over all processes, not by each for itself.
        module._rows = super(SparseBatchNorm, module).forward  # type: ignore[method-assign, assignment]
    try:
        with _OneBatch(rows):
            yield
    finally:
        for module in sparse:
            del module._rows
