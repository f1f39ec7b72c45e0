"""Verbs that look into taggers and put them side by side: explain, compare, reproduce."""

from pathlib import Path
from typing import Annotated

import typer

from hepcnn.cli.app import JsonOption, LabelOption, OutputOption, StyleOption, app


@app.command("compare")
def compare_verb(
    runs: Annotated[
        list[str],
        typer.Argument(help="scores.h5 files, or folders of runs, taggers or studies; NAME=PATH names a tagger."),
    ],
    output: OutputOption,
    background: Annotated[str, typer.Option(help="The background class; by default qcd, else the first.")] = "",
    published: Annotated[str, typer.Option(help="Put published results on this sample below: toptag.")] = "",
    style: StyleOption = "hepcnn",
    experiment_label: LabelOption = "Simulation Preliminary",
    json_: JsonOption = False,
) -> None:
    """Put finished taggers side by side: table.md, table.tex, table.csv, plots, and one page, comparison.html."""
    from hepcnn import console
    from hepcnn.doctor import require_extras

    require_extras("evaluate")
    from hepcnn.evaluation.plot_style import PlotStyle
    from hepcnn.evaluation.published import find_published
    from hepcnn.evaluation.tables import make_markdown_table, make_verdict
    from hepcnn.stages.comparison import PAGE, compare_files

    comparisons = compare_files(
        runs, output, background=background or None, published=published, style=PlotStyle(style, experiment_label)
    )
    if json_:
        console.print_json({one.signal: {row.name: dict(row.metrics) for row in one.rows} for one in comparisons})
        return
    for one in comparisons:
        others = find_published(published) if published else ()
        console.out.print(make_markdown_table(one.rows, one.differences, others))
        console.out.print(make_verdict(one.rows, one.differences) + "\n")
    console.out.print(f"page: {output / PAGE}")


@app.command("explain")
def explain_verb(
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="The tagger.")],
    images: Annotated[list[Path], typer.Option("--images", help="images.h5 files of jets of known class.")],
    output: OutputOption,
    signal: Annotated[str, typer.Option(help="By default the first class that is not the background.")] = "",
    background: Annotated[str, typer.Option(help="The background class; by default qcd, else the first.")] = "",
    max_jets: Annotated[int, typer.Option(help="At most so many jets, drawn evenly from the classes.")] = 1000,
    smooth: Annotated[int, typer.Option(help="Noisy copies for SmoothGrad; 0 takes the plain gradient.")] = 0,
    style: StyleOption = "hepcnn",
    experiment_label: LabelOption = "Simulation Preliminary",
    json_: JsonOption = False,
) -> None:
    """Show what a network looks at: saliency, Grad-CAM, occlusion, kernels, feature maps, probes at each depth."""
    from hepcnn import console
    from hepcnn.doctor import require_extras

    require_extras("train", "evaluate")
    from hepcnn.evaluation.plot_style import PlotStyle
    from hepcnn.stages.explain import explain_bundle

    numbers = explain_bundle(
        bundle,
        images,
        output,
        signal=signal,
        background=background,
        max_jets=max_jets,
        n_smooth=smooth,
        style=PlotStyle(style, experiment_label),
    )
    if json_:
        console.print_json({key: numbers[key] for key in ("model", "signal", "background", "n_jets", "auc", "depths")})
        return
    console.out.print(
        f"{numbers['model']}: {numbers['signal']} against {numbers['background']}, linear probes by depth"
    )
    for point in numbers["depths"]:
        error = "" if point["err_stat"] is None else f" ± {point['err_stat']:.4f}"
        console.out.print(f"  {point['name']:24} {point['n_features']:>5} features  AUC {point['auc']:.4f}{error}")
    console.out.print(f"  {'the network itself':24} {'':>5}           AUC {numbers['auc']['value']:.4f}")
    console.out.print(f"{len(numbers['pictures'])} pictures and explain.json in {output}")


@app.command("reproduce")
def reproduce_verb(
    study: Annotated[str, typer.Argument(help="Which: toptag, the top-tagging landscape (arXiv:1902.09914).")],
    data: Annotated[Path, typer.Option("--data", help="The folder of train.h5, val.h5 and test.h5.")],
    output: OutputOption,
    models: Annotated[str, typer.Option(help="Networks, with commas between; by default the landscape's.")] = "",
    trainings: Annotated[int, typer.Option(min=1, help="Of each network.")] = 9,
    epochs: Annotated[int, typer.Option(min=1, help="Of each training.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Jets a step.")] = 512,
    limit: Annotated[int, typer.Option(min=0, help="A trial: jets of each class in each split; 0 takes all.")] = 0,
    pixels: Annotated[int, typer.Option(min=0, help="Along each axis; 0 takes the landscape's.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="Processes that make images.")] = 1,
    json_: JsonOption = False,
) -> None:
    """Run a published study on its real files with the official split, and print its row beside the published ones."""
    import dataclasses

    from hepcnn import console
    from hepcnn.doctor import require_extras
    from hepcnn.errors import ConfigError, did_you_mean

    if study != "toptag":
        raise ConfigError(f"no study '{study}' to reproduce{did_you_mean(study, ['toptag'])}; there is: toptag")
    require_extras("train", "evaluate")
    from hepcnn.evaluation.published import find_published
    from hepcnn.stages.reproduce import Options, reproduce_toptag

    options = Options(
        models=tuple(name.strip() for name in models.split(",") if name.strip()),
        n_trainings=trainings,
        epochs=epochs,
        batch_size=batch_size,
        max_jets=limit or None,
        pixels=pixels,
        workers=workers,
        device=device,
    )
    rows = reproduce_toptag(
        data,
        output,
        options=options,
        display=lambda title, n_epochs: console.TrainingDisplay(title, n_epochs=n_epochs),
        say=console.err.print,
    )
    if json_:
        console.print_json({row.name: dataclasses.asdict(row) | {"is_complete": row.is_complete} for row in rows})
        return
    for row in rows:
        console.out.print(str(row))
        if not row.is_complete:
            console.out.print("  not comparable: these are not all of the reference sample's test jets")
    for other in find_published("toptag"):
        accuracy, area, (rejection, error) = (other.values[name] for name in ("accuracy", "auc", "rejection_0.3"))
        console.out.print(
            f"{other.name} ({other.source}): accuracy {accuracy[0]:g}, AUC {area[0]:g}, 1/eps_b(eps_s=0.3) = "
            f"{rejection:g} ± {error:g} (seed); {other.n_trainings} trainings"
        )
    console.out.print(f"table and page: {output / 'comparison'}")
