"""Every backend on every device that it serves: the parity tests run on each pair."""

import pytest
import sparse_oracle
import torch

from hepcnn.errors import ConfigError
from hepcnn.sparse import available_backends, use_backend
from hepcnn.sparse.backends.registry import get_backend

EXACT, SINGLE = {"rtol": 1e-10, "atol": 1e-11}, {"rtol": 1e-4, "atol": 1e-4}
BACKENDS = ["torch", "dense", "triton", "spconv", "spconv-triton"]
PLACES = [pytest.param((name, "cpu"), id=f"{name}-cpu") for name in BACKENDS[:2]]
# Without a GPU one skipped place stands for all of them.
PLACES += [
    pytest.param((name, "cuda"), id=f"{name}-cuda", marks=pytest.mark.gpu)
    for name in (BACKENDS if torch.cuda.is_available() else ["triton"])
]


@pytest.fixture(params=PLACES)
def place(request, monkeypatch):
    """Choose a backend, the device to compute on and the precision to ask for."""
    name, device = request.param
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if name not in available_backends():
        pytest.skip(f"the backend {name} is not installed")
    try:
        get_backend(name, torch.device(device))
    except ConfigError as error:
        pytest.skip(str(error))
    exact = name in ("torch", "dense")
    monkeypatch.setattr(sparse_oracle, "DEVICE", torch.device(device))
    monkeypatch.setattr(sparse_oracle, "DTYPE", torch.float64 if exact else torch.float32)
    monkeypatch.setattr(sparse_oracle, "TOLERANCE", EXACT if exact else SINGLE)
    with use_backend(name):
        yield torch.device(device)
