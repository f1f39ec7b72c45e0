"""Scores → metrics and working points, as they are written to files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.data.dataset import JetColumns
from hepcnn.errors import EmptySampleError, InputError
from hepcnn.evaluation.binned_rejection import rejection_in_bins
from hepcnn.evaluation.calibration import calibration_error, reliability_of_sample
from hepcnn.evaluation.corrections import make_corrections, write_corrections
from hepcnn.evaluation.energy import energy_edges
from hepcnn.evaluation.flat_points import FlatCut, JetSample, make_flat_points
from hepcnn.evaluation.sculpting import measure_sculpting
from hepcnn.evaluation.stability import measure_stability
from hepcnn.evaluation.summary import choose_background, evaluate_scores, select_sample
from hepcnn.evaluation.temperature import apply_temperature, fit_temperature
from hepcnn.evaluation.working_points import find_working_points, working_points_from_json, working_points_to_json
from hepcnn.io.scores import Scores
from hepcnn.outputs import split_values

COUNTS = ("n_constituents", "n_pileup")
"""Jet features that scores carry along where the images have them."""

NO_QUANTITIES = ("phi", "label", "weight", "event_id", "process", "source_file", "source_entry", "source_jet")
"""Columns of jets that say where a jet comes from, and in which efficiency is not looked at."""

ROBUSTNESS_EPS_S = 0.5


def make_scores(
    values: NDArray[np.float32],
    dataset: JetColumns,
    *,
    model: str,
    seed: int,
    bundle_id: str = "",
    split: str = "test",
    tasks: Sequence[str] = ("identity",),
) -> Scores:
    """Put all outputs of the ``tasks``, (N, n_values), beside the N jets they belong to.

    With the jets come what a generator knew of them, and those of their features that robustness looks at.
    """
    counted = {name: dataset.features[name] for name in COUNTS if name in dataset.features}
    outputs = dict(split_values(values, tasks))
    return Scores(
        outputs.pop("score"),
        dataset.label,
        dataset.weight,
        dict(dataset.jets) | counted,
        dataset.class_names,
        bundle_id,
        split,
        model=model,
        seed=seed,
        truth=dict(dataset.truth),
        prediction=outputs,
    )


def measure_scores(
    scores: Sequence[Scores], *, background: str | None, validation: Scores | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Metrics over the seeds of one tagger, and the working points of its first seed, each by signal class.

    Parameters
    ----------
    scores
        One per seed.
    background
        As in `hepcnn.evaluation.summary.evaluate_scores`.
    validation
        Scores of the first seed on its validation jets, where they are known: they then fix the thresholds and the
        temperature, and the jets of ``scores`` measure what comes of it.

    Returns
    -------
    tuple
        Both are empty for a tagger that only measures energies.
    """
    if not scores[0].has_identity:
        return {}, {}
    metrics = evaluate_scores(scores, background=background)
    if "energy" in scores[0].truth:
        _add_rejections_by_energy(metrics, scores[0])
    against = choose_background(scores[0].class_names, background)
    if validation is not None:
        _check_validation(scores[0], validation)
        _add_temperature(metrics, scores[0], validation, against)
    points = {signal: _working_points(scores[0], validation, signal, against) for signal in metrics}
    return metrics, points


def _add_rejections_by_energy(metrics: dict[str, Any], scores: Scores) -> None:
    """Rejections of the first seed at 90 % signal efficiency, in bins of the true energy."""
    for signal, measured in metrics.items():
        sample, kept = select_sample(scores, signal=signal, background=measured["background"])
        energy = np.asarray(scores.truth["energy"], np.float64)[kept]
        measured["rejection_by_energy"] = rejection_in_bins(sample, energy, edges=energy_edges(energy)).to_dict()


def _check_validation(scores: Scores, validation: Scores) -> None:
    if tuple(validation.class_names) != tuple(scores.class_names):
        raise InputError(
            f"the validation scores have the classes {tuple(validation.class_names)}, the others {scores.class_names}"
        )


def _add_temperature(metrics: dict[str, Any], scores: Scores, validation: Scores, background: str) -> None:
    """Say which temperature the validation jets ask for, and what it does to the calibration of the first seed."""
    temperature = fit_temperature(validation.score, validation.label, validation.weight)
    for signal, measured in metrics.items():
        if temperature is None or "calibration" not in measured:
            continue
        sample, _ = select_sample(scores, signal=signal, background=background)
        # The ratio of two classes at a temperature is that of the two alone.
        mended = apply_temperature(np.stack([sample.score, 1 - sample.score], axis=1), temperature.value)[:, 0]
        measured["calibration"]["temperature"] = dict(temperature.to_dict())
        after, expected = calibration_error(mended, sample.is_signal, sample.weight)
        measured["calibration"]["ece_at_temperature"] = after.to_dict()
        measured["calibration"]["expected_at_temperature"] = expected


def _jets(scores: Scores, signal: str, background: str) -> tuple[JetSample, NDArray[np.float64] | None]:
    sample, kept = select_sample(scores, signal=signal, background=background)
    pt = np.asarray(scores.jets.get("pt", np.zeros(len(scores))), dtype=np.float64)[kept]
    eta = np.asarray(scores.jets["eta"], dtype=np.float64)[kept] if "eta" in scores.jets else None
    return JetSample(sample, pt, scores.split), eta


def _working_points(scores: Scores, validation: Scores | None, signal: str, background: str) -> Any:
    measured, _ = _jets(scores, signal, background)
    found = _jets(validation, signal, background)[0] if validation is not None else measured
    points = find_working_points(
        found.sample,
        signal=signal,
        background=background,
        measure_on=measured.sample if validation is not None else None,
        splits=(found.split, measured.split),
    )
    record = json.loads(working_points_to_json(points))
    if "pt" in scores.jets:
        flat, refused = make_flat_points(found, signal=signal, background=background, measure_on=measured)
        record["flat_in_pt"] = [point.to_dict() for point in flat]
        record["flat_in_pt_refused"] = [asdict(point) for point in refused]
    return record


def measure_robustness(scores: Scores, *, background: str | None) -> dict[str, Any]:
    """How the cut of signal efficiency 0.5 holds against what is known of the jets, by signal class.

    Returns
    -------
    dict
        ``{signal: {"eps_s", "quantities": {name: …}, "reliability": …, "mass_sculpting": …}}``: efficiencies and
        rejection in bins of every number that came with the jets, the reliability diagram, and what the cut does to the
        background's mass. The last is null with the reason beside it where the mass is unknown or no background is
        left.
    """
    found: dict[str, Any] = {}
    if not scores.has_identity:
        return found
    against = choose_background(scores.class_names, background)
    for signal in (name for name in scores.class_names if name != against):
        sample, kept = select_sample(scores, signal=signal, background=against)
        columns = {name: np.asarray(values)[kept] for name, values in scores.jets.items() if name not in NO_QUANTITIES}
        quantities = {
            "abs_eta" if name == "eta" else name: np.abs(values) if name == "eta" else values
            for name, values in columns.items()
            if values.dtype.kind in "biuf"
        }
        stability = measure_stability(sample, quantities, eps_s=ROBUSTNESS_EPS_S)
        found[signal] = {
            "eps_s": ROBUSTNESS_EPS_S,
            "background": against,
            "quantities": {name: one.to_dict() for name, one in stability.items()},
            "reliability": reliability_of_sample(sample).to_dict(),
            "mass_sculpting": None,
        }
        try:
            if "mass" not in columns:
                raise EmptySampleError("the jets' mass is not known")
            sculpting = measure_sculpting(sample, columns["mass"], eps_s=ROBUSTNESS_EPS_S)
            found[signal]["mass_sculpting"] = sculpting.to_dict()
        except (EmptySampleError, InputError) as error:
            found[signal]["mass_sculpting_reason"] = str(error)
    return found


def describe_corrections(
    taggers: Mapping[str, Sequence[Scores]], points: Mapping[str, Mapping[str, Any]], *, background: str | None
) -> str | None:
    """Working points of taggers as correctionlib JSON: thresholds, and efficiencies in bins of pT and |eta|.

    Parameters
    ----------
    taggers
        By name the scores of each seed; the first measures the efficiencies.
    points
        By name what `measure_scores` said of working points.
    background
        As there.

    Returns
    -------
    str or None
        The text; None where the scores come without pT or eta, or no tagger has a working point.
    """
    corrections = []
    for name, (scores, *_) in taggers.items():
        against = choose_background(scores.class_names, background)
        for signal, record in points[name].items():
            jets, eta = _jets(scores, signal, against)
            if eta is None or "pt" not in scores.jets:
                return None
            made = working_points_from_json(json.dumps(record)).points
            flat = [
                FlatCut(point["name"], np.array(point["pt_edges"]), np.array(point["thresholds"]))
                for point in record["flat_in_pt"]
            ]
            corrections += make_corrections(
                made, flat, jets, eta, name=f"{name}_{signal}", signal=signal, background=against
            )
    if not corrections:
        return None
    return write_corrections(corrections, description=f"Working points of {', '.join(taggers)}, by hepcnn")
