"""Sparse convolution on bounded, batched grids. The public names load on first use: importing this costs no torch."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hepcnn.sparse.backends.registry import available_backends, register_backend, use_backend
    from hepcnn.sparse.conv import (
        SparseConv1d,
        SparseConv2d,
        SparseConv3d,
        SubmanifoldConv1d,
        SubmanifoldConv2d,
        SubmanifoldConv3d,
    )
    from hepcnn.sparse.inverse import SparseInverseConv1d, SparseInverseConv2d, SparseInverseConv3d
    from hepcnn.sparse.norm import SparseActivation, SparseBatchNorm, SparseLayerNorm
    from hepcnn.sparse.pooling import (
        GlobalAvgPool,
        GlobalMaxPool,
        GlobalSumPool,
        SparseAvgPool,
        SparseMaxPool,
        ToDense,
    )
    from hepcnn.sparse.tensor import MaskedDense, SparseTensor, bucket_rows

_HOME = {
    "available_backends": "hepcnn.sparse.backends.registry",
    "register_backend": "hepcnn.sparse.backends.registry",
    "use_backend": "hepcnn.sparse.backends.registry",
    "SparseConv1d": "hepcnn.sparse.conv",
    "SparseConv2d": "hepcnn.sparse.conv",
    "SparseConv3d": "hepcnn.sparse.conv",
    "SubmanifoldConv1d": "hepcnn.sparse.conv",
    "SubmanifoldConv2d": "hepcnn.sparse.conv",
    "SubmanifoldConv3d": "hepcnn.sparse.conv",
    "SparseActivation": "hepcnn.sparse.norm",
    "SparseBatchNorm": "hepcnn.sparse.norm",
    "SparseInverseConv1d": "hepcnn.sparse.inverse",
    "SparseInverseConv2d": "hepcnn.sparse.inverse",
    "SparseInverseConv3d": "hepcnn.sparse.inverse",
    "SparseLayerNorm": "hepcnn.sparse.norm",
    "GlobalAvgPool": "hepcnn.sparse.pooling",
    "GlobalMaxPool": "hepcnn.sparse.pooling",
    "GlobalSumPool": "hepcnn.sparse.pooling",
    "SparseAvgPool": "hepcnn.sparse.pooling",
    "SparseMaxPool": "hepcnn.sparse.pooling",
    "ToDense": "hepcnn.sparse.pooling",
    "MaskedDense": "hepcnn.sparse.tensor",
    "SparseTensor": "hepcnn.sparse.tensor",
    "bucket_rows": "hepcnn.sparse.tensor",
}

__all__ = [
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GlobalSumPool",
    "MaskedDense",
    "SparseActivation",
    "SparseAvgPool",
    "SparseBatchNorm",
    "SparseConv1d",
    "SparseConv2d",
    "SparseConv3d",
    "SparseInverseConv1d",
    "SparseInverseConv2d",
    "SparseInverseConv3d",
    "SparseLayerNorm",
    "SparseMaxPool",
    "SparseTensor",
    "SubmanifoldConv1d",
    "SubmanifoldConv2d",
    "SubmanifoldConv3d",
    "ToDense",
    "available_backends",
    "bucket_rows",
    "register_backend",
    "use_backend",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hepcnn.sparse' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
