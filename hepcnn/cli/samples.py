"""Verbs that make and read jets: generate, inspect, convert, schemas."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepcnn.cli.app import JsonOption, OutputOption, SkipBadOption, app

if TYPE_CHECKING:
    from hepcnn.config import ImagesConfig

generate_app = typer.Typer(help="Make jets with Pythia 8 and a parametrised detector.", no_args_is_help=True)
app.add_typer(generate_app, name="generate")


@generate_app.command("jets")
def generate_jets_verb(
    output: OutputOption,
    process: Annotated[str, typer.Option(help="qcd, top, w, z or higgs.")] = "",
    n_jets: Annotated[int, typer.Option("--n-jets", "-n", help="How many jets.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same jets on any number of workers.")] = 1,
    preset: Annotated[str, typer.Option(help="Named settings.")] = "toptag-reference",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="KEY=VALUE, replaces a setting of the preset.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-j", help="Processes.")] = 1,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Take all of this from a study.")] = None,
    sample: Annotated[str, typer.Option(help="With --config: which sample of the study.")] = "",
    json_: JsonOption = False,
) -> None:
    """Generate jets: Pythia 8, a detector, anti-kt, truth matching; written as a ROOT tree in JetClass's layout."""
    import dataclasses

    from hepcnn import console
    from hepcnn.errors import ConfigError
    from hepcnn.generate.jets import generate_jets
    from hepcnn.generate.settings import load_settings

    overrides: dict[str, Any] = _parse_settings(set_ or [])
    if config is not None:
        from hepcnn.config import read_study
        from hepcnn.stages.samples import find_sample

        if process or n_jets or overrides:
            raise typer.BadParameter("--config says what to generate: give no --process, --n-jets or --set with it")

        study = read_study(config)
        wanted = find_sample(study, sample)
        if wanted.process is None:
            raise ConfigError(f"{config}: sample '{sample}' is read from files, not generated")
        process, n_jets = wanted.process, wanted.n_jets or study.generate.n_jets
        preset, seed, overrides = study.generate.preset, study.generate.seed, study.generate.settings
    elif not process or n_jets < 1:
        raise typer.BadParameter("--process and --n-jets are needed (or --config and --sample)")
    settings = load_settings(preset, overrides)
    with console.count_progress(f"generating {process} jets", n_jets) as update:
        summary = generate_jets(
            process, n_jets, seed, output, settings=settings, workers=workers, progress=lambda done, _: update(done)
        )
    if json_:
        console.print_json(dataclasses.asdict(summary))
    else:
        rate = summary.n_jets / max(summary.seconds, 1e-9)
        console.out.print(
            f"{output}: {summary.n_jets} {process} jets from {summary.n_events} events in {summary.seconds:.1f} s "
            f"({rate:.0f} jets/s)"
        )


def _parse_settings(pairs: list[str]) -> dict[str, Any]:
    import yaml

    values = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {pair}: expected KEY=VALUE")
        try:
            values[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise typer.BadParameter(f"--set {pair}: not a YAML value") from error
    return values


@app.command("inspect")
def inspect_verb(file: Annotated[Path, typer.Argument(help="Any file.")], json_: JsonOption = False) -> None:
    """Say what a file is: format, trees, entries, the schema that fits, jets and constituents, what is missing."""
    from hepcnn import console
    from hepcnn.io.inspect import inspect_file

    found = inspect_file(file)
    if json_:
        console.print_json(found.to_dict())
        return
    say = console.out.print
    say(f"{found.path}: {found.format}, {found.size / 1e6:.1f} MB")
    for item in found.contents[:30]:
        say("  " + ", ".join(f"{key} {value}" for key, value in item.items()))
    if len(found.contents) > 30:
        say(f"  … and {len(found.contents) - 30} more")
    say(f"schema: {found.schema or 'none fits'}")
    for fit in found.fits:
        problems = "".join(f"; {count} jets with {reason}" for reason, count in fit.problems.items())
        say(f"  {fit.schema}: {fit.n_jets} jets, {fit.n_constituents} constituents ({fit.title}){problems}")
    if found.nearest:
        near = found.nearest
        shown = ", ".join(near.missing[:6]) + (", …" if len(near.missing) > 6 else "")
        say(f"  nearest: {near.schema} ({near.title}); lacks {len(near.missing)} of {near.n_needed} branches: {shown}")
    for note in found.notes:
        say(f"note: {note}")


@app.command("convert")
def convert_verb(
    output: OutputOption,
    files: Annotated[list[Path] | None, typer.Argument(help="Input files; none with --config.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Take all of this from a study.")] = None,
    sample: Annotated[
        str, typer.Option(help="With --config: which samples, with commas between; by default all.")
    ] = "",
    schema: Annotated[str, typer.Option(help="family or family:collection; see 'hepcnn schemas'.")] = "",
    label: Annotated[str, typer.Option(help="The class of these jets.")] = "",
    classes: Annotated[str, typer.Option(help="All classes, with commas between; by default the label alone.")] = "",
    grid: Annotated[str, typer.Option(help="Pixels in eta x phi.")] = "40x40",
    half_width: Annotated[float, typer.Option(help="Half of the window's width in eta and phi.")] = 0.8,
    preprocess: Annotated[str, typer.Option(help="Steps, with commas between.")] = "centre,rotate,flip,normalise",
    channels: Annotated[
        str, typer.Option(help="Channels, with commas between.")
    ] = "pt,ecal,hcal,track_pt,multiplicity",
    jet_features: Annotated[str, typer.Option(help="Jet-level numbers beside the pixels.")] = "pt,mass,n_constituents",
    skip_bad: SkipBadOption = False,
    json_: JsonOption = False,
) -> None:
    """Convert ROOT files to sparse images (images.h5)."""
    import dataclasses

    from hepcnn import console
    from hepcnn.images.convert import LabelledFiles, convert_files

    with console.count_progress("converting") as update:
        if config is not None:
            from hepcnn.config import read_study
            from hepcnn.stages.samples import convert_samples

            if files or schema or label:
                raise typer.BadParameter("--config says what to read: give no FILES, --schema or --label with it")

            names = _split_list(sample)
            summary = convert_samples(read_study(config), names, output, progress=lambda _, done: update(done))
        else:
            if not files or not schema or not label:
                raise typer.BadParameter("FILES, --schema and --label are needed (or --config)")
            summary = convert_files(
                [LabelledFiles(files, schema, label)],
                output,
                class_names=_split_list(classes) or [label],
                images=_make_images_config(grid, half_width, preprocess, channels, jet_features, skip_bad),
                progress=lambda _, done: update(done),
            )
    if json_:
        console.print_json(dataclasses.asdict(summary))
        return
    console.out.print(
        f"{output}: {summary.n_written} of {summary.n_read} jets, {summary.occupancy:.1%} of pixels filled, "
        f"{summary.pt_fraction_in_window:.2%} of pT in the window"
        + "".join(f"; left out: {count} with {reason}" for reason, count in summary.left_out.items())
    )


def _split_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _make_images_config(
    grid: str, half_width: float, preprocess: str, channels: str, jet_features: str, skip_bad: bool
) -> "ImagesConfig":
    from hepcnn.config import ImagesConfig, parse_model
    from hepcnn.images.grids import parse_grid

    window = parse_grid(grid, half_width=half_width)
    values = {
        "grid": window.model_dump(exclude={"kind"}),
        "channels": _split_list(channels),
        "preprocess": _split_list(preprocess),
        "jet_features": _split_list(jet_features),
        "skip_bad": skip_bad,
    }
    return parse_model(ImagesConfig, values, where="command line")


@app.command("schemas")
def schemas_verb(json_: JsonOption = False) -> None:
    """List the file families that can be read."""
    from hepcnn import console
    from hepcnn.io.schema import list_schemas, read_schema

    families = {name: read_schema(name) for name in list_schemas()}
    if json_:
        console.print_json({name: schema.model_dump(mode="json") for name, schema in families.items()})
        return
    for name, schema in families.items():
        console.out.print(f"{name}: {schema.title} (tree '{schema.tree}')")
        for key, collection in schema.collections.items():
            default = " (default)" if key == schema.default else ""
            console.out.print(f"  {name}:{key}{default}  {collection.title}")
