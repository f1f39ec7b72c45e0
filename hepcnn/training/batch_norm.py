"""Batch normalisation whose sums are right, over the values of one process or of several.

Where channels come last in memory, torch's own CPU code (2.15) adds the values of a channel one by one in single
precision. Of 400 000 values, those of 256 maps of 40 × 40, some 1 % is lost so, of the mean, the variance and the
gradients alike. Here the same code is given the values folded: many short columns in the place of a few long ones, and
their sums are joined in double precision.

Shapes: n values of each of C channels, r rows of a fold that is k * C wide.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

ROWS = 256
"""The longest sum that is left to single precision."""
AddUp = Callable[[Tensor], Tensor]
"""Adds a tensor to those of the other processes."""
Gather = Callable[[Tensor], Tensor]
"""Puts the tensors (k,) of all processes one below the other: (processes, k)."""


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
    return normalise_by(values, measure(values), running_mean, running_var, weight, bias, momentum=momentum, eps=eps)


class Measured:
    """Moments of each channel, in double precision: how many values it has (1,), their mean and variance (C,).

    The variance is that of a whole population; a channel without values has 0.
    """

    def __init__(self, count: Tensor, mean: Tensor, variance: Tensor) -> None:
        self.count, self.mean, self.variance = count, mean, variance

    def joined(self, gather: Gather) -> "Measured":
        """Those of all processes' values."""
        parts = gather(torch.cat([self.count, self.mean, self.variance]))
        counts, (means, variances) = parts[:, :1], parts[:, 1:].chunk(2, dim=1)
        count = counts.sum(0)
        shares = counts / count.clamp_min(1)
        mean = (shares * means).sum(0)
        # About the mean of all: squares about zero would lose what the means were rounded by, times the mean.
        return Measured(count, mean, (shares * (variances + (means - mean).square())).sum(0))


def measure(values: Tensor) -> Measured:
    """Measure values (N, C, ...), which may be none."""
    with torch.no_grad():
        count = torch.full((1,), values.numel() // values.shape[1], dtype=torch.float64, device=values.device)
        if needs_folding(values):
            return Measured(count, *_measure_folded(_list_rows(values)))
        if not values.numel():
            nothing = count.new_zeros(values.shape[1])
            return Measured(count, nothing, nothing)
        variance, mean = torch.var_mean(_widen(values), _all_but_channels(values), correction=0)
        return Measured(count, mean.double(), variance.double())


def normalise_by(
    values: Tensor,
    measured: Measured,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    momentum: float,
    eps: float,
    add_up: AddUp = lambda own: own,
) -> Tensor:
    """Normalise values by moments that are theirs, or those of all processes.

    Parameters
    ----------
    values
        (N, C, ...).
    measured
        Their moments, of at least two values.
    running_mean, running_var, weight, bias, momentum, eps
        As of ``torch.nn.functional.batch_norm``.
    add_up
        Adds over the processes whose values were measured; called once in the backward pass. Gradients by ``weight``
        and ``bias`` are those of this process's values alone.
    """
    scale = values.new_ones(values.shape[1], dtype=_of_layer(values)) if weight is None else weight
    offset = values.new_zeros(values.shape[1], dtype=_of_layer(values)) if bias is None else bias
    result: Tensor = _Normalise.apply(values, scale, offset, measured, eps, add_up)
    with torch.no_grad():
        if running_mean is not None and running_var is not None:
            count = measured.count
            running_mean.lerp_(measured.mean.to(running_mean.dtype), momentum)
            running_var.lerp_((measured.variance * (count / (count - 1))).to(running_var.dtype), momentum)
    return result


class _Normalise(torch.autograd.Function):
    """The result has the values' layout in memory, and is no view: layers that act in place would copy that."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor, bias: Tensor, measured: Measured, eps: float, add_up: AddUp
    ) -> Tensor:
        ctx.save_for_backward(values, weight, measured.count, measured.mean, measured.variance)
        ctx.eps, ctx.add_up = eps, add_up
        mean, variance = (moment.to(_of_layer(values)) for moment in (measured.mean, measured.variance))
        return functional.batch_norm(values, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, count, mean, variance = ctx.saved_tensors
        own = _measure_gradient(gradients[0], values, mean, variance, ctx.eps)
        by_weight, by_bias = ctx.add_up(own.clone())
        inverse = torch.rsqrt(variance + ctx.eps)
        # The gradient is a straight line in each value: two passes over memory.
        per_value = weight.double() * inverse / count
        slope = -per_value * inverse * by_weight
        start = -per_value * by_bias - slope * mean
        zeros, of_layer = torch.zeros_like(mean, dtype=_of_layer(values)), _of_layer(values)
        line = functional.batch_norm(values, zeros, zeros + 1, slope.to(of_layer), start.to(of_layer), False, 0.0, 0.0)
        shape = (1, -1, *(1,) * (values.ndim - 2))
        line.addcmul_(gradients[0], (weight.double() * inverse).to(line.dtype).view(shape))
        return line, own[0].to(weight.dtype), own[1].to(weight.dtype), None, None, None


def _of_layer(values: Tensor) -> torch.dtype:
    """The precision of a layer's own numbers: double for double values, else single."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def _widen(values: Tensor) -> Tensor:
    # Half precision is too coarse for sums.
    return values.to(_of_layer(values))


def _all_but_channels(values: Tensor) -> list[int]:
    return [axis for axis in range(values.ndim) if axis != 1]


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


def _measure_folded(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of values (n, C), (C,) float64."""
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


def _measure_gradient(gradient: Tensor, values: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """Sums by weight and by bias, (2, C) float64: of the gradient times the normalised values, and of it alone."""
    if needs_folding(values):
        return _measure_gradient_folded(_list_rows(gradient), _list_rows(values), mean, variance, eps)
    others, wide = _all_but_channels(values), _widen(gradient)
    shape = (1, -1, *(1,) * (values.ndim - 2))
    centred = _widen(values) - mean.to(wide.dtype).view(shape)
    sums = torch.stack([(wide * centred).sum(others), wide.sum(others)]).double()
    sums[0] *= torch.rsqrt(variance + eps)
    return sums


def _measure_gradient_folded(gradient: Tensor, values: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
    """The same of rows (n, C)."""
    sums = torch.zeros(2, len(mean), dtype=torch.float64)
    for part, by in zip(_fold(values), _fold(gradient), strict=True):
        centre, spread = _repeat(mean, part), _repeat(variance, part)
        _, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            by, part, torch.ones_like(centre), centre, spread, None, None, False, eps, [False, True, True]
        )
        sums += torch.stack([by_weight, by_bias]).double().view(2, -1, len(mean)).sum(1)
    return sums
