"""The landscape's study on a specimen of the reference sample."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hepcnn import paths
from hepcnn.cli.main import app
from hepcnn.errors import ConfigError, InputError
from hepcnn.evaluation.tables import TableRow
from hepcnn.models.registry import list_models
from hepcnn.stages.reproduce import NETWORKS, Options, choose_models, describe_files, find_files, make_row, make_studies
from hepcnn.stages.samples import open_sample
from tests.io.layouts import write_toptag


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files in the layout of the reference sample, of a few random jets."""
    folder = tmp_path_factory.mktemp("toptag")
    for seed, (name, n_jets) in enumerate((("train", 120), ("val", 60), ("test", 90))):
        write_toptag(folder / f"{name}.h5", n_jets, seed=seed + 1)
    return folder


def invoke(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["reproduce", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.usefixtures("sketched")
@pytest.mark.slow
def test_the_study_runs_on_a_specimen_with_the_official_split(data: Path, tmp_path: Path) -> None:
    options = ["--models", "cnn", "--pixels", 16, "--epochs", 1, "--trainings", 2, "--batch-size", 32]
    options += ["--device", "cpu", "-o", tmp_path, "--data", data]
    found = invoke("toptag", *options)
    assert found.exit_code == 0, found.output
    assert "2 trainings on 120 jets, tested on 90" in found.output
    assert "not comparable" in found.output
    assert "CNN (arXiv:1902.09914): accuracy 0.931, AUC 0.9814, 1/eps_b(eps_s=0.3) = 914 ± 14 (seed)" in found.output
    (study,) = make_studies(find_files(data), tmp_path, Options(models=("cnn",), pixels=16))
    sample = open_sample(study)
    for split, name in (("train", "train.h5"), ("val", "val.h5"), ("test", "test.h5")):
        files = {sample.columns.sources[n]["path"] for n in sample.part(split).jets["source_file"]}
        assert files == {str(data / name)}
    assert (tmp_path / "comparison" / "comparison.html").exists()
    assert "ParticleNet" in (tmp_path / "comparison" / "table.md").read_text()
    # Once more: what is there is kept, and the row is the same.
    run = paths.run_dir(tmp_path / "toptag_16x16", "cnn", 1)
    before = paths.scores(run).stat().st_mtime_ns
    again = invoke("toptag", *options, "--json")
    assert paths.scores(run).stat().st_mtime_ns == before
    values = json.loads(again.stdout)["cnn"]
    assert (values["n_trainings"], values["n_test"], values["is_complete"]) == (2, 90, False)


def test_what_is_missing_is_named_with_its_size_and_origin(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing train\.h5 \(1,211,000 jets\), val.*, test.*zenodo\.2603256"):
        find_files(tmp_path)
    (tmp_path / "train.h5").write_bytes((data / "train.h5").read_bytes())
    with pytest.raises(InputError, match=r"missing val\.h5 \(403,000 jets\), test\.h5 \(404,000 jets\); "):
        find_files(tmp_path)
    notes = describe_files(find_files(data))
    assert len(notes) == 3
    assert "train.h5 has 120 jets, the reference sample 1,211,000: numbers are not comparable" in notes[0]
    with pytest.raises(ConfigError, match="no study 'toptagg' to reproduce; did you mean 'toptag'"):
        invoke("toptagg", "--data", data, "-o", tmp_path)


def test_networks_are_those_asked_for_or_the_landscapes() -> None:
    assert choose_models(["cnn"]) == ["cnn"]
    with pytest.raises(ConfigError, match="no network 'cnnn'; did you mean 'cnn'"):
        choose_models(["cnnn"])
    there = [name for name in NETWORKS if name in list_models()]
    if there:
        assert choose_models([]) == there
    else:
        with pytest.raises(ConfigError, match="neither landscape_cnn nor landscape_resnext; name others: cnn"):
            choose_models([])


def test_each_size_of_images_is_a_study(data: Path, tmp_path: Path) -> None:
    studies = make_studies(find_files(data), tmp_path, Options(models=("cnn", "resnet"), max_jets=10))
    assert [(study.study, list(study.models)) for study in studies] == [("toptag_40x40", ["cnn", "resnet"])]
    assert studies[0].split.max_jets == 10


def test_the_row_is_that_of_the_median_training() -> None:
    metrics = {
        "auc": {"value": 0.8, "err_stat": 0.1, "per_seed": [0.7, 0.9, 0.8]},
        "accuracy": {"value": 0.8, "err_stat": 0.1, "per_seed": [0.1, 0.2, 0.3]},
        "rejection": {"0.3": {"value": 20.0, "err_stat": 2.0, "err_seed": 3.0, "per_seed": [10.0, 12.0, 38.0]}},
        "n_signal": 200_000,
        "n_background": 203_990,
    }
    row = make_row(TableRow("cnn", metrics), n_train=5)
    assert (row.accuracy, row.auc, row.rejection) == (0.3, 0.8, 12.0)
    assert row.is_complete
    assert str(row) == (
        "cnn: accuracy 0.300, AUC 0.8000, 1/eps_b(eps_s=0.3) = 12 ± 3 (seed) ± 2 (stat); 3 trainings on 5 jets, tested "
        "on 403,990"
    )
    assert np.isfinite(row.rejection)
