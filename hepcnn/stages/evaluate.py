"""Scores of one or several taggers → metrics, working points, tables and pictures."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepcnn import paths
from hepcnn.atomic import atomic_path
from hepcnn.errors import InputError
from hepcnn.evaluation.control import describe_controls, read_controls
from hepcnn.evaluation.csv_table import make_csv_table
from hepcnn.evaluation.plot_style import PlotStyle
from hepcnn.evaluation.study import compare_taggers, describe_difference, make_rows
from hepcnn.evaluation.summary import choose_background
from hepcnn.evaluation.tables import (
    PairedDifference,
    TableRow,
    make_latex_table,
    make_markdown_table,
    make_verdict,
)
from hepcnn.io.score_columns import ScoreColumns
from hepcnn.io.score_tables import read_score_table
from hepcnn.io.scores import Scores, read_scores
from hepcnn.stages.energies import join_metrics, measure_energies, split_taggers, write_energy_tables
from hepcnn.stages.measure import describe_corrections, measure_robustness, measure_scores
from hepcnn.stages.pictures import find_signals, signal_suffix, write_pictures
from hepcnn.stages.records import RunRecord, read_record, write_json
from hepcnn.stages.score_files import Place, check_together


@dataclass(frozen=True)
class Comparison:
    """Taggers side by side for one signal class."""

    signal: str
    background: str
    rows: Sequence[TableRow]
    differences: Sequence[PairedDifference]

    @property
    def markdown(self) -> str:
        """The table and what it says."""
        return (
            make_markdown_table(self.rows, self.differences) + "\n" + make_verdict(self.rows, self.differences) + "\n"
        )


def read_taggers(
    files: Sequence[str | os.PathLike[str]], columns: ScoreColumns | None = None
) -> dict[str, list[Scores]]:
    """Read scores and group them by tagger, in the order given; the scores of one tagger are its seeds.

    With ``columns``, the files are those of another program, and each is a tagger of its own.

    Raises
    ------
    InputError
        When a file cannot be read or used, two hold the same tagger and seed, or are about different jets.
    EmptySampleError
        For a class without jets, or without a positive sum of weights.
    """
    taggers: dict[str, list[Scores]] = {}
    known: dict[Place, Scores] = {}
    for path in files:
        scores = read_scores(path) if columns is None else read_score_table(path, columns)
        known[path] = scores
        name = scores.model or Path(path).stem
        if any(other.seed == scores.seed for other in taggers.get(name, [])):
            raise InputError(f"{path}: tagger '{name}' with seed {scores.seed} was given before")
        taggers.setdefault(name, []).append(scores)
    if not taggers:
        raise InputError("no scores file given")
    check_together(known)
    return taggers


def find_validation(
    files: Sequence[str | os.PathLike[str]], taggers: Mapping[str, Sequence[Scores]]
) -> dict[str, Scores]:
    """Validation scores that lie beside the scores of each tagger's first seed, of the same training."""
    found: dict[str, Scores] = {}
    for path in files:
        candidate = paths.validation_scores(Path(path).parent)
        if Path(path).name != paths.scores(Path()).name or not candidate.exists():
            continue
        validation = read_scores(candidate)
        first = taggers.get(validation.model, [None])[0]
        if first is not None and (first.seed, first.bundle_id) == (validation.seed, validation.bundle_id):
            found[validation.model] = validation
    return found


def _describe_left_out(taggers: Mapping[str, Sequence[Scores]]) -> str:
    """What stands below the table where jets of other labels were left out."""
    counts = {name: scores[0].extra.get("left_out", 0) for name, scores in taggers.items()}
    return "".join(f"\n{name}: {n} jets of other labels are left out.\n" for name, n in counts.items() if n)


def compare(
    taggers: Mapping[str, Sequence[Scores]],
    *,
    signal: str,
    background: str | None,
    records: Sequence[RunRecord] = (),
    evaluated: Mapping[str, Mapping[str, Any]] | None = None,
) -> Comparison:
    """Put taggers side by side for one signal class; records of their runs add size and time.

    ``evaluated`` holds by tagger what was measured, where that is known already.
    """
    by_name = {record.tagger: record for record in records}
    rows = make_rows(
        taggers,
        signal=signal,
        background=background,
        n_parameters={name: record.n_parameters for name, record in by_name.items()},
        train_seconds={name: record.train_seconds for name, record in by_name.items()},
        baselines=[name for name, record in by_name.items() if record.is_baseline],
        evaluated=evaluated,
    )
    against = choose_background(next(iter(taggers.values()))[0].class_names, background)
    return Comparison(signal, against, rows, compare_taggers(taggers, rows, signal=signal, background=against))


def find_records(files: Sequence[str | os.PathLike[str]]) -> list[RunRecord]:
    """The run records that lie beside scores files; a file without one has none."""
    candidates = [paths.run_record(Path(path).parent) for path in files]
    return [read_record(path) for path in candidates if path.exists()]


def evaluate_files(
    files: Sequence[str | os.PathLike[str]],
    output: Path,
    *,
    background: str | None = None,
    columns: ScoreColumns | None = None,
    controls: Sequence[str | os.PathLike[str]] = (),
    style: PlotStyle | None = None,
) -> dict[str, Any]:
    """Evaluate scores files, one or several taggers, one or several seeds each.

    Parameters
    ----------
    files
        ``scores.h5`` files. Files of one tagger are its seeds; all must hold the same jets.
    output
        A folder; gets ``metrics.json`` (by signal class, and under ``energy`` by class of showers where these are
        measured; with several taggers by tagger and signal class),
        ``working_points.json`` alike, ``corrections.json`` (the working points for correctionlib, where the jets' pT
        and eta are known), ``robustness.json`` (by tagger: efficiencies against what is known of the jets, and mass
        sculpting), ``differences.json`` (paired, where there are several taggers), ``table.md``, ``table.tex``,
        ``table.csv`` and the plots as PNG and PDF. With several signal classes, tables and plots carry the class in
        their names. Thresholds and temperatures are found on the jets of ``scores_val.h5`` where that lies beside
        ``scores.h5``.
    background
        The background class; by default ``qcd`` where there is one, else the first.
    columns
        For files of other programs: which columns hold what.
    controls
        ``scores.h5`` files of the taggers' trainings on two halves of one class.
    style
        Of the pictures.

    Returns
    -------
    dict
        What ``metrics.json`` holds.

    Raises
    ------
    InputError, EmptySampleError
        For scores that cannot be used or do not belong together.
    """
    taggers = read_taggers(files, columns)
    records = find_records(files) if columns is None else []
    validation = {} if columns is not None else find_validation(files, taggers)
    measured = {
        name: measure_scores(scores, background=background, validation=validation.get(name))
        for name, scores in taggers.items()
    }
    evaluated = {name: pair[0] for name, pair in measured.items()}
    identity, energetic = split_taggers(taggers)
    energies = {name: measure_energies(scores) for name, scores in taggers.items()}
    for name, by_signal in evaluated.items():
        if n := taggers[name][0].extra.get("left_out"):
            for record in by_signal.values():
                record["n_left_out"] = n
    control = read_controls(controls, taggers)
    for name, found in control.items():
        for by_signal in evaluated[name].values():
            by_signal["control"] = found
    metrics: dict[str, Any] = {name: join_metrics(pair[0], energies[name]) for name, pair in measured.items()}
    by_tagger = {name: pair[1] for name, pair in measured.items()}
    points: dict[str, Any] = dict(by_tagger)
    if len(taggers) == 1:
        (metrics,), (points,) = metrics.values(), points.values()
    output.mkdir(parents=True, exist_ok=True)
    write_json(paths.metrics(output), metrics)
    write_json(paths.working_points(output), points)
    robustness = {name: measure_robustness(scores[0], background=background) for name, scores in identity.items()}
    write_json(paths.robustness(output), robustness)
    if (corrections := describe_corrections(identity, by_tagger, background=background)) is not None:
        with atomic_path(paths.corrections(output)) as partial:
            partial.write_text(corrections, encoding="utf-8")
    signals = find_signals(identity, background)
    differences: dict[str, Any] = {}
    for signal in signals:
        suffix = signal_suffix(signal, signals)
        comparison = compare(identity, signal=signal, background=background, records=records, evaluated=evaluated)
        differences[signal] = [describe_difference(pair) for pair in comparison.differences]
        text = comparison.markdown + _describe_left_out(identity) + describe_controls(control)
        (output / f"table{suffix}.md").write_text(text, encoding="utf-8")
        latex = make_latex_table(comparison.rows, comparison.differences)
        (output / f"table{suffix}.tex").write_text(latex, encoding="utf-8")
        text = make_csv_table(comparison.rows, comparison.differences)
        (output / f"table{suffix}.csv").write_text(text, encoding="utf-8")
    differences |= write_energy_tables(energetic, energies, output, records=records)
    if len(taggers) > 1:
        write_json(paths.differences(output), differences)
    write_pictures(taggers, output, background=background, style=style)
    return metrics
