"""Scores of other programs: every format gives the same numbers, and what cannot be used is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import uproot
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from hepcnn.cli.main import app
from hepcnn.errors import HepcnnError, InputError, SchemaError
from hepcnn.evaluation.pair_metrics import measure_pair
from hepcnn.io.score_columns import ScoreColumns, name_columns
from hepcnn.io.score_tables import read_score_table

N = 400
COLUMNS = ScoreColumns({"top": "disc"}, "is_top", "w", {"pt": "jet_pt"})


def table() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    label = np.tile([0, 1], N // 2)
    return {
        "disc": 1 / (1 + np.exp(-rng.normal(2 * label - 1, 1.5))),
        "is_top": label,
        "w": rng.uniform(0.5, 2, N),
        "jet_pt": rng.uniform(300, 900, N),
    }


def write_csv(path: Path, values: dict[str, Any]) -> None:
    rows = [
        ",".join(f"{x!r}" if isinstance(x, float) else str(x) for x in row)
        for row in zip(*as_lists(values), strict=True)
    ]
    path.write_text("\n".join([",".join(values), *rows]) + "\n")


def as_lists(values: dict[str, Any]) -> list[list[Any]]:
    return [np.asarray(column).tolist() for column in values.values()]


def write_root(path: Path, values: dict[str, Any]) -> None:
    with uproot.recreate(path) as file:
        file["jets"] = values


def write_hdf5(path: Path, values: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        for name, column in values.items():
            file[name] = column


WRITERS: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    "a.csv": write_csv,
    "a.root": write_root,
    "a.h5": write_hdf5,
    "a.npz": lambda path, values: np.savez(path, **values),
    "a.parquet": lambda path, values: pyarrow.parquet.write_table(pyarrow.table(values), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_scores(tmp_path: Path, name: str) -> None:
    values = table()
    WRITERS[name](tmp_path / name, values)
    scores = read_score_table(tmp_path / name, COLUMNS)
    assert scores.class_names == ("background", "top")
    assert scores.model == "a"
    assert np.array_equal(scores.score[:, 1], values["disc"])
    assert scores.score.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(scores.label, values["is_top"])
    assert np.array_equal(scores.weight, values["w"])
    assert np.array_equal(scores.jets["pt"], values["jet_pt"])


@pytest.mark.usefixtures("sketched")
def test_the_verb_evaluates_another_programs_scores(tmp_path: Path) -> None:
    values = table()
    write_root(tmp_path / "theirs.root", values)
    options = ["--score", "top=disc", "--label", "is_top", "--weight", "w", "--jet", "pt=jet_pt", "--tree", "jets"]
    arguments = ["evaluate", str(tmp_path / "theirs.root"), *options, "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["top"]
    expected = roc_auc_score(values["is_top"], values["disc"], sample_weight=values["w"])
    assert found["auc"]["value"] == pytest.approx(expected)
    assert (tmp_path / "out" / "efficiency_pt.png").exists()


def test_lists_per_event_are_laid_end_to_end(tmp_path: Path) -> None:
    values = table()
    counts = [3, 0, 5, *[4] * ((N - 8) // 4)]
    lists = {k: np.split(v, np.cumsum(counts)[:-1]) for k, v in values.items() if k != "w"}
    arrays = {k: pyarrow.array([x.tolist() for x in v]) for k, v in lists.items()}
    arrays["w"] = pyarrow.array(np.arange(1.0, len(counts) + 1))
    pyarrow.parquet.write_table(pyarrow.table(arrays), tmp_path / "events.parquet")
    scores = read_score_table(tmp_path / "events.parquet", COLUMNS)
    assert np.array_equal(scores.score[:, 1], values["disc"])
    assert np.array_equal(scores.weight, np.repeat(np.arange(1.0, len(counts) + 1), counts))


def test_several_probabilities_and_names_of_classes(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", {"a": [0.2, 0.3], "b": [0.8, 0.7], "c": [0.0, 0.1], "kind": ["top", "qcd"]})
    scores = read_score_table(tmp_path / "a.csv", ScoreColumns({"qcd": "a", "top": "b", "w": "c"}, "kind"))
    assert scores.class_names == ("qcd", "top", "w")
    assert scores.label.tolist() == [1, 0]
    assert scores.score.tolist() == [[0.2, 0.8, 0.0], [0.3, 0.7, 0.1]]


def test_values_of_labels_choose_jets(tmp_path: Path) -> None:
    values = {"disc": [0.1, 0.9, 0.4, 0.8], "flavour": [0, 5, 4, 5], "pt": [1.0, 2.0, 3.0, 4.0]}
    np.savez(tmp_path / "a.npz", **{name: np.array(column) for name, column in values.items()})
    columns = ScoreColumns({"b": "disc"}, "flavour", None, {"pt": "pt"}, values={"b": (5,), "background": (0,)})
    scores = read_score_table(tmp_path / "a.npz", columns)
    assert scores.label.tolist() == [0, 1, 1]
    assert scores.jets["pt"].tolist() == [1.0, 2.0, 4.0]
    assert scores.extra["left_out"] == 1
    with pytest.raises(InputError, match="label values of 'c': no such class"):
        read_score_table(tmp_path / "a.npz", ScoreColumns({"b": "disc"}, "flavour", values={"c": (4,)}))
    with pytest.raises(InputError, match="expected CLASS=NUMBER"):
        name_columns(["b=disc"], label="flavour", values=["b=five"])


def test_a_cms_file_is_evaluated_as_it_is(shared_data: Path) -> None:
    path = shared_data / "nano_root" / "nano_tt_v12.root"
    options = {"label": "Jet_hadronFlavour", "tree": "Events", "jets": ["pt=Jet_pt"], "values": ["b=5", "background=0"]}
    columns = name_columns(["b=Jet_btagDeepFlavB"], **options)  # type: ignore[arg-type]
    assert columns is not None
    scores = read_score_table(path, columns)
    events = uproot.open(path)["Events"]
    flavour, disc = (ak.flatten(events[name].array()).to_numpy() for name in ("Jet_hadronFlavour", "Jet_btagDeepFlavB"))
    kept = np.isin(flavour, (0, 5))
    assert scores.extra["left_out"] == int((flavour == 4).sum()) == 150
    found = measure_pair(scores.score[:, 1], scores.label, n_bootstrap=0)["auc"].value
    assert found == pytest.approx(roc_auc_score(flavour[kept] == 5, disc[kept]))
    assert found > 0.9


def test_logits_keep_their_order(tmp_path: Path) -> None:
    logits = np.linspace(-30, 30, 4001)
    np.savez(tmp_path / "a.npz", disc=logits, label=np.arange(4001) % 2)
    score = read_score_table(tmp_path / "a.npz", ScoreColumns({"top": "disc"}, "label")).score
    assert (np.diff(score[:, 1] / score.sum(axis=1)) > 0).all()
    np.savez(tmp_path / "b.npz", disc=2 * logits, label=np.arange(4001) % 2)
    with pytest.raises(InputError, match=r"reaches 60; expected probabilities from 0 to 1, or logits within ±30"):
        read_score_table(tmp_path / "b.npz", ScoreColumns({"top": "disc"}, "label"))


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        (ScoreColumns({"top": "dics"}, "is_top"), SchemaError, "did you mean 'disc'"),
        (ScoreColumns({"top": "name"}, "is_top"), InputError, "'name' has .* values that are no numbers"),
        (ScoreColumns({"top": "disc"}, "name"), InputError, "label 'x' of jet 0 is no class of these scores"),
        (ScoreColumns({}, "is_top"), InputError, "no score column"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, columns: ScoreColumns, error: type[HepcnnError], message: str) -> None:
    write_csv(tmp_path / "a.csv", table() | {"name": ["x"] * N})
    with pytest.raises(error, match=message):
        read_score_table(tmp_path / "a.csv", columns)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("disc,is_top,w,jet_pt\n0.1,0,1,300\n0.2,1\n")
    with pytest.raises(InputError, match=r"a\.csv"):
        read_score_table(tmp_path / "a.csv", COLUMNS)
    (tmp_path / "empty_cell.csv").write_text("disc,is_top,w,jet_pt\n0.1,0,1,300\n,1,1,300\n")
    with pytest.raises(InputError, match=r"1 of 2 values that are no numbers \(the first is nothing in row 1"):
        read_score_table(tmp_path / "empty_cell.csv", COLUMNS)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(InputError, match="parquet file is damaged"):
        read_score_table(tmp_path / "b.parquet", COLUMNS)
    with pytest.raises(InputError):
        read_score_table(tmp_path / "missing.root", COLUMNS)
    with pytest.raises(InputError):
        read_score_table(tmp_path / "missing.csv", COLUMNS)
    with uproot.recreate(tmp_path / "two.root") as file:
        file["a"], file["b"] = table(), table()
    with pytest.raises(SchemaError, match="found a, b: name one with --tree"):
        read_score_table(tmp_path / "two.root", COLUMNS)
    write_hdf5(tmp_path / "uneven.h5", table() | {"disc": np.ones(N - 1)})
    with pytest.raises(InputError, match="399"):
        read_score_table(tmp_path / "uneven.h5", COLUMNS)
    pyarrow.parquet.write_table(pyarrow.table({"disc": [0.1, None], "is_top": [0, 1]}), tmp_path / "null.parquet")
    with pytest.raises(InputError, match="1 missing values"):
        read_score_table(tmp_path / "null.parquet", ScoreColumns({"top": "disc"}, "is_top"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"disc": np.where(np.arange(N) == 7, np.nan, 0.5)}, "are NaN or infinite, the first at"),
        ({"disc": np.where(np.arange(N) == 7, np.inf, 0.5)}, "NaN or infinite"),
        ({"is_top": np.full(N, 3)}, "out of range (first 3), expected 0 to 1"),
        ({"is_top": np.zeros(N, int)}, "no jet of class 'top'"),
        ({"w": np.zeros(N)}, "have weight zero"),
        ({"w": np.full(N, -1.0)}, "expected more than zero"),
    ],
)
def test_unusable_values_stop_the_verb_with_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **(table() | change))
    options = ["--score", "top=disc", "--label", "is_top", "--weight", "w"]
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "a.npz"), *options, "-o", str(tmp_path / "out")])
    assert isinstance(result.exception, HepcnnError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_two_files_of_other_jets_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **table())
    np.savez(tmp_path / "b.npz", **{name: column[: N // 2] for name, column in table().items()})
    options = ["--score", "top=disc", "--label", "is_top", "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), *options])
    assert "these are not the same jets" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_options_without_a_score_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **table())
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "a.npz"), "--weight", "w", "-o", str(tmp_path / "o")])
    assert "no --score" in str(result.exception)
