"""Verbs that make and look at jets: generate, inspect, schemas."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from hepcnn.cli.app import JsonOption, OutputOption, app

generate_app = typer.Typer(
    help="Make jets with Pythia 8 and a parametrised detector, or showers in a calorimeter.", no_args_is_help=True
)
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
        from hepcnn.stages.plan import count_wanted
        from hepcnn.stages.samples import find_sample
        from hepcnn.stages.track import track_stage

        if process or n_jets or overrides:
            raise typer.BadParameter("--config says what to generate: give no --process, --n-jets or --set with it")

        study = read_study(config)
        wanted = find_sample(study, sample)
        if wanted.process is None:
            instead = "is made by 'hepcnn generate showers'" if wanted.particle else "is read from files, not generated"
            raise ConfigError(f"{config}: sample '{sample}' {instead}")
        process, n_jets = wanted.process, count_wanted(study, sample)
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


@generate_app.command("showers")
def generate_showers_verb(
    output: OutputOption,
    particle: Annotated[
        str, typer.Option(help="electron, positron, photon, pi0, pion (of either charge), pi+ or pi-.")
    ] = "",
    n_showers: Annotated[int, typer.Option("--n-showers", "-n", help="How many showers.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same showers on any number of workers.")] = 1,
    detector: Annotated[
        str | None, typer.Option(help="sampling45, barrel12, or a YAML file of your own.", show_default="sampling45")
    ] = None,
    energy: Annotated[
        str | None, typer.Option(help="LOW:HIGH in GeV, uniform in the logarithm.", show_default="1:1000")
    ] = None,
    max_angle: Annotated[
        float | None, typer.Option(help="Largest angle to the face's normal, radians.", show_default="0.1")
    ] = None,
    spread: Annotated[
        float | None, typer.Option(help="Radius of the disc of impact on the face, mm.", show_default="10")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", "-j", help="Processes.")] = 1,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Take all of this from a study.")] = None,
    sample: Annotated[str, typer.Option(help="With --config: which sample of the study.")] = "",
    json_: JsonOption = False,
) -> None:
    """Generate showers in a segmented calorimeter by the GFLASH parametrisation; written as hits of a ROOT tree."""
    import dataclasses

    from hepcnn import console
    from hepcnn.config import ShowersConfig, parse_model
    from hepcnn.errors import ConfigError
    from hepcnn.generate.showers.sample import generate_showers

    given = {"detector": detector, "energy": _parse_range(energy), "max_angle": max_angle, "spread": spread}
    given = {key: value for key, value in given.items() if value is not None}
    study = None
    if config is not None:
        from hepcnn.config import read_study
        from hepcnn.stages.describe import spool_summary
        from hepcnn.stages.plan import count_wanted
        from hepcnn.stages.samples import find_sample
        from hepcnn.stages.track import track_stage

        if particle or n_showers or given:
            raise typer.BadParameter("--config says what to generate: give no other option of the showers with it")
        study = read_study(config)
        wanted = find_sample(study, sample)
        if wanted.particle is None:
            instead = "is made by 'hepcnn generate jets'" if wanted.process else "is read from files, not generated"
            raise ConfigError(f"{config}: sample '{sample}' {instead}")
        settings, seed = study.generate.showers, study.generate.seed
        particle, n_showers = wanted.particle, count_wanted(study, sample)
    elif not particle or n_showers < 1:
        raise typer.BadParameter("--particle and --n-showers are needed (or --config and --sample)")
    else:
        settings = parse_model(ShowersConfig, given, where="showers")
    with (
        track_stage(study, "generate", sample, say=console.err.print) if study else nullcontext() as spool,
        console.count_progress(f"generating {particle} showers", n_showers) as update,
    ):
        summary = generate_showers(
            particle, n_showers, seed, output, settings=settings, workers=workers, progress=lambda done, _: update(done)
        )
        if spool is not None:
            spool_summary(spool, summary)
    if json_:
        console.print_json(dataclasses.asdict(summary))
    else:
        rate = summary.n_showers / max(summary.seconds, 1e-9)
        console.out.print(
            f"{output}: {summary.n_showers} {particle} showers with {summary.n_hits} hits in detector "
            f"'{summary.detector}' in {summary.seconds:.1f} s ({rate:.0f} showers/s)"
        )


def _parse_range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, colon, high = text.partition(":")
    try:
        return (float(low), float(high) if colon else float(low))
    except ValueError as error:
        raise typer.BadParameter(f"--energy {text}: expected LOW:HIGH in GeV, such as 1:1000") from error


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
