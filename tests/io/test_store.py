"""hepcnn's own files, read back with plain h5py."""

import json
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hepcnn.errors import InputError
from hepcnn.io import hdf5_writing
from hepcnn.io.scores import Scores, read_scores, write_scores
from hepcnn.io.store import open_image_writer, read_images


def write_two_jets(path: Path) -> None:
    jets = {"pt": np.array([1.0, 2.0]), "label": np.array([0, 1]), "event_id": np.array([2**63, 5], np.uint64)}
    jets |= {
        name: np.zeros(2) for name in ("eta", "phi", "mass", "weight", "source_file", "source_entry", "source_jet")
    }
    with open_image_writer(path, n_pixels=100, n_channels=2, jet_features=("mass",)) as writer:
        for _ in range(2):
            writer.append(
                np.array([0, 1, 3]),
                np.array([7, 3, 99]),
                np.arange(6, dtype=np.float32).reshape(3, 2),
                jets,
                {"mass": np.array([80.0, 90.0])},
            )
        attributes = {"grid": {"n_eta": 10, "n_phi": 10}, "channels": ["a", "b"], "class_names": ["x", "y"]}
        attributes |= {"preprocess": {"version": 1, "steps": []}, "jet_features": ["mass"], "sources": [{}]}
        writer.set_attributes(attributes | {"radius": 0.8})


def test_images_follow_the_contract(tmp_path: Path) -> None:
    path = tmp_path / "images.h5"
    write_two_jets(path)
    with h5py.File(path) as file:
        assert file.attrs["format"] == "hepcnn-images"
        assert json.loads(file.attrs["grid"]) == {"n_eta": 10, "n_phi": 10}
        assert file["pixels/indptr"][:].tolist() == [0, 1, 3, 4, 6]
        assert file["pixels/indptr"].dtype == np.int64
        assert file["pixels/index"].dtype.kind == "u"
        assert file["pixels/value"].shape == (6, 2)
        assert file["pixels/value"].dtype == np.float32
        for name in ("pt", "eta", "phi", "mass", "weight"):
            assert file["jets"][name].dtype == np.float32
        assert file["jets/event_id"][:2].tolist() == [2**63, 5]
    images = read_images(path)
    assert images.index.tolist() == [7, 3, 99] * 2
    assert images.features["mass"].tolist() == [80, 90, 80, 90]


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_image_writer(tmp_path / "a.h5", n_pixels=4, n_channels=1):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def make_scores() -> Scores:
    score = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    columns = {name: np.array([1.0, 2.0], np.float32) for name in ("pt", "eta", "phi", "mass")}
    return Scores(
        score, np.array([0, 1]), np.ones(2, np.float32), columns, ("qcd", "top"), "id", "test", model="cnn", seed=3
    )


def test_scores_read_back(tmp_path: Path) -> None:
    path = tmp_path / "scores.h5"
    write_scores(path, make_scores())
    found = read_scores(path)
    assert found.score.tolist() == [[0.25, 0.75], [0.5, 0.5]]
    assert (found.class_names, found.bundle_id, found.model, found.seed) == (("qcd", "top"), "id", "cnn", 3)
    with h5py.File(path) as file:
        assert json.loads(file.attrs["class_names"]) == ["qcd", "top"]
        assert file["jets/pt"][:].tolist() == [1, 2]


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    images, scores, text = tmp_path / "images.h5", tmp_path / "scores.h5", tmp_path / "text.h5"
    write_two_jets(images)
    write_scores(scores, make_scores())
    text.write_text("no HDF5 at all")
    with pytest.raises(InputError, match="expected a file of format 'hepcnn-scores', found 'hepcnn-images'"):
        read_scores(images)
    with pytest.raises(InputError, match="not an HDF5 file"):
        read_images(text)
    with pytest.raises(InputError, match="No such file"):
        read_images(tmp_path / "none.h5")
    scores.write_bytes(scores.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged or cut short"):
        read_scores(scores)
    with h5py.File(images, "r+") as file:
        del file["pixels/value"]
    with pytest.raises(InputError, match="incomplete"):
        read_images(images)


def test_incomplete_scores_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.h5"
    write_scores(path, make_scores())
    with h5py.File(path, "r+") as file:
        del file["jets/pt"]
    with pytest.raises(InputError, match="no dataset 'jets/pt'"):
        read_scores(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["class_names"]
    with pytest.raises(InputError, match="no attribute class_names"):
        read_scores(path)


def test_lengths_that_disagree_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.h5"
    write_scores(path, make_scores())
    with h5py.File(path, "r+") as file:
        del file["label"]
        file["label"] = np.zeros(3)
    with pytest.raises(InputError, match="'label' has 3 jets, 'score' has 2"):
        read_scores(path)


def test_the_shared_bad_hdf5_files(shared_data: Path) -> None:
    with pytest.raises(InputError, match="Git LFS pointer"):
        read_images(shared_data / "bad" / "bad_lfs_pointer.h5")
    with pytest.raises(InputError, match="expected a file of format"):
        read_images(shared_data / "bad" / "jets_features_no_constituents.h5")


@pytest.mark.parametrize("write", [write_two_jets, lambda path: write_scores(path, make_scores())])
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_of_writing_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any, kind: signal.Signals
) -> None:
    """HDF5 calls Python back to write, and would swallow what is raised there, the bytes with it."""
    whole = hdf5_writing.Disk.write
    # Whoever runs the tests in the background may have them ignore Ctrl-C.
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupted(self: Any, data: Any) -> int:
        signal.raise_signal(kind)
        return whole(self, data)

    monkeypatch.setattr(hdf5_writing.Disk, "write", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "a.h5")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert list(tmp_path.iterdir()) == []
