"""Finished runs side by side, wherever they are: tables, pictures and a page."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hepcnn.atomic import atomic_path
from hepcnn.errors import InputError
from hepcnn.evaluation.csv_table import make_csv_table
from hepcnn.evaluation.plot_style import PlotStyle
from hepcnn.evaluation.published import PublishedRow, describe_published, find_published
from hepcnn.evaluation.report import EnergySection, StudyReport, make_report
from hepcnn.evaluation.tables import make_latex_table, make_markdown_table, make_verdict
from hepcnn.evaluation.unpaired import compare_unpaired
from hepcnn.io.scores import Scores, read_scores
from hepcnn.stages.energies import measure_energies, split_taggers, write_energy_tables
from hepcnn.stages.energy_section import describe_energies
from hepcnn.stages.evaluate import Comparison, compare, find_records
from hepcnn.stages.pictures import collect_pictures, find_signals, signal_suffix, write_pictures
from hepcnn.stages.records import RunRecord
from hepcnn.stages.score_files import check_file

PAGE = "comparison.html"


@dataclass(frozen=True)
class Entry:
    """One scores file, and the name of its tagger where the user gave one."""

    path: Path
    name: str = ""


def find_scores(arguments: Sequence[str]) -> list[Entry]:
    """Find scores files by what a user names.

    Parameters
    ----------
    arguments
        Each a ``scores.h5``, or the folder of a run, a tagger or a study; ``NAME=`` before it names the tagger.

    Raises
    ------
    InputError
        When nothing is there, or a name stands for several taggers.
    """
    found = []
    for argument in arguments:
        name, path = "", argument
        if "=" in argument and not Path(argument).exists():
            name, _, path = argument.partition("=")
        files = list(_list_scores(Path(path)))
        if not files:
            raise InputError(f"{path}: neither scores nor a folder with any (scores.h5, seed1/scores.h5, …)")
        if name and len({file.parent.parent for file in files}) > 1:
            raise InputError(f"{argument}: '{name}' cannot stand for the taggers of a whole study: name one of them")
        found += [Entry(file, name) for file in files]
    return found


def _list_scores(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for pattern in ("scores.h5", "seed*/scores.h5", "*/seed*/scores.h5"):
        yield from sorted(path.glob(pattern)) if path.is_dir() else ()


def read_entries(entries: Sequence[Entry]) -> tuple[dict[str, list[Scores]], list[RunRecord]]:
    """Read scores, grouped by tagger, and the records that lie beside them under the same names.

    Raises
    ------
    InputError
        When a file cannot be read, two hold the same tagger and seed, or classes differ.
    """
    taggers: dict[str, list[Scores]] = {}
    records = []
    for entry in entries:
        scores = read_scores(entry.path)
        check_file(entry.path, scores)
        name = entry.name or scores.model or entry.path.stem
        if any(other.seed == scores.seed for other in taggers.get(name, [])):
            raise InputError(
                f"{entry.path}: tagger '{name}' with seed {scores.seed} was given before; name one of them otherwise: "
                f"OTHER={entry.path}"
            )
        first = next(iter(taggers.values()), [scores])[0]
        if tuple(first.class_names) != tuple(scores.class_names):
            raise InputError(f"{entry.path}: has the classes {scores.class_names}, the first file {first.class_names}")
        taggers.setdefault(name, []).append(scores)
        records += [replace(record, tagger=name) for record in find_records([entry.path])]
    return taggers, records


def are_on_same_jets(taggers: Mapping[str, Sequence[Scores]]) -> bool:
    """Whether all scores are about the same jets in the same order, as far as labels, weights and columns tell."""
    first = next(iter(taggers.values()))[0]
    return all(_is_alike(first, scores) for by_seed in taggers.values() for scores in by_seed)


def _is_alike(one: Scores, other: Scores) -> bool:
    shared = {"event_id", "pt", "eta", "phi", "mass"} & set(one.jets) & set(other.jets)
    same = np.array_equal(one.label, other.label) and np.array_equal(one.weight, other.weight)
    return same and all(np.array_equal(one.jets[name], other.jets[name]) for name in shared)


def compare_files(
    arguments: Sequence[str],
    output: Path,
    *,
    background: str | None = None,
    published: str = "",
    style: PlotStyle | None = None,
) -> list[Comparison]:
    """Compare taggers on one signal class after the other.

    Parameters
    ----------
    arguments
        As in `find_scores`.
    output
        A folder; gets ``table.md``, ``table.tex``, ``table.csv`` (with the class in their names where there are several
        signal classes), ``table_energy_<class>`` where energies were measured, pictures as PNG and PDF, and
        ``comparison.html`` about the first signal class.
    background
        The background class; by default ``qcd`` where there is one, else the first.
    published
        A sample whose published results stand below ours; see `hepcnn.evaluation.published`.
    style
        Of the pictures.

    Returns
    -------
    list
        One per signal class.

    Raises
    ------
    InputError, EmptySampleError
        For scores that cannot be used.

    Notes
    -----
    Differences are paired where all taggers were scored on the same jets; elsewhere the errors of both are added in
    quadrature, and the page says so.
    """
    others = find_published(published) if published else ()
    taggers, records = read_entries(find_scores(arguments))
    identity, energetic = split_taggers(taggers)
    signals, is_paired = find_signals(identity, background), are_on_same_jets(taggers)
    comparisons = []
    for signal in signals:
        if is_paired:
            found = compare(identity, signal=signal, background=background, records=records)
        else:
            found = _compare_unpaired(identity, records, signal, background)
        comparisons.append(found)
    output.mkdir(parents=True, exist_ok=True)
    for found in comparisons:
        write_tables(found, output, suffix=signal_suffix(found.signal, signals), published=others)
    evaluated = {name: measure_energies(scores) for name, scores in energetic.items()}
    write_energy_tables(energetic, evaluated, output, records=records, is_paired=is_paired)
    write_pictures(taggers, output, background=background, style=style)
    energies = describe_energies(output, energetic, records, evaluated, is_paired=is_paired)
    shown = comparisons[0] if comparisons else Comparison("", "", (), ())
    _write_page(shown, output, published, is_paired=is_paired, energies=energies)
    return comparisons


def _compare_unpaired(
    taggers: Mapping[str, Sequence[Scores]], records: Sequence[RunRecord], signal: str, background: str | None
) -> Comparison:
    alone = [
        compare({name: scores}, signal=signal, background=background, records=[r for r in records if r.tagger == name])
        for name, scores in taggers.items()
    ]
    rows = [row for one in alone for row in one.rows]
    return Comparison(signal, alone[0].background, rows, compare_unpaired(rows))


def write_tables(
    comparison: Comparison, output: Path, *, suffix: str = "", published: Sequence[PublishedRow] = ()
) -> None:
    """Write a comparison as ``table.md``, ``table.tex`` and ``table.csv``."""
    rows, differences = comparison.rows, comparison.differences
    texts = {
        "md": make_markdown_table(rows, differences, published) + "\n" + make_verdict(rows, differences) + "\n",
        "tex": make_latex_table(rows, differences, published),
        "csv": make_csv_table(rows, differences, published),
    }
    for kind, text in texts.items():
        with atomic_path(output / f"table{suffix}.{kind}") as partial:
            partial.write_text(text, encoding="utf-8")


def _write_page(
    comparison: Comparison, output: Path, published: str, *, is_paired: bool, energies: Sequence[EnergySection]
) -> None:
    notes = []
    if published and comparison.rows:
        metrics = comparison.rows[0].metrics
        notes.append(describe_published(published, metrics["n_signal"] + metrics["n_background"]))
    report = StudyReport(
        name="Comparison",
        date=datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        signal=comparison.signal,
        background=comparison.background,
        rows=comparison.rows,
        differences=comparison.differences,
        published=find_published(published) if published else (),
        is_paired=is_paired,
        performance=collect_pictures(output),
        notes=notes,
        energies=energies,
    )
    with atomic_path(output / PAGE) as partial:
        partial.write_text(make_report(report), encoding="utf-8")
