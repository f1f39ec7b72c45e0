"""The verb about how a tagger answers to another detector: robustness."""

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
