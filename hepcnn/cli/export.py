"""The verb that makes ONNX graphs of bundles: export."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hepcnn.cli.app import JsonOption, OutputOption, app


@app.command("export")
def export_verb(
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="The tagger.")],
    output: OutputOption,
    graph_input: Annotated[
        str, typer.Option("--input", help="What the graph takes: constituents, imaging inside; or images.")
    ] = "constituents",
    layout: Annotated[
        str, typer.Option(help="constituents-first; or fields-first with a preprocess.json, as CMSSW's producers need.")
    ] = "constituents-first",
    parity: Annotated[
        str, typer.Option(help="quick: some hundred jets; full: more, and torch.compile, which takes minutes.")
    ] = "quick",
    jets: Annotated[
        str, typer.Option(help="A file of jets to compare on; by default the study's own, if they are there.")
    ] = "",
    schema: Annotated[str, typer.Option(help="Of that file: family or family:collection; by default what fits.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Write a bundle as one ONNX graph, after comparing every way to its scores on real jets.

    Torch, ONNX Runtime on images and on constituents, one jet and many, constituents in another order, and the friend
    tree must agree to 1e-5, or nothing is written and the message names the stage that differs first.
    """
    from hepcnn import console
    from hepcnn.doctor import require_extras

    require_extras("train")
    from hepcnn.stages.export_graph import export_graph
    from hepcnn.stages.parity import RealFile
    from hepcnn.stages.track import track_in_study

    file = RealFile(jets, schema or _find_schema(jets)) if jets else None
    run = bundle.resolve().parent
    with track_in_study(run.parents[1], "export", f"{run.parent.name}_{run.name}") as spool:
        options: dict[str, Any] = {"graph_input": graph_input, "layout": layout, "level": parity, "file": file}
        done = export_graph(bundle, output, **options)
        if spool is not None:
            spool.add_metrics({"parity": done.report.largest}, step=0)
            spool.add_params({"bundle": str(bundle), "output": str(output)})
    if as_json:
        told = {"files": [str(path) for path in done.files], "fields": done.fields, "given_features": done.given}
        console.print_json(told | {"parity": done.report.describe()})
        return
    console.out.print(f"compared on {done.report.jets}:")
    for row in done.report.list_rows():
        console.out.print(f"  {row[0]:60} {row[1]:>8}  of {row[2]}")
    for name, reason in done.report.skipped.items():
        console.out.print(f"  {name}: {reason}")
    console.out.print(f"{', '.join(str(path) for path in done.files)}: scores agree to {done.report.largest:.1e}")
    if done.fields:
        console.out.print(f"constituents' fields, in this order: {', '.join(done.fields)}")
    if done.given:
        console.out.print(f"jet-level numbers to give: {', '.join(done.given)}")


def _find_schema(file: str) -> str:
    from hepcnn.errors import SchemaError
    from hepcnn.io.inspect import inspect_file

    schema = inspect_file(file, count=False).schema or ""
    if not schema:
        raise SchemaError(f"{file}: no schema fits this file; 'hepcnn inspect {file}' says what it lacks")
    return schema
