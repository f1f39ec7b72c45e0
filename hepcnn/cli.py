"""The verbs of ``hepcnn``. Each parses its arguments, calls one documented function and prints what it says.

Everything heavy is imported inside the verbs, so that ``--help`` answers at once.
"""

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from hepcnn import __version__
from hepcnn.errors import HepcnnError

if TYPE_CHECKING:
    from hepcnn.config import ImagesConfig

app = typer.Typer(
    name="hepcnn",
    help="From detector files to a jet tagger: images, CNNs, sparse convolution, physics metrics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
generate_app = typer.Typer(help="Make jets with Pythia 8 and a parametrised detector.", no_args_is_help=True)
track_app = typer.Typer(help="Bring runs to MLflow, and look at them.", no_args_is_help=True)
app.add_typer(generate_app, name="generate")
app.add_typer(track_app, name="track")

INTERRUPTED = (130, 143)  # after Ctrl-C and after SIGTERM

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The study's YAML file.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="What to write.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
SkipBadOption = Annotated[bool, typer.Option(help="Leave jets out that are empty, NaN or negative, and count them.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    pass


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
        values[key] = yaml.safe_load(text)
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
    sample: Annotated[str, typer.Option(help="With --config: which sample of the study.")] = "",
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
    from hepcnn.images.convert import convert_files

    with console.count_progress("converting") as update:
        if config is not None:
            from hepcnn.config import read_study
            from hepcnn.stages.samples import convert_sample

            summary = convert_sample(read_study(config), sample, output, progress=lambda _, done: update(done))
        else:
            if not files or not schema or not label:
                raise typer.BadParameter("FILES, --schema and --label are needed (or --config and --sample)")
            summary = convert_files(
                files,
                output,
                schema=schema,
                label=label,
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


@app.command("train")
def train_verb(
    config: ConfigOption,
    model: Annotated[str, typer.Option("--model", "-m", help="Which of the study's models.")],
    output: OutputOption,
    seed: Annotated[int, typer.Option(help="Of the weights and the order of jets.")] = 1,
    threads: Annotated[int, typer.Option(help="CPU threads; by default what OMP_NUM_THREADS or torch says.")] = 0,
) -> None:
    """Train a tagger of a study, or go on with it; writes bundle/, scores.h5 and metrics.json."""
    from hepcnn import console
    from hepcnn.config import read_study
    from hepcnn.errors import require

    study = read_study(config)
    torch = require("torch", extra="train")
    from hepcnn.stages.train import train_tagger

    if threads:
        torch.set_num_threads(threads)
    with console.TrainingDisplay(f"{model} seed {seed}", n_epochs=study.training_of(model).epochs) as display:
        run = train_tagger(study, model, seed=seed, output=output, listener=display)
    _say_metrics(f"{model} seed {seed}", run.record.metrics)
    console.out.print(f"bundle: {run.bundle}")


def _say_metrics(title: str, metrics: Any) -> None:
    from hepcnn import console

    for signal_class, measured in metrics.items():
        rejection = measured["rejection"]["0.3"]
        sign = ">" if rejection.get("is_lower_limit") else "="
        console.out.print(
            f"{title}: {signal_class} against {measured['background']}: AUC {measured['auc']['value']:.4f} "
            f"± {measured['auc']['err_stat']:.4f}, 1/eps_b(eps_s=0.3) {sign} {rejection['value']:.0f}"
        )


@app.command("baseline")
def baseline_verb(
    config: ConfigOption,
    name: Annotated[str, typer.Option(help="pixel_logistic or substructure_tree.")],
    output: OutputOption,
    seed: Annotated[int, typer.Option(help="Of the fit.")] = 1,
) -> None:
    """Fit a baseline on the very jets that the study's taggers get."""
    from hepcnn.config import read_study
    from hepcnn.stages.baseline import train_baseline

    _say_metrics(name, train_baseline(read_study(config), name, seed=seed, output=output).metrics)


@app.command("evaluate")
def evaluate_verb(
    scores: Annotated[list[Path], typer.Argument(help="scores.h5 files: taggers, seeds, or both.")],
    output: OutputOption,
    background: Annotated[str, typer.Option(help="The background class; by default qcd, else the first.")] = "",
    json_: JsonOption = False,
) -> None:
    """Measure scores: AUC, rejections with errors, working points, tables and plots."""
    from hepcnn import console
    from hepcnn.stages.evaluate import evaluate_files, read_tables

    metrics = evaluate_files(scores, output, background=background or None)
    if json_:
        console.print_json(metrics)
    else:
        for table in read_tables(output):
            console.out.print(table)


@app.command("report")
def report_verb(config: ConfigOption, output: OutputOption) -> None:
    """Write the report of a study: one page with tables, plots, average images, and links to the runs."""
    from hepcnn import console, paths
    from hepcnn.config import read_study
    from hepcnn.stages.report import write_report

    study = read_study(config)
    write_report(study, output)
    if paths.tracked(paths.study_dir(study.results, study.study)).exists():
        from hepcnn.tracking import attach_report

        attach_report(study, output)
    console.out.print(f"report: {output}")


@app.command("tag")
def tag_verb(
    file: Annotated[Path, typer.Argument(help="The file whose jets to score; it is not changed.")],
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="The tagger.")],
    output: OutputOption,
    schema: Annotated[str, typer.Option(help="family or family:collection; by default what fits.")] = "",
    skip_bad: SkipBadOption = False,
) -> None:
    """Score every jet of a file into a friend tree, one row per entry of the input, in its order."""
    from hepcnn import console
    from hepcnn.errors import SchemaError
    from hepcnn.tagger import Tagger, tag_file

    if not schema:
        from hepcnn.io.inspect import inspect_file

        schema = inspect_file(file).schema or ""
        if not schema:
            raise SchemaError(f"{file}: no schema fits this file; 'hepcnn inspect {file}' says what it lacks")
    tagger = Tagger.load(bundle)
    with console.count_progress("tagging") as update:
        summary = tag_file(tagger, file, output, schema=schema, skip_bad=skip_bad, progress=update)
    console.out.print(f"{output}: {summary.n_jets} jets of {summary.n_entries} entries scored as {schema}")
    for reason, count in summary.without_score.items():
        console.err.print(f"warning: {count} jets have NaN for a score: {reason}")
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


@app.command("export")
def export_verb(
    bundle: Annotated[Path, typer.Option("--bundle", "-b", help="The tagger.")],
    output: OutputOption,
) -> None:
    """Write a bundle's ONNX graph after comparing it with the trained weights."""
    from hepcnn import console
    from hepcnn.errors import require

    require("torch", extra="train")
    from hepcnn.stages.export import export_bundle

    difference = export_bundle(bundle, output)
    console.out.print(f"{output}: scores equal the network's to {difference:.1e}")


@track_app.command("sync")
def track_sync_verb(config: ConfigOption) -> None:
    """Bring the finished runs of a study to MLflow; runs that are there already are left alone."""
    from hepcnn import console
    from hepcnn.config import read_study
    from hepcnn.tracking import sync_study

    study = read_study(config)
    runs = sync_study(study)
    console.out.print(f"{study.tracking.uri}: {sum(run.is_new for run in runs)} new runs, {len(runs)} in all")


@track_app.command("ui")
def track_ui_verb(
    uri: Annotated[str, typer.Option(help="The MLflow store.")] = "sqlite:///mlflow.db",
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 5000,
) -> None:
    """Open the dashboard on this machine, until Ctrl-C."""
    from hepcnn.tracking import open_dashboard

    raise typer.Exit(open_dashboard(uri, port=port))


@app.command("models")
def models_verb(
    name: Annotated[str, typer.Argument(help="One model; by default all.")] = "",
    grid: Annotated[str, typer.Option(help="Pixels in eta x phi.")] = "40x40",
    n_channels: Annotated[int, typer.Option(help="Channels of the images.")] = 5,
    json_: JsonOption = False,
) -> None:
    """List the networks with parameters, operations and receptive field."""
    from hepcnn import console
    from hepcnn.errors import require
    from hepcnn.images.grids import parse_grid

    require("torch", extra="train")
    from hepcnn.models import create_model, list_models
    from hepcnn.models.describe import describe_model

    shape = parse_grid(grid, half_width=1.0).shape
    found = {}
    for model_name in [name] if name else list_models():
        model = create_model(model_name, in_channels=n_channels, n_classes=2, grid=shape)
        found[model_name] = describe_model(model, shape, n_channels)
    if json_:
        console.print_json(found)
        return
    for model_name, values in found.items():
        field = "×".join(map(str, values["receptive_field"]))
        console.out.print(
            f"{model_name:12} {values['parameters']:>10,} parameters {values['flops'] / 1e6:>9.1f} MFLOP a jet, "
            f"receptive field {field} pixels, {values['input_format']} input"
        )


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


@app.command("doctor")
def doctor_verb(json_: JsonOption = False) -> None:
    """Say what this machine can do, what is wrong with it, and how to mend it."""
    from hepcnn import console
    from hepcnn.doctor import examine_machine

    findings = examine_machine()
    if json_:
        console.print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            console.out.print(f"{'ok     ' if finding.is_ok else 'missing'} {finding.what}: {finding.detail}")
    if not all(finding.is_ok for finding in findings if finding.is_needed):
        raise typer.Exit(1)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run ``hepcnn``: 0 done, 1 a problem with input or config in one message, 2 wrong usage."""
    # A batch system's SIGTERM ends a verb as Ctrl-C does, so that it cleans up behind itself.
    signal.signal(signal.SIGTERM, _stop)
    try:
        app()
    except SystemExit as ending:
        if ending.code not in INTERRUPTED:
            raise
        _fail("stopped; the same command goes on from what is done")
    except HepcnnError as error:
        _fail(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _fail(f"{place}{error.strerror or error}")


def _fail(message: str) -> NoReturn:
    sys.stdout.flush()
    print(f"hepcnn: {message}", file=sys.stderr)
    sys.exit(1)
