"""Verbs about finished runs, the machine and what a study costs: evaluate, report, doctor, plan."""

from pathlib import Path
from typing import Annotated

import typer

from hepcnn.cli.app import ConfigOption, JsonOption, LabelOption, OutputOption, StyleOption, app


@app.command("evaluate")
def evaluate_verb(
    scores: Annotated[list[Path], typer.Argument(help="scores.h5 files: taggers, seeds, or both; or see --score.")],
    output: OutputOption,
    background: Annotated[str, typer.Option(help="The background class; by default qcd, else the first.")] = "",
    score: Annotated[
        list[str] | None,
        typer.Option(help="For files of other programs: CLASS=COLUMN, once per class; one alone is signal's."),
    ] = None,
    label: Annotated[str, typer.Option(help="Column of the class, its number or name.")] = "label",
    values: Annotated[
        list[str] | None,
        typer.Option(help="CLASS=NUMBER,NUMBER: labels that mean a class; jets of other labels are left out."),
    ] = None,
    weight: Annotated[str, typer.Option(help="Column of the weight.")] = "",
    jet: Annotated[
        list[str] | None,
        typer.Option(help="NAME=COLUMN of a jet quantity: pt, eta, mass, process, n_constituents, n_pileup, …"),
    ] = None,
    tree: Annotated[str, typer.Option(help="The tree of a ROOT file, if it has several.")] = "",
    control: Annotated[
        list[Path] | None, typer.Option(help="scores.h5 of a tagger's training on two halves of one class.")
    ] = None,
    style: StyleOption = "hepcnn",
    experiment_label: LabelOption = "Simulation Preliminary",
    json_: JsonOption = False,
) -> None:
    """Measure scores: AUC, rejections with errors, working points, robustness, tables and plots.

    Scores of other programs are read from ROOT, HDF5, npz, CSV and parquet:
    hepcnn evaluate theirs.root --score top=disc_top --label is_top --jet pt=jet_pt -o out
    """
    from hepcnn import console
    from hepcnn.evaluation.plot_style import PlotStyle
    from hepcnn.io.score_columns import name_columns
    from hepcnn.stages.describe import spool_evaluation
    from hepcnn.stages.evaluate import evaluate_files
    from hepcnn.stages.records import read_tables
    from hepcnn.stages.track import track_in_study

    columns = name_columns(score or [], label=label, weight=weight, jets=jet or [], tree=tree, values=values or [])
    with track_in_study(output.resolve().parent, "evaluate", output.resolve().name) as spool:
        metrics = evaluate_files(
            scores,
            output,
            background=background or None,
            columns=columns,
            controls=control or [],
            style=PlotStyle(style, experiment_label),
        )
        if spool is not None:
            spool_evaluation(spool, scores, output)
    if json_:
        console.print_json(metrics)
    else:
        for table in read_tables(output):
            console.out.print(table)


@app.command("report")
def report_verb(config: ConfigOption, output: OutputOption) -> None:
    """Write the report of a study: one page with tables, plots, average images, and links to the runs."""
    from hepcnn import console, paths
    from hepcnn.config import read_study
    from hepcnn.stages.report import write_report

    study = read_study(config)
    write_report(study, output)
    if paths.tracked(paths.study_dir(study.results, study.study)).exists():
        from hepcnn.tracking.sync import attach_report

        attach_report(study, output)
    console.out.print(f"report: {output}")


@app.command("doctor")
def doctor_verb(
    config: Annotated[Path | None, typer.Option("--config", "-c", help="A study: what it needs must work.")] = None,
    executor: Annotated[str, typer.Option(help="What Snakemake runs jobs with: slurm, htcondor or local.")] = "local",
    before_run: Annotated[
        bool, typer.Option("--before-run", help="Only what would end a workflow hours later; takes a second.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Say what this machine can do, for a study or at all, what is wrong with it, and how to mend it.

    One line each: ok, warn or fail. Ends with 1 when something that is needed fails.
    """
    from hepcnn import console
    from hepcnn.config import read_study
    from hepcnn.stages.examine import HERE, examine_before_run, examine_machine, examine_study

    if before_run and config is None:
        raise typer.BadParameter("--before-run is about a study: name it with --config")
    submitter = "" if executor in HERE else executor
    study = read_study(config) if config is not None else None
    if study is None:
        found = examine_machine(submitter)
    else:
        found = examine_before_run(study, submitter) if before_run else examine_study(study, submitter)
    findings = []
    for finding in found:
        findings.append(finding)
        if not json_:
            console.out.print(finding.describe())
    is_ok = all(finding.state != "fail" for finding in findings)
    told = {"ok": is_ok, "findings": [finding.to_dict() for finding in findings]}
    if json_:
        console.print_json(told)
    if not is_ok:
        raise typer.Exit(1)


@app.command("plan")
def plan_verb(
    config: ConfigOption,
    parallel: Annotated[int, typer.Option("--parallel", "-p", help="Cores at a time; 0: those of this machine.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Say what a study will cost after a short calibration: jobs, core-hours, GPU-hours, disk and wall time.

    Run it on a machine like those that the jobs will get. The report compares the plan with what was used.
    """
    import tempfile

    from hepcnn import console, paths
    from hepcnn.config import read_study
    from hepcnn.doctor import require_extras
    from hepcnn.doctor.machine import count_cores
    from hepcnn.errors import ConfigError
    from hepcnn.stages.costs import write_plan
    from hepcnn.stages.plan import check_study

    study = read_study(config)
    check_study(study)
    if parallel < 0:
        raise ConfigError(f"--parallel must be at least 1 (got {parallel})")
    require_extras("train", "evaluate", "workflow")
    from hepcnn.planning.calibrate import calibrate
    from hepcnn.planning.estimate import estimate
    from hepcnn.planning.table import make_table

    with tempfile.TemporaryDirectory(prefix="hepcnn-plan-") as folder:
        calibration = calibrate(study, Path(folder), say=console.err.print)
    plan = estimate(study, calibration, parallel=parallel or max(int(count_cores()), 1))
    path = write_plan(plan, paths.study_dir(study.results, study.study))
    if json_:
        console.print_json(plan.model_dump(mode="json") | {"calibration": calibration.model_dump(mode="json")})
        return
    console.out.print(make_table(plan))
    for note in plan.notes:
        console.err.print(f"note: {note}")
    console.err.print(f"{path}: kept for the report")
