"""The application that the verbs are added to, and the options that several of them share."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="hepcnn",
    help="From detector files to a jet tagger: images, CNNs, sparse convolution, physics metrics.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The study's YAML file.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="What to write.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
SkipBadOption = Annotated[bool, typer.Option(help="Leave jets out that are empty, NaN or negative, and count them.")]
StyleOption = Annotated[str, typer.Option(help="Of the pictures: hepcnn, cms or atlas.")]
LabelOption = Annotated[
    str, typer.Option("--experiment-label", help="What stands beside the name of the experiment, with cms and atlas.")
]
