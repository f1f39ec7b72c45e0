"""Files → ``images.h5`` and its data card."""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hepcnn import __version__, paths
from hepcnn.atomic import atomic_path, refuse_overwriting
from hepcnn.config import ImagesConfig, hash_config
from hepcnn.convert.card import make_card
from hepcnn.convert.hashing import Hasher
from hepcnn.convert.inputs import LabelledFiles, ask_for_truth, common_radius, list_sources
from hepcnn.convert.merge import Merger
from hepcnn.convert.native import resolve_grid
from hepcnn.convert.parts import PART_VERSION, PartStore
from hepcnn.convert.schedule import Progress, Schedule, SourceFile
from hepcnn.convert.spectra import TITLES, choose_edges, fill_spectra
from hepcnn.errors import ConfigError, EmptySampleError
from hepcnn.images.recipe import ImageRecipe, make_recipe
from hepcnn.io.plan import resolve_collection
from hepcnn.io.store import ImageWriter, open_image_writer

SAMPLED = 200_000
"""Jets that decide where the axes of histograms end."""


def convert_files(
    inputs: Sequence[LabelledFiles],
    output: str | os.PathLike[str],
    *,
    class_names: Sequence[str],
    images: ImagesConfig,
    workers: int = 1,
    others: Sequence[LabelledFiles] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Convert files to sparse images.

    Parameters
    ----------
    inputs
        What to read, in this order.
    output
        The ``images.h5`` to write; it appears under its name when it is whole, and its data card beside it. Until then
        finished ranges are kept in ``<output>.parts``, and a call after an interruption goes on from them.
    class_names
        All classes; a jet's label is the place of its class here.
    images
        Grid, channels, preprocessing, jet features, selections, and whether to leave bad jets and files out.
    workers
        Processes that read and make images; with 1 there is no other than the caller's. The images do not depend on it.
    others
        Classes of the same study that are not converted now, but may claim jets of the same files.
    progress
        Called with entries done and, as soon as it is known, entries in all (else 0).

    Returns
    -------
    dict
        The data card, see `hepcnn.convert.card.make_card`.

    Raises
    ------
    ConfigError
        For a class, label or setting that does not exist, a file that is named twice, or jets of different radii.
    InputError, SchemaError
        For a file that cannot be read, does not fit the schema, holds jets that cannot be used or that another holds
        too (all unless ``skip_bad``), or jets that no class claims (unless ``unclaimed`` is ``drop``).
    EmptySampleError
        When no jet is left.
    HepcnnError
        When the output is one of the inputs or cannot be written, or a worker dies.
    """
    output = Path(output)
    if workers < 1:
        raise ConfigError(f"workers must be at least 1 (got {workers})")
    sources = ask_for_truth(list_sources(inputs, class_names, others), images.truth)
    refuse_overwriting(output, [source.path for source in sources])
    radius = common_radius(sources)
    images = resolve_grid(sources, images)
    recipe = make_recipe(images, radius=radius)
    store = PartStore(output, _settings_key(images, recipe))
    store.open()
    hasher = Hasher()
    schedule = Schedule(sources, images=images, radius=radius, store=store, hasher=hasher, progress=progress)
    try:
        card = _write_all(output, schedule, recipe, class_names, images, hasher=hasher, workers=workers)
        store.remove()
    except EmptySampleError:
        store.remove()
        raise
    finally:
        hasher.end()
        store.close()
    return card


def _settings_key(images: ImagesConfig, recipe: ImageRecipe) -> str:
    """Digest of all that parts depend on beside their file and range."""
    told = images.model_dump(mode="json", exclude={"skip_bad", "unclaimed"})
    return hash_config(told, recipe.radius, recipe.describe_preprocessing(), PART_VERSION, __version__)


def _write_all(
    output: Path,
    schedule: Schedule,
    recipe: ImageRecipe,
    class_names: Sequence[str],
    images: ImagesConfig,
    *,
    hasher: Hasher,
    workers: int,
) -> dict[str, Any]:
    with (
        atomic_path(paths.data_card(output)) as card_path,
        open_image_writer(
            output,
            n_pixels=recipe.grid.n_pixels,
            n_channels=len(recipe.channels),
            jet_features=recipe.jet_features,
            truth=tuple(images.truth),
        ) as writer,
    ):
        merger, skipped = Merger(writer, class_names, images), list[SourceFile]()
        with contextlib.closing(schedule.run(workers)) as parts:
            for file, part in parts:
                if part is not None:
                    merger.add(file, part)
                elif file.error:
                    skipped.append(file)
                else:
                    merger.finish(file)
                del part  # before the next one is made: it is large
        _require_jets(output, merger, skipped)
        writer.finish()
        card = make_card(
            merger,
            skipped,
            class_names=class_names,
            n_pixels=recipe.grid.n_pixels,
            hashes={file.source.path: hasher.result(file.source.path) for file, _ in merger.files},
            settings=_describe_settings(recipe, images),
            spectra=_make_spectra(writer, merger, class_names, _title_truth(schedule, images)),
        )
        schemas = [source.reading.schema for source in (file.source for file in schedule.files)]
        writer.set_attributes(_describe_file(recipe, list(dict.fromkeys(schemas)), class_names, images, card))
        card_path.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    return card


def _require_jets(output: Path, merger: Merger, skipped: Sequence[SourceFile]) -> None:
    cutflow = merger.total().cutflow
    if cutflow.n_written:
        return
    names = ", ".join(file.source.path for file in [*(file for file, _ in merger.files), *skipped])
    told = "".join(f"\n  {count} {reason}" for reason, count in cutflow.left_out().items())
    told += "".join(f"\n  set aside: {file.error}" for file in skipped)
    raise EmptySampleError(f"{names}: no jet to write for {output}; read {cutflow.n_read}, left out:{told or ' none'}")


def _title_truth(schedule: Schedule, images: ImagesConfig) -> dict[str, str]:
    """How histograms of the true numbers are titled, by their datasets' names."""
    _, collection = resolve_collection(schedule.files[0].source.reading)
    units = {name: part.given_in for name, part in collection.extra.items()}
    return {f"truth/{name}": f"true {name}" + (f", {units[name]}" if units[name] else "") for name in images.truth}


def _make_spectra(
    writer: ImageWriter, merger: Merger, class_names: Sequence[str], truth: Mapping[str, str]
) -> dict[str, Any]:
    total, names = merger.total(), ("pt", "eta", "mass", *truth)
    stride = max(total.cutflow.n_written // SAMPLED, 1)
    sampled = [{name: block[name][::stride] for name in names} for block in writer.iterate_jets(*names)]
    edges = {name: choose_edges(np.concatenate([block[name] for block in sampled])) for name in names}
    filled = fill_spectra(writer.iterate_jets(*names, "label"), edges, len(class_names))
    spectra: dict[str, Any] = {
        name: spectrum.to_json(truth.get(name) or TITLES[name], class_names) for name, spectrum in filled.items()
    }
    spectra["n_constituents"] = total.constituents.to_json(TITLES["n_constituents"], class_names)
    spectra["pixels"] = total.pixels.to_json(TITLES["pixels"], class_names)
    spectra["pt_fraction"] = merger.pt_fraction.to_json(TITLES["pt_fraction"], class_names)
    return spectra


def _describe_settings(recipe: ImageRecipe, images: ImagesConfig) -> dict[str, Any]:
    return {
        "grid": recipe.grid.model_dump(),
        "channels": list(recipe.channels),
        "preprocess": recipe.describe_preprocessing(),
        "jet_features": list(recipe.jet_features),
        "truth": list(images.truth),
        "radius": recipe.radius,
        "select": images.model_dump(mode="json")["select"],
    }


def _describe_file(
    recipe: ImageRecipe,
    schemas: Sequence[str],
    class_names: Sequence[str],
    images: ImagesConfig,
    card: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        **_describe_settings(recipe, images),
        "class_names": list(class_names),
        "schemas": list(schemas),
        "config_sha256": hash_config(images, list(schemas)),
        "sources": [
            {name: file[name] for name in ("path", "size", "sha256", "entries")} | {"jets": file["jets_read"]}
            for file in card["files"]
        ],
        "summary": {
            "n_read": card["jets_read"],
            "n_written": card["jets_written"],
            "left_out": card["cutflow"],
            "occupancy": card["occupancy"]["mean"],
            "pt_fraction_in_window": card["pt_fraction_in_grid"],
        },
    }
