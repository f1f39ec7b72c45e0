"""What a training is fed: the jets of its splits, their weights, and the scales of their pixels."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hepcnn.config import StudyConfig, TrainingConfig, hash_config
from hepcnn.config.tasks import IDENTITY
from hepcnn.data.batches import JetSource
from hepcnn.data.dataset import ImageDataset, JetColumns
from hepcnn.data.energy_scale import true_energy
from hepcnn.data.loading import LoaderChoice, choose_loader
from hepcnn.data.normalisation import Normalisation, fit_normalisation
from hepcnn.data.sources import DeviceDataset, HostDataset, StreamDataset
from hepcnn.data.weights import JetWeights, fit_weights
from hepcnn.stages.samples import OpenedSample, open_sample


@dataclass(frozen=True)
class TrainingInputs:
    """Training and validation jets wherever they are, with all that was fitted on the training jets."""

    sample: OpenedSample
    choice: LoaderChoice
    normalisation: Normalisation
    weights: JetWeights | None
    train: JetSource
    val: JetSource

    def read_test(self) -> Iterator[ImageDataset]:
        """The test jets with the weights of their files: as one part, or block by block if they are streamed."""
        return self.read_split("test")

    def read_split(self, split: str) -> Iterator[ImageDataset]:
        """The jets of a split, as `read_test`."""
        if self.choice.mode == "stream":
            return self.sample.read_blocks(split, self.choice.block)
        return iter([self.sample.read(split)])

    def describe(self) -> dict[str, Any]:
        """Plain values for the record of the run."""
        told: dict[str, Any] = {"loader": self.choice.mode, "loader_reason": self.choice.reason}
        if self.weights is not None:
            told["weights"] = self.weights.describe(self.sample.part("train"))
        return told


def open_inputs(
    study: StudyConfig,
    name: str,
    *,
    device: torch.device,
    images: Sequence[Path] = (),
    sample: OpenedSample | None = None,
) -> TrainingInputs:
    """Open the images of a study for one of its trainings.

    Parameters
    ----------
    study, name
        The study, and which of its models.
    device
        Where it trains.
    images
        The study's ``images.h5`` files, if they are not in its folder.
    sample
        Other jets than the study's own, opened already.

    Raises
    ------
    HepcnnError
        As `open_sample`, `choose_loader`, `fit_weights` and `fit_normalisation`.
    """
    sample, config = sample or open_sample(study, images), study.training_of(name)
    columns = {split: sample.part(split) for split in ("train", "val")}
    weights = None if study.weights is None else fit_weights(columns["train"], study.weights)
    if weights is not None:
        columns = {split: replace(part, weight=weights.apply(part)) for split, part in columns.items()}
    choice = choose_loader(
        config.loader,
        n_bytes=sample.files.bytes_per_pixel * sum(int(part.indptr[-1]) for part in columns.values()),
        n_jets=sum(len(part) for part in columns.values()),
        device=device,
        n_files_jets=len(sample.columns),
    )
    open_split = _stream if choice.mode == "stream" else _read
    return open_split(sample, columns, choice, weights, config, device)


def _read(
    sample: OpenedSample,
    columns: dict[str, JetColumns],
    choice: LoaderChoice,
    weights: JetWeights | None,
    config: TrainingConfig,
    device: torch.device,
) -> TrainingInputs:
    names = tuple(config.jet_features)

    def place(dataset: ImageDataset) -> JetSource:
        if choice.mode == "host":
            return HostDataset(dataset, feature_names=names, device=device, block=choice.block)
        return DeviceDataset(dataset, feature_names=names, device=device)

    train = replace(sample.read("train"), weight=columns["train"].weight)
    normalisation = fit_normalisation(train, power=config.power, feature_names=names)
    val = replace(sample.read("val"), weight=columns["val"].weight)
    return TrainingInputs(sample, choice, normalisation, weights, place(train), place(val))


def _stream(
    sample: OpenedSample,
    columns: dict[str, JetColumns],
    choice: LoaderChoice,
    weights: JetWeights | None,
    config: TrainingConfig,
    device: torch.device,
) -> TrainingInputs:
    names = tuple(config.jet_features)
    values = (part.value for part in sample.read_blocks("train", choice.block))
    normalisation = fit_normalisation(columns["train"], power=config.power, feature_names=names, values=values)
    sources = {
        split: StreamDataset(
            sample.files,
            part,
            sample.splits[split],
            feature_names=names,
            device=device,
            block=choice.block,
            pool=choice.pool,
        )
        for split, part in columns.items()
    }
    return TrainingInputs(sample, choice, normalisation, weights, sources["train"], sources["val"])


def make_fingerprint(study: StudyConfig, name: str, seed: int, sample: OpenedSample, *, order: Sequence[int]) -> str:
    """Hash of all that a training depends on: its settings, which jets stand where, and how they are ordered.

    Where the pixels are is no part of it, so that a training may go on with another loader that sees the same order.
    """
    columns = sample.columns
    hashes = [source["sha256"] for source in columns.sources]
    jets = hashlib.sha256(columns.jets["event_id"].tobytes() + columns.label.tobytes() + columns.indptr.tobytes())
    tasks = study.tasks_of(name)
    # Trainings of the identity alone are what they were before there was another task.
    learnt: list[Any] = []
    if tasks != IDENTITY:
        learnt = [list(tasks), hashlib.sha256(true_energy(columns).tobytes()).hexdigest()]
    return hash_config(
        *learnt,
        study.training_of(name).describe_result(),
        study.model_of(name).model_dump(exclude={"training", "search", "tasks"}),
        study.split,
        study.weights.model_dump() if study.weights else None,
        seed,
        dict(columns.attributes),
        hashes,
        jets.hexdigest(),
        list(order),
    )
