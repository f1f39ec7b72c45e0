"""The verb about networks: models."""

from typing import Annotated

import typer

from hepcnn.cli.app import JsonOption, app


@app.command("models")
def models_verb(
    name: Annotated[str, typer.Argument(help="One model; by default all.")] = "",
    grid: Annotated[str, typer.Option(help="Pixels: 40x40, 28x1x1 (layers), detector:64x64.")] = "40x40",
    n_channels: Annotated[int, typer.Option(help="Channels of the images.")] = 5,
    json_: JsonOption = False,
) -> None:
    """List the networks with parameters, operations and receptive field."""
    from hepcnn import console
    from hepcnn.doctor import require_extras
    from hepcnn.errors import ConfigError
    from hepcnn.images.grids import Grid, parse_grid

    require_extras("train")
    from hepcnn.models import create_model, list_models
    from hepcnn.models.describe import describe_model

    pixels = parse_grid(grid)
    if not isinstance(pixels, Grid):
        raise ConfigError(f"grid '{grid}': only files can say what it is; name numbers of pixels, as in 40x40")
    shape = pixels.shape
    found = {}
    for model_name in [name] if name else list_models():
        model = create_model(model_name, in_channels=n_channels, n_classes=2, grid=shape, periodic=pixels.periodic)
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
