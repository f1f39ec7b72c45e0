"""The stages before training: generate, convert, and load what they made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn import paths
from hepcnn.config import SampleConfig, StudyConfig
from hepcnn.convert.duplicates import find_twins
from hepcnn.convert.files import convert_files
from hepcnn.convert.inputs import LabelledFiles
from hepcnn.convert.schedule import Progress
from hepcnn.data.dataset import ImageDataset, JetColumns, add_pixels, read_columns
from hepcnn.data.pixel_files import PixelFiles, split_by_block
from hepcnn.data.splits import SPLITS, limit_splits, make_splits, require_every_class, split_by_file
from hepcnn.errors import ConfigError, InputError, did_you_mean
from hepcnn.images.grids import grid_from_record
from hepcnn.images.recipe import make_recipe
from hepcnn.io.plan import Reading
from hepcnn.io.schema import GENERATED_SCHEMA, SHOWER_SCHEMA
from hepcnn.io.store import read_image_attributes


def find_sample(study: StudyConfig, name: str) -> SampleConfig:
    """A sample by its name.

    Raises
    ------
    ConfigError
        When the study has none of this name.
    """
    if name not in study.samples:
        raise ConfigError(f"study '{study.study}' has no sample '{name}'{did_you_mean(name, study.samples)}")
    return study.samples[name]


def convert_samples(
    study: StudyConfig, names: Sequence[str], output: Path, *, workers: int = 1, progress: Progress | None = None
) -> dict[str, Any]:
    """Convert the files of some samples, generated or given, to one file of images and its data card.

    Parameters
    ----------
    study
        The study.
    names
        Which samples; none means all.
    output, workers, progress
        As for `hepcnn.convert.files.convert_files`, which also says what is returned and raised.
    """
    wanted = [*names] or [*study.samples]
    for name in wanted:
        find_sample(study, name)
    return convert_files(
        [list_files(study, name) for name in wanted],
        output,
        class_names=study.class_names,
        images=study.images,
        workers=workers,
        others=[list_files(study, name) for name in study.samples if name not in wanted],
        progress=progress,
    )


def list_files(study: StudyConfig, name: str) -> LabelledFiles:
    """The files of a sample, generated or given, and how they are read."""
    sample = find_sample(study, name)
    files = sample.files or [str(paths.generated(paths.study_dir(study.results, study.study), name))]
    made = GENERATED_SCHEMA if sample.particle is None else SHOWER_SCHEMA
    reading = Reading(sample.schema_name or made, clustering=sample.clustering, event_weight=sample.event_weight)
    return LabelledFiles(files, reading, name, sample.label)


@dataclass(frozen=True)
class OpenedSample:
    """What is known of the jets of a study, which of them train, validate and test, and where their pixels are."""

    columns: JetColumns
    splits: dict[str, NDArray[np.int64]]
    files: PixelFiles

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Jets by class and split."""
        return _count_jets(self.columns, self.splits)

    def part(self, split: str) -> JetColumns:
        """What is known of the jets of one split."""
        return self.columns.select(self.splits[split])

    def read(self, split: str) -> ImageDataset:
        """The jets of one split with their pixels."""
        return add_pixels(self.part(split), self.files, self.splits[split])

    def read_blocks(self, split: str, block: int) -> Iterator[ImageDataset]:
        """The jets of one split with their pixels, in parts read from ``block`` jets of the files each."""
        for jets in split_by_block(self.splits[split], block):
            yield add_pixels(self.columns.select(jets), self.files, jets)


@dataclass(frozen=True)
class LoadedSample:
    """All jets of a study and which of them train, validate and test."""

    dataset: ImageDataset
    splits: dict[str, NDArray[np.int64]]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Jets by class and split."""
        return _count_jets(self.dataset, self.splits)

    def part(self, split: str) -> ImageDataset:
        """The jets of one split."""
        return self.dataset.select(self.splits[split])


def _count_jets(columns: JetColumns, splits: Mapping[str, NDArray[np.int64]]) -> dict[str, dict[str, int]]:
    return {
        name: {split: int(np.sum(columns.label[splits[split]] == number)) for split in SPLITS}
        for number, name in enumerate(columns.class_names)
    }


def load_sample(study: StudyConfig, images: Sequence[Path] = ()) -> LoadedSample:
    """Read the images of a study into memory and split them; see `open_sample`."""
    sample = open_sample(study, images)
    return LoadedSample(add_pixels(sample.columns, sample.files), sample.splits)


def open_sample(study: StudyConfig, images: Sequence[Path] = ()) -> OpenedSample:
    """Read what is known of the jets of a study, but not their pixels, and split them.

    Parameters
    ----------
    study
        The study.
    images
        Its ``images.h5`` files; by default those in the study's folder, one a sample.

    Raises
    ------
    InputError
        When images are missing, do not fit together, were made with other settings than the study's, or hold the same
        jets.
    EmptySampleError
        When a class has no jets in a split.
    """
    root = paths.study_dir(study.results, study.study)
    files = images or [paths.images(root, name) for name in study.samples]
    for path in files:
        if not path.exists():
            raise InputError(f"{path}: no such images; make them with 'hepcnn convert --config …', or name them")
    columns, pixels = read_columns(files, class_names=study.class_names)
    _check_settings(study, columns)
    _check_selections(study, files)
    _refuse_shared_jets(columns)
    splits = _split(study, columns)
    require_every_class(splits, columns.label, columns.class_names)
    return OpenedSample(columns, splits, pixels)


def _split(study: StudyConfig, columns: JetColumns) -> dict[str, NDArray[np.int64]]:
    config, event_id = study.split, columns.jets["event_id"]
    if config.by_file is None:
        fractions: dict[str, Any] = {name: getattr(config, name) for name in SPLITS}
        splits = make_splits(event_id, fractions, seed=config.seed)
    else:
        paths_of_files = [source["path"] for source in columns.sources]
        splits = split_by_file(columns.jets["source_file"], paths_of_files, config.by_file.model_dump())
    if config.max_jets is not None:
        splits = limit_splits(splits, columns.label, event_id, max_jets=config.max_jets)
    return splits


def _refuse_shared_jets(columns: JetColumns) -> None:
    twins = find_twins(columns.jets)
    if not len(twins):
        return
    one, other = (
        f"{columns.class_names[columns.label[jet]]} ({columns.sources[columns.jets['source_file'][jet]]['path']})"
        for jet in twins[0]
    )
    raise InputError(f"{len(twins)} jets are in the images twice, as {one} and as {other}: convert them only once")


def _check_selections(study: StudyConfig, files: Sequence[Path]) -> None:
    wanted = study.images.model_dump(mode="json")["select"]
    for path in files:
        if (made := read_image_attributes(path).get("select", {})) != wanted:
            raise InputError(f"{path}: made with the selections {made}, the study's config now says {wanted}")


def _check_settings(study: StudyConfig, dataset: JetColumns) -> None:
    native = grid_from_record(dataset.attributes["grid"])
    recipe = make_recipe(study.images, radius=dataset.attributes["radius"], native=native)
    wanted: dict[str, Any] = {
        "grid": recipe.grid.model_dump(),
        "channels": list(recipe.channels),
        "preprocess": recipe.describe_preprocessing(),
        "jet_features": list(recipe.jet_features),
        "truth": list(study.images.truth),
    }
    for name, value in wanted.items():
        if dataset.attributes[name] != value:
            raise InputError(
                f"the images of study '{study.study}' were made with {name} {dataset.attributes[name]}, its config now "
                f"says {value}: convert again"
            )
