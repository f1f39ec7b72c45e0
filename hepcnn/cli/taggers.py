"""Verbs that train and use taggers: train, baseline, tag."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepcnn.cli.app import ConfigOption, OutputOption, SkipBadOption, app

if TYPE_CHECKING:
    from hepcnn.config import StudyConfig
    from hepcnn.config.training import TrainingConfig
    from hepcnn.tagger import TagSummary

ImagesOption = Annotated[
    list[Path] | None, typer.Option("--images", help="The study's images.h5 files; by default those in its folder.")
]


@app.command("train")
def train_verb(
    config: ConfigOption,
    model: Annotated[str, typer.Option("--model", "-m", help="Which of the study's models.")],
    output: OutputOption,
    seed: Annotated[int, typer.Option(help="Of the weights and the order of jets.")] = 1,
    images: ImagesOption = None,
    threads: Annotated[int, typer.Option(help="CPU threads; by default what OMP_NUM_THREADS or torch says.")] = 0,
    batch_size: Annotated[
        str, typer.Option(help="Instead of the config's: a number of jets, or 'auto' for the most that fit the GPU.")
    ] = "",
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only try learning rates, and write lr_finder.json; trains nothing.")
    ] = False,
) -> None:
    """Train a tagger of a study, or go on with it; writes bundle/, scores.h5 and metrics.json.

    Exit code 75 after SIGTERM or SIGUSR1: the state is saved, the same command goes on. Several processes share the
    batches: as many as training.processes says, or as torchrun or srun started.
    """
    from hepcnn.config import read_study
    from hepcnn.doctor import require_extras

    require_extras("train", "evaluate")
    study = read_study(config)
    if not find_lr:
        _share_out(study.training_of(model), threads)
    if batch_size:
        wished = int(batch_size) if batch_size.isdigit() else batch_size
        study = study.with_training(model, batch_size=wished)
    import torch

    from hepcnn.training.signals import run_again_when_preempted

    if threads:
        torch.set_num_threads(threads)
    act = _find_rate if find_lr else _train
    with run_again_when_preempted():
        act(study, model, seed, output, images or [])


def _share_out(config: "TrainingConfig", threads: int) -> None:
    """Where a training wants several processes and this is not one of them, become the program that starts them."""
    import os
    import sys

    from hepcnn.training.launch import make_launch

    if command := make_launch(config, sys.argv[1:], threads=threads, environment=os.environ):
        os.execvp(command[0], command)


def _train(study: "StudyConfig", model: str, seed: int, output: Path, images: list[Path]) -> None:
    from hepcnn import console
    from hepcnn.stages.track import track_training
    from hepcnn.stages.train import train_tagger
    from hepcnn.training.launch import is_first_process

    title, epochs, is_quiet = f"{model} seed {seed}", study.training_of(model).epochs, not is_first_process()
    with (
        console.TrainingDisplay(title, n_epochs=epochs, is_quiet=is_quiet) as display,
        track_training(study, model, seed=seed, output=output, is_first=not is_quiet, say=display.say) as tracked,
    ):
        run = train_tagger(
            study, model, seed=seed, output=output, listener=tracked.listen(display), images=images, say=display.say
        )
        tracked.finish(run.record)
    if not is_quiet:
        say_metrics(title, run.record.metrics)
        say_energies(title, run.record.energy)
        console.out.print(f"bundle: {run.bundle}")


def _find_rate(study: "StudyConfig", model: str, seed: int, output: Path, images: list[Path]) -> None:
    from hepcnn import console
    from hepcnn.stages.find_rate import find_learning_rate

    with console.count_progress("learning rates") as update:
        found = find_learning_rate(study, model, seed=seed, output=output, images=images, progress=update)
    console.out.print("learning rate      loss")
    for rate, loss in found.select_rows():
        console.out.print(f"{rate:13.2e} {loss:9.4f}")
    console.out.print(found.describe())


def say_metrics(title: str, metrics: Any) -> None:
    """A line for each signal class."""
    from hepcnn import console

    for signal_class, measured in metrics.items():
        rejection = measured["rejection"]["0.3"]
        sign = ">" if rejection.get("is_lower_limit") else "="
        console.out.print(
            f"{title}: {signal_class} against {measured['background']}: AUC {measured['auc']['value']:.4f} "
            f"± {measured['auc']['err_stat']:.4f}, 1/eps_b(eps_s=0.3) {sign} {rejection['value']:.0f}"
        )


def say_energies(title: str, energies: Any) -> None:
    """A line for each class whose energies were measured."""
    from hepcnn import console

    for class_name, measured in energies.items():
        fit, line = measured["fit"], f"{title}: energy of {class_name}: "
        if fit is None:
            line += f"sigma/E {100 * measured['resolution']['value']:.1f} % over all energies"
        else:
            a, b, c = (fit[name]["value"] for name in ("a", "b", "c"))
            line += f"sigma/E = {100 * a:.1f} % ⊕ {100 * b:.1f} %/√E ⊕ {c:.2f}/E"
        console.out.print(line)


@app.command("baseline")
def baseline_verb(
    config: ConfigOption,
    name: Annotated[
        str, typer.Option(help="pixel_logistic, substructure_tree; of showers energy_sum, layer_sum, shower_tree.")
    ],
    output: OutputOption,
    seed: Annotated[int, typer.Option(help="Of the fit.")] = 1,
    images: ImagesOption = None,
) -> None:
    """Fit a baseline on the very jets that the study's taggers get."""
    from hepcnn import console
    from hepcnn.config import read_study
    from hepcnn.stages.baseline import train_baseline
    from hepcnn.stages.describe import spool_record
    from hepcnn.stages.track import track_stage

    study, item = read_study(config), f"{name}/seed{seed}"
    with track_stage(study, "baseline", item, output=output, say=console.err.print) as spool:
        record = train_baseline(study, name, seed=seed, output=output, images=images or [])
        spool_record(spool, record, output)
    say_metrics(name, record.metrics)
    say_energies(name, record.energy)


@app.command("tag")
def tag_verb(
    file: Annotated[str, typer.Argument(help="The file whose jets to score, or its address; it is not changed.")],
    bundle: Annotated[str, typer.Option("--bundle", "-b", help="The tagger: a folder, or models:/NAME@ALIAS.")],
    output: OutputOption,
    schema: Annotated[str, typer.Option(help="family or family:collection; by default what fits.")] = "",
    skip_bad: SkipBadOption = False,
    form: Annotated[str, typer.Option("--format", help="What to write: ttree or rntuple.")] = "ttree",
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="Processes; scores do not depend on it.")] = 1,
    every_jet: Annotated[
        bool, typer.Option("--all-jets", help="Score jets outside the tagger's selection, too, instead of NaN.")
    ] = False,
    discriminant: Annotated[bool, typer.Option(help="Add p_s / (p_s + p_b) of each signal class.")] = False,
    working_points: Annotated[
        str, typer.Option(help="Add the decisions of these, with commas between, as in mistag_1pct; or of 'all'.")
    ] = "",
    copy: Annotated[
        bool, typer.Option("--copy", help="Write a copy of the input's tree with the branches added, not a friend.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 …: what the installed onnxruntime can use.")] = "cpu",
) -> None:
    """Score every jet of a file into a friend tree, one row per entry of the input, in its order.

    The file is read back before it counts. A run that was killed goes on with the same command.
    """
    from hepcnn import console
    from hepcnn.tagger import Tagger, TagOptions, tag_file

    schema = schema or _find_schema(file)
    options = TagOptions(
        form=form,  # type: ignore[arg-type] # checked by tag_file, whose message names what there is
        workers=workers,
        select=not every_jet,
        discriminants=discriminant,
        working_points=tuple(name.strip() for name in working_points.split(",") if name.strip()),
        copy=copy,
        device=device,
    )
    tagger = Tagger.load(bundle, device=device)
    with console.count_progress("tagging") as update:
        summary = tag_file(tagger, file, output, schema=schema, skip_bad=skip_bad, options=options, progress=update)
    _say_summary(summary, output, schema)


def _find_schema(file: str) -> str:
    from hepcnn.errors import SchemaError
    from hepcnn.io.inspect import inspect_file

    schema = inspect_file(file, count=False).schema or ""
    if not schema:
        raise SchemaError(f"{file}: no schema fits this file; 'hepcnn inspect {file}' says what it lacks")
    return schema


def _say_summary(summary: "TagSummary", output: Path, schema: str) -> None:
    from hepcnn import console

    if summary.resumed:
        console.out.print(f"{summary.resumed} entries were scored by an earlier run")
    console.out.print(
        f"{output}: {summary.n_jets} jets of {summary.n_entries} entries scored as {schema}, in tree '{summary.tree}'"
    )
    for reason, count in summary.without_score.items():
        console.err.print(f"warning: {count} jets have NaN for a score: {reason}")
    for message in summary.messages:
        console.err.print(f"warning: {message}")
    if summary.n_outside_training_pt and summary.training_pt:
        low, high = summary.training_pt
        console.err.print(
            f"warning: {summary.n_outside_training_pt} of {summary.n_jets} jets have a pT outside {low:.0f}–{high:.0f} "
            "GeV, where the tagger was trained: their scores are extrapolations"
        )
    for field in summary.estimated_fields:
        console.err.print(
            f"warning: the file holds no '{field}' for some constituents: estimated from the particle's kind"
        )
