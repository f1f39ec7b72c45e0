"""Train one tagger: images in; bundle, scores, metrics and a record of the run out."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from safetensors.torch import save_file

from hepcnn import bundle as bundles
from hepcnn import paths
from hepcnn.atomic import atomic_folder, refuse_foreign_folder
from hepcnn.config import StudyConfig
from hepcnn.data.dataset import ImageDataset
from hepcnn.data.normalisation import Normalisation
from hepcnn.export import export_onnx
from hepcnn.images.pixelate import Pixels
from hepcnn.io.scores import write_scores
from hepcnn.models.registry import create_model
from hepcnn.stages.about_jets import describe_ranges, describe_reach, pick_calibration, reach_of
from hepcnn.stages.energies import join_metrics, measure_energies
from hepcnn.stages.finetune import Start, read_start, train_in_phases
from hepcnn.stages.inputs import TrainingInputs, make_fingerprint, open_inputs
from hepcnn.stages.measure import make_scores, measure_scores
from hepcnn.stages.parity import gate_training
from hepcnn.stages.recipes import make_recipe
from hepcnn.stages.records import RunRecord, read_record, write_json, write_record
from hepcnn.stages.samples import OpenedSample
from hepcnn.stages.tasks import count_outputs, describe_tasks, fit_scale, make_validation
from hepcnn.tagger import Tagger
from hepcnn.training.fabric import make_fabric
from hepcnn.training.loop import Listener
from hepcnn.training.network import TaggerNetwork
from hepcnn.training.state import TrainingState

N_PARITY_JETS = 256
GRAPH_METADATA = ("class_names", "grid", "channels", "preprocess", "jet_features", "radius")
"""What the ONNX graph itself says of its inputs and outputs, for programs that read nothing else."""


@dataclass(frozen=True)
class TrainedRun:
    """What a training ended with: the record of the run, and whether it went on from an earlier call."""

    record: RunRecord
    bundle: Path


def train_tagger(
    study: StudyConfig,
    name: str,
    *,
    seed: int,
    output: Path,
    listener: Listener,
    images: Sequence[Path] = (),
    say: Callable[[str], None] | None = None,
    sample: OpenedSample | None = None,
) -> TrainedRun:
    """Train a tagger of a study, or go on with it.

    Parameters
    ----------
    study
        The study; its images must have been made.
    name
        Which of its models.
    seed
        Of the weights and of the order of jets.
    output
        The run's folder: gets ``bundle/``, ``scores.h5`` (test jets), ``metrics.json``, ``working_points.json``,
        ``history.json`` and ``run.json``; keeps ``checkpoint.safetensors``. Of several processes, the first writes.
    listener
        Hears how it goes.
    images
        The study's ``images.h5`` files, if they are not in its folder.
    say
        Called with sentences that say where the pixels are kept, and why, and what became of a checkpoint.
    sample
        Other jets than the study's own, opened already.

    Returns
    -------
    TrainedRun
        In every process, once the first has written all files.

    Raises
    ------
    HepcnnError
        As the stages of the training do: images that do not fit, an unknown network, a loss that is not a number, an
        exported graph that scores otherwise.

    Notes
    -----
    The scores are those of the exported graph in ONNX Runtime, so that what is evaluated is what is shipped.
    """
    refuse_foreign_folder(paths.bundle(output), marker=bundles.MANIFEST)
    config = study.training_of(name)
    fabric = make_fabric(config)
    if say is None or not fabric.is_global_zero:
        say = _say_nothing
    inputs = open_inputs(study, name, device=fabric.device, images=images, sample=sample)
    say(f"pixels are on '{inputs.choice.mode}': {inputs.choice.reason}")
    start = read_start(study, name, inputs.sample.columns, inputs.normalisation)
    if start is not None:
        inputs = replace(inputs, normalisation=start.normalisation)
    network = make_network(study, name, inputs.sample, inputs.normalisation, seed=seed)
    if start is not None:
        start.load_into(network, say)
    state = train_in_phases(
        network,
        start=start,
        train=inputs.train,
        val=inputs.val,
        config=config,
        fabric=fabric,
        seed=seed,
        checkpoint=paths.checkpoint(output),
        fingerprint=make_fingerprint(study, name, seed, inputs.sample, order=inputs.choice.order),
        validate=make_validation(study, name, inputs.sample.columns, inputs.sample.part("val")),
        listener=listener,
        name_jets=inputs.sample.part("train").describe_origin,
        say=say,
        **make_recipe(study, name, inputs.sample.columns),
    )
    if fabric.is_global_zero:
        _ship(study, name, seed, output, inputs, network, state, start)
    fabric.barrier()
    return TrainedRun(read_record(paths.run_record(output)), paths.bundle(output))


def _say_nothing(_: str) -> None:
    pass


def make_network(
    study: StudyConfig, name: str, sample: OpenedSample, normalisation: Normalisation, *, seed: int
) -> TaggerNetwork:
    """The network of a study's tagger, with fresh weights."""
    columns, scale = sample.columns, fit_scale(study, name, sample.part("train"))
    torch.manual_seed(seed)
    model = create_model(
        study.model_of(name).network or name,
        in_channels=len(columns.channels),
        n_classes=count_outputs(study, name, columns),
        grid=columns.shape,
        n_jet_features=len(normalisation.feature_names),
        periodic=columns.periodic,
        **study.model_of(name).options,
    )
    return TaggerNetwork(model, normalisation, energy=scale, identity="identity" in study.tasks_of(name))


def _ship(
    study: StudyConfig,
    name: str,
    seed: int,
    output: Path,
    inputs: TrainingInputs,
    network: TaggerNetwork,
    state: TrainingState,
    start: Start | None,
) -> None:
    sample, folder = inputs.sample, paths.bundle(output)
    started = {} if start is None else {"start_from": start.describe()}
    parts = inputs.read_test()
    first = next(parts)
    with atomic_folder(folder, marker=bundles.MANIFEST) as partial:
        about = _describe(study, name, seed, sample, inputs.normalisation) | started
        about |= describe_tasks(study, name, fit_scale(study, name, sample.part("train")))
        parity = _write_payload(study, partial, network, first, about)
        about["onnx_parity"] = parity
        # Scored through a provisional manifest: metrics belong into the final one, and come from the scores.
        bundles.write_manifest(partial, about)
        tagger = Tagger.load(partial)
        about["parity"] = gate_training(tagger, network, study)
        score = np.concatenate([score_dataset(tagger, part) for part in itertools.chain([first], parts)])
        known: dict[str, Any] = {"model": name, "seed": seed, "bundle_id": tagger.bundle_id, "tasks": tagger.tasks}
        scores = make_scores(score, sample.part("test"), **known)
        val_scores, reach = [], []
        for part in inputs.read_split("val"):
            val_scores.append(score_dataset(tagger, part))
            reach.append(reach_of(part, tagger.recipe.grid))
        val = np.concatenate(val_scores)
        validation = make_scores(val, sample.part("val"), split="val", **known)
        energy = measure_energies([scores])
        metrics, points = measure_scores([scores], background=study.evaluation.background, validation=validation)
        about["training_ranges"] = about["training_ranges"] | describe_reach(reach)
        measured = {"metrics": metrics, "working_points": points, "calibration": pick_calibration(metrics)}
        measured |= {"energy_metrics": energy} if energy else {}
        manifest = bundles.write_manifest(partial, about | measured)
    write_scores(paths.scores(output), scores)
    write_scores(paths.validation_scores(output), validation)
    write_json(paths.metrics(output), join_metrics(metrics, energy))
    write_json(paths.working_points(output), points)
    write_json(paths.history(output), state.history)
    record = RunRecord(
        study=study.study,
        tagger=name,
        seed=seed,
        is_baseline=False,
        parameters=study.training_of(name).describe_result() | {"network": about["network"]["name"]},
        metrics=metrics,
        history=state.history,
        n_parameters=sum(p.numel() for p in network.parameters()),
        train_seconds=state.seconds,
        counts=sample.counts,
        sources=list(sample.columns.sources),
        versions=bundles.describe_versions(),
        bundle_id=manifest.bundle_id,
        extra={"onnx_parity": parity, "parity": about["parity"]} | inputs.describe() | started,
        energy=energy,
    )
    write_record(paths.run_record(output), record)


def _write_payload(
    study: StudyConfig, folder: Path, network: TaggerNetwork, test: ImageDataset, about: Mapping[str, Any]
) -> float:
    jets = np.arange(min(N_PARITY_JETS, len(test)))
    jets = np.unique(np.linspace(0, len(test) - 1, len(jets)).astype(np.int64))
    parity = export_onnx(
        network,
        folder / bundles.MODEL,
        images=test.to_dense(jets),
        jet_features=test.select(jets).stack_features(about["jet_features"]),
        metadata={key: json.dumps(about[key]) for key in (*GRAPH_METADATA, "tasks") if key in about},
    )
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / bundles.WEIGHTS)
    config = study.model_dump(mode="json", by_alias=True, exclude_none=True)
    (folder / bundles.CONFIG).write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return parity


def _describe(
    study: StudyConfig, name: str, seed: int, sample: OpenedSample, normalisation: Normalisation
) -> dict[str, Any]:
    dataset, model = sample.columns, study.model_of(name)
    pt = dataset.jets["pt"][sample.splits["train"]]
    return {
        "model": name,
        "network": {"name": model.network or name, "options": model.options},
        "seed": seed,
        "study": study.study,
        "class_names": list(dataset.class_names) if "identity" in study.tasks_of(name) else [],
        "grid": dataset.attributes["grid"],
        "channels": list(dataset.channels),
        "preprocess": dataset.attributes["preprocess"],
        "jet_features": list(normalisation.feature_names),
        "radius": dataset.attributes["radius"],
        "normalisation": normalisation.to_dict(),
        "training_pt": [float(pt.min()), float(pt.max())],
        "training_ranges": describe_ranges(dataset.jets, dataset.features, sample.splits["train"]),
        "selection": study.images.model_dump(mode="json")["select"],
        **study.bundle.model_dump(mode="json"),
        "sources": [{key: source[key] for key in ("path", "sha256", "entries")} for source in dataset.sources],
    }


def score_dataset(tagger: Tagger, dataset: ImageDataset) -> NDArray[np.float32]:
    """All outputs of a bundle for the jets of a data set, (N, n_values)."""
    pixels = Pixels(dataset.indptr, dataset.index.astype(np.uint32), dataset.value)
    return tagger.predict_pixels(pixels, dataset.features)
