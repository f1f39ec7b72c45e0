"""Files → ``images.h5``, block by block."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from hepcnn.atomic import refuse_overwriting
from hepcnn.config import ImagesConfig, hash_config
from hepcnn.errors import ConfigError, EmptySampleError, did_you_mean
from hepcnn.images.pixelate import make_pixels
from hepcnn.images.preprocess import describe_preprocessing
from hepcnn.images.recipe import ImageRecipe, make_recipe
from hepcnn.io.reader import JetBatch, iterate_jets, sha256_of
from hepcnn.io.schema import parse_schema_name, read_schema
from hepcnn.io.store import ImageWriter, open_image_writer

Progress = Callable[[str, int], None]


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


@dataclass(frozen=True)
class LabelledFiles:
    """Files of one family and one class: ``schema`` is ``family`` or ``family:collection``."""

    files: Sequence[str | os.PathLike[str]]
    schema: str
    label: str


def convert_files(
    inputs: Sequence[LabelledFiles],
    output: str | os.PathLike[str],
    *,
    class_names: Sequence[str],
    images: ImagesConfig,
    progress: Progress | None = None,
) -> ConversionSummary:
    """Convert files to sparse images.

    Parameters
    ----------
    inputs
        What to read, in this order.
    output
        The ``images.h5`` to write; it appears under its name when it is whole.
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
    ConfigError
        For a label that is no class, or inputs whose jets have different radii.
    InputError, SchemaError
        For a file that cannot be read, does not fit the schema, or holds jets without constituents or with NaN or
        negative energies (unless ``skip_bad``); nothing is written then.
    EmptySampleError
        When no jet is left.
    HepcnnError
        When the output is one of the inputs.
    """
    recipe = make_recipe(images, radius=_common_radius(inputs))
    labels = [_find_label(group.label, class_names) for group in inputs]
    names = [str(path) for group in inputs for path in group.files]
    refuse_overwriting(output, names)
    with open_image_writer(
        output,
        n_pixels=recipe.grid.n_pixels,
        n_channels=len(recipe.channels),
        jet_features=recipe.jet_features,
    ) as writer:
        conversion = _Conversion(writer, recipe, images.skip_bad, progress)
        for group, label in zip(inputs, labels, strict=True):
            for path in group.files:
                conversion.add_file(path, group.schema, label)
        summary = conversion.summarise()
        if summary.n_written == 0:
            raise EmptySampleError(
                f"{', '.join(names)}: no jet to write for {output} (read {summary.n_read}; left out: "
                f"{summary.left_out or 'none'})"
            )
        schemas = list(dict.fromkeys(group.schema for group in inputs))
        writer.set_attributes(_describe_file(recipe, schemas, class_names, images, summary))
    return summary


def _common_radius(inputs: Sequence[LabelledFiles]) -> float:
    radii: dict[float, str] = {}
    for group in inputs:
        family, collection = parse_schema_name(group.schema)
        radii.setdefault(read_schema(family).collection(collection).radius, group.schema)
    if len(radii) != 1:
        listed = ", ".join(f"{schema}: {radius:g}" for radius, schema in radii.items())
        raise ConfigError(f"jets of one radius are needed, these have: {listed or 'none (no input)'}")
    return next(iter(radii))


def _find_label(label: str, class_names: Sequence[str]) -> int:
    if label not in class_names:
        raise ConfigError(f"label '{label}' is not one of the classes{did_you_mean(label, class_names)}")
    return list(class_names).index(label)


class _Conversion:
    """Jets on their way from files into the writer, and the count of them."""

    def __init__(self, writer: ImageWriter, recipe: ImageRecipe, skip_bad: bool, progress: Progress | None) -> None:
        self.writer, self.recipe, self.skip_bad, self.progress = writer, recipe, skip_bad, progress
        self.summary = ConversionSummary()
        self.kept_pt = self.total_pt = 0.0

    def add_file(self, path: str | os.PathLike[str], schema: str, label: int) -> None:
        before, n_entries = self.summary.n_read, 0
        for batch in iterate_jets(path, schema):
            self.recipe.check_fields(batch.constituents, where=batch.where)
            if not self.skip_bad:
                batch.require_usable()
            self._count_bad(batch)
            self._add_jets(batch, label)
            n_entries += batch.n_entries
            if self.progress:
                self.progress(str(path), n_entries)
        self.summary.sources.append(_describe_source(path, n_entries, self.summary.n_read - before))

    def _count_bad(self, batch: JetBatch) -> None:
        remaining = np.ones(len(batch), dtype=bool)
        for reason, mask in batch.problems.items():
            if n_bad := int((mask & remaining).sum()):
                self.summary.left_out[reason] = self.summary.left_out.get(reason, 0) + n_bad
            remaining &= ~mask

    def _add_jets(self, batch: JetBatch, label: int) -> None:
        good = batch.usable
        constituents = batch.constituents[good]
        pixels = self.recipe.make_pixels(constituents)
        n_jets = len(pixels)
        jets = {name: getattr(batch, name)[good] for name in ("pt", "eta", "phi", "mass", "event_id")}
        jets |= {"source_entry": batch.entry[good], "source_jet": batch.jet[good]}
        jets |= {"source_file": np.full(n_jets, len(self.summary.sources))}
        jets |= {"label": np.full(n_jets, label), "weight": np.ones(n_jets)}
        features = self.recipe.make_jet_features(constituents)
        self.writer.append(pixels.indptr, pixels.index, pixels.value, jets, features)
        self.summary.n_read += len(batch)
        self.summary.n_written += n_jets
        self.summary.n_pixels += len(pixels.index)
        kept, total = _window_pt(constituents, self.recipe)
        self.kept_pt, self.total_pt = self.kept_pt + kept, self.total_pt + total

    def summarise(self) -> ConversionSummary:
        summary = self.summary
        if summary.n_written:
            summary.pt_fraction_in_window = self.kept_pt / self.total_pt if self.total_pt else 0.0
            summary.occupancy = summary.n_pixels / (summary.n_written * self.recipe.grid.n_pixels)
        return summary


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
    recipe: ImageRecipe,
    schemas: Sequence[str],
    class_names: Sequence[str],
    images: ImagesConfig,
    summary: ConversionSummary,
) -> dict[str, Any]:
    counts = asdict(summary)
    return {
        "grid": recipe.grid.model_dump(),
        "channels": list(recipe.channels),
        "class_names": list(class_names),
        "preprocess": describe_preprocessing(recipe.steps),
        "jet_features": list(recipe.jet_features),
        "radius": recipe.radius,
        "schemas": list(schemas),
        "config_sha256": hash_config(images, list(schemas)),
        "sources": counts.pop("sources"),
        "summary": counts,
    }
