"""Sums and maxima over the windows of a kernel map, read off its table: every output is made by one thread.

Shapes: N input rows, M output rows, C channels, K offsets; tables as `hepcnn.sparse.kernel_map.KernelMap` has them.
"""

from typing import Any

import torch
from torch import Tensor


class TableSum(torch.autograd.Function):
    """(N, C) to (M, C): for each output the sum of the rows that its column of the table names, offset by offset."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, table: Tensor, back: Tensor) -> Tensor:
        """Sum; ``table`` is (K, M) and ``back`` (K, N)."""
        ctx.save_for_backward(back)
        out: Tensor = sum_by_table(features, table)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Sum the other way."""
        (back,) = ctx.saved_tensors
        return sum_by_table(grad, back), None, None


class TableMax(torch.autograd.Function):
    """The first maximum in kernel order takes the whole gradient, as in torch's max pooling."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, table: Tensor, back: Tensor) -> Tensor:
        """(N, C) to (M, C); ``table`` is (K, M) and ``back`` (K, N)."""
        out: Tensor
        out, winner = max_by_table(features, table)
        ctx.save_for_backward(winner, back)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Give each gradient to the winner."""
        winner, back = ctx.saved_tensors
        return give_to_winners(grad, winner, back), None, None


@torch.library.custom_op("hepcnn::sum_by_table", mutates_args=())
def sum_by_table(features: Tensor, table: Tensor) -> Tensor:
    """(N, C) features and a (K, M) table to (M, C)."""
    out = features.new_zeros(table.shape[1], features.shape[1])
    for rows in table:
        out += _take(features, rows)
    return out


@sum_by_table.register_fake
def _(features: Tensor, table: Tensor) -> Tensor:
    return features.new_empty(table.shape[1], features.shape[1])


@torch.library.custom_op("hepcnn::max_by_table", mutates_args=())
def max_by_table(features: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    """The (M, C) maxima over (N, C) features, and the int32 rows that they come from; NaN wins."""
    shape = (table.shape[1], features.shape[1])
    out = features.new_full(shape, -torch.inf)
    winner = torch.full(shape, -1, dtype=torch.int32, device=features.device)
    for rows in table:
        offered = _take(features, rows)
        better = (offered > out) | offered.isnan() | (winner < 0)
        better &= (rows >= 0).unsqueeze(1)
        out = torch.where(better, offered, out)
        winner = torch.where(better, rows.unsqueeze(1), winner)
    return out, winner


@max_by_table.register_fake
def _(features: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    out = features.new_empty(table.shape[1], features.shape[1])
    return out, torch.empty_like(out, dtype=torch.int32)


@torch.library.custom_op("hepcnn::give_to_winners", mutates_args=())
def give_to_winners(grad: Tensor, winner: Tensor, back: Tensor) -> Tensor:
    """(N, C): the sum of the (M, C) gradients that each input won, in the order of offsets; ``back`` is (K, N)."""
    out = grad.new_zeros(back.shape[1], grad.shape[1])
    here = torch.arange(back.shape[1], dtype=torch.int32, device=grad.device).unsqueeze(1)
    for rows in back:
        out += torch.where(_take(winner, rows, -1) == here, _take(grad, rows), 0.0)
    return out


@give_to_winners.register_fake
def _(grad: Tensor, winner: Tensor, back: Tensor) -> Tensor:
    del winner
    return grad.new_empty(back.shape[1], grad.shape[1])


def _take(matrix: Tensor, rows: Tensor, otherwise: float = 0.0) -> Tensor:
    """The named rows of a matrix, and ``otherwise`` where the row is -1."""
    if matrix.shape[0] == 0:
        return matrix.new_full((rows.shape[0], matrix.shape[1]), otherwise)
    return torch.where((rows >= 0).unsqueeze(1), matrix.index_select(0, rows.clamp(min=0)), otherwise)
