"""Scores that another program wrote: columns of a ROOT, HDF5, npz, CSV or parquet file → `Scores`."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import InputError, SchemaError, did_you_mean, require
from hepcnn.io.score_columns import ScoreColumns
from hepcnn.io.scores import Scores
from hepcnn.io.tables import open_tables

PARQUET_MAGIC = b"PAR1"
LARGEST_LOGIT = 30.0
"""A score beyond this, plus or minus, would be 0 or 1 as a probability, and tied with others."""


def read_score_table(path: str | os.PathLike[str], columns: ScoreColumns) -> Scores:
    """Read scores that another program wrote.

    Parameters
    ----------
    path
        A file; the format is told by its first bytes, and by the suffix for CSV.
    columns
        Which columns hold what. Lists per event, such as ``FatJet_pt``, are laid end to end.

    Returns
    -------
    Scores
        With ``score`` in float64, whose order is that of the file's numbers; ``model`` is the name of the file.

    Raises
    ------
    InputError, SchemaError
        When the file cannot be read, a column is missing or holds no numbers, columns differ in length, a label is the
        number or the name of no class, or logits are so large that probabilities would tie them.

    Notes
    -----
    A logit x becomes the probability ``1 / (1 + exp(-x))``; thresholds found on it are of the probability. NaN and
    infinite values pass through here; the evaluation refuses them and says how many there are.
    """
    if not columns.score:
        raise InputError(f"{path}: no score column named")
    found = _read_columns(Path(path), columns)
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"{path}: columns differ in length: {', '.join(f'{n}: {v}' for n, v in lengths.items())}")
    n_jets = next(iter(lengths.values()))
    weight = np.ones(n_jets) if columns.weight is None else _numbers(found, columns.weight, path)
    jets = {
        name: found[column] if name == "process" else _numbers(found, column, path)
        for name, column in columns.jets.items()
    }
    label, kept = _make_label(found[columns.label], columns, path)
    return Scores(
        _make_score(found, columns, path)[kept],
        label[kept],
        weight[kept],
        {name: column[kept] for name, column in jets.items()},
        columns.class_names,
        split="",
        model=Path(path).stem,
        extra={"columns": dict(columns.score), "left_out": int(n_jets - kept.sum())},
    )


def _numbers(found: Mapping[str, NDArray[Any]], name: str, path: str | os.PathLike[str]) -> NDArray[np.float64]:
    values = found[name]
    if values.dtype.kind not in "biuf":
        raise InputError(f"{path}: column '{name}' {_describe_texts(values)}, expected numbers")
    return values.astype(np.float64)


def _make_score(
    found: Mapping[str, NDArray[Any]], columns: ScoreColumns, path: str | os.PathLike[str]
) -> NDArray[np.float64]:
    stacked = np.stack([_numbers(found, name, path) for name in columns.score.values()], axis=1)
    if stacked.shape[1] > 1:
        return stacked
    score = stacked[:, 0]
    finite = score[np.isfinite(score)]
    if len(finite) and (finite.min() < 0 or finite.max() > 1):
        largest = float(np.abs(finite).max())
        if largest > LARGEST_LOGIT:
            raise InputError(
                f"{path}: column '{next(iter(columns.score.values()))}' reaches {largest:g}; expected probabilities "
                f"from 0 to 1, or logits within ±{LARGEST_LOGIT:g}, beyond which their probabilities are tied"
            )
        # Both ways round, so that neither end loses digits; NaN stays NaN, and infinity ends at 0 and 1.
        lost = ~np.isfinite(score)
        signal, background = 1 / (1 + np.exp(-np.where(lost, 0, score))), 1 / (1 + np.exp(np.where(lost, 0, score)))
        return np.stack([np.where(lost, score, background), np.where(lost, score, signal)], axis=1)
    return np.stack([1 - score, score], axis=1)


def _describe_texts(values: NDArray[Any]) -> str:
    """Say which of the texts where numbers should be are none, an empty cell among them."""
    wrong = []
    for row, value in enumerate(values.tolist()):
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        try:
            float(text)
        except ValueError:
            wrong.append(f"'{text}' in row {row}" if text else f"nothing in row {row}")
    return (
        f"has {len(wrong)} of {len(values)} values that are no numbers (the first is {wrong[0]})"
        if wrong
        else "is text"
    )


def _make_label(
    values: NDArray[Any], columns: ScoreColumns, path: str | os.PathLike[str]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The class of each jet, and which jets have one."""
    everything = np.ones(len(values), np.bool_)
    if columns.values:
        return _match_label(values, columns, path)
    if values.dtype.kind not in "USO":
        return values, everything
    names = [value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist()]
    number = {name: i for i, name in enumerate(columns.class_names)}
    for row, name in enumerate(names):
        if name not in number:
            hint = did_you_mean(name, number)
            raise InputError(f"{path}: label '{name}' of jet {row} is no class of these scores{hint}")
    return np.array([number[name] for name in names], np.int64), everything


def _match_label(
    values: NDArray[Any], columns: ScoreColumns, path: str | os.PathLike[str]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if values.dtype.kind not in "biuf":
        raise InputError(f"{path}: values of labels are given, but column '{columns.label}' holds no numbers")
    label = np.full(len(values), -1, np.int64)
    for name, meant in columns.values.items():
        if name not in columns.class_names:
            raise InputError(f"label values of '{name}': no such class{did_you_mean(name, columns.class_names)}")
        label[np.isin(values, meant)] = columns.class_names.index(name)
    return label, label >= 0


def _read_columns(path: Path, columns: ScoreColumns) -> dict[str, NDArray[Any]]:
    if path.suffix.lower() in (".csv", ".tsv"):
        return _read_csv(path, columns.needed)
    if path.is_file():
        with path.open("rb") as file:
            is_parquet = file.read(4) == PARQUET_MAGIC
        if is_parquet:
            return _read_parquet(path, columns.needed)
    with open_tables(path) as tables:
        names = tables.names()
        if columns.tree is None and len(names) != 1:
            there = ", ".join(names) or "none"
            raise SchemaError(f"{path}: expected one tree or table, found {there}: name one with --tree")
        table = tables.table(columns.tree or names[0])
        table.check(columns.needed)
        return _flatten(path, table.read(columns.needed, 0, table.n_entries))


def _flatten(path: Path, read: Mapping[Any, ak.Array]) -> dict[str, NDArray[Any]]:
    """Lay lists per event end to end; all columns must have as many per event."""
    lists = {str(name): column for name, column in read.items() if column.ndim > 1}
    if not lists:
        return {str(name): np.asarray(ak.to_numpy(column)) for name, column in read.items()}
    first, *others = lists
    counts = ak.num(lists[first])
    for name in others:
        if not ak.all(ak.num(lists[name]) == counts):
            raise InputError(f"{path}: columns '{first}' and '{name}' have other numbers of jets in the same events")
    flat = {}
    for name, column in read.items():
        # What there is once per event, such as its weight, counts for each of its jets.
        per_jet = column if str(name) in lists else ak.broadcast_arrays(column, lists[first])[0]
        flat[str(name)] = np.asarray(ak.to_numpy(ak.flatten(per_jet)))
    return flat


def _read_csv(path: Path, needed: Sequence[str]) -> dict[str, NDArray[Any]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = [name.strip() for name in next(csv.reader(file, delimiter=delimiter), [])]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot read this file: {error}") from error
    for name in needed:
        if name not in header:
            raise SchemaError(f"{path}: no column '{name}'{did_you_mean(name, header)}")
    return {name: _read_csv_column(path, header.index(name), name, delimiter) for name in needed}


def _read_csv_column(path: Path, place: int, name: str, delimiter: str) -> NDArray[Any]:
    options: dict[str, Any] = {
        "delimiter": delimiter,
        "skiprows": 1,
        "usecols": place,
        "quotechar": '"',
        "comments": None,
        "encoding": "utf-8-sig",
        "ndmin": 1,
    }
    try:
        return np.loadtxt(path, dtype=np.float64, **options)
    except ValueError as error:
        if "usecols" in str(error) or "columns" in str(error):
            raise InputError(f"{path}: column '{name}': {error}") from error
        # A text, as a class's name; a number that is one only in part is refused where numbers are needed.
        return np.char.strip(np.loadtxt(path, dtype=str, **options))


def _read_parquet(path: Path, needed: Sequence[str]) -> dict[str, NDArray[Any]]:
    parquet = require("pyarrow.parquet", extra="workflow")
    try:
        file = parquet.ParquetFile(path)
        known = file.schema_arrow.names
        for name in needed:
            if name not in known:
                raise SchemaError(f"{path}: no column '{name}'{did_you_mean(name, known)}")
        table = file.read(columns=list(needed))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: this parquet file is damaged: {error}") from error
    found = {}
    for name in needed:
        column = table.column(name)
        if column.null_count:
            raise InputError(f"{path}: column '{name}' has {column.null_count} missing values, expected none")
        found[name] = (
            ak.from_arrow(column) if str(column.type).startswith(("list", "large_list")) else column.to_numpy()
        )
    if any(isinstance(column, ak.Array) for column in found.values()):
        return _flatten(path, {name: ak.Array(column) for name, column in found.items()})
    return {name: np.asarray(column) for name, column in found.items()}
