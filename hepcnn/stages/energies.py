"""Energies of scores files → numbers, tables, differences and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepcnn.errors import InputError
from hepcnn.evaluation.energy_metrics import (
    TermDifference,
    compare_energies,
    evaluate_energies,
)
from hepcnn.evaluation.energy_tables import EnergyRow, make_energy_csv, make_energy_latex, make_energy_markdown
from hepcnn.io.scores import Scores
from hepcnn.stages.records import RunRecord

ENERGY = "energy"
"""Key of what ``metrics.json`` says of energies, beside those of the signal classes."""
Taggers = Mapping[str, Sequence[Scores]]


def measure_energies(scores: Sequence[Scores]) -> dict[str, Any]:
    """What ``metrics.json`` says of one tagger's energies, by class; empty for a tagger that measures none.

    Raises
    ------
    InputError
        When the true energies are not known.
    """
    if not scores[0].has_energy:
        return {}
    if ENERGY not in scores[0].truth:
        raise InputError("the scores hold predicted energies, but no true ones in truth/energy")
    return evaluate_energies(scores)


def join_metrics(metrics: Mapping[str, Any], energy: Mapping[str, Any]) -> dict[str, Any]:
    """What ``metrics.json`` holds: records by signal class, and those of energies under one key more.

    Raises
    ------
    InputError
        When a signal class has the name of that key.
    """
    if energy and ENERGY in metrics:
        raise InputError(f"a class is called '{ENERGY}', as what metrics.json says of energies is: call it otherwise")
    return {**metrics, **({ENERGY: energy} if energy else {})}


def energies_of(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By tagger, what ``metrics.json`` says of energies, for the taggers that measure them."""
    return {name: found[ENERGY] for name, found in metrics.items() if ENERGY in found}


def split_taggers(taggers: Taggers) -> tuple[dict[str, Sequence[Scores]], dict[str, Sequence[Scores]]]:
    """The taggers that tell classes apart, and those that measure energies; one may be both."""
    identity = {name: scores for name, scores in taggers.items() if scores[0].has_identity}
    return identity, {name: scores for name, scores in taggers.items() if scores[0].has_energy}


def compare_classes(
    taggers: Taggers, evaluated: Mapping[str, Mapping[str, Any]], *, is_paired: bool = True
) -> dict[str, list[TermDifference]]:
    """Who measures energies best, by class, paired; nobody where taggers were scored on different showers."""
    if not taggers:
        return {}
    names = next(iter(taggers.values()))[0].class_names
    if not is_paired:
        return {name: [] for name in names}
    mine = {name: evaluated[name] for name in taggers}
    return {name: compare_energies(taggers, number, mine) for number, name in enumerate(names)}


def make_energy_rows(
    evaluated: Mapping[str, Mapping[str, Any]], class_name: str, records: Sequence[RunRecord]
) -> list[EnergyRow]:
    """Rows of a class's table; taggers that know nothing of the class are left out."""
    by_name = {record.tagger: record for record in records}
    rows = []
    for name, found in evaluated.items():
        if class_name not in found:
            continue
        record = by_name.get(name)
        n_parameters = None if record is None else record.n_parameters
        rows.append(EnergyRow(name, found[class_name], n_parameters, is_baseline=bool(record and record.is_baseline)))
    return rows


def write_energy_tables(
    taggers: Taggers,
    evaluated: Mapping[str, Mapping[str, Any]],
    output: Path,
    *,
    records: Sequence[RunRecord] = (),
    is_paired: bool = True,
) -> dict[str, list[dict[str, Any]]]:
    """Write ``table_energy_<class>.md``, ``.tex`` and ``.csv``; returns the paired differences by class, for JSON."""
    differences = compare_classes(taggers, evaluated, is_paired=is_paired)
    for class_name, pairs in differences.items():
        rows = make_energy_rows(evaluated, class_name, records)
        if not rows:
            continue
        stem = f"table_energy_{class_name}"
        (output / f"{stem}.md").write_text(make_energy_markdown(rows, pairs, class_name), encoding="utf-8")
        (output / f"{stem}.tex").write_text(make_energy_latex(rows), encoding="utf-8")
        (output / f"{stem}.csv").write_text(make_energy_csv(rows), encoding="utf-8")
    return {f"{ENERGY} of {name}": [pair.to_dict() for pair in pairs] for name, pairs in differences.items() if pairs}


def check_energies_of(scores: Scores) -> None:
    """Check that predictions are as many as showers, and numbers.

    Raises
    ------
    InputError
        Naming what is not.
    """
    for name, values in scores.prediction.items():
        bad = ~np.isfinite(values)
        if bad.any():
            raise InputError(f"prediction/{name}: {int(bad.sum())} of {len(values)} are NaN or infinite")
