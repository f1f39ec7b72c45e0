"""The verb that makes images of jets: convert."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepcnn.cli.app import JsonOption, OutputOption, app

if TYPE_CHECKING:
    from hepcnn.config import ImagesConfig
    from hepcnn.convert.inputs import LabelledFiles
    from hepcnn.io.plan import Reading


@app.command("convert")
def convert_verb(
    output: OutputOption,
    files: Annotated[list[str] | None, typer.Argument(help="Input files or addresses; none with --config.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Take all of this from a study.")] = None,
    sample: Annotated[
        str, typer.Option(help="With --config: which samples, with commas between; by default all.")
    ] = "",
    schema: Annotated[str, typer.Option(help="family or family:collection; see 'hepcnn schemas'.")] = "",
    label: Annotated[str, typer.Option(help="The class of all these jets.")] = "",
    label_from: Annotated[
        str, typer.Option(help="Mixed files: the label of the file that tells the --classes apart.")
    ] = "",
    classes: Annotated[
        str,
        typer.Option(
            help="All classes, with commas between; by default the label alone. With --label-from each with its "
            "values, as in gluon=21,light=1+2+3."
        ),
    ] = "",
    unclaimed: Annotated[
        str, typer.Option(help="Jets with a label that no class claims: stop, or drop them and count them.")
    ] = "stop",
    select: Annotated[
        list[str] | None,
        typer.Option(
            help="NAME=MIN:MAX, where a bound may be left out, as in pt=550:650 or abs_eta=:2; of pt, eta, abs_eta, "
            "mass, n_constituents. Several are applied in their order."
        ),
    ] = None,
    grid: Annotated[
        str,
        typer.Option(
            help="Pixels, as in 40x40; native: those of the file, the default where it holds images or showers; "
            "calorimeter:NAME or calorimeter:FILE.yaml: cells of a detector; binning:FILE.xml:PARTICLE: voxels."
        ),
    ] = "",
    half_width: Annotated[float, typer.Option(help="Half of the window's width in eta and phi.")] = 0.8,
    preprocess: Annotated[
        str | None, typer.Option(help="Steps, with commas between; by default centre,rotate,flip,normalise.")
    ] = None,
    channels: Annotated[
        str, typer.Option(help="Channels, with commas between; by default pt,ecal,hcal,track_pt,multiplicity.")
    ] = "",
    jet_features: Annotated[
        str | None, typer.Option(help="Jet-level numbers beside the pixels; by default pt,mass,n_constituents.")
    ] = None,
    truth: Annotated[
        str, typer.Option(help="Numbers the generator knew, kept in /truth, with commas between, as in energy,theta.")
    ] = "",
    cluster: Annotated[
        str,
        typer.Option(
            help="Let FastJet make the jets: algorithm:radius:smallest pT[:largest |eta|], as in antikt:0.8:200:2.5."
        ),
    ] = "",
    event_weight: Annotated[bool, typer.Option(help="Give jets the weight of their event, else 1.")] = False,
    workers: Annotated[int, typer.Option("--workers", "-j", help="Processes; the images do not depend on it.")] = 1,
    skip_bad: Annotated[
        bool, typer.Option(help="Leave bad jets out, set bad files aside, keep the first of equal jets, and say so.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Convert files to sparse images (images.h5) and a data card (images.card.json).

    A conversion that was stopped goes on with the same command from the ranges that it had finished.
    """
    from hepcnn import console
    from hepcnn.convert.files import convert_files

    with console.count_progress("converting entries") as update:
        told: dict[str, Any] = {"workers": workers, "progress": lambda done, total: update(done, total or None)}
        if config is not None:
            from hepcnn.config import read_study
            from hepcnn.stages.describe import spool_card
            from hepcnn.stages.samples import convert_samples
            from hepcnn.stages.track import track_stage

            if files or schema or label or label_from or classes or select or cluster or event_weight:
                raise typer.BadParameter("--config says what to read and how to choose: give no options of that kind")
            if grid or preprocess is not None or channels or jet_features is not None or truth or skip_bad:
                raise typer.BadParameter("--config says what images to make: give no options of that kind")
            study, names = read_study(config), _split_list(sample)
            with track_stage(study, "convert", "_".join(names) or "all", say=console.err.print) as spool:
                card = convert_samples(study, names, output, **told)
                spool_card(spool, card, output)
        else:
            if not files or not schema or not (label or label_from):
                raise typer.BadParameter("FILES, --schema and --label (or --label-from) are needed (or --config)")
            inputs, names = _list_inputs(
                files, _make_reading(schema, cluster, event_weight), label, label_from, classes
            )
            values = {"grid": grid, "half_width": half_width, "preprocess": preprocess, "channels": channels}
            values |= {"truth": truth, "jet_features": jet_features, "select": select or [], "unclaimed": unclaimed}
            images = _make_images_config(inputs[0], values, skip_bad)
            card = convert_files(inputs, output, class_names=names, images=images, **told)
    if json_:
        console.print_json(card)
    else:
        _say_card(output, card)


def _say_card(output: Path, card: dict[str, Any]) -> None:
    from hepcnn import console

    say = console.out.print
    say(
        f"{output}: {card['jets_written']} of {card['jets_read']} jets, "
        f"{card['occupancy']['mean']:.1%} of pixels filled, {card['pt_fraction_in_grid']:.2%} of pT in the grid"
    )
    if card["constituents_outside"]:
        say(f"  outside the grid: {card['constituents_outside']} of {card['constituents']} constituents")
    if len(card["classes"]) > 1:
        for name, counts in card["classes"].items():
            say(f"  {name or 'no class'}: {counts['jets_written']} of {counts['jets_read']} jets")
    for reason, count in card["cutflow"].items():
        say(f"  left out: {count} {reason}")
    for skipped in card["skipped_files"]:
        say(f"  set aside: {skipped['path']}: {skipped['reason']}")


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _make_reading(schema: str, cluster: str, event_weight: bool) -> "Reading":
    from hepcnn.config import ClusteringConfig, parse_model
    from hepcnn.io.plan import Reading

    if not cluster:
        return Reading(schema, event_weight=event_weight)
    names, values = ("algorithm", "radius", "pt_min", "eta_max"), cluster.split(":")
    if not 3 <= len(values) <= len(names):
        raise typer.BadParameter(f"--cluster {cluster}: expected algorithm:radius:pT or algorithm:radius:pT:eta")
    settings = parse_model(ClusteringConfig, dict(zip(names, values, strict=False)), where=f"--cluster {cluster}")
    return Reading(schema, clustering=settings, event_weight=event_weight)


def _list_inputs(
    files: list[str], reading: "Reading", label: str, label_from: str, classes: str
) -> "tuple[list[LabelledFiles], list[str]]":
    from hepcnn.config import LabelConfig
    from hepcnn.convert.inputs import LabelledFiles

    if not label_from:
        return [LabelledFiles(files, reading, label)], _split_list(classes) or [label]
    if label:
        raise typer.BadParameter("--label says that all jets are of one class, --label-from that the file tells")
    claims: dict[str, list[int]] = {}
    for part in _split_list(classes):
        name, _, values = part.partition("=")
        try:
            claims[name.strip()] = [int(value) for value in values.split("+")]
        except ValueError as error:
            raise typer.BadParameter(f"--classes {part}: expected NAME=VALUE or NAME=VALUE+VALUE+…") from error
    if not claims:
        raise typer.BadParameter("--label-from needs --classes with their values, as in gluon=21,light=1+2+3")
    inputs = [
        LabelledFiles(files, reading, name, LabelConfig(name=label_from, values=values))
        for name, values in claims.items()
    ]
    return inputs, list(claims)


def _make_images_config(first: "LabelledFiles", values: dict[str, Any], skip_bad: bool) -> "ImagesConfig":
    """The images section of a study from the options, with defaults that suit the family."""
    from hepcnn.config import ImagesConfig, parse_model
    from hepcnn.convert.selection import parse_selections
    from hepcnn.images.grids import GridSource, parse_grid
    from hepcnn.io.native import native_grid

    if not values["grid"]:
        values["grid"] = "40x40" if native_grid(first.files[0], first.reading) is None else "native"
    content: dict[str, Any] = {
        "grid": parse_grid(values["grid"], half_width=values["half_width"]).model_dump(),
        "select": parse_selections(values["select"]),
        "unclaimed": values["unclaimed"],
        "truth": _split_list(values["truth"]),
        "skip_bad": skip_bad,
    }
    if isinstance(parse_grid(values["grid"]), GridSource):
        # Images that are there already have no constituents to turn or to tell apart.
        content |= {"channels": ["energy"], "preprocess": [], "jet_features": ["pt", "n_constituents"]}
    for name in ("preprocess", "channels", "jet_features"):
        if values[name] or (values[name] is not None and name != "channels"):
            content[name] = _split_list(values[name])
    return parse_model(ImagesConfig, content, where="command line")
