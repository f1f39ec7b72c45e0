"""Several bundles as one tagger, which gives the mean of their probabilities."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from hepcnn import bundle as bundles
from hepcnn import paths
from hepcnn.atomic import atomic_folder, refuse_foreign_folder
from hepcnn.bundle import Manifest
from hepcnn.config import SplitConfig, StudyConfig, parse_model, read_yaml
from hepcnn.errors import BundleError, InputError
from hepcnn.export import export_onnx
from hepcnn.io.scores import Scores, write_scores
from hepcnn.stages.energies import join_metrics, measure_energies
from hepcnn.stages.export import load_network, make_random_jets
from hepcnn.stages.measure import make_scores, measure_scores
from hepcnn.stages.parity import gate_training
from hepcnn.stages.records import RunRecord, read_record, write_json, write_record
from hepcnn.stages.samples import OpenedSample, open_sample
from hepcnn.stages.train import GRAPH_METADATA, N_PARITY_JETS, TrainedRun, score_dataset
from hepcnn.tagger import Tagger
from hepcnn.training.ensemble import EnsembleNetwork

ALIKE = ("class_names", "tasks", "grid", "channels", "preprocess", "jet_features", "radius")
"""What all members must have in common: what goes in and what comes out."""
BLOCK = 16_384
"""Jets read at a time."""


def make_ensemble(
    members: Sequence[Path],
    output: Path,
    *,
    name: str = "",
    study: StudyConfig | None = None,
    images: Sequence[Path] = (),
) -> TrainedRun:
    """Make one tagger of several: the mean of their probabilities, in one ONNX graph.

    Parameters
    ----------
    members
        The folders of at least two bundles: seeds of one tagger, or different taggers for the same images.
    output
        A run's folder: gets ``bundle/`` and ``run.json``; with a study also ``scores.h5`` (its test jets),
        ``scores_val.h5``, ``metrics.json`` and ``working_points.json``.
    name
        What the tagger is called; by default after the first member.
    study
        Whose test jets are scored, and whose validation jets, which fix working points and temperature.
    images
        The study's ``images.h5`` files, if they are not in its folder.

    Raises
    ------
    BundleError
        When a bundle is damaged, is given twice or is an ensemble itself, or two differ in classes, grid, channels,
        preprocessing, jet features or radius; the message names both and what differs.
    InputError
        When the study's images are not those that the members take, or a member was trained on other splits, so that
        the study's test jets may be its training jets.
    ExportError
        When the graph scores otherwise than the networks.
    """
    manifests = _read_members(members)
    folder, first = paths.bundle(output), manifests[0]
    refuse_foreign_folder(folder, marker=bundles.MANIFEST)
    name = name or f"{first.values['model']}_ensemble"
    sample = None if study is None else _open_test(study, images, manifests)
    about = _describe(name, manifests)
    network = EnsembleNetwork([load_network(manifest.path) for manifest in manifests])
    metrics: dict[str, Any] = {}
    energy: dict[str, Any] = {}
    points: dict[str, Any] = {}
    scores: dict[str, Scores] = {}
    with atomic_folder(folder, marker=bundles.MANIFEST) as partial:
        about["onnx_parity"] = _write_payload(network, partial, about, _choose_jets(sample, first))
        bundles.write_manifest(partial, about)
        tagger = Tagger.load(partial)
        about["parity"] = gate_training(tagger, network, study)
        if sample is not None and study is not None:
            scores = {split: _score(tagger, sample, split, name, int(about["seed"])) for split in ("test", "val")}
            against = study.evaluation.background
            metrics, points = measure_scores([scores["test"]], background=against, validation=scores["val"])
            energy = measure_energies([scores["test"]])
        about |= {"energy_metrics": energy} if energy else {}
        manifest = bundles.write_manifest(partial, about | {"metrics": metrics, "working_points": points})
    if scores:
        write_scores(paths.scores(output), scores["test"])
        write_scores(paths.validation_scores(output), scores["val"])
        write_json(paths.metrics(output), join_metrics(metrics, energy))
        write_json(paths.working_points(output), points)
    record = replace(_make_record(name, manifests, manifest, network, sample, metrics), energy=energy)
    write_record(paths.run_record(output), record)
    return TrainedRun(record, folder)


def _score(tagger: Tagger, sample: OpenedSample, split: str, name: str, seed: int) -> Scores:
    score = np.concatenate([score_dataset(tagger, part) for part in sample.read_blocks(split, BLOCK)])
    known: dict[str, Any] = {"bundle_id": tagger.bundle_id, "tasks": tagger.tasks}
    return make_scores(score, sample.part(split), model=name, seed=seed, split=split, **known)


def _read_members(members: Sequence[Path]) -> list[Manifest]:
    if len(members) < 2:
        raise BundleError(f"an ensemble has at least two members, got {len(members)}")
    manifests = [bundles.read_manifest(path) for path in members]
    known: dict[str, Path] = {}
    first = manifests[0]
    for manifest in manifests:
        if "members" in manifest.values:
            raise BundleError(f"{manifest.path}: this is an ensemble itself: name its members")
        if manifest.bundle_id in known:
            raise BundleError(f"{manifest.path}: this is the same tagger as {known[manifest.bundle_id]}")
        known[manifest.bundle_id] = manifest.path
        for key in ALIKE:
            mine, theirs = manifest.values.get(key), first.values.get(key)
            if mine != theirs:
                raise BundleError(
                    f"{manifest.path}: its {key} is {mine}, but that of {first.path} is {theirs}: they cannot be one "
                    "tagger"
                )
    return manifests


def _open_test(study: StudyConfig, images: Sequence[Path], manifests: Sequence[Manifest]) -> OpenedSample:
    sample = open_sample(study, images)
    found = dict(sample.columns.attributes) | {"class_names": list(sample.columns.class_names)}
    compared = ("class_names", "grid", "channels", "preprocess")
    for key in compared if manifests[0].class_names else compared[1:]:
        if found[key] != manifests[0].values[key]:
            raise InputError(
                f"study '{study.study}': its images' {key} is {found[key]}, the members take {manifests[0].values[key]}"
            )
    for manifest in manifests:
        place = manifest.path / bundles.CONFIG
        split = parse_model(SplitConfig, read_yaml(place).get("split", {}), where=f"{place}: split")
        if split != study.split:
            known = [one.model_dump(mode="json", exclude_none=True) for one in (split, study.split)]
            raise InputError(
                f"{manifest.path}: was trained with the splits {known[0]}, the study has {known[1]}: its test jets may "
                "be this member's training jets"
            )
    return sample


def _choose_jets(sample: OpenedSample | None, member: Manifest) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Jets to compare graph and networks on: of the test split where there is one, else random ones."""
    if sample is None:
        return make_random_jets(member.recipe)
    part = next(sample.read_blocks("test", BLOCK))
    jets = np.unique(np.linspace(0, len(part) - 1, min(N_PARITY_JETS, len(part))).astype(np.int64))
    return part.to_dense(jets), part.select(jets).stack_features(member.recipe.jet_features)


def _write_payload(
    network: EnsembleNetwork,
    folder: Path,
    about: Mapping[str, Any],
    jets: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> float:
    parity = export_onnx(
        network,
        folder / bundles.MODEL,
        images=jets[0],
        jet_features=jets[1],
        metadata={key: json.dumps(about[key]) for key in (*GRAPH_METADATA, "tasks") if key in about},
    )
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / bundles.WEIGHTS)
    first = Path(about["members"][0]["place"])
    config = (first / bundles.CONFIG).read_text(encoding="utf-8")
    (folder / bundles.CONFIG).write_text(f"# The study of the first member, {first}.\n{config}", encoding="utf-8")
    return parity


def _describe(name: str, manifests: Sequence[Manifest]) -> dict[str, Any]:
    first = manifests[0].values
    kept = ["bundle_id", "model", "seed", "study", "network", "normalisation"]
    kept += ["energy_scale"] if "energy_scale" in first else []
    ranges = [manifest.values["training_pt"] for manifest in manifests if manifest.values.get("training_pt")]
    sources = {source["sha256"]: source for manifest in manifests for source in manifest.values.get("sources", [])}
    about: dict[str, Any] = {key: first[key] for key in ALIKE if key in first}
    about |= {"model": name, "seed": first["seed"], "study": first["study"], "sources": list(sources.values())}
    about["members"] = [
        {key: manifest.values[key] for key in kept} | {"place": str(manifest.path)} for manifest in manifests
    ]
    about |= {key: first[key] for key in ("selection", "licence", "citation", "description") if key in first}
    if ranges:
        # Where every member was trained.
        about["training_pt"] = [max(low for low, _ in ranges), min(high for _, high in ranges)]
    return about


def _make_record(
    name: str,
    members: Sequence[Manifest],
    manifest: Manifest,
    network: EnsembleNetwork,
    sample: OpenedSample | None,
    metrics: Mapping[str, Any],
) -> RunRecord:
    values = manifest.values
    beside = [paths.run_record(member.path.parent) for member in members]
    return RunRecord(
        study=values["study"],
        tagger=name,
        seed=values["seed"],
        is_baseline=False,
        parameters={"network": "ensemble", "members": len(members)},
        metrics=metrics,
        history=[],
        n_parameters=sum(p.numel() for p in network.parameters()),
        train_seconds=sum(read_record(path).train_seconds for path in beside if path.exists()),
        counts={} if sample is None else sample.counts,
        sources=values["sources"],
        versions=bundles.describe_versions(),
        bundle_id=manifest.bundle_id,
        extra={
            "onnx_parity": values["onnx_parity"],
            "members": [{key: member[key] for key in ("bundle_id", "model", "seed")} for member in values["members"]],
        },
    )
