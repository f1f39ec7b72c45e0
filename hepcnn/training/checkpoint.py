"""Where a training stands: written whole or not at all, checked when it is read, and without code in it.

A checkpoint is one safetensors file. Its metadata hold, as JSON, all that is no tensor, and a SHA-256 of everything.
The one before is kept beside it, for the case that the last one is damaged.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from hepcnn.atomic import atomic_path
from hepcnn.errors import TrainingError

FORMAT = "hepcnn-checkpoint"


def write_checkpoint(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write tensors and plain values, nested in any way; the file appears under its name when it is whole."""
    tensors: dict[str, Tensor] = {}
    plain = json.dumps(_take_tensors(state, "", tensors))
    with atomic_path(path) as partial:
        save_file(tensors, partial, {"format": FORMAT, "state": plain, "sha256": _digest(plain, tensors)})
        if Path(path).exists():
            # Killed between here and the next rename, there is the previous one only, which is read then.
            Path(path).replace(previous_checkpoint(path))


def previous_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Where the checkpoint before the last is kept."""
    return Path(path).with_name(f"{Path(path).stem}.previous{Path(path).suffix}")


def read_checkpoint(
    path: str | os.PathLike[str], *, fingerprint: str, say: Callable[[str], None] | None = None
) -> dict[str, Any] | None:
    """Read where an earlier call left off.

    Parameters
    ----------
    path
        The checkpoint. If it is missing or damaged, the one before is taken.
    fingerprint
        Hash of everything that the training depends on.
    say
        Hears of a damaged checkpoint, and of one that is not used.

    Returns
    -------
    dict or None
        None where there is no checkpoint, or one of another training (another config, other data).

    Raises
    ------
    TrainingError
        When the file is damaged, and there is no earlier one of this training.
    """
    tell, damage = say or (lambda _: None), None
    for candidate in (Path(path), previous_checkpoint(path)):
        if not candidate.exists():
            continue
        try:
            state = _read(candidate)
        except TrainingError as error:
            damage = damage or error
            continue
        if state.get("fingerprint") == fingerprint:
            if damage is not None:
                tell(f"warning: {damage}; going on from the one before")
            return state
        if damage is None:
            tell(f"{candidate} is of another training (another config, or other jets): starting anew")
            return None
    if damage is not None:
        raise TrainingError(f"{damage}; delete it to train from the start") from damage
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except Exception as error:  # safetensors raises its own kind, OSError and others
        reason = str(error).splitlines()[0][:100]
        raise TrainingError(f"{path}: this checkpoint is damaged ({reason})") from error
    if about.get("format") != FORMAT or about.get("sha256") != _digest(about.get("state", ""), tensors):
        raise TrainingError(f"{path}: this checkpoint is damaged (its checksum is another)")
    state: dict[str, Any] = _put_tensors(json.loads(about["state"]), tensors)
    return state


def _digest(plain: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(plain.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _take_tensors(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON can hold it; its tensors go to a table, under the names of their places."""
    if isinstance(value, Tensor):
        # A copy, since two names of one memory cannot be stored.
        tensors[place] = value.detach().to("cpu", copy=True).contiguous()
        return {"$tensor": place}
    if isinstance(value, Mapping):
        # The keys of an optimiser's state are numbers, which JSON would turn into text.
        return {"$items": [[key, _take_tensors(item, f"{place}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_take_tensors(item, f"{place}/{number}", tensors) for number, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    return value


def _put_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_put_tensors(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$tuple" in value:
        return tuple(_put_tensors(item, tensors) for item in value["$tuple"])
    return {key: _put_tensors(item, tensors) for key, item in value["$items"]}
