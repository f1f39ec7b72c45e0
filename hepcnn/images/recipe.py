"""How constituents become pixels and jet-level numbers: one object for conversion, tagging and export."""

from dataclasses import dataclass
from typing import Any

import awkward as ak

from hepcnn.config import ImagesConfig
from hepcnn.images.channels import check_channels, check_fields
from hepcnn.images.grids import WindowGrid
from hepcnn.images.jet_features import check_jet_features, make_jet_features
from hepcnn.images.pixelate import Pixels, make_pixels
from hepcnn.images.preprocess import Step, check_steps


@dataclass(frozen=True)
class ImageRecipe:
    """How constituents become pixels and jet-level numbers; the same object serves conversion and tagging.

    ``radius`` is the jets' radius, which N-subjettiness needs.
    """

    grid: WindowGrid
    channels: tuple[str, ...]
    steps: tuple[Step, ...]
    jet_features: tuple[str, ...]
    radius: float

    def make_pixels(self, constituents: ak.Array) -> Pixels:
        """Sparse images of jets, see `hepcnn.images.pixelate.make_pixels`."""
        return make_pixels(constituents, grid=self.grid, channels=self.channels, steps=self.steps)

    def make_jet_features(self, constituents: ak.Array) -> dict[str, Any]:
        """Jet-level numbers, see `hepcnn.images.jet_features.make_jet_features`."""
        return make_jet_features(constituents, self.jet_features, radius=self.radius)

    def check_fields(self, constituents: ak.Array, *, where: str) -> None:
        """Raise ``SchemaError`` where the constituents lack what a channel needs."""
        check_fields(self.channels, ak.fields(constituents), where=where)


def make_recipe(images: ImagesConfig, *, radius: float) -> ImageRecipe:
    """Check the images section of a config and give it meaning.

    Raises
    ------
    ConfigError
        Naming the channel, step or jet feature that does not exist.
    """
    return ImageRecipe(
        grid=WindowGrid.model_validate(images.grid.model_dump()),
        channels=check_channels(images.channels),
        steps=check_steps(images.preprocess),
        jet_features=check_jet_features(images.jet_features),
        radius=radius,
    )
