"""Addresses in the registry → bundles on this machine."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.tagger import Tagger
from hepcnn.tracking.registry import find_bundle
from hepcnn.tracking.store import TrackingError
from hepcnn.tracking.sync import sync_study
from tests.toy import make_constituents
from tests.tracking.servers import MlflowServer


def sync_copy(study: StudyConfig, run: Path, uri: str, folder: Path) -> Path:
    """Register a trained run in a store of the test's own; returns the bundle that it was made of."""
    root = paths.study_dir(str(folder), study.study)
    copy = paths.run_dir(root, "cnn", 1)
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("track*"))
    tracking = study.tracking.model_copy(update={"uri": uri})
    sync_study(study.model_copy(update={"results": str(folder), "tracking": tracking}))
    return paths.bundle(copy)


@pytest.fixture(scope="module")
def registry(toy_study: StudyConfig, toy_run: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with one registered model, 'toy', of one version."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copy(empty_store, folder / "mlflow.db")
    uri = f"sqlite:///{folder}/mlflow.db"
    sync_copy(toy_study, toy_run, uri, folder / "results")
    return uri


@pytest.mark.parametrize("address", ["models:/toy@champion", "models:/toy/1", "models:/toy/latest"])
def test_an_address_is_the_folder_of_the_bundle(registry: str, toy_run: Path, address: str) -> None:
    jets = make_constituents(5, seed=3)
    expected = Tagger.load(paths.bundle(toy_run))(jets)
    np.testing.assert_array_equal(Tagger.load(find_bundle(address, store=registry))(jets), expected)


def test_the_store_is_the_one_that_the_variable_names(registry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry)
    assert find_bundle("models:/toy@champion") == find_bundle("models:/toy/1", store=registry)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("models:/toi@champion", r"no model 'toi'; did you mean 'toy'\?"),
        ("models:/other/1", r"no model 'other'; there are: toy"),
        ("models:/toy@chamption", r"no alias 'chamption'; did you mean 'champion'\?"),
        ("models:/toy/7", "no version 7; there are: 1"),
        ("models:/toy/Production", "expected models:/NAME@ALIAS"),
        ("models:/m-0123456789abcdef", "expected models:/NAME@ALIAS"),
        ("models:/toy", "expected models:/NAME@ALIAS"),
    ],
)
def test_an_address_that_is_not_there_names_those_that_are(registry: str, address: str, message: str) -> None:
    with pytest.raises(TrackingError, match=message):
        find_bundle(address, store=registry)


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="there is no store at sqlite"):
        find_bundle("models:/toy/1", store=f"sqlite:///{tmp_path}/none.db")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_whose_files_are_elsewhere_is_named(registry: str, tmp_path: Path) -> None:
    folder = find_bundle("models:/toy/1", store=registry)
    folder.rename(tmp_path / "moved")
    try:
        with pytest.raises(TrackingError, match="not on this machine or was removed"):
            find_bundle("models:/toy/1", store=registry)
        folder.mkdir()
        with pytest.raises(TrackingError, match="no bundle of hepcnn"):
            find_bundle("models:/toy/1", store=registry)
        folder.rmdir()
    finally:
        (tmp_path / "moved").rename(folder)


@pytest.mark.slow
def test_a_bundle_behind_a_server_is_downloaded_once_and_mended(
    server: MlflowServer, toy_study: StudyConfig, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = sync_copy(toy_study, toy_run, server.uri, tmp_path / "results")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kept = find_bundle("models:/toy@champion", store=server.uri)
    assert kept.is_relative_to(tmp_path / "cache")
    for name in ("manifest.json", "model.onnx", "weights.safetensors", "config.yaml"):
        assert (kept / name).read_bytes() == (bundle / name).read_bytes()
    before = (kept / "model.onnx").stat().st_mtime_ns
    assert find_bundle("models:/toy/1", store=server.uri) == kept
    assert (kept / "model.onnx").stat().st_mtime_ns == before
    (kept / "model.onnx").write_bytes(b"cut")
    find_bundle("models:/toy/latest", store=server.uri)
    assert (kept / "model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(TrackingError, match="name another folder in XDG_CACHE_HOME"):
        find_bundle("models:/toy/1", store=server.uri)
