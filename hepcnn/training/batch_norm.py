"""Batch normalisation on the CPU whose sums are right.

Where channels come last in memory, torch's own CPU code (2.15) adds the values of a channel one by one in single
precision. Of 400 000 values, those of 256 maps of 40 × 40, some 1 % is lost so, of the mean, the variance and the
gradients alike. Here the same code is given the values folded: many short columns in the place of a few long ones, and
their sums are joined in double precision.

Shapes: n values of each of C channels, r rows of a fold that is k * C wide.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

ROWS = 256
"""The longest sum that is left to single precision."""


def needs_folding(values: Tensor) -> bool:
    """Whether torch would lose precision on these values (n, C, ...): on a CPU, with channels last in memory."""
    if values.device.type != "cpu" or values.dtype not in (torch.float32, torch.bfloat16):
        return False
    is_last = values.movedim(1, -1).is_contiguous()
    return is_last and values.numel() // values.shape[1] > ROWS


def folded_batch_norm(
    values: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.batch_norm``, as precise where channels come last in memory as it is elsewhere.

    Other values, and all of them in evaluation, go to torch as they are.
    """
    if not training or not needs_folding(values):
        return functional.batch_norm(values, running_mean, running_var, weight, bias, training, momentum, eps)
    n, channels = values.numel() // values.shape[1], values.shape[1]
    scale = torch.ones(channels) if weight is None else weight
    offset = torch.zeros(channels) if bias is None else bias
    normalised, mean, variance = _FoldedBatchNorm.apply(values, scale, offset, eps)
    with torch.no_grad():
        if running_mean is not None and running_var is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((variance * (n / (n - 1))).to(running_var.dtype), momentum)
    result: Tensor = normalised
    return result


class _FoldedBatchNorm(torch.autograd.Function):
    """From values (N, C, ...) to normalised ones, and their mean and variance (C,) in double precision.

    Both are the same layout in memory, and no views: layers that act in place would copy those.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _measure(_list_rows(values))
        ctx.save_for_backward(values, weight, mean, variance)
        ctx.eps = eps
        ctx.mark_non_differentiable(mean, variance)
        done = functional.batch_norm(values, mean.float(), variance.float(), weight, bias, False, 0.0, eps)
        return done, mean, variance

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        values, weight, mean, variance = ctx.saved_tensors
        rows, rows_gradient = _list_rows(values), _list_rows(gradients[0])
        by_weight, by_bias = _measure_gradient(rows_gradient, rows, mean, variance, ctx.eps)
        inverse = torch.rsqrt(variance + ctx.eps)
        # The gradient is a straight line in each value: two passes over memory.
        per_value = weight.double() * inverse / len(rows)
        slope = -per_value * inverse * by_weight
        start = -per_value * by_bias - slope * mean
        ones = torch.ones_like(mean).float()
        line = functional.batch_norm(values, 0 * ones, ones, slope.float(), start.float(), False, 0.0, 0.0)
        _list_rows(line).addcmul_(rows_gradient, (weight.double() * inverse).to(line.dtype))
        return line, by_weight.to(weight.dtype), by_bias.to(weight.dtype), None


def _list_rows(values: Tensor) -> Tensor:
    """Values (N, C, ...) as (n, C): a view, if channels come last in memory."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def _fold(values: Tensor) -> list[Tensor]:
    """Views (r, k * C) of values (n, C): most of them with `ROWS` rows, and what is left over."""
    n, channels = values.shape
    whole = n // ROWS * ROWS
    head = values[:whole].view(ROWS, whole // ROWS * channels)
    return [head] if whole == n else [head, values[whole:]]


def _repeat(of_channels: Tensor, like: Tensor) -> Tensor:
    return of_channels.float().repeat(like.shape[1] // len(of_channels))


def _measure(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel, (C,) float64."""
    channels, means, spreads, counts = values.shape[1], [], [], []
    for part in _fold(values):
        # Running statistics that nobody looks at make the results single precision for bfloat16 values too.
        zeros, ones = torch.zeros(part.shape[1]), torch.ones(part.shape[1])
        mean, variance = torch.batch_norm_update_stats(part, zeros, ones, 0.0)
        means.append(mean.double().view(-1, channels))
        spreads.append(variance.double().view(-1, channels))
        counts.append(values.new_full((len(means[-1]), 1), len(part), dtype=torch.float64))
    mean_of, spread, count = torch.cat(means), torch.cat(spreads), torch.cat(counts) / len(values)
    mean = (mean_of * count).sum(0)
    return mean, ((spread + (mean_of - mean).square()) * count).sum(0).clamp_min(0)


def _measure_gradient(
    gradient: Tensor, values: Tensor, mean: Tensor, variance: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Gradients by weight and by bias, (C,) float64: sums of the gradient times the normalised values, and alone."""
    sums = torch.zeros(2, len(mean), dtype=torch.float64)
    for part, by in zip(_fold(values), _fold(gradient), strict=True):
        centre, spread = _repeat(mean, part), _repeat(variance, part)
        _, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            by, part, torch.ones_like(centre), centre, spread, None, None, False, eps, [False, True, True]
        )
        sums += torch.stack([by_weight, by_bias]).double().view(2, -1, len(mean)).sum(1)
    return sums[0], sums[1]
