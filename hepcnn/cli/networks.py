"""The verb about networks: models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepcnn.cli.app import JsonOption, app

if TYPE_CHECKING:
    from hepcnn.grids import Grid

WHOLE = "all"


@app.command("models")
def models_verb(
    name: Annotated[str, typer.Argument(help="One model, layer by layer; timm/NAME too. By default all.")] = "",
    grid: Annotated[str, typer.Option(help="Pixels: 40x40 (a window), detector:64x64.")] = "40x40",
    half_width: Annotated[float, typer.Option(help="Of the window in eta and phi.")] = 0.8,
    eta_max: Annotated[float, typer.Option(help="Of the detector.")] = 5.0,
    jet_radius: Annotated[
        float, typer.Option(help="R of the jets; 0: as wide as the window, 0.8 in the detector.", min=0.0)
    ] = 0.0,
    n_channels: Annotated[int, typer.Option(help="Channels of the images.", min=1)] = 5,
    json_: JsonOption = False,
) -> None:
    """List the networks with parameters, operations and receptive field; one network layer by layer."""
    from hepcnn import console
    from hepcnn.doctor import require_extras
    from hepcnn.errors import ConfigError
    from hepcnn.images.grids import Grid, parse_grid

    require_extras("train")
    from hepcnn.models import describe_model, list_models
    from hepcnn.models.describe import describe_layers, sketch_model

    pixels = parse_grid(grid, half_width=half_width, eta_max=eta_max)
    if not isinstance(pixels, Grid):
        raise ConfigError(f"grid '{grid}': only files can say what it is; name numbers of pixels, as in 40x40")
    jet = 2 * jet_radius or _jet_width(pixels)
    found: dict[str, dict[str, Any]] = {}
    for model_name in [name] if name else list_models():
        model = sketch_model(
            model_name, in_channels=n_channels, n_classes=2, grid=pixels.shape, periodic=pixels.periodic
        )
        told = describe_model(model, pixels.shape, n_channels)
        layers = describe_layers(model, pixels.shape, n_channels) if name else []
        found[model_name] = _add_angles(told, layers, pixels, jet)
    if json_:
        console.print_json(found)
    elif name:
        _print_layers(name, found[name], pixels)
    else:
        _print_models(found, pixels, jet)


def _jet_width(grid: "Grid") -> float:
    """How wide jets are on a grid, if nobody says."""
    if not grid.follows_jet:
        return 1.6
    edges = grid.axes[-1].edges
    return float(edges[-1] - edges[0])


def _add_angles(told: dict[str, Any], layers: list[dict[str, Any]], grid: "Grid", jet: float) -> dict[str, Any]:
    """Give receptive fields in the units of the axes too, and what there is to warn of."""
    field = told["receptive_field_angle"] = _angles(told["receptive_field"], grid)
    names = [axis.name for axis in grid.axes]
    short = [f"{size:.3g} in {name}" for size, name in zip(field, names, strict=True) if size < jet * (1 - 1e-9)]
    told["warnings"] = []
    if short:
        told["warnings"].append(
            f"a cell of the last feature map sees {' and '.join(short)}, less than a jet, which is {jet:.3g} wide"
        )
    if layers:
        told["layers"] = [
            layer | {"receptive_field_angle": layer["receptive_field"] and _angles(layer["receptive_field"], grid)}
            for layer in layers
        ]
    return told


def _angles(field: Sequence[int | None], grid: "Grid") -> list[float]:
    """A receptive field in the units of the axes; it ends with the image."""
    sizes = []
    for pixels, axis in zip(field, grid.axes, strict=True):
        width, n_pixels = float(axis.edges[-1] - axis.edges[0]), len(axis.edges) - 1
        sizes.append(round(width if pixels is None else min(pixels, n_pixels) * width / n_pixels, 6))
    return sizes


def _print_models(found: dict[str, dict[str, Any]], grid: "Grid", jet: float) -> None:
    from hepcnn import console

    table = _make_table("model", "parameters", "MFLOP a jet", "receptive field", _names(grid), "input")
    for name, told in found.items():
        mark = " *" if told["warnings"] else ""
        table.add_row(
            name,
            f"{told['parameters']:,}",
            f"{told['flops'] / 1e6:,.1f}",
            _times(told["receptive_field"]),
            _times(told["receptive_field_angle"]) + mark,
            told["input_format"],
        )
    _print_whole(table)
    if any(told["warnings"] for told in found.values()):
        console.out.print(f"* a cell of the last feature map sees less than a jet, which is {jet:.3g} wide")
    console.out.print(
        "timm/NAME builds any network of timm: hepcnn models timm/resnet18d; the same in a study's config"
    )


def _print_layers(name: str, told: dict[str, Any], grid: "Grid") -> None:
    from hepcnn import console

    table = _make_table("layer", "kind", "output", "parameters", "MFLOP a jet", "receptive field", _names(grid))
    for layer in told["layers"]:
        sees, angle = layer["receptive_field"], layer["receptive_field_angle"]
        table.add_row(
            layer["name"],
            layer["kind"],
            _times(layer["shape"]),
            f"{layer['parameters']:,}",
            f"{layer['flops'] / 1e6:,.2f}",
            "" if sees is None else _times(sees),
            "" if angle is None else _times(angle),
        )
    _print_whole(table)
    console.out.print(
        f"{name}: {told['parameters']:,} parameters, {told['flops'] / 1e6:,.1f} MFLOP a jet, receptive field "
        f"{_times(told['receptive_field'])} pixels, {_times(told['receptive_field_angle'])} in {_names(grid)}, stride "
        f"{_times(told['stride'])}, {told['input_format']} input"
    )
    for warning in told["warnings"]:
        console.err.print(f"warning: {warning}")


def _make_table(first: str, *others: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for title in others:
        words = title in ("kind", "input")
        table.add_column(title, justify="left" if words else "right", no_wrap=True)
    return table


def _print_whole(table: Any) -> None:
    """Print a table as wide as it is: a narrow terminal breaks its lines, and a file gets them whole."""
    import io

    from rich.console import Console

    from hepcnn import console

    wide = Console(file=io.StringIO(), width=400)
    wide.print(table)
    lines = wide.file.getvalue().splitlines()  # type: ignore[attr-defined]
    console.out.print("\n".join(line.rstrip() for line in lines))


def _names(grid: "Grid") -> str:
    return " × ".join(axis.name for axis in grid.axes)


def _times(values: Sequence[float | None]) -> str:
    return "×".join(WHOLE if value is None else f"{value:.4g}" for value in values)
