"""How constituents become pixels and jet-level numbers: one object for conversion, tagging and export."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hepcnn.config import GroomConfig, ImagesConfig
from hepcnn.constituents import Constituents
from hepcnn.errors import ConfigError, SchemaError
from hepcnn.grids import GridSource
from hepcnn.images.channels import check_channels, check_fields, find_channel
from hepcnn.images.grids import Grid
from hepcnn.images.jet_features import check_jet_features, make_jet_features
from hepcnn.images.pixelate import Pixels, make_pixels
from hepcnn.images.preprocess import Step, check_steps, describe_preprocessing


@dataclass(frozen=True)
class ImageRecipe:
    """How constituents become pixels and jet-level numbers; the same object serves conversion and tagging.

    ``radius`` is the jets' radius, which N-subjettiness and grooming need. Jet-level numbers are always those of the
    whole jet, groomed or not.
    """

    grid: Grid
    channels: tuple[str, ...]
    steps: tuple[Step, ...]
    jet_features: tuple[str, ...]
    radius: float
    groom: GroomConfig = field(default_factory=GroomConfig)

    def make_pixels(self, constituents: Constituents) -> Pixels:
        """Sparse images of jets, see `hepcnn.images.pixelate.make_pixels`."""
        return make_pixels(
            constituents,
            grid=self.grid,
            channels=self.channels,
            steps=self.steps,
            groom=self.groom,
            radius=self.radius,
        )

    def make_jet_features(self, constituents: Constituents) -> dict[str, Any]:
        """Jet-level numbers, see `hepcnn.images.jet_features.make_jet_features`."""
        return make_jet_features(constituents, self.jet_features, radius=self.radius)

    @property
    def needs(self) -> tuple[str, ...]:
        """The constituent fields that grid, channels and jet features are made of."""
        fields = ["pt", "eta", "phi", *self.grid.needs]
        fields += [needed for name in self.channels for needed in find_channel(name).needs]
        fields += ["charge"] if "n_tracks" in self.jet_features else []
        fields += ["energy"] if set(self.jet_features) - {"pt", "n_constituents", "n_tracks"} else []
        return tuple(dict.fromkeys(fields))

    def check_fields(self, fields: Sequence[str], *, where: str) -> None:
        """Check that constituents have what the images need.

        Raises
        ------
        SchemaError
            Naming the grid or the channel, the missing field, and the channels that are possible.
        """
        for needed in self.grid.needs:
            if needed not in fields:
                kind = self.grid.model_dump()["kind"]
                raise SchemaError(
                    f"{where}: a grid of kind '{kind}' needs '{needed}' of each constituent, which is not there; there "
                    f"are: {', '.join(fields)}"
                )
        check_fields(self.channels, fields, where=where)

    def describe_preprocessing(self) -> dict[str, Any]:
        """What an output file and a bundle record about the preprocessing."""
        return describe_preprocessing(self.steps, self.groom)


def make_recipe(images: ImagesConfig, *, radius: float, native: Grid | None = None) -> ImageRecipe:
    """Check the images section of a config and give it meaning.

    Parameters
    ----------
    images
        The section.
    radius
        Of the jets.
    native
        The grid that stands behind ``{kind: native}`` and the like.

    Raises
    ------
    ConfigError
        Naming the channel, step or jet feature that does not exist or does not fit the grid; or for a native grid where
        the files have none.
    """
    grid = native if isinstance(images.grid, GridSource) else images.grid
    if grid is None:
        raise ConfigError("grid: 'native' is the grid of ready-made images, but these files hold jets: choose another")
    return ImageRecipe(
        grid=grid,
        channels=check_channels(images.channels),
        steps=check_steps(images.preprocess, grid=grid),
        jet_features=check_jet_features(images.jet_features),
        radius=radius,
        groom=images.groom,
    )
