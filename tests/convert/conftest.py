"""What the tests of the converter share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hepcnn.config import ImagesConfig
from hepcnn.convert import schedule
from hepcnn.convert.files import convert_files
from hepcnn.convert.inputs import LabelledFiles

PLAIN = ImagesConfig(channels=["pt", "multiplicity"], preprocess=["centre"], jet_features=["pt"])
Convert = Callable[..., dict[str, Any]]


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut files into ranges of 50 entries, so that small files have several."""

    def plan(path: str, reading: Any) -> list[tuple[int, int]]:
        stop = max(last for _, last in real(path, reading))
        return [(start, min(start + 50, stop)) for start in range(0, stop, 50)]

    real = schedule.plan_jets
    monkeypatch.setattr(schedule, "plan_jets", plan)


def convert(files: list[Path], output: Path, **options: Any) -> dict[str, Any]:
    """Convert files of one class."""
    images = options.pop("images", PLAIN)
    inputs = [LabelledFiles(files, options.pop("schema", "hepcnn"), "qcd")]
    return convert_files(inputs, output, class_names=["qcd", "top"], images=images, **options)


def read_datasets(path: Path) -> dict[str, np.ndarray]:
    """Every dataset of an HDF5 file, by plain h5py."""
    found: dict[str, np.ndarray] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[:]}) if isinstance(item, h5py.Dataset) else None)
    return found


def same_datasets(one: Path, other: Path) -> bool:
    """Whether two files hold the same datasets, to the last bit."""
    first, second = read_datasets(one), read_datasets(other)
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and first[name].tobytes() == second[name].tobytes() for name in first
    )
