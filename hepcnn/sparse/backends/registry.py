"""Who computes a sparse convolution: backends by name."""

import contextlib
import contextvars
import importlib
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.sparse.kernel_map import KernelMap

DEFAULT = "torch"


class Backend(Protocol):
    """What a backend must do; every backend passes the same parity tests."""

    name: str

    def supports(self, device: torch.device) -> bool:
        """Whether it can compute on a device."""
        ...

    def convolve(self, features: Tensor, weight: Tensor, bias: Tensor | None, kernel_map: KernelMap) -> Tensor:
        """Convolve (N, C_in) features with an (C_out, C_in, *kernel) weight into (M, C_out), differentiably."""
        ...


_HOME = {
    "dense": "hepcnn.sparse.backends.dense",
    "torch": "hepcnn.sparse.backends.reference",
}
_loaded: dict[str, Backend] = {}
_chosen: contextvars.ContextVar[str] = contextvars.ContextVar("hepcnn_sparse_backend", default=DEFAULT)


def available_backends() -> list[str]:
    """The names of all backends, whether or not they can serve this machine."""
    return sorted({*_HOME, *_loaded})


def register_backend(backend: Backend) -> Backend:
    """Add a backend under its own name, or replace the one that has it."""
    _loaded[backend.name] = backend
    return backend


def get_backend(name: str | None, device: torch.device) -> Backend:
    """Find a backend that can serve a device.

    Parameters
    ----------
    name
        Its name; None takes the one chosen by `use_backend`, else the default.
    device
        Where the features are.

    Raises
    ------
    ConfigError
        When the name is unknown, or the backend cannot compute on the device.
    """
    name = _chosen.get() if name is None else name
    check_backend(name)
    if name not in _loaded:
        importlib.import_module(_HOME[name])
    backend = _loaded[name]
    if not backend.supports(device):
        raise ConfigError(f"the sparse backend '{name}' cannot compute on the device '{device}'")
    return backend


def check_backend(name: str) -> None:
    """Raise a `ConfigError` unless a backend has this name."""
    if name not in _HOME and name not in _loaded:
        raise ConfigError(f"unknown sparse backend '{name}'{did_you_mean(name, available_backends())}")


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Choose the backend of every layer that names none itself, inside a ``with`` block."""
    check_backend(name)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)
