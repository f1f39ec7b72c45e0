"""Files of scores that cannot be evaluated, or not together, are named with what is wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hepcnn.errors import EmptySampleError, HepcnnError, InputError
from hepcnn.io.scores import Scores, write_scores
from hepcnn.stages.evaluate import evaluate_files
from hepcnn.stages.score_files import check_alike


def make_scores(name: str = "net", n: int = 40) -> Scores:
    rng = np.random.default_rng(1)
    p = rng.random(n)
    jets = {column: rng.uniform(1, 2, n) for column in ("pt", "eta", "phi", "mass")}
    labels = np.arange(n) % 2
    return Scores(np.stack([1 - p, p], axis=1), labels, np.ones(n), jets, ("qcd", "top"), model=name)


def change(values: np.ndarray, place: int | tuple[int, int], value: float) -> np.ndarray:
    values = values.astype(float)
    values[place] = value
    return values


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda s: replace(s, score=change(s.score, (5, 1), np.nan)), InputError, r"score: 1 of 80.*first at \(5, 1\)"),
        (lambda s: replace(s, score=change(s.score, (0, 0), np.inf)), InputError, r"first at \(0, 0\)"),
        (lambda s: replace(s, label=change(s.label, 3, 5).astype(int)), InputError, "label: 1 of 40 are out of range"),
        (lambda s: replace(s, label=s.label * 0), EmptySampleError, r"no jet of class 'top' \(jets per class: qcd: 40"),
        (lambda s: replace(s, weight=s.weight * 0), EmptySampleError, "all 20 jets of class 'qcd' have weight zero"),
        (lambda s: replace(s, weight=change(s.weight, 2, np.nan)), InputError, "weight: 1 of 40 values are NaN"),
        (lambda s: replace(s, weight=np.where(s.label, -1.0, 1.0)), EmptySampleError, "'top' add up to -20"),
    ],
)
def test_a_bad_file_is_named(
    spoil: Callable[[Scores], Scores], error: type[HepcnnError], message: str, tmp_path: Path
) -> None:
    write_scores(tmp_path / "good.h5", make_scores("good"))
    write_scores(tmp_path / "bad.h5", spoil(make_scores("bad")))
    with pytest.raises(error, match=rf"bad\.h5: .*{message}"):
        evaluate_files([tmp_path / "good.h5", tmp_path / "bad.h5"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: replace(s, class_names=("qcd", "w")), "has the classes qcd, w, .*one.h5 has qcd, top"),
        (lambda _: make_scores("other", 30), r"has 30 jets, .*one.h5 has 40"),
        (
            lambda s: replace(s, label=s.label[::-1].copy()),
            r"its label differs from that of .*one.h5 for 40 of 40 jets",
        ),
        (lambda s: replace(s, weight=change(s.weight, 7, 2.0)), r"its weight differs .* for 1 of 40 .*number 7\)"),
        (lambda s: replace(s, jets=s.jets | {"pt": s.jets["pt"][::-1].copy()}), "its pt differs"),
    ],
)
def test_files_about_different_jets_are_named(spoil: Callable[[Scores], Scores], message: str, tmp_path: Path) -> None:
    write_scores(tmp_path / "one.h5", make_scores("one"))
    write_scores(tmp_path / "two.h5", spoil(make_scores("two")))
    with pytest.raises(InputError, match=rf"two\.h5: {message}"):
        evaluate_files([tmp_path / "one.h5", tmp_path / "two.h5"], tmp_path / "out")


def test_digits_that_a_text_file_lacks_make_no_other_jets() -> None:
    rounded = {name: np.round(values, 5) for name, values in make_scores().jets.items()}
    check_alike("two.csv", replace(make_scores("two"), jets=rounded), "one.h5", make_scores("one"))
