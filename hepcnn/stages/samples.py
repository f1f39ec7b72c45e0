"""The stages before training: generate, convert, and load what they made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn import paths
from hepcnn.config import SampleConfig, StudyConfig
from hepcnn.data.dataset import ImageDataset, read_dataset
from hepcnn.data.splits import SPLITS, make_splits, require_every_class
from hepcnn.errors import ConfigError, InputError, did_you_mean
from hepcnn.images.convert import ConversionSummary, LabelledFiles, convert_files
from hepcnn.images.preprocess import describe_preprocessing
from hepcnn.images.recipe import make_recipe

GENERATED_SCHEMA = "hepcnn"


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
    study: StudyConfig,
    names: Sequence[str],
    output: Path,
    *,
    progress: Callable[[str, int], None] | None = None,
) -> ConversionSummary:
    """Convert the files of some samples, generated or given, to one file of images.

    Parameters
    ----------
    study
        The study.
    names
        Which samples; none means all.
    output, progress
        As for `hepcnn.images.convert.convert_files`, which also says what is raised.
    """
    root = paths.study_dir(study.results, study.study)
    inputs = []
    for name in names or study.samples:
        sample = find_sample(study, name)
        files = sample.files or [str(paths.generated(root, name))]
        inputs.append(LabelledFiles(files, sample.schema_name or GENERATED_SCHEMA, name))
    return convert_files(inputs, output, class_names=study.class_names, images=study.images, progress=progress)


@dataclass(frozen=True)
class LoadedSample:
    """All jets of a study and which of them train, validate and test."""

    dataset: ImageDataset
    splits: dict[str, NDArray[np.int64]]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Jets by class and split."""
        label = self.dataset.label
        return {
            name: {split: int(np.sum(label[self.splits[split]] == number)) for split in SPLITS}
            for number, name in enumerate(self.dataset.class_names)
        }

    def part(self, split: str) -> ImageDataset:
        """The jets of one split."""
        return self.dataset.select(self.splits[split])


def load_sample(study: StudyConfig, images: Sequence[Path] = ()) -> LoadedSample:
    """Read the images of a study and split them.

    Parameters
    ----------
    study
        The study.
    images
        Its ``images.h5`` files; by default those in the study's folder, one a sample.

    Raises
    ------
    InputError
        When images are missing, do not fit together, or were made with other settings than the study's.
    EmptySampleError
        When a class has no jets in a split.
    """
    root = paths.study_dir(study.results, study.study)
    files = images or [paths.images(root, name) for name in study.samples]
    for path in files:
        if not path.exists():
            raise InputError(f"{path}: no such images; make them with 'hepcnn convert --config …', or name them")
    dataset = read_dataset(files, class_names=study.class_names)
    _check_settings(study, dataset)
    fractions: dict[str, Any] = {name: getattr(study.split, name) for name in SPLITS}
    splits = make_splits(dataset.jets["event_id"], fractions, seed=study.split.seed)
    require_every_class(splits, dataset.label, dataset.class_names)
    return LoadedSample(dataset, splits)


def _check_settings(study: StudyConfig, dataset: ImageDataset) -> None:
    recipe = make_recipe(study.images, radius=dataset.attributes["radius"])
    wanted: dict[str, Any] = {
        "grid": recipe.grid.model_dump(),
        "channels": list(recipe.channels),
        "preprocess": describe_preprocessing(recipe.steps),
        "jet_features": list(recipe.jet_features),
    }
    for name, value in wanted.items():
        if dataset.attributes[name] != value:
            raise InputError(
                f"the images of study '{study.study}' were made with {name} {dataset.attributes[name]}, its config now "
                f"says {value}: convert again"
            )
