"""Verbs that make better taggers of what there is: tune, ensemble."""

from pathlib import Path
from typing import Annotated

import typer

from hepcnn.cli.app import ConfigOption, JsonOption, OutputOption, app
from hepcnn.cli.taggers import ImagesOption, say_metrics


@app.command("tune")
def tune_verb(
    config: ConfigOption,
    model: Annotated[str, typer.Option("--model", "-m", help="Which of the study's models; its 'search' says what.")],
    trials: Annotated[int, typer.Option("--trials", "-n", min=1, help="How many in all, those of earlier calls too.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The search's folder; by default search_<model> in the study's."),
    ] = None,
    metric: Annotated[str, typer.Option(help="What is to be best: val_auc, val_loss, …")] = "val_auc",
    pruner: Annotated[str, typer.Option(help="Which trials are cut short: median, hyperband or none.")] = "median",
    seed: Annotated[int, typer.Option(help="Of the networks, the order of jets, and the values tried.")] = 1,
    images: ImagesOption = None,
    threads: Annotated[int, typer.Option(help="CPU threads; by default what OMP_NUM_THREADS or torch says.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Search a tagger's hyper-parameters; writes trials.csv and best.yaml.

    The same command goes on with a search that was stopped. Started several times at once, on one machine or on several
    that share the folder, it works on the same search in parallel.
    """
    from hepcnn import console, paths
    from hepcnn.config import read_study
    from hepcnn.doctor import require_extras

    require_extras("train", "evaluate")
    if pruner not in ("median", "hyperband", "none"):
        raise typer.BadParameter(f"--pruner {pruner}: expected median, hyperband or none")
    study = read_study(config)
    import torch

    from hepcnn.stages.search import search_parameters
    from hepcnn.stages.search_journal import SearchSettings

    if threads:
        torch.set_num_threads(threads)
    folder = output or paths.search_dir(paths.study_dir(study.results, study.study), model)
    result = search_parameters(
        study,
        model,
        output=folder,
        settings=SearchSettings(trials, metric, pruner, seed),  # type: ignore[arg-type]
        listen=lambda title, n_epochs: console.TrainingDisplay(title, n_epochs=n_epochs),
        images=images or [],
        say=console.err.print,
    )
    if json_:
        console.print_json({"best": result.best, "config": str(result.config), "trials": result.rows})
        return
    console.print_table(result.ranked(), title=f"{len(result.rows)} trials, {metric}")
    console.out.print(f"best: {result.config}")


@app.command("ensemble")
def ensemble_verb(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles of the members, two at least: seeds of a tagger.")],
    output: OutputOption,
    name: Annotated[str, typer.Option(help="What it is called; by default after the first member.")] = "",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Score the test jets of this study, and measure the scores.")
    ] = None,
    images: ImagesOption = None,
) -> None:
    """Make one tagger of several, the mean of their probabilities; writes bundle/, with --config scores.h5 too."""
    from hepcnn import console
    from hepcnn.config import read_study
    from hepcnn.doctor import require_extras

    require_extras("train", "evaluate")
    if images and config is None:
        raise typer.BadParameter("--images are those of a study: name it with --config")
    study = read_study(config) if config else None
    from hepcnn.stages.ensemble import make_ensemble

    run = make_ensemble(bundles, output, name=name, study=study, images=images or [])
    say_metrics(run.record.tagger, run.record.metrics)
    console.out.print(f"bundle: {run.bundle}")
