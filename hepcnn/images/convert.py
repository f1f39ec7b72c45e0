"""Files → ``images.h5``, block by block."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from hepcnn.config import ImagesConfig, hash_config
from hepcnn.errors import ConfigError, EmptySampleError, did_you_mean
from hepcnn.images.channels import check_channels, check_fields
from hepcnn.images.grids import WindowGrid
from hepcnn.images.jet_features import check_jet_features, make_jet_features
from hepcnn.images.pixelate import Pixels, make_pixels
from hepcnn.images.preprocess import Step, check_steps, describe_preprocessing
from hepcnn.io.reader import JetBatch, iterate_jets, sha256_of
from hepcnn.io.schema import parse_schema_name, read_schema
from hepcnn.io.store import ImageWriter, open_image_writer

Progress = Callable[[str, int], None]


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


@dataclass
class ConversionSummary:
    """What went in and what came out: jets read = jets written + jets left out, by reason."""

    sources: list[dict[str, Any]] = field(default_factory=list)
    n_read: int = 0
    n_written: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    n_pixels: int = 0
    pt_fraction_in_window: float = 0.0
    occupancy: float = 0.0


def convert_files(
    files: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    schema: str,
    label: str,
    class_names: Sequence[str],
    images: ImagesConfig,
    progress: Progress | None = None,
) -> ConversionSummary:
    """Convert files of one family and one class to sparse images.

    Parameters
    ----------
    files
        The input files, read in this order.
    output
        The ``images.h5`` to write; it appears under its name when it is whole.
    schema
        ``family`` or ``family:collection``.
    label
        The class of all these jets.
    class_names
        All classes; a jet's label is the place of its class here.
    images
        Grid, channels, preprocessing, jet features, and whether to leave bad jets out.
    progress
        Called with the file and the number of its entries done so far.

    Returns
    -------
    ConversionSummary
        Also stored in the file.

    Raises
    ------
    InputError, SchemaError
        For a file that cannot be read, does not fit the schema, or holds jets without constituents or with NaN or
        negative energies (unless ``skip_bad``); nothing is written then.
    EmptySampleError
        When no jet is left.
    """
    if label not in class_names:
        raise ConfigError(f"label '{label}' is not one of the classes{did_you_mean(label, class_names)}")
    family, collection = parse_schema_name(schema)
    recipe = make_recipe(images, radius=read_schema(family).collection(collection).radius)
    summary = ConversionSummary()
    kept_pt = total_pt = 0.0
    with open_image_writer(
        output,
        n_pixels=recipe.grid.n_pixels,
        n_channels=len(recipe.channels),
        jet_features=recipe.jet_features,
    ) as writer:
        for number, path in enumerate(files):
            before = summary.n_read
            n_entries = 0
            for batch in iterate_jets(path, schema):
                pt_in, pt_all = _convert_batch(
                    batch, writer, recipe, summary, number, class_names.index(label), images.skip_bad
                )
                kept_pt, total_pt = kept_pt + pt_in, total_pt + pt_all
                n_entries += batch.n_entries
                if progress:
                    progress(str(path), n_entries)
            summary.sources.append(_describe_source(path, n_entries, summary.n_read - before))
        if summary.n_written == 0:
            raise EmptySampleError(
                f"{', '.join(map(str, files))}: no jet to write for {output} (read {summary.n_read}; left out: "
                f"{summary.left_out or 'none'})"
            )
        summary.pt_fraction_in_window = kept_pt / total_pt if total_pt else 0.0
        summary.occupancy = summary.n_pixels / (summary.n_written * recipe.grid.n_pixels)
        writer.set_attributes(_describe_file(recipe, schema, class_names, images, summary))
    return summary


def _convert_batch(
    batch: JetBatch,
    writer: ImageWriter,
    recipe: ImageRecipe,
    summary: ConversionSummary,
    number: int,
    label: int,
    skip_bad: bool,
) -> tuple[float, float]:
    recipe.check_fields(batch.constituents, where=batch.where)
    if not skip_bad:
        batch.require_usable()
    good = batch.usable
    remaining = np.ones(len(batch), dtype=bool)
    for reason, mask in batch.problems.items():
        if n_bad := int((mask & remaining).sum()):
            summary.left_out[reason] = summary.left_out.get(reason, 0) + n_bad
        remaining &= ~mask
    constituents = batch.constituents[good]
    pixels = recipe.make_pixels(constituents)
    n_jets = len(pixels)
    jets = {name: getattr(batch, name)[good] for name in ("pt", "eta", "phi", "mass", "event_id")}
    jets |= {"source_entry": batch.entry[good], "source_jet": batch.jet[good]}
    jets |= {"source_file": np.full(n_jets, number), "label": np.full(n_jets, label), "weight": np.ones(n_jets)}
    writer.append(pixels.indptr, pixels.index, pixels.value, jets, recipe.make_jet_features(constituents))
    summary.n_read += len(batch)
    summary.n_written += n_jets
    summary.n_pixels += len(pixels.index)
    return _window_pt(constituents, recipe)


def _window_pt(constituents: ak.Array, recipe: ImageRecipe) -> tuple[float, float]:
    """Scalar pT inside the window and in all."""
    plain = make_pixels(
        constituents, grid=recipe.grid, channels=("pt",), steps=tuple(s for s in recipe.steps if s != "normalise")
    )
    return float(plain.value.sum(dtype=np.float64)), float(ak.sum(constituents["pt"]))


def _describe_source(path: str | os.PathLike[str], n_entries: int, n_jets: int) -> dict[str, Any]:
    return {
        "path": str(path),
        "size": Path(path).stat().st_size,
        "sha256": sha256_of(path),
        "entries": n_entries,
        "jets": n_jets,
    }


def _describe_file(
    recipe: ImageRecipe, schema: str, class_names: Sequence[str], images: ImagesConfig, summary: ConversionSummary
) -> dict[str, Any]:
    counts = asdict(summary)
    return {
        "grid": recipe.grid.model_dump(),
        "channels": list(recipe.channels),
        "class_names": list(class_names),
        "preprocess": describe_preprocessing(recipe.steps),
        "jet_features": list(recipe.jet_features),
        "radius": recipe.radius,
        "schema": schema,
        "config_sha256": hash_config(images, schema),
        "sources": counts.pop("sources"),
        "summary": counts,
    }
