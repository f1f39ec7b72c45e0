"""The backend ``torch``: gather, one batch of matrix products, sum in bags. Runs everywhere.

Equal results to the bit for any number of threads need two things. Sums over pairs go in bags: one thread sums one
output, in the order of kernel offsets. And matrix products go in batches of small blocks: a matrix library may split
one product between threads, along any axis, and then rounds differently, but it gives whole blocks to threads when
there are more blocks than threads.

Shapes: N input rows, M output rows, I and O channels, K offsets, (blocks, rows) how a matrix is cut.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hepcnn.sparse.backends.registry import register_backend
from hepcnn.sparse.kernel_map import KernelMap
from hepcnn.sparse.layout import LEAST_BLOCKS, MOST_BLOCK_ROWS, PairLayout


class TorchBackend:
    """The reference implementation: deterministic, on CPU and CUDA, in any floating-point type."""

    name = "torch"

    def supports(self, device: torch.device) -> bool:
        """It serves every device."""
        del device
        return True

    def convolve(self, features: Tensor, weight: Tensor, bias: Tensor | None, kernel_map: KernelMap) -> Tensor:
        """See `hepcnn.sparse.backends.registry.Backend`."""
        matrices = weight.flatten(2).permute(2, 1, 0)
        # A submanifold layout serves both ways.
        needs_back = torch.is_grad_enabled() and features.requires_grad and kernel_map.centre is None
        layout = kernel_map.layout().tensors()
        back = kernel_map.back_layout().tensors() if needs_back else []
        centre = -1 if kernel_map.centre is None else kernel_map.centre
        n_out = kernel_map.outputs.shape[0]
        out: Tensor = _PairConvolution.apply(features, matrices, bias, n_out, centre, *layout, *back)
        return out


class _PairConvolution(torch.autograd.Function):
    """Sum over pairs. Shapes: features (N, I), weight (K, I, O), bias (O,), result (M, O)."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, n_out: int, centre: int, *layouts: Tensor
    ) -> Tensor:
        ctx.save_for_backward(features, weight, *layouts)
        ctx.centre = centre
        out: Tensor = convolve_pairs(features, weight, n_out, centre, list(layouts[:7]))
        return out if bias is None else out.add_(bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, *layouts = ctx.saved_tensors
        d_features = d_weight = None
        if ctx.needs_input_grad[0]:
            # Mirrored where the layout is the forward one: the offset -o leads back.
            turned = (weight.flip(0) if ctx.centre >= 0 else weight).transpose(1, 2)
            d_features = convolve_pairs(grad, turned, features.shape[0], ctx.centre, layouts[7:] or layouts)
        if ctx.needs_input_grad[1]:
            d_weight = correlate_pairs(features, grad, weight.shape[0], ctx.centre, layouts[:7])
        d_bias = sum_rows(grad) if ctx.needs_input_grad[2] else None
        return (d_features, d_weight, d_bias, None, None, *[None] * len(layouts))


@torch.library.custom_op("hepcnn::convolve_pairs", mutates_args=())
def convolve_pairs(features: Tensor, weight: Tensor, n_out: int, centre: int, layout: list[Tensor]) -> Tensor:
    """(``n_out``, O): for each output the sum over its pairs of ``features @ weight[offset]``."""
    pairs, features, weight = PairLayout(*layout), features.contiguous(), weight.contiguous()
    out = features.new_empty(n_out, weight.shape[2])
    if centre < 0:
        out.zero_()
    else:
        for start, end in _whole_and_rest(n_out):
            blocks = _blocks(features[start:end])
            matrices = weight[centre].expand(len(blocks), -1, -1)
            if blocks.shape[0] * blocks.shape[1] == end - start:
                torch.bmm(blocks, matrices, out=out[start:end].view(*blocks.shape[:2], -1))
            else:
                out[start:end] = torch.bmm(blocks, matrices).flatten(0, 1)[: end - start]
    for number, (start, end), _, (first, last) in _groups(pairs):
        products = features.new_empty(end - start, len(pairs.sources) // len(pairs.offsets), weight.shape[2])
        gathered = _gather(features, pairs.sources, start, end, pairs)
        for a, b in _chunks(end - start, weight[0].numel(), out.numel() + features.numel()):
            matrices = weight.index_select(0, pairs.offsets[start + a : start + b])
            torch.bmm(gathered[a:b], matrices, out=products[a:b])
        out += sum_bags(products.flatten(0, 1), pairs.bags[first:last], pairs.ends[number])
    return out


@convolve_pairs.register_fake
def _(features: Tensor, weight: Tensor, n_out: int, centre: int, layout: list[Tensor]) -> Tensor:
    del centre, layout
    return features.new_empty(n_out, weight.shape[2])


@torch.library.custom_op("hepcnn::correlate_pairs", mutates_args=())
def correlate_pairs(features: Tensor, grad: Tensor, volume: int, centre: int, layout: list[Tensor]) -> Tensor:
    """(K, I, O): for each offset the sum over its pairs of the outer products of input and gradient."""
    pairs, features, grad = PairLayout(*layout), features.contiguous(), grad.contiguous()
    shape = features.shape[1], grad.shape[1]
    result = features.new_zeros(volume, shape[0] * shape[1])
    if centre >= 0:
        for start, end in _whole_and_rest(features.shape[0]):
            result[centre] += _outer_sum(_blocks(features[start:end]), _blocks(grad[start:end])).flatten()
    steps = torch.arange(volume + 1, dtype=torch.int32, device=grad.device)
    for _, (start, end), (first, last), _ in _groups(pairs):
        inputs = _gather(features, pairs.sources, start, end, pairs)
        inputs.flatten(0, 1).index_fill_(0, pairs.padding[first:last].long(), 0.0)
        grads = _gather(grad, pairs.targets, start, end, pairs)
        for a, b in _chunks(end - start, result.shape[1], features.numel() + grad.numel()):
            products = torch.bmm(inputs[a:b].transpose(1, 2), grads[a:b]).flatten(1)
            ends = torch.searchsorted(pairs.offsets[start + a : start + b], steps, out_int32=True)
            result += sum_bags(products, torch.arange(b - a, dtype=torch.int32, device=grad.device), ends)
    return result.view(volume, *shape)


@correlate_pairs.register_fake
def _(features: Tensor, grad: Tensor, volume: int, centre: int, layout: list[Tensor]) -> Tensor:
    del centre, layout
    return features.new_empty(volume, features.shape[1], grad.shape[1])


@torch.library.custom_op("hepcnn::sum_rows", mutates_args=())
def sum_rows(grad: Tensor) -> Tensor:
    """(O,): the sum over all rows, the same for any number of threads."""
    return _blocks(grad.contiguous()).sum(dim=1).sum(dim=0)


@sum_rows.register_fake
def _(grad: Tensor) -> Tensor:
    return grad.new_empty(grad.shape[1])


def sum_bags(rows: Tensor, bags: Tensor, ends: Tensor) -> Tensor:
    """For each bag the sum of the rows it lists, in order; bag b is listed from ``ends[b]`` to ``ends[b + 1]``."""
    return functional.embedding_bag(bags, rows, ends, mode="sum", include_last_offset=True)


def _groups(pairs: PairLayout) -> Iterator[tuple[int, tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """The number of each group and its ranges among blocks, padding and bags."""
    cuts: list[list[int]] = pairs.cuts.tolist()
    for number in range(len(cuts) - 1):
        blocks, padding, bags = zip(cuts[number], cuts[number + 1], strict=True)
        yield number, blocks, padding, bags


def _gather(matrix: Tensor, rows: Tensor, start: int, end: int, pairs: PairLayout) -> Tensor:
    """(blocks, rows, channels): what the blocks from ``start`` to ``end`` hold; anything in padding."""
    height = len(pairs.sources) // len(pairs.offsets)
    return matrix.index_select(0, rows[start * height : end * height]).view(end - start, height, -1)


def _chunks(blocks: int, each: int, budget: int) -> Iterator[tuple[int, int]]:
    """Ranges of blocks, nearly equal, at least `LEAST_BLOCKS` long, that take ``each`` elements a block."""
    count = max(1, min(blocks // LEAST_BLOCKS, -(-blocks * each // max(budget, 1))))
    for number in range(count):
        yield number * blocks // count, (number + 1) * blocks // count


def _whole_and_rest(n: int) -> list[tuple[int, int]]:
    """Cut n rows where whole blocks end, so that those need no copy."""
    whole = n - n % MOST_BLOCK_ROWS if n >= LEAST_BLOCKS * MOST_BLOCK_ROWS else 0
    return [(start, end) for start, end in ((0, whole), (whole, n)) if end > start]


def _blocks(matrix: Tensor) -> Tensor:
    """Cut a matrix into (blocks, rows, channels), with zeros at the end."""
    n = matrix.shape[0]
    height = min(MOST_BLOCK_ROWS, max(1, -(-n // LEAST_BLOCKS)))
    blocks = max(LEAST_BLOCKS, -(-n // height))
    if blocks * height == n:
        return matrix.view(blocks, height, -1)
    cut = matrix.new_empty(blocks * height, matrix.shape[1])
    cut[n:].zero_()
    cut[:n] = matrix
    return cut.view(blocks, height, -1)


def _outer_sum(left: Tensor, right: Tensor) -> Tensor:
    """``left.T @ right`` over all rows of all blocks."""
    return torch.bmm(left.transpose(1, 2), right).sum(dim=0)


register_backend(TorchBackend())
