"""Fixtures that all tests share."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import hypothesis
import pytest

from hepcnn import paths
from hepcnn.config import StudyConfig, parse_model
from hepcnn.stages.samples import convert_samples
from tests.toy import write_toy_jets

# A loaded machine is no failure, and a failure can be repeated.
hypothesis.settings.register_profile("hepcnn", deadline=None, derandomize=True)
hypothesis.settings.load_profile("hepcnn")

REPOSITORY = Path(__file__).parent.parent
DATA = Path(os.environ.get("HEPCNN_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: where several processes share the work, none is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real files; the test is skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real files at {DATA}: set HEPCNN_TEST_DATA")
    return DATA


@pytest.fixture(scope="session")
def toy_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two ROOT files in the layout of generated jets: one-pronged 'qcd' and three-pronged 'top'."""
    folder = tmp_path_factory.mktemp("toy")
    return {
        name: write_toy_jets(folder / f"{name}.root", n_jets=400, n_prongs=prongs, seed=prongs)
        for name, prongs in (("qcd", 1), ("top", 3))
    }


@pytest.fixture
def in_folder(tmp_path: Path) -> Iterator[Path]:
    """Run the test in an empty folder."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are drawn once each, small and without a layout, whatever file they go to.

    For tests of what stands beside them: a study's pictures as PNG and PDF take longer than all else about it, and the
    tests of the workflow, of comparisons, explanations and plots draw them in full.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    drawn: WeakKeyDictionary[Figure, bytes] = WeakKeyDictionary()
    draw = Figure.savefig

    def sketch(figure: Figure, target: Any, **_: object) -> None:
        if figure not in drawn:
            buffer = io.BytesIO()
            draw(figure, buffer, format="png", dpi=20)
            drawn[figure] = buffer.getvalue()
        if hasattr(target, "write"):
            target.write(drawn[figure])
        else:
            Path(target).write_bytes(drawn[figure])

    monkeypatch.setattr(Figure, "savefig", sketch)
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)


@pytest.fixture(scope="session")
def toy_study(toy_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    """A study of toy jets whose images are made."""
    results = tmp_path_factory.mktemp("results")
    content = {
        "study": "toy",
        "results": str(results),
        "samples": {name: {"files": [str(path)], "schema": "hepcnn"} for name, path in toy_files.items()},
        "images": {"jet_features": ["pt", "mass", "n_constituents", "tau1", "tau2", "tau3"]},
        "models": {"cnn": {}, "sparse": {"training": {"epochs": 1}}},
        "training": {"epochs": 2, "batch_size": 64},
        "split": {"train": 0.5, "val": 0.2, "test": 0.3},
        "tracking": {"uri": f"sqlite:///{results}/mlflow.db"},
    }
    study = parse_model(StudyConfig, content, where="toy study")
    root = paths.study_dir(study.results, study.study)
    for name in study.samples:
        convert_samples(study, [name], paths.images(root, name))
    return study


@pytest.fixture(scope="session")
def toy_run(toy_study: StudyConfig) -> Path:
    """The folder of a trained run of the toy study."""
    from hepcnn.stages.train import train_tagger

    root = paths.study_dir(toy_study.results, toy_study.study)
    run = paths.run_dir(root, "cnn", 1)
    train_tagger(toy_study, "cnn", seed=1, output=run, listener=SilentListener())
    return run


class SilentListener:
    """Hears and says nothing."""

    def on_step(self, **_: object) -> None:
        """A batch is done."""

    def on_epoch(self, record: dict[str, float]) -> None:
        """An epoch is done."""
