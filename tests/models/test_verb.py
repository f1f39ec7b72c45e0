"""``hepcnn models``: what it says of one network and of a grid."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hepcnn.cli.main
from hepcnn.cli.app import app
from hepcnn.errors import ConfigError
from hepcnn.models import create_model, list_models
from hepcnn.models.describe import describe_layers, describe_model, sketch_model

assert hepcnn.cli.main  # it adds the verbs
DOCS = Path(__file__).parents[2] / "docs" / "models.md"


def run(*arguments):
    return CliRunner().invoke(app, ["models", *arguments], catch_exceptions=False)


def test_one_network_layer_by_layer():
    told = json.loads(run("lenet5", "--grid", "32x32", "--n-channels", "1", "--json").stdout)["lenet5"]
    assert told["parameters"] == sum(layer["parameters"] for layer in told["layers"])
    # Sixteen pixels of 1.6 / 32 each.
    assert told["receptive_field"] == [16, 16]
    assert told["receptive_field_angle"] == [0.8, 0.8]
    assert told["layers"][0]["receptive_field_angle"] == [0.25, 0.25]
    assert told["layers"][-1]["receptive_field_angle"] is None
    assert "0.8 in deta and 0.8 in dphi, less than a jet, which is 1.6 wide" in told["warnings"][0]


@pytest.mark.parametrize(
    ("arguments", "field", "warns"),
    [
        (("cnn",), [1.6, 1.6], False),
        (("deeptop",), [0.88, 0.88], True),
        (("deeptop", "--jet-radius", "0.4"), [0.88, 0.88], False),
        (("deeptop", "--half-width", "0.4"), [0.44, 0.44], True),
        (("resnet", "--grid", "detector:40x40", "--eta-max", "2"), [4.0, 6.283185], False),
        (("deeptop_minimal", "--grid", "detector:80x80", "--eta-max", "2"), [1.0, 1.570796], True),
    ],
)
def test_the_field_in_angles_and_the_jet(arguments, field, warns):
    told = json.loads(run(*arguments, "--json").stdout)[arguments[0]]
    assert told["receptive_field_angle"] == pytest.approx(field)
    assert bool(told["warnings"]) is warns


def test_the_table_holds_every_number_however_narrow_the_terminal():
    shown = run("lenet5", "--grid", "32x32", "--n-channels", "1")
    assert "trunk.1.0" in shown.stdout
    assert "2,416" in shown.stdout
    assert "…" not in shown.stdout
    assert "less than a jet" in shown.stderr


def test_what_cannot_be_described_is_refused():
    with pytest.raises(ConfigError, match="unknown model 'lenet'; did you mean 'lenet5'"):
        run("lenet")
    with pytest.raises(ConfigError, match="only files can say what it is"):
        run("cnn", "--grid", "native")


@pytest.mark.parametrize("name", ["cnn", "resnet18", "sparse", "timm/resnet10t"])
def test_a_sketch_is_described_like_the_model(name):
    arguments = {"in_channels": 2, "n_classes": 2, "grid": (24, 24)}
    model, sketch = create_model(name, **arguments), sketch_model(name, **arguments)
    assert describe_model(model, (24, 24), 2) == describe_model(sketch, (24, 24), 2)
    assert describe_layers(model, (24, 24), 2) == describe_layers(sketch, (24, 24), 2)


@pytest.mark.parametrize("name", ["cnn", "lenet5", "landscape_cnn", "squeezenet", "sparse"])
def test_the_documentation_says_what_the_verb_says(name):
    (row,) = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{name}` | ")][:1]
    told = json.loads(run(name, "--json").stdout)[name]
    sizes = [f"{told['parameters']:,}", f"{told['flops'] / 1e6:,.1f}", str(told["receptive_field"][0])]
    assert [cell.strip() for cell in row.strip("|").split("|")][2:] == sizes


@pytest.mark.parametrize("name", ["cnn3d", "resnet3d", "sparse_resnet3d", "layers/resnet"])
def test_the_documentation_says_what_the_verb_says_of_three_axes(name):
    shown = name if name in list_models(3) else "layers/<name>"
    (row,) = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{shown}` | ")]
    told = json.loads(run(name, "--calorimeter", "sampling45", "--n-channels", "1", "--json").stdout)[name]
    field = "×".join("all" if size is None else str(size) for size in told["receptive_field"])
    sizes = [f"{told['parameters']:,}", f"{told['flops'] / 1e6:,.1f}", field]
    assert [cell.strip() for cell in row.strip("|").split("|")][2:] == sizes
    assert told["warnings"] == []


def test_a_shower_is_as_large_as_the_grid_or_as_the_verb_is_told():
    arguments = ("resnet3d", "--grid", "60x16x9", "--half-width", "0.8", "--json")
    (warning,) = json.loads(run(*arguments).stdout)["resnet3d"]["warnings"]
    assert warning == ("a cell of the last feature map sees 49 in layer, less than a shower, which is 60×1.6×1.6")
    assert json.loads(run(*arguments, "--shower", "45x16x9").stdout)["resnet3d"]["warnings"] == []
    with pytest.raises(ConfigError, match="shower '45': expected 3 numbers of voxels, as in 60×16×9"):
        run(*arguments, "--shower", "45")
    listed = json.loads(run("--grid", "12x8x8", "--json").stdout)
    assert sorted(listed) == list_models(3)


def test_the_documentation_has_every_network():
    rows = {line.split("`")[1] for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| `")}
    assert set(list_models()) <= rows
