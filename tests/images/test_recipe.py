"""The images section of a config as one object."""

import pytest

from hepcnn.config import GroomConfig, ImagesConfig
from hepcnn.errors import ConfigError, SchemaError
from hepcnn.images.grids import GivenGrid, LayersGrid, WindowGrid
from hepcnn.images.recipe import ImageRecipe, make_recipe
from tests.images.jets import toy_jets


def recipe(**values: object) -> ImageRecipe:
    return make_recipe(ImagesConfig.model_validate(values), radius=0.8)


def test_a_recipe_makes_images_and_numbers() -> None:
    made = recipe(grid={"n_eta": 8, "n_phi": 8}, channels=["pt"])
    jets = toy_jets(4, seed=1)
    made.check_fields(list(jets.fields), where="here")
    assert made.make_pixels(jets).to_dense(made.grid.shape).shape == (4, 1, 8, 8)
    assert set(made.make_jet_features(jets)) == {"pt", "mass", "n_constituents"}
    assert made.grid == WindowGrid(n_eta=8, n_phi=8)


def test_what_is_needed_is_listed_and_missed() -> None:
    made = recipe(grid={"kind": "layers", "n_layers": 3}, channels=["ecal", "pt_mean:d0"], jet_features=["n_tracks"])
    assert made.needs == ("pt", "eta", "phi", "layer", "ecal", "d0", "charge")
    with pytest.raises(SchemaError, match="here: a grid of kind 'layers' needs 'layer'"):
        made.check_fields(["pt", "eta", "phi"], where="here")
    with pytest.raises(SchemaError, match="channel 'ecal' needs 'ecal'"):
        made.check_fields(["pt", "eta", "phi", "layer"], where="here")


def test_the_native_grid_is_that_of_the_files() -> None:
    images = ImagesConfig.model_validate(
        {"grid": {"kind": "native"}, "channels": ["pt"], "preprocess": ["normalise"], "jet_features": []}
    )
    assert make_recipe(images, radius=1.0, native=GivenGrid(shape=(4, 5))).grid.shape == (4, 5)
    with pytest.raises(ConfigError, match="'native' is the grid of ready-made images"):
        make_recipe(images, radius=1.0)
    centred = images.model_copy(update={"preprocess": ["centre"]})
    with pytest.raises(ConfigError, match="only 'normalise' is possible"):
        make_recipe(centred, radius=1.0, native=GivenGrid(shape=(4, 5)))


def test_grooming_reaches_the_image_and_not_the_numbers() -> None:
    pytest.importorskip("fastjet")
    jets = toy_jets(30, seed=2, n_prongs=3)
    steps = {"preprocess": ["groom", "centre"], "grid": {"half_width": 3.0}, "channels": ["pt"]}
    hard = recipe(**steps, groom={"z_cut": 0.45, "beta": 0.0})
    plain = recipe(preprocess=["centre"], grid={"half_width": 3.0}, channels=["pt"])
    inside = hard.make_pixels(jets).pt_inside
    assert (inside < plain.make_pixels(jets).pt_inside * 0.99).any()
    assert (hard.make_jet_features(jets)["pt"] == plain.make_jet_features(jets)["pt"]).all()
    assert hard.describe_preprocessing()["groom"] == {"z_cut": 0.45, "beta": 0.0}
    assert hard.groom == GroomConfig(z_cut=0.45)
    assert LayersGrid(n_layers=2).follows_jet
