"""Finished taggers side by side, from files to tables and a page."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hepcnn.cli.main import app
from hepcnn.errors import InputError
from hepcnn.io.scores import Scores, write_scores
from hepcnn.stages.comparison import are_on_same_jets, find_scores, read_entries

RNG = np.random.default_rng(3)
LABEL = np.repeat([0, 1], 400)
JETS = {name: RNG.uniform(1, 2, 800).astype(np.float32) for name in ("pt", "eta", "phi", "mass")}


def make(name: str, seed: int, distance: float, *, n: int = 800) -> Scores:
    z = np.random.default_rng(seed).normal(0, 1, 800) + distance * LABEL
    p = (1 / (1 + np.exp(-z))).astype(np.float32)
    kept = slice(None, None, 800 // n)
    return Scores(
        np.stack([1 - p, p], axis=1)[kept],
        LABEL[kept],
        np.ones(800, np.float32)[kept],
        {key: values[kept] for key, values in JETS.items()},
        ("qcd", "top"),
        model=name,
        seed=seed,
    )


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for name, seed, distance in (("good", 1, 3.0), ("good", 2, 3.1), ("bad", 1, 1.0)):
        path = tmp_path / "study" / name / f"seed{seed}" / "scores.h5"
        path.parent.mkdir(parents=True)
        write_scores(path, make(name, seed, distance))
    return tmp_path / "study"


def test_scores_are_found_by_file_run_tagger_and_study(study: Path) -> None:
    assert len(find_scores([str(study)])) == 3
    assert len(find_scores([str(study / "good")])) == 2
    (one,) = find_scores([f"mine={study / 'bad' / 'seed1'}"])
    assert (one.name, one.path.parent.name) == ("mine", "seed1")
    assert find_scores([str(study / "bad" / "seed1" / "scores.h5")])[0].path == one.path
    with pytest.raises(InputError, match="neither scores nor a folder"):
        find_scores([str(study / "never")])
    with pytest.raises(InputError, match="cannot stand for the taggers of a whole study"):
        find_scores([f"mine={study}"])


def test_a_second_copy_of_a_tagger_needs_a_name(study: Path) -> None:
    good = str(study / "good")
    with pytest.raises(InputError, match="seed 1 was given before; name one of them otherwise: OTHER="):
        read_entries(find_scores([good, good]))
    taggers, _ = read_entries(find_scores([good, f"again={good}"]))
    assert {name: len(seeds) for name, seeds in taggers.items()} == {"good": 2, "again": 2}


def test_same_jets_are_told_by_their_columns() -> None:
    one, other = make("a", 1, 1.0), make("b", 2, 2.0)
    assert are_on_same_jets({"a": [one], "b": [other]})
    moved = replace(other, jets=other.jets | {"pt": other.jets["pt"] + 1})
    assert not are_on_same_jets({"a": [one], "b": [moved]})
    assert not are_on_same_jets({"a": [one], "b": [make("b", 2, 2.0, n=400)]})


def run(*arguments: Any) -> str:
    found = CliRunner().invoke(app, ["compare", *map(str, arguments)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_a_comparison_has_tables_pictures_and_a_page(study: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    said = run(study, "-o", output, "--published", "toptag")
    assert "paired standard errors" in said
    for name in ("table.md", "table.tex", "table.csv", "comparison.html", "rejection.png", "roc.pdf"):
        assert (output / name).stat().st_size > 0
    rows = {row["tagger"]: row for row in csv.DictReader(io.StringIO((output / "table.csv").read_text()))}
    assert set(rows) == {"good", "bad", "ParticleNet", "ResNeXt-50", "TreeNiN", "CNN", "PFN", "TopoDNN"}
    assert (rows["good"]["n_trainings"], rows["good"]["auc_best"], rows["bad"]["auc_best"]) == ("2", "1", "0")
    assert (rows["CNN"]["rejection_0.3_value"], rows["CNN"]["rejection_0.3_err_seed"]) == ("914", "14")
    assert rows["CNN"]["rejection_0.5_value"] == "" == rows["bad"]["auc_err_seed"]
    page = (output / "comparison.html").read_text()
    assert "ours are only 800" in page
    assert "the same for every tagger" in page
    tex = (output / "table.tex").read_text()
    assert r"914 $\pm$ 14 (seed)" in tex
    assert all(line.count("&") == 6 for line in tex.splitlines() if line.endswith(r"\\"))


@pytest.mark.usefixtures("sketched")
def test_different_jets_are_compared_without_pairing(study: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.h5"
    write_scores(few, make("few", 7, 1.0, n=400))
    output = tmp_path / "out"
    said = run(study / "good", few, "-o", output)
    assert "paired" not in said
    assert "ahead of few" in said
    assert "tested on different jets" in (output / "comparison.html").read_text()


def test_files_of_other_classes_are_refused(study: Path, tmp_path: Path) -> None:
    write_scores(tmp_path / "other.h5", replace(make("w", 1, 1.0), class_names=("qcd", "w")))
    with pytest.raises(InputError, match=r"has the classes \('qcd', 'w'\), the first file \('qcd', 'top'\)"):
        read_entries(find_scores([str(study), str(tmp_path / "other.h5")]))
    with pytest.raises(InputError, match="did you mean 'toptag'"):
        CliRunner().invoke(
            app, ["compare", str(study), "-o", str(tmp_path), "--published", "toptags"], catch_exceptions=False
        )
