"""A bundle of version 1, as hepcnn 0.1 wrote it, scores as it did; one that was changed is refused by name."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from hepcnn import Tagger
from hepcnn import bundle as bundles
from hepcnn.errors import BundleError
from tests.tagger.conftest import FROZEN

RECORDED = json.loads((FROZEN.parent / "frozen_scores.json").read_text())


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_the_frozen_bundle_scores_as_it_did(runtime: str) -> None:
    scores = Tagger.load(FROZEN, runtime=runtime)(ak.Array(RECORDED["jets"]))
    for row, expected in zip(scores, RECORDED["scores"], strict=True):
        assert np.isnan(row).all() if expected is None else row == pytest.approx(expected, abs=1e-5)


def test_it_knows_what_its_manifest_says(tagger: Tagger) -> None:
    assert tagger.class_names == ("qcd", "top")
    assert set(tagger.manifest.training_ranges) == {"jet_pt"}
    assert tagger.manifest.selection == {}
    (cut,) = tagger.cuts
    assert (cut.name, cut.signal, cut.background) == ("eps_s_0.5_flat", "top", "qcd")


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(FROZEN, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_manifest_that_is_written_again_protects_itself(copied: Path) -> None:
    values = json.loads((copied / "manifest.json").read_text())
    bundles.write_manifest(copied, values)
    assert Tagger.load(copied).bundle_id == values["bundle_id"]
    text = (copied / "manifest.json").read_text()
    (copied / "manifest.json").write_text(text.replace('"top"', '"TOP"', 1))
    with pytest.raises(BundleError, match=r"manifest.json: this manifest was changed after it was written"):
        Tagger.load(copied)


def change(**values: Any) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return apply


def flip(name: str) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return apply


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *((flip(name), f"{name}: this file is not the one") for name in bundles.PAYLOAD),
        *((cut(name), f"{name}: this file is not the one") for name in bundles.PAYLOAD),
        *((lambda f, name=name: (f / name).unlink(), f"{name}: missing from the bundle") for name in bundles.PAYLOAD),
        (cut("manifest.json"), "manifest.json: not valid JSON"),
        (change(version=2), r"bundle version 2 is newer than this hepcnn .* knows \(1\): it was made by hepcnn 0.1"),
        (change(checksums={}), "manifest.json: no checksum for model.onnx, weights.safetensors, config.yaml"),
        (change(bundle_id="0" * 16), "manifest.json: the bundle's id does not fit its checksums"),
        (change(preprocess={"version": 9, "steps": []}), "preprocessing version 9, this hepcnn does version"),
    ],
)
def test_a_changed_bundle_is_refused_by_name(copied: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(copied)
    with pytest.raises(BundleError, match=message):
        Tagger.load(copied)


def test_a_graph_exchanged_after_the_check_is_refused(copied: Path) -> None:
    manifest = bundles.read_manifest(copied)
    flip("model.onnx")(copied)
    with pytest.raises(BundleError, match=r"model.onnx: this file is not the one"):
        bundles.read_payload(manifest, "model.onnx")


def test_nothing_is_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    Tagger.load(FROZEN)
