"""Verbs that make and look at jets: generate, inspect, schemas."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from hepcnn.cli.app import JsonOption, OutputOption, app

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
    study = None
    if config is not None:
        from hepcnn.config import read_study
        from hepcnn.stages.describe import spool_summary
        from hepcnn.stages.samples import find_sample
        from hepcnn.stages.track import track_stage

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
    with (
        track_stage(study, "generate", sample, say=console.err.print) if study else nullcontext() as spool,
        console.count_progress(f"generating {process} jets", n_jets) as update,
    ):
        summary = generate_jets(
            process, n_jets, seed, output, settings=settings, workers=workers, progress=lambda done, _: update(done)
        )
        if spool is not None:
            spool_summary(spool, summary)
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
def inspect_verb(
    file: Annotated[str, typer.Argument(help="Any file, or its address (https://, s3://, root://).")],
    json_: JsonOption = False,
) -> None:
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
        counts = "" if fit.n_jets is None else f"{fit.n_jets} jets, {fit.n_constituents} constituents "
        say(f"  {fit.schema}: {counts}({fit.title}){problems}")
    if found.nearest:
        near = found.nearest
        shown = ", ".join(near.missing[:6]) + (", …" if len(near.missing) > 6 else "")
        say(f"  nearest: {near.schema} ({near.title}); lacks {len(near.missing)} of {near.n_needed} branches: {shown}")
    for note in found.notes:
        say(f"note: {note}")


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
        trees = " or ".join(f"'{tree}'" for tree in schema.trees)
        console.out.print(f"{name}: {schema.title} ({' or '.join(schema.formats)}, table {trees})")
        for key, collection in schema.collections.items():
            default = " (default)" if key == schema.default else ""
            console.out.print(f"  {name}:{key}{default}  {collection.title}")
