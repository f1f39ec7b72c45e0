"""What this machine can do, what is missing, and how to mend it."""

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hepcnn.errors import MissingExtraError

EXTRAS = {
    "train": ("torch", "timm", "lightning_fabric", "onnx", "onnxscript", "safetensors"),
    "evaluate": ("sklearn", "scipy", "matplotlib", "mplhep", "jinja2"),
    "generate": ("pythia8mc", "fastjet"),
    "remote": ("aiohttp", "s3fs"),
    "workflow": ("snakemake", "mlflow"),
}
ENOUGH_DISK_GB = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing about this machine; ``detail`` says what it is, or how to mend it."""

    what: str
    is_ok: bool
    detail: str
    is_needed: bool = True


def require_extras(*extras: str) -> None:
    """Raise ``MissingExtraError`` unless everything of these extras can be imported, before any work is done."""
    for extra in extras:
        for module in EXTRAS[extra]:
            if find_spec(module) is None:
                raise MissingExtraError(
                    f"this needs the package '{module}', which is not installed: pip install 'hepcnn[{extra}]'"
                )


def examine_machine() -> list[Finding]:
    """Look at Python, the extras, processors, memory, disk and GPU."""
    return [_python(), *_extras(), _processors(), _disk(), _gpu()]


def _python() -> Finding:
    version = platform.python_version_tuple()
    fits = (3, 11) <= (int(version[0]), int(version[1])) < (3, 14)
    return Finding("Python", fits, platform.python_version() + ("" if fits else ": hepcnn needs 3.11 to 3.13"))


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        if missing:
            yield Finding(f"extra '{extra}'", False, f"no {', '.join(missing)}: pip install 'hepcnn[{extra}]'", False)
        else:
            yield Finding(f"extra '{extra}'", True, ", ".join(modules), False)


def _processors() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS")
    detail = f"{usable} cores" + (f", OMP_NUM_THREADS={threads}" if threads else "")
    if threads and threads.isdigit() and int(threads) > usable:
        return Finding("processors", False, f"{detail}: more threads than cores slow each other down; unset it")
    return Finding("processors", True, detail)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Finding(
        "disk", free > ENOUGH_DISK_GB, f"{free:.0f} GB free here (a study needs some {ENOUGH_DISK_GB:.0f} GB)"
    )


def _gpu() -> Finding:
    if find_spec("torch") is None:
        return Finding("GPU", False, "cannot tell without torch: pip install 'hepcnn[train]'", False)
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return Finding("GPU", True, names, False)
    build = importlib.metadata.version("torch")
    reason = "no driver or no device" if torch.version.cuda else "this torch was built without CUDA"
    return Finding("GPU", False, f"none that torch {build} can use ({reason}); training runs on the CPU", False)
