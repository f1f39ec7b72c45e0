"""All numbers of one signal against one background, and their combination over seeds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import EmptySampleError
from hepcnn.evaluation.bootstrap import N_BOOTSTRAP, bootstrap_ranks, interval_of
from hepcnn.evaluation.calibration import calibration_of_sample
from hepcnn.evaluation.curves import roc_of_ranks
from hepcnn.evaluation.intervals import Measurement
from hepcnn.evaluation.metrics import (
    accuracy_of_sample,
    auc_of_ranks,
    improvement_on_curve,
    largest_improvement_on_curve,
    rejection_on_curve,
)
from hepcnn.evaluation.ranking import rank_sample
from hepcnn.evaluation.samples import BinarySample, make_binary_sample

EPS_S = (0.3, 0.5)
"""Signal efficiencies at which rejections are quoted."""


def measure_pair(
    score: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    eps_s: Sequence[float] = EPS_S,
    n_bootstrap: int = N_BOOTSTRAP,
) -> dict[str, Any]:
    """Compute all numbers of one signal against one background, sorting the jets once.

    Parameters
    ----------
    score, label, weight
        (N,) as in `hepcnn.evaluation.metrics`; the score a probability, else there is no calibration.
    eps_s
        Signal efficiencies of rejection and significance improvement.
    n_bootstrap
        Resamplings; 0 leaves out what needs them.

    Returns
    -------
    dict
        Measurements ``auc``, ``accuracy``, ``rejection`` by eps_s, ``improvement`` by eps_s and ``max`` (where a cut
        leaves enough background; with ``max_eps_s``), ``ece`` and ``ece_expected``; numbers ``n_signal_effective`` and
        ``n_background_effective``.
    """
    return measure_sample(make_binary_sample(score, label, weight), eps_s=eps_s, n_bootstrap=n_bootstrap)


def measure_sample(
    sample: BinarySample, *, eps_s: Sequence[float] = EPS_S, n_bootstrap: int = N_BOOTSTRAP
) -> dict[str, Any]:
    """Compute all numbers of a checked sample; see `measure_pair`."""
    ranked = rank_sample(sample)
    curve = roc_of_ranks(ranked)
    found: dict[str, Any] = {
        "auc": auc_of_ranks(ranked),
        "accuracy": accuracy_of_sample(sample),
        "rejection": {f"{eps:g}": rejection_on_curve(curve, eps_s=eps) for eps in eps_s},
        "improvement": {f"{eps:g}": improvement_on_curve(curve, eps_s=eps) for eps in eps_s},
        "n_signal_effective": ranked.n_signal,
        "n_background_effective": ranked.n_background,
    }
    if not n_bootstrap:
        return found
    replicas = bootstrap_ranks(ranked, eps_s=eps_s, n_bootstrap=n_bootstrap)
    found["auc"] = replace(found["auc"], err_bootstrap=float(np.std(replicas.auc, ddof=1)))
    for eps in eps_s:
        measured = found["rejection"][f"{eps:g}"]
        if not measured.is_lower_limit:
            relative = float(np.std(replicas.eps_b[eps], ddof=1)) * measured.value
            found["rejection"][f"{eps:g}"] = replace(measured, err_bootstrap=measured.value * relative)
    if (largest := largest_improvement_on_curve(curve)) is not None:
        drawn = replicas.max_sic[np.isfinite(replicas.max_sic)]
        found["improvement"]["max"] = interval_of(drawn, largest[0])
        found["max_eps_s"] = largest[1]
    # Other scores than probabilities have no calibration.
    if sample.score.min() >= 0 and sample.score.max() <= 1:
        found["ece"], found["ece_expected"] = calibration_of_sample(sample, n_bootstrap=n_bootstrap)
    return found


def combine_pairs(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join what `measure_pair` gave for each seed, with the names of metrics.json."""
    first = measured[0]
    found: dict[str, Any] = {name: combine_seeds([m[name] for m in measured]) for name in ("auc", "accuracy")}
    for name in ("rejection", "improvement"):
        keys = [key for key in first[name] if all(key in m[name] for m in measured)]
        found[name] = {key: combine_seeds([m[name][key] for m in measured]) for key in keys}
    if "max" in found["improvement"]:
        found["improvement"]["max"]["eps_s"] = float(np.mean([m["max_eps_s"] for m in measured]))
    if all("ece" in m for m in measured):
        found["calibration"] = {
            "ece": combine_seeds([m["ece"] for m in measured]),
            "expected": float(np.mean([m["ece_expected"] for m in measured])),
        }
    return found | {name: first[name] for name in ("n_signal_effective", "n_background_effective")}


def combine_seeds(measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Combine one metric over seeds; see `evaluate_scores`. A single seed has no err_seed.

    Raises
    ------
    EmptySampleError
        For no measurement.
    """
    if not measurements:
        raise EmptySampleError("no measurement to combine, expected that of at least one seed")
    if len(measurements) == 1:
        return measurements[0].to_dict()
    values = [m.value for m in measurements]
    mean = {
        field: float(np.mean([getattr(m, field) for m in measurements]))
        for field in ("err_stat", "err_low", "err_high", "err_bootstrap")
        if all(getattr(m, field) is not None for m in measurements)
    }
    combined = Measurement(
        float(np.mean(values)),
        mean.get("err_stat"),
        mean.get("err_low"),
        mean.get("err_high"),
        is_lower_limit=any(m.is_lower_limit for m in measurements),
        err_bootstrap=mean.get("err_bootstrap"),
    )
    spread = float(np.std(values, ddof=1))
    record = combined.to_dict() | {"err_seed": spread, "per_seed": values}
    if combined.err_stat is not None:
        record["err_total"] = float(np.hypot(combined.err_stat, spread / np.sqrt(len(values))))
    return record
