"""What a bundle looks at, from files to files."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hepcnn import paths
from hepcnn.cli.main import app
from hepcnn.config import StudyConfig
from hepcnn.errors import InputError
from hepcnn.stages.explain import explain_bundle
from hepcnn.stages.explain_pictures import CAPTIONS, choose_jets
from hepcnn.stages.samples import convert_samples


def images_of(study: StudyConfig) -> list[Path]:
    root = paths.study_dir(study.results, study.study)
    return [paths.images(root, name) for name in study.samples]


@pytest.mark.slow
def test_a_bundle_is_explained_in_pictures_and_numbers(toy_study: StudyConfig, toy_run: Path, tmp_path: Path) -> None:
    arguments = ["--bundle", str(paths.bundle(toy_run)), "-o", str(tmp_path), "--max-jets", "60", "--style", "cms"]
    for path in images_of(toy_study):
        arguments += ["--images", str(path)]
    found = CliRunner().invoke(app, ["explain", *arguments], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert "the network itself" in found.output
    for name in CAPTIONS:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    numbers = json.loads((tmp_path / "explain.json").read_text(), parse_constant=pytest.fail)
    assert numbers["n_jets"] == {"qcd": 30, "top": 30}
    assert numbers["pictures"] == list(CAPTIONS)
    assert numbers["depths"][0]["name"] == "image"
    # One prong against three: even pooled maps of the last stage tell them apart.
    assert numbers["depths"][-1]["auc"] > 0.9
    shares = numbers["saliency_share_of_channels"]
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-4)
    corner = np.array(numbers["correlation"]["pt"], dtype=object)[0, 0]
    assert corner is None, "a pixel that no jet fills has no correlation"
    assert len(numbers["saliency"]["top"]) == 3


def test_images_that_the_bundle_does_not_take_are_refused(
    toy_study: StudyConfig, toy_run: Path, tmp_path: Path
) -> None:
    grid = toy_study.images.grid.model_copy(update={"n_eta": 24})
    other = toy_study.model_copy(update={"images": toy_study.images.model_copy(update={"grid": grid})})
    files = [tmp_path / f"{name}.h5" for name in other.samples]
    for name, path in zip(other.samples, files, strict=True):
        convert_samples(other, [name], path)
    with pytest.raises(InputError, match=r"made with grid .*'n_eta': 24.*this bundle takes .*'n_eta': 40"):
        explain_bundle(paths.bundle(toy_run), files, tmp_path / "out")
    with pytest.raises(InputError, match="did you mean 'top'"):
        explain_bundle(paths.bundle(toy_run), images_of(toy_study), tmp_path / "out", signal="topp", max_jets=20)
    with pytest.raises(InputError, match="expected at least one for each of 2"):
        explain_bundle(paths.bundle(toy_run), images_of(toy_study), tmp_path / "out", max_jets=1)
    assert not (tmp_path / "out").exists()


def test_jets_are_drawn_evenly_from_the_classes() -> None:
    label = np.repeat([0, 1, 2], [100, 3, 50])
    chosen = choose_jets(label, 3, 30)
    assert np.bincount(label[chosen]).tolist() == [10, 3, 10]
    assert (np.diff(chosen) > 0).all()
