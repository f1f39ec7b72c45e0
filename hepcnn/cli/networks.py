"""The verb about networks: models."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hepcnn.cli.app import JsonOption, app

if TYPE_CHECKING:
    from hepcnn.grids import Grid

WHOLE = "all"
ANGLES = "deta", "dphi", "eta", "phi"


@app.command("models")
def models_verb(
    name: Annotated[str, typer.Argument(help="One model, layer by layer; timm/NAME too. By default all.")] = "",
    grid: Annotated[
        str, typer.Option(help="Pixels: 40x40 (a window), detector:64x64, 45x16x9 (layers of windows).")
    ] = "40x40",
    calorimeter: Annotated[
        str, typer.Option(help="Name or YAML file of a calorimeter, whose voxels stand for --grid.", metavar="NAME")
    ] = "",
    half_width: Annotated[float, typer.Option(help="Of the window in eta and phi.")] = 0.8,
    eta_max: Annotated[float, typer.Option(help="Of the detector.")] = 5.0,
    jet_radius: Annotated[
        float, typer.Option(help="R of the jets; 0: as wide as the window, 0.8 in the detector.", min=0.0)
    ] = 0.0,
    shower: Annotated[
        str, typer.Option(help="Voxels that a shower fills, as in 30x16x9; by default the whole grid.", metavar="SIZE")
    ] = "",
    n_channels: Annotated[int, typer.Option(help="Channels of the images.", min=1)] = 5,
    json_: JsonOption = False,
) -> None:
    """List the networks for a grid with parameters, operations and receptive field; one network layer by layer."""
    from hepcnn import console
    from hepcnn.doctor import require_extras
    from hepcnn.errors import ConfigError
    from hepcnn.images.grids import Grid, parse_grid

    require_extras("train")
    from hepcnn.models import describe_model, list_models
    from hepcnn.models.describe import describe_layers, sketch_model

    if calorimeter:
        from hepcnn.calorimeters import read_calorimeter

        pixels: Any = read_calorimeter(calorimeter).grid
    else:
        pixels = parse_grid(grid, half_width=half_width, eta_max=eta_max)
    if not isinstance(pixels, Grid):
        raise ConfigError(f"grid '{grid}': only files can say what it is; name numbers of pixels, as in 40x40")
    jet = _find_extent(pixels, jet_radius, shower)
    found: dict[str, dict[str, Any]] = {}
    for model_name in [name] if name else list_models(len(pixels.shape)):
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


@dataclass(frozen=True)
class Extent:
    """What fills an image, ``name``, and how large it is along each axis, in the axis' units."""

    name: str
    sizes: tuple[float, ...]

    def __str__(self) -> str:
        alike = len(set(self.sizes)) == 1
        return f"a {self.name}, which is {f'{self.sizes[0]:.3g} wide' if alike else _times(self.sizes)}"


def _find_extent(grid: "Grid", jet_radius: float, shower: str) -> Extent:
    """How large jets or showers are on a grid: as large as the grid, if nobody says."""
    from hepcnn.errors import ConfigError

    widths = [float(axis.edges[-1] - axis.edges[0]) for axis in grid.axes]
    if len(widths) == 2 and not shower:
        jet = 2 * jet_radius or (widths[-1] if grid.follows_jet else 1.6)
        return Extent("jet", (jet, jet))
    if shower:
        voxels = [int(part) if part.isdecimal() else 0 for part in re.split("[x×]", shower)]
        if len(voxels) != len(widths) or min(voxels) < 1:
            raise ConfigError(
                f"shower '{shower}': expected {len(widths)} numbers of voxels, as in {_times(grid.shape)}"
            )
        sizes = [width * min(n / most, 1) for width, n, most in zip(widths, voxels, grid.shape, strict=True)]
        return Extent("shower", tuple(sizes))
    if jet_radius:
        widths = [
            2 * jet_radius if axis.name in ANGLES else width for axis, width in zip(grid.axes, widths, strict=True)
        ]
    return Extent("shower", tuple(widths))


def _add_angles(told: dict[str, Any], layers: list[dict[str, Any]], grid: "Grid", jet: Extent) -> dict[str, Any]:
    """Give receptive fields in the units of the axes too, and what there is to warn of."""
    field = told["receptive_field_angle"] = _angles(told["receptive_field"], grid)
    sizes = zip(field, grid.axes, jet.sizes, strict=True)
    short = [f"{size:.3g} in {axis.name}" for size, axis, wanted in sizes if size < wanted * (1 - 1e-6)]
    told["warnings"] = []
    if short:
        told["warnings"].append(f"a cell of the last feature map sees {' and '.join(short)}, less than {jet}")
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


def _print_models(found: dict[str, dict[str, Any]], grid: "Grid", jet: Extent) -> None:
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
        console.out.print(f"* a cell of the last feature map sees less than {jet}")
    more = "timm/NAME builds any network of timm: hepcnn models timm/resnet18d"
    if len(grid.shape) == 3:
        more = "layers/NAME takes the layers as channels of any network for two axes: hepcnn models layers/resnet"
    console.out.print(f"{more}; the same in a study's config")


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
