"""Taggers by name. The public names load on first use: importing this costs no torch."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hepcnn.models.base import JetTagger
    from hepcnn.models.describe import describe_model
    from hepcnn.models.registry import create_model, list_models, model_options, register_model

_HOME = {
    "JetTagger": "hepcnn.models.base",
    "create_model": "hepcnn.models.registry",
    "describe_model": "hepcnn.models.describe",
    "list_models": "hepcnn.models.registry",
    "model_options": "hepcnn.models.registry",
    "register_model": "hepcnn.models.registry",
}

__all__ = ["JetTagger", "create_model", "describe_model", "list_models", "model_options", "register_model"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'hepcnn.models' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
