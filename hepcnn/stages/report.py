"""The report of a study: one page that says what was run and what came out."""

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hepcnn import paths
from hepcnn.atomic import atomic_path
from hepcnn.bundle import describe_versions
from hepcnn.config import StudyConfig
from hepcnn.evaluation.plot_style import PlotStyle, use_style
from hepcnn.evaluation.plots import save_figure
from hepcnn.evaluation.published import describe_published, find_published
from hepcnn.evaluation.report import ClassCounts, Picture, StudyReport, make_picture, make_report
from hepcnn.evaluation.tables import TableRow
from hepcnn.evaluation.training_plots import plot_training
from hepcnn.evaluation.working_points import WorkingPoints, working_points_from_json
from hepcnn.images.grids import Grid, describe_grid
from hepcnn.stages.costs import compare_costs
from hepcnn.stages.data_section import (
    count_read,
    draw_spectra,
    list_files,
    list_skipped,
    make_cutflow,
    read_cards,
)
from hepcnn.stages.energies import energies_of, split_taggers
from hepcnn.stages.energy_section import describe_energies, draw_showers, list_rejections, read_evaluated
from hepcnn.stages.evaluate import Comparison, compare, find_records, read_taggers
from hepcnn.stages.image_section import draw_average_images
from hepcnn.stages.pictures import collect_pictures, find_signals
from hepcnn.stages.plan import ensembles_of, runs_of
from hepcnn.stages.records import RunRecord, read_json
from hepcnn.stages.report_links import link_runs, note_runs
from hepcnn.stages.response_section import describe_responses
from hepcnn.stages.samples import LoadedSample, load_sample

FEW_TEST_JETS = 2000
"""Up to how many of them the report shows unasked what the networks look at."""


def write_report(study: StudyConfig, output: Path) -> None:
    """Write ``report.html`` of a study whose taggers are trained and evaluated.

    Parameters
    ----------
    study
        The study.
    output
        The page to write: self-contained, it opens offline.

    Raises
    ------
    InputError
        When a stage's output is missing.
    """
    with use_style(PlotStyle(study.evaluation.style, study.evaluation.label)):
        page = make_report(_gather(study))
    with atomic_path(output) as partial:
        partial.write_text(page, encoding="utf-8")


def _gather(study: StudyConfig) -> StudyReport:
    """All that the report says."""
    root = paths.study_dir(study.results, study.study)
    files = [paths.scores(paths.run_dir(root, name, seed)) for name, seed in runs_of(study)]
    taggers, records, sample = read_taggers(files), find_records(files), load_sample(study)
    cards = read_cards(study)
    identity, energetic = split_taggers(taggers)
    evaluated = read_evaluated(root, taggers)
    signals = find_signals(identity, study.evaluation.background)
    comparison = Comparison("", "", (), ())
    if signals:
        comparison = compare(identity, signal=signals[0], background=study.evaluation.background, records=records)
    points = _read_working_points(root, study, comparison.signal)
    costs, cost_notes = compare_costs(root)
    responses, response_table = describe_responses(
        study, root, signal=comparison.signal, background=comparison.background
    )
    return StudyReport(
        name=study.study,
        date=datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        signal=comparison.signal,
        background=comparison.background,
        rows=comparison.rows,
        differences=comparison.differences,
        summary=_summarise(study, sample),
        versions=describe_versions(),
        config=_describe_config(study),
        data=[
            ClassCounts(name, count_read(cards, name), sum(by_split.values()), by_split)
            for name, by_split in sample.counts.items()
        ],
        sources=list_files(cards),
        skipped=list_skipped(cards),
        cutflow=make_cutflow(cards, study.class_names),
        spectra=draw_spectra(cards, study.class_names),
        average_images=draw_average_images(
            sample.dataset, root, (comparison.signal, comparison.background) if signals else None
        ),
        performance=collect_pictures(paths.summary_dir(root)),
        showers=draw_showers(sample.dataset, sample.splits["test"], root),
        energies=describe_energies(paths.summary_dir(root), energetic, records, energies_of(evaluated)),
        rejections=list_rejections(evaluated, comparison.signal),
        training=_draw_training(records, root),
        responses=responses,
        response_table=response_table,
        explanations=_explain(study, sample, root, comparison.signal),
        published=find_published(study.evaluation.published) if study.evaluation.published else (),
        working_points=points,
        runs=link_runs(root),
        reuse_python=_python_snippet(root, study, comparison),
        reuse_cli=f"hepcnn tag --bundle {_best_bundle(root, study, comparison)} jets.root -o friend.root",
        notes=_notes(study, signals, comparison.rows, points),
        costs=costs,
        cost_notes=cost_notes,
    )


def _summarise(study: StudyConfig, sample: LoadedSample) -> str:
    made = [name for name, value in study.samples.items() if value.process]
    source = f"Jets of {' and '.join(made)} were generated with the preset {study.generate.preset}. " if made else ""
    if showers := [name for name, value in study.samples.items() if value.particle]:
        source += (
            f"Showers of {' and '.join(showers)} were generated in the detector {study.generate.showers.detector}. "
        )
    n_train = sum(counts["train"] for counts in sample.counts.values())
    n_test = sum(counts["test"] for counts in sample.counts.values())
    taggers = ", ".join(study.models)
    return (
        f"{source}The taggers {taggers} and the baselines learnt to tell {' and '.join(study.samples)} apart from "
        f"{n_train} jets and were tested on {n_test} others; every row of the table is about the same test jets."
    )


def _describe_config(study: StudyConfig) -> dict[str, str]:
    grid = study.images.grid
    return {
        "grid": describe_grid(grid) if isinstance(grid, Grid) else "that of the files",
        "selection": "; ".join(f"{name} {_describe_bounds(*bounds)}" for name, bounds in study.images.select.items())
        or "all jets",
        "channels": ", ".join(study.images.channels),
        "preprocessing": ", ".join(study.images.preprocess),
        "jet-level inputs": ", ".join(study.training.jet_features) or "none",
        "training": f"{study.training.epochs} epochs of batches of {study.training.batch_size}, seeds {study.seeds}",
        "split": _describe_split(study),
    }


def _describe_split(study: StudyConfig) -> str:
    split = study.split
    if split.by_file is None:
        told = f"{split.train:g} train, {split.val:g} validation, {split.test:g} test, by event"
    else:
        told = "; ".join(f"{name}: {', '.join(files)}" for name, files in split.by_file.model_dump().items())
    return told + (f"; at most {split.max_jets:,} jets of each class in each" if split.max_jets else "")


def _describe_bounds(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"from {low:g}" if low is not None else f"below {high:g}" if high is not None else "any"
    return f"{low:g} to {high:g}"


def _draw_training(records: Sequence[RunRecord], root: Path) -> list[Picture]:
    histories: dict[str, list[Any]] = {}
    for record in records:
        if record.history:
            histories.setdefault(record.tagger, []).append(record.history)
    if not histories:
        return []
    figure = plot_training(histories)
    save_figure(figure, paths.summary_dir(root) / "training")
    caption = "Loss and validation AUC after each epoch; bands are one standard deviation of single trainings."
    return [make_picture(figure, title="Training", caption=caption)]


def _explain(study: StudyConfig, sample: LoadedSample, root: Path, signal: str) -> dict[str, list[Picture]]:
    wanted = study.evaluation.explain
    # Explanations are of what tells two classes apart.
    if not signal:
        return {}
    if not (len(sample.splits["test"]) <= FEW_TEST_JETS if wanted is None else wanted):
        return {}
    # Here, so that reports without it need no torch.
    from hepcnn.stages.explain import explain_study

    return explain_study(study, sample, paths.summary_dir(root), signal=signal)


def _networks(study: StudyConfig) -> list[str]:
    """The taggers that are bundles: networks, and ensembles of them."""
    return [*study.models, *ensembles_of(study)]


def _read_working_points(root: Path, study: StudyConfig, signal: str) -> Mapping[str, WorkingPoints]:
    points = {}
    for name in _networks(study) if signal else ():
        values = read_json(paths.working_points(paths.run_dir(root, name, study.seeds[0])))
        if signal in values:
            points[name] = working_points_from_json(json.dumps(values[signal]))
    return points


def _best_bundle(root: Path, study: StudyConfig, comparison: Comparison) -> Path:
    networks = [row for row in comparison.rows if row.name in _networks(study)]
    if not networks:
        return paths.bundle(paths.run_dir(root, _networks(study)[0], study.seeds[0]))
    best = max(networks, key=lambda row: float(row.measurement("auc")["value"]))
    return paths.bundle(paths.run_dir(root, best.name, study.seeds[0]))


def _python_snippet(root: Path, study: StudyConfig, comparison: Comparison) -> str:
    return (
        "import hepcnn\n\n"
        f'tagger = hepcnn.Tagger.load("{_best_bundle(root, study, comparison)}")\n'
        "scores = tagger(constituents)  # ak.Array of jets of records {pt, eta, phi, …}, GeV and rad\n"
        f"# columns: {', '.join(study.class_names)}"
    )


def _notes(
    study: StudyConfig, signals: Sequence[str], rows: Sequence[TableRow], points: Mapping[str, WorkingPoints]
) -> list[str]:
    # Working points say what they were found on where that may be other jets than those that measure them.
    splits = {getattr(point, "found_on", "test") for one in points.values() for point in one.points} - {"test"}
    found_on = f"found on the {' and '.join(sorted(splits))} jets" if splits else "found on the test jets themselves"
    notes = [f"Working points were {found_on}."]
    notes += note_runs(study, paths.study_dir(study.results, study.study))
    if study.evaluation.published and rows:
        n_test = rows[0].metrics["n_signal"] + rows[0].metrics["n_background"]
        notes.append(describe_published(study.evaluation.published, n_test))
    if any(sample.process for sample in study.samples.values()):
        notes.append("Generated jets passed a parametrised detector, not a full simulation.")
    if any(sample.particle for sample in study.samples.values()):
        notes.append("Generated showers follow the GFLASH parametrisation, not a full simulation.")
    if len(signals) > 1:
        others = " and ".join(signals[1:])
        notes.append(f"Table and working points are about {signals[0]}; those of {others} are in the summary's files.")
    return notes
