"""The optional parts of hepcnn: which are installed, and what needs them."""

from collections.abc import Iterator
from importlib.util import find_spec

from hepcnn.doctor.finding import Finding
from hepcnn.errors import MissingExtraError

EXTRAS = {
    "train": ("torch", "timm", "lightning_fabric", "onnx", "onnxscript", "safetensors"),
    "evaluate": ("sklearn", "scipy", "matplotlib", "mplhep", "jinja2"),
    "generate": ("pythia8mc", "fastjet"),
    "remote": ("aiohttp", "s3fs"),
    "workflow": ("snakemake", "mlflow"),
}


def require_extras(*extras: str) -> None:
    """Raise ``MissingExtraError`` unless everything of these extras can be imported, before any work is done."""
    for extra in extras:
        for module in find_missing(extra):
            raise MissingExtraError(
                f"this needs the package '{module}', which is not installed: pip install 'hepcnn[{extra}]'"
            )


def find_missing(extra: str) -> list[str]:
    """The modules of an extra that cannot be imported."""
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def examine_extras(needed: tuple[str, ...] = ()) -> Iterator[Finding]:
    """Whether each extra is complete; those that are ``needed`` fail where they are not."""
    for extra, modules in EXTRAS.items():
        missing, what = find_missing(extra), f"extra '{extra}'"
        if missing:
            mend = f"pip install 'hepcnn[{extra}]'"
            yield Finding(what, False, f"no {', '.join(missing)}", extra in needed, mend)
        else:
            yield Finding(what, True, ", ".join(modules), extra in needed)
