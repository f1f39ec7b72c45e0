"""The backend ``triton``: implicit matrix products on the neighbour table, on CUDA, without host synchronisation.

float16, bfloat16 and float32 features; sums are kept in float32. With TRITON_INTERPRET=1, set before Triton is
imported, the kernels run in Triton's interpreter, slowly, on the CPU: that is for tests.

Shapes: N input rows, M output rows, I and O channels, K offsets.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from hepcnn.errors import InputError
from hepcnn.sparse.backends.registry import register_backend
from hepcnn.sparse.backends.triton_kernels import convolve_kernel, correlate_kernel
from hepcnn.sparse.kernel_map import KernelMap

TYPES = (torch.float16, torch.bfloat16, torch.float32)
TILE_ROWS = 64
WARPS = 4


class TritonBackend:
    """Implicit GEMM on the neighbour table."""

    name = "triton"

    def supports(self, device: torch.device) -> bool:
        """It serves CUDA devices, and the CPU only in Triton's interpreter."""
        return device.type == "cuda" or interpreted()

    def convolve(self, features: Tensor, weight: Tensor, bias: Tensor | None, kernel_map: KernelMap) -> Tensor:
        """See `hepcnn.sparse.backends.registry.Backend`."""
        if features.dtype not in TYPES:
            raise InputError(
                f"the sparse backend 'triton' computes in {', '.join(str(kind) for kind in TYPES)}, got "
                f"{features.dtype}: use the backend 'torch' for it"
            )
        matrices = weight.flatten(2).permute(2, 1, 0)
        needs_back = torch.is_grad_enabled() and features.requires_grad
        back = [kernel_map.back()] if needs_back else []
        out: Tensor = _TableConvolution.apply(features, matrices, bias, kernel_map.table, *back)
        return out


def interpreted() -> bool:
    """Whether Triton runs its kernels on the CPU, step by step."""
    return bool(triton.knobs.runtime.interpret)


class _TableConvolution(torch.autograd.Function):
    """Sum over offsets. Shapes: features (N, I), weight (K, I, O), bias (O,), table (K, M), back (K, N)."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, table: Tensor, *back: Tensor
    ) -> Tensor:
        ctx.save_for_backward(features, weight, table, *back)
        out: Tensor = convolve_table(features, weight, bias, table)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, table, *back = ctx.saved_tensors
        needs_features, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        d_features = convolve_table(grad, weight.transpose(1, 2), None, back[0]) if needs_features else None
        d_weight = correlate_table(features, grad, table) if needs_weight else None
        d_bias = grad.sum(0) if needs_bias else None
        return (d_features, d_weight, d_bias, None, *[None] * len(back))


@torch.library.custom_op("hepcnn::triton_convolve", mutates_args=())
def convolve_table(features: Tensor, weight: Tensor, bias: Tensor | None, table: Tensor) -> Tensor:
    """(M, O): the bias plus the sum over offsets of ``features[table] @ weight``."""
    features, weight, table = features.contiguous(), weight.contiguous(), table.contiguous()
    volume, inputs, outputs = weight.shape
    n_out = table.shape[1]
    out = features.new_empty(n_out, outputs)
    if n_out:
        tiles = triton.cdiv(n_out, TILE_ROWS), triton.cdiv(outputs, _tile(outputs, 128))
        convolve_kernel[tiles](
            features, weight, features if bias is None else bias.contiguous(), table, out, n_out,
            I=inputs, O=outputs, K=volume, BM=TILE_ROWS, BI=_tile(inputs, 64), BO=_tile(outputs, 128),
            PRECISION=_precision(), UPCAST=interpreted(), HAS_BIAS=bias is not None, num_warps=WARPS,
        )  # fmt: skip
    return out


@convolve_table.register_fake
def _(features: Tensor, weight: Tensor, bias: Tensor | None, table: Tensor) -> Tensor:
    del bias
    return features.new_empty(table.shape[1], weight.shape[2])


@torch.library.custom_op("hepcnn::triton_correlate", mutates_args=())
def correlate_table(features: Tensor, grad: Tensor, table: Tensor) -> Tensor:
    """(K, I, O): for each offset the sum over its pairs of the outer products of input and gradient."""
    features, grad, table = features.contiguous(), grad.contiguous(), table.contiguous()
    volume, n_out = table.shape
    inputs, outputs = features.shape[1], grad.shape[1]
    rows = rows_per_split(volume, min(inputs, outputs))
    splits = triton.cdiv(n_out, rows)
    partial = torch.empty(splits, volume, inputs, outputs, dtype=torch.float32, device=grad.device)
    if splits:
        tile_in, tile_out = _tile(inputs, 64), _tile(outputs, 64)
        tiles = splits * volume, triton.cdiv(inputs, tile_in), triton.cdiv(outputs, tile_out)
        correlate_kernel[tiles](
            features, grad, table, partial, n_out, I=inputs, O=outputs, K=volume, ROWS=rows, BM=TILE_ROWS,
            BI=tile_in, BO=tile_out, PRECISION=_precision(), UPCAST=interpreted(), num_warps=WARPS,
        )  # fmt: skip
    # The second stage: the partial sums, in their order.
    return partial.sum(0).to(features.dtype)


@correlate_table.register_fake
def _(features: Tensor, grad: Tensor, table: Tensor) -> Tensor:
    return features.new_empty(table.shape[0], features.shape[1], grad.shape[1])


def rows_per_split(volume: int, channels: int) -> int:
    """Outputs that one partial weight gradient sums: a power of two, such that partial sums stay near the features."""
    least: int = triton.next_power_of_2(max(1, volume * channels // 2))
    return max(1024, least)


def _tile(channels: int, most: int) -> int:
    """A power of two from 16, the least that a tensor core multiplies."""
    size: int = triton.next_power_of_2(channels)
    return min(most, max(16, size))


def _precision() -> str:
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "ieee"


register_backend(TritonBackend())
