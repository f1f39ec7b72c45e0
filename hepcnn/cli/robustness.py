"""Verbs that put a tagger to the test: robustness against another detector, and the control."""

from typing import Annotated

import typer

from hepcnn.cli.app import ConfigOption, JsonOption, OutputOption, app


@app.command("robustness")
def robustness_verb(
    config: ConfigOption,
    model: Annotated[str, typer.Option("--model", "-m", help="Which trained model of the study.")],
    output: OutputOption,
    seed: Annotated[int, typer.Option(help="Which of its trainings.")] = 1,
    other: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE,FILE: images of another sample of the same classes, such as another shower's."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Score test jets with another energy scale, more smearing, dead pixels, a shifted axis; or other samples."""
    from hepcnn import console
    from hepcnn.config import read_study
    from hepcnn.stages.robustness import describe_response, measure_response, read_others

    others = read_others(other or [])
    found = measure_response(read_study(config), model, seed=seed, output=output, others=others)
    if json_:
        console.print_json(found)
    else:
        console.out.print(describe_response(found))


@app.command("control")
def control_verb(
    config: ConfigOption,
    model: Annotated[str, typer.Option("--model", "-m", help="Which model of the study.")],
    output: OutputOption,
    seed: Annotated[int, typer.Option(help="Of the weights and of the order of jets.")] = 1,
    threads: Annotated[int, typer.Option(help="CPU threads; by default as many as there are cores.")] = 0,
) -> None:
    """Train a network on two halves of the background, where its AUC must be 0.5 within errors."""
    from hepcnn import console
    from hepcnn.config import read_study
    from hepcnn.doctor import require_extras

    require_extras("train", "evaluate")
    study = read_study(config)
    import torch

    from hepcnn.stages.control import train_control

    if threads:
        torch.set_num_threads(threads)
    title = f"control of {model} seed {seed}"
    with console.TrainingDisplay(title, n_epochs=study.training_of(model).epochs) as display:
        run = train_control(study, model, seed=seed, output=output, listener=display)
    for measured in run.record.metrics.values():
        found = measured["auc"]
        console.out.print(f"{title}: AUC {found['value']:.4f} ± {found['err_stat']:.4f}, expected 0.5")
