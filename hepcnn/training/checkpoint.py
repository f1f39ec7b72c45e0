"""Where a training stands: written whole or not at all, read without unpickling code."""

import os
from pathlib import Path
from typing import Any

import torch

from hepcnn.atomic import atomic_path
from hepcnn.errors import TrainingError


def write_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write tensors and plain values; the file appears under its name when it is whole."""
    with atomic_path(path) as partial:
        torch.save(state, partial)


def read_checkpoint(path: str | os.PathLike[str], *, fingerprint: str) -> dict[str, Any] | None:
    """Read where an earlier call left off.

    Parameters
    ----------
    path
        The checkpoint.
    fingerprint
        Hash of everything that the training depends on.

    Returns
    -------
    dict or None
        None where there is no checkpoint, or one of another training (another config, other data).

    Raises
    ------
    TrainingError
        When the file is damaged.
    """
    if not Path(path).exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged archive
        reason = str(error).splitlines()[0][:100]
        raise TrainingError(
            f"{path}: this checkpoint is damaged ({reason}); delete it to train from the start"
        ) from error
    return state if state.get("fingerprint") == fingerprint else None
