"""Stages of a study, called as functions."""

from pathlib import Path

import pytest

from hepcnn import paths
from hepcnn.config import StudyConfig
from hepcnn.errors import HepcnnError, InputError
from hepcnn.stages.samples import convert_samples, load_sample
from hepcnn.stages.train import _fingerprint, train_tagger
from tests.conftest import SilentListener


def test_images_of_other_settings_are_refused(toy_study: StudyConfig) -> None:
    grid = toy_study.images.grid.model_copy(update={"n_eta": 24})
    changed = toy_study.model_copy(update={"images": toy_study.images.model_copy(update={"grid": grid})})
    with pytest.raises(InputError, match=r"were made with grid .*'n_eta': 40.*says .*'n_eta': 24.*convert again"):
        load_sample(changed)


def test_missing_images_are_named_with_the_way_to_make_them(toy_study: StudyConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"qcd\.h5: no such images; make them with 'hepcnn convert"):
        load_sample(toy_study.model_copy(update={"results": str(tmp_path)}))


def test_a_checkpoint_belongs_to_its_jets(toy_study: StudyConfig, tmp_path: Path) -> None:
    """The same files read by another schema have other event ids, and so other splits."""
    images = toy_study.images.model_copy(update={"channels": ["pt", "track_pt"]})
    studies = []
    for schema in ("hepcnn", "jetclass"):
        samples = {k: v.model_copy(update={"schema_name": schema}) for k, v in toy_study.samples.items()}
        study = toy_study.model_copy(update={"samples": samples, "images": images, "results": str(tmp_path / schema)})
        for name in study.samples:
            convert_samples(study, [name], paths.images(tmp_path / schema / "toy", name))
        studies.append(study)
    one, other = (_fingerprint(study, "cnn", 1, load_sample(study)) for study in studies)
    assert one != other
    assert one == _fingerprint(studies[0], "cnn", 1, load_sample(studies[0]))


def test_a_users_folder_named_bundle_survives(toy_study: StudyConfig, tmp_path: Path) -> None:
    precious = tmp_path / "bundle" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("precious")
    with pytest.raises(HepcnnError, match=r"holds no manifest\.json"):
        train_tagger(toy_study, "cnn", seed=1, output=tmp_path, listener=SilentListener())
    assert precious.read_text() == "precious"
    assert not (tmp_path / "checkpoint.pt").exists(), "it is refused before the work, not after"
