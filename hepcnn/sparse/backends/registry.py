"""Who computes a sparse convolution: backends by name."""

import contextlib
import contextvars
import importlib
import importlib.util
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from hepcnn.errors import ConfigError, did_you_mean
from hepcnn.sparse.kernel_map import KernelMap

# The default by kind of device; "torch" where none is listed.
DEFAULTS = {"cpu": "torch", "cuda": "torch"}


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
    "spconv": "hepcnn.sparse.backends.rivals",
    "spconv-triton": "hepcnn.sparse.backends.rivals",
    "torch": "hepcnn.sparse.backends.reference",
    "triton": "hepcnn.sparse.backends.triton_backend",
}
# What a backend needs beyond torch: without it the name is known, but not on offer.
_NEEDS = {"spconv": "spconv", "spconv-triton": "spconv_triton", "triton": "triton"}
_loaded: dict[str, Backend] = {}
_chosen: contextvars.ContextVar[str | None] = contextvars.ContextVar("hepcnn_sparse_backend", default=None)


def available_backends() -> list[str]:
    """The names of all backends whose libraries are installed, whether or not they can serve this machine."""
    return sorted({name for name in _HOME if is_installed(name)} | (_loaded.keys() - _HOME.keys()))


def is_installed(name: str) -> bool:
    """Whether the library that a backend needs is installed; it is looked for, not imported."""
    return name not in _NEEDS or importlib.util.find_spec(_NEEDS[name]) is not None


def register_backend(backend: Backend) -> Backend:
    """Add a backend under its own name, or replace the one that has it."""
    _loaded[backend.name] = backend
    return backend


def get_backend(name: str | None, device: torch.device) -> Backend:
    """Find a backend that can serve a device.

    Parameters
    ----------
    name
        Its name; None takes the one chosen by `use_backend`, else the default of the kind of device.
    device
        Where the features are.

    Raises
    ------
    ConfigError
        When the name is unknown, its library is missing, or the backend cannot compute on the device.
    """
    name = _chosen.get() if name is None else name
    name = DEFAULTS.get(device.type, "torch") if name is None else name
    check_backend(name)
    if name not in _loaded:
        importlib.import_module(_HOME[name])
    backend = _loaded[name]
    if not backend.supports(device):
        raise ConfigError(f"the sparse backend '{name}' cannot compute on the device '{device}'")
    return backend


def check_backend(name: str) -> None:
    """Raise a `ConfigError` unless a backend has this name and its library is installed."""
    if name not in _HOME and name not in _loaded:
        raise ConfigError(f"unknown sparse backend '{name}'{did_you_mean(name, available_backends())}")
    if name not in _loaded and not is_installed(name):
        raise ConfigError(f"the sparse backend '{name}' needs the package {_NEEDS[name]}, which is not installed")


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Choose the backend of every layer that names none itself, inside a ``with`` block."""
    check_backend(name)
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)
