"""Networks and bundles → ONNX graphs, let through only if they give the network's scores."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hepcnn.errors import ExportError
    from hepcnn.export.network import check_parity, export_onnx

__all__ = ["ExportError", "check_parity", "export_onnx"]


def __getattr__(name: str) -> Any:
    # The graph of constituents is made without torch, which the network's export brings.
    if name not in __all__:
        raise AttributeError(f"module 'hepcnn.export' has no attribute '{name}'")
    from hepcnn.export import network

    return getattr(network, name)
