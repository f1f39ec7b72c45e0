"""Which code a stage's results depend on, as a hash that comments and docstrings leave alone.

The workflow compares it with the one that made an output: a change of code that may change results makes them again, a
cosmetic one does not. Nothing is imported here, only read.
"""

import hashlib
import marshal
from functools import cache
from pathlib import Path
from types import CodeType

from hepcnn.errors import ConfigError, did_you_mean

PACKAGE = Path(__file__).parent.parent
_IMAGES = ("grids", "kinematics.py", "constituents.py", "substructure.py", "io", "images", "convert")
_TRAINING = ("data", "sparse", "models", "training", "export", "grids", "outputs.py")
_STEPS = tuple(f"stages/{name}.py" for name in ("train", "inputs", "recipes", "finetune", "tasks"))
_RESPONSE = ("images/variations.py", *(f"evaluation/{name}.py" for name in ("comparison", "metrics", "ranking")))
_JETS = tuple(f"generate/{path.name}" for path in sorted((PACKAGE / "generate").glob("*.py")))
_FITTED = ("baselines", "cells", "energy_baselines", "shower_shapes", "energy", "quantiles")
_BASELINES = tuple(f"evaluation/{name}.py" for name in _FITTED)
ROOMS = {
    "generate": ("kinematics.py", "generate/cards", *_JETS),
    "showers": ("calorimeters", "generate/showers", "generate/parts.py"),
    "convert": _IMAGES,
    "train": (*_TRAINING, *_STEPS),
    "control": (*_TRAINING, *_STEPS, "stages/control.py"),
    "ensemble": ("training/ensemble.py", "export", "stages/ensemble.py"),
    "robustness": (*_RESPONSE, "tagger", "stages/robustness.py"),
    "baseline": ("data", "substructure.py", *_BASELINES, "stages/baseline.py", "stages/shower_baselines.py"),
    "evaluate": ("evaluation", *(f"stages/{name}.py" for name in ("evaluate", "measure", "pictures", "energies"))),
}
"""The files and folders of the package that make a stage's results."""
SUFFIXES = (".py", ".yaml")


@cache
def hash_code(stage: str) -> str:
    """Hash the code that makes the results of a stage.

    Parameters
    ----------
    stage
        One of `ROOMS`.

    Returns
    -------
    str
        SHA-256 over the bytecode of the modules, and over the data files beside them. Comments, docstrings and layout
        do not change it; another Python release does.

    Raises
    ------
    ConfigError
        For an unknown stage.
    """
    if stage not in ROOMS:
        raise ConfigError(f"no stage '{stage}'{did_you_mean(stage, ROOMS)}")
    total = hashlib.sha256()
    for room in ROOMS[stage]:
        place = PACKAGE / room
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.suffix in SUFFIXES:
                total.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + _essence(path))
    return total.hexdigest()


def _essence(path: Path) -> bytes:
    text = path.read_text(encoding="utf-8")
    return make_essence(text) if path.suffix == ".py" else text.encode()


def make_essence(source: str) -> bytes:
    """What a module does: its bytecode without docstrings, file names and lines, the same in every process."""
    # Without references between objects, which version 2 does not know, the bytes depend on the code alone.
    return marshal.dumps(_bare(compile(source, "", "exec", dont_inherit=True, optimize=2)), 2)


def _bare(code: CodeType) -> CodeType:
    constants = tuple(_bare(constant) if isinstance(constant, CodeType) else constant for constant in code.co_consts)
    return code.replace(co_consts=constants, co_filename="", co_linetable=b"", co_firstlineno=1)
