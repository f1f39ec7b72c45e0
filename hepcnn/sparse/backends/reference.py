"""The backend ``torch``: gather, one matrix product per kernel offset, add into distinct rows. Runs everywhere.

Equal results to the bit for any number of threads need two things. Sums over pairs go offset by offset, so that no row
is written from two places. And matrix products go in batches of small blocks: a matrix library may split one product
between threads, along any axis, and then rounds differently, but it gives whole blocks to threads when there are more
blocks than threads.

Shapes: N input rows, M output rows, I and O channels, K offsets, (blocks, rows) how a matrix is cut.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hepcnn.sparse.backends.registry import register_backend
from hepcnn.sparse.kernel_map import KernelMap

MOST_BLOCK_ROWS = 64
LEAST_BLOCKS = 16


class TorchBackend:
    """The reference implementation: deterministic, on CPU and CUDA, in any floating-point type."""

    name = "torch"

    def supports(self, device: torch.device) -> bool:
        """It serves every device."""
        del device
        return True

    def convolve(self, features: Tensor, weight: Tensor, bias: Tensor | None, kernel_map: KernelMap) -> Tensor:
        """See `hepcnn.sparse.backends.registry.Backend`."""
        out: Tensor = _PairConvolution.apply(features, weight.flatten(2).permute(2, 1, 0), bias, kernel_map)
        return out


class _PairConvolution(torch.autograd.Function):
    """Sum over pairs. Shapes: features (N, I), weight (K, I, O), bias (O,), result (M, O)."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, kernel_map: KernelMap) -> Tensor:
        features, weight = features.contiguous(), weight.contiguous()
        ctx.save_for_backward(features, weight)
        ctx.kernel_map = kernel_map
        out = features.new_empty(kernel_map.outputs.shape[0], weight.shape[2])
        _sum_products(out, features, weight, kernel_map, kernel_map.in_rows, kernel_map.out_rows)
        return out if bias is None else out.add_(bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        kernel_map: KernelMap = ctx.kernel_map
        grad = grad.contiguous()
        d_features = d_weight = None
        if ctx.needs_input_grad[0]:
            d_features = torch.empty_like(features)
            back = weight.transpose(1, 2)
            _sum_products(d_features, grad, back, kernel_map, kernel_map.out_rows, kernel_map.in_rows)
        if ctx.needs_input_grad[1]:
            d_weight = _weight_gradient(features, grad, weight, kernel_map)
        d_bias = _blocks(grad).sum(dim=1).sum(dim=0) if ctx.needs_input_grad[2] else None
        return d_features, d_weight, d_bias, None


def _sum_products(
    out: Tensor, features: Tensor, weight: Tensor, kernel_map: KernelMap, take: Tensor, put: Tensor
) -> None:
    """Set ``out`` to the sum over offsets k of ``features[take] @ weight[k]``, put into rows ``put``."""
    centre = kernel_map.centre
    if centre is None:
        out.zero_()
    else:
        for start, end in _whole_and_rest(features.shape[0]):
            out[start:end] = _product(_blocks(features[start:end]), weight[centre])[: end - start]
    for k, start, end in kernel_map.slices:
        products = _product(_blocks(features, take[start:end]), weight[k])
        out.index_add_(0, put[start:end], products[: end - start])


def _weight_gradient(features: Tensor, grad: Tensor, weight: Tensor, kernel_map: KernelMap) -> Tensor:
    """(K, I, O): for each offset the sum over pairs of the outer products of input and gradient."""
    result = torch.zeros_like(weight)
    if kernel_map.centre is not None:
        for start, end in _whole_and_rest(features.shape[0]):
            result[kernel_map.centre] += _outer_sum(_blocks(features[start:end]), _blocks(grad[start:end]))
    for k, start, end in kernel_map.slices:
        inputs = _blocks(features, kernel_map.in_rows[start:end])
        result[k] = _outer_sum(inputs, _blocks(grad, kernel_map.out_rows[start:end]))
    return result


def _whole_and_rest(n: int) -> list[tuple[int, int]]:
    """Cut n rows where whole blocks end, so that those need no copy."""
    whole = n - n % MOST_BLOCK_ROWS if n >= LEAST_BLOCKS * MOST_BLOCK_ROWS else 0
    return [(start, end) for start, end in ((0, whole), (whole, n)) if end > start]


def _blocks(matrix: Tensor, rows: Tensor | None = None) -> Tensor:
    """Cut a matrix, or some rows of it, into (blocks, rows, channels), with zeros at the end.

    The cut depends on the number of rows alone: never on the number of threads.
    """
    n = matrix.shape[0] if rows is None else rows.shape[0]
    height = min(MOST_BLOCK_ROWS, max(1, -(-n // LEAST_BLOCKS)))
    blocks = max(LEAST_BLOCKS, -(-n // height))
    if rows is None and blocks * height == n:
        return matrix.view(blocks, height, -1)
    cut = matrix.new_empty(blocks * height, matrix.shape[1])
    cut[n:].zero_()
    if rows is None:
        cut[:n] = matrix
    else:
        torch.index_select(matrix, 0, rows, out=cut[:n])
    return cut.view(blocks, height, -1)


def _product(blocks: Tensor, weight: Tensor) -> Tensor:
    """Multiply blocks of rows by one (I, O) matrix; ``matmul`` would melt the blocks into one product."""
    return torch.bmm(blocks, weight.expand(blocks.shape[0], -1, -1)).flatten(0, 1)


def _outer_sum(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right`` over all rows of all blocks."""
    return torch.bmm(left.transpose(1, 2), right).sum(dim=0)


register_backend(TorchBackend())
