"""Train one baseline on the very jets that the taggers get."""

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn import paths
from hepcnn.bundle import describe_versions
from hepcnn.config import StudyConfig
from hepcnn.data.dataset import ImageDataset
from hepcnn.errors import ConfigError, InputError, did_you_mean, require
from hepcnn.evaluation.baselines import Baseline, fit_pixel_logistic, fit_substructure_tree
from hepcnn.evaluation.cells import cancel_negative
from hepcnn.io.scores import Scores, write_scores
from hepcnn.stages.energies import join_metrics, measure_energies
from hepcnn.stages.measure import make_scores, measure_scores
from hepcnn.stages.records import RunRecord, write_json, write_record
from hepcnn.stages.samples import load_sample
from hepcnn.stages.shower_baselines import SHOWER_BASELINES, FittedShowers, fit_shower_baseline
from hepcnn.substructure import CORRELATORS, FEATURES, make_tau_ratio, stack_features

BASELINES = ("pixel_logistic", "substructure_tree", *SHOWER_BASELINES)


def train_baseline(study: StudyConfig, name: str, *, seed: int, output: Path, images: Sequence[Path] = ()) -> RunRecord:
    """Fit a baseline of a study on its training jets, tune it on its validation jets, score its test jets.

    Parameters
    ----------
    study
        The study; its images must have been made.
    name
        ``pixel_logistic`` or ``substructure_tree``; of showers ``energy_sum``, ``layer_sum`` or ``shower_tree``.
    seed
        Of the fit, where it draws anything.
    output
        The run's folder: gets ``scores.h5``, ``metrics.json``, ``working_points.json`` and ``run.json``.
    images
        The study's ``images.h5`` files, if they are not in its folder.

    Raises
    ------
    ConfigError
        For another name.
    InputError
        When the images hold no substructure, or no showers.
    """
    if name not in BASELINES:
        raise ConfigError(f"no baseline '{name}'{did_you_mean(name, BASELINES)}")
    sample = load_sample(study, images)
    parts = {split: sample.part(split) for split in ("train", "val", "test")}
    started = time.perf_counter()
    fitted = _fit_any(study, name, parts, seed)
    seconds = time.perf_counter() - started
    scores, validation = (_make_scores(fitted, parts[split], split, name, seed) for split in ("test", "val"))
    energy = measure_energies([scores])
    metrics, points = measure_scores([scores], background=study.evaluation.background, validation=validation)
    write_scores(paths.scores(output), scores)
    write_scores(paths.validation_scores(output), validation)
    write_json(paths.metrics(output), join_metrics(metrics, energy))
    write_json(paths.working_points(output), points)
    record = RunRecord(
        study=study.study,
        tagger=name,
        seed=seed,
        is_baseline=True,
        parameters={"chosen": fitted.chosen, "n_inputs": fitted.n_inputs},
        metrics=metrics,
        history=[],
        n_parameters=fitted.n_parameters,
        train_seconds=seconds,
        counts=sample.counts,
        sources=list(sample.dataset.sources),
        versions=describe_versions(),
        energy=energy,
    )
    write_record(paths.run_record(output), record)
    return record


def _fit_any(study: StudyConfig, name: str, parts: dict[str, ImageDataset], seed: int) -> FittedShowers:
    if name in SHOWER_BASELINES:
        weights = {split: _fit_weights(parts[split]) for split in ("train", "val")}
        return fit_shower_baseline(study, name, parts, weights, seed=seed)
    inputs = {split: _make_inputs(name, part) for split, part in parts.items()}
    fitted = _fit(name, inputs, parts, seed)
    score = {split: fitted.predict(inputs[split]) for split in ("val", "test")}
    return FittedShowers(score, None, fitted.chosen, fitted.n_inputs, fitted.n_parameters)


def _make_scores(fitted: FittedShowers, part: ImageDataset, split: str, name: str, seed: int) -> Scores:
    scores = make_scores(fitted.score[split], part, model=name, seed=seed, split=split)
    return scores if fitted.energy is None else replace(scores, prediction={"energy": fitted.energy[split]})


def _fit(name: str, inputs: dict[str, Any], parts: dict[str, ImageDataset], seed: int) -> Baseline:
    train, val = parts["train"], parts["val"]
    targets = (inputs["train"], train.label, inputs["val"], val.label)
    w_train, w_val = _fit_weights(train), _fit_weights(val)
    n_classes = len(train.class_names)
    if name == "pixel_logistic":
        return fit_pixel_logistic(*targets, n_classes=n_classes, weight_train=w_train, weight_val=w_val)
    return fit_substructure_tree(*targets, n_classes=n_classes, seed=seed, weight_train=w_train, weight_val=w_val)


def _fit_weights(part: ImageDataset) -> NDArray[np.float64]:
    """Weights for a fit: where some are negative, cancelled among jets of similar kinematics and substructure."""
    known = {name: part.jets[name] for name in ("pt", "eta", "mass")}
    known |= {name: np.nan_to_num(values) for name, values in part.features.items() if name not in known}
    return cancel_negative(part.weight, part.label, np.stack(list(known.values()), axis=1))


def _make_inputs(name: str, part: ImageDataset) -> Any:
    return _make_pixel_matrix(part) if name == "pixel_logistic" else _make_substructure(part)


def _make_pixel_matrix(part: ImageDataset) -> Any:
    """All channels of all pixels side by side, sparse (N, n_pix * C)."""
    sparse = require("scipy.sparse", extra="evaluate")
    n_channels, n_pixels = part.value.shape[1], math.prod(part.shape)
    columns = part.index[:, None].astype(np.int64) * n_channels + np.arange(n_channels)
    rows = np.repeat(np.arange(len(part)), np.diff(part.indptr) * n_channels)
    matrix = sparse.csr_matrix((part.value.ravel(), (rows, columns.ravel())), (len(part), n_pixels * n_channels))
    matrix.eliminate_zeros()
    return matrix


def _make_substructure(part: ImageDataset) -> Any:
    features = part.features
    missing = [name for name in ("pt", "mass", "n_constituents", "tau1", "tau2", "tau3") if name not in features]
    if missing:
        raise InputError(
            f"the tree on substructure needs the jet features {', '.join(missing)}: add them to images.jet_features, "
            "or take 'substructure_tree' out of 'baselines'"
        )
    observables = {
        "pt": features["pt"],
        "mass": features["mass"],
        "multiplicity": features["n_constituents"],
        "tau21": make_tau_ratio(features["tau2"], features["tau1"]),
        "tau32": make_tau_ratio(features["tau3"], features["tau2"]),
    }
    known = [name for name in CORRELATORS if name in features]
    return stack_features(observables | {name: features[name] for name in known}, names=(*FEATURES, *known))
