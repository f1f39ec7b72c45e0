"""Cuts that an analysis can quote: a threshold with the efficiencies that it was measured to have."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import InputError, did_you_mean
from hepcnn.evaluation.curves import RocCurve, roc_of_sample
from hepcnn.evaluation.intervals import measure_fraction
from hepcnn.evaluation.ranking import RankedSample, rank_sample
from hepcnn.evaluation.samples import BinarySample, make_binary_sample

MISTAGS = (0.1, 0.01, 0.001)
"""Background efficiencies of the loose, medium and tight points (the CMS convention)."""

EPS_S = (0.3, 0.5)
"""Signal efficiencies of the other points (the convention of arXiv:1902.09914)."""


@dataclass(frozen=True)
class WorkingPoint:
    """A cut: a jet is tagged when its discriminant is at least the threshold.

    Attributes
    ----------
    name
        Such as ``mistag_1pct`` or ``eps_s_0.3``.
    signal, background
        Names of the two classes.
    discriminant
        What the threshold cuts on, as a formula of the scores.
    threshold
        The cut.
    eps_s, eps_s_err, eps_b, eps_b_err
        Efficiencies measured on the jets of ``measured_on``, with half of their Clopper–Pearson intervals.
    fixed, target
        What was asked for: ``"eps_b"`` or ``"eps_s"``, and which value of it.
    n_signal, n_background
        Effective numbers of jets behind the efficiencies.
    found_on, measured_on
        Names of the splits whose jets fixed the threshold, and gave the efficiencies.
    """

    name: str
    signal: str
    background: str
    discriminant: str
    threshold: float
    eps_s: float
    eps_s_err: float
    eps_b: float
    eps_b_err: float
    fixed: str
    target: float
    n_signal: float
    n_background: float
    found_on: str = "test"
    measured_on: str = "test"


@dataclass(frozen=True)
class RefusedPoint:
    """A working point that the sample cannot support.

    Attributes
    ----------
    name, signal, background
        Which point.
    reason
        Why, for a person to read.
    """

    name: str
    signal: str
    background: str
    reason: str


@dataclass(frozen=True)
class WorkingPoints:
    """The points that could be made, and those that could not.

    Attributes
    ----------
    points, refused
        In the order they were asked for.
    """

    points: tuple[WorkingPoint, ...]
    refused: tuple[RefusedPoint, ...] = ()


def make_working_points(
    score: ArrayLike,
    label: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    signal: str,
    background: str,
    mistags: Sequence[float] = MISTAGS,
    eps_s: Sequence[float] = EPS_S,
    min_jets: float = 10.0,
    tolerance: float = 0.2,
    measure_on: BinarySample | None = None,
    splits: tuple[str, str] = ("test", "test"),
) -> WorkingPoints:
    """Find thresholds of fixed mistag rate or fixed signal efficiency.

    Parameters
    ----------
    score
        (N,) discriminant ``p_signal / (p_signal + p_background)``.
    label, weight
        (N,) as in `hepcnn.evaluation.metrics`.
    signal, background
        Names of the two classes.
    mistags, eps_s
        The targets, each in (0, 1).
    min_jets
        How many effective background jets must pass; with ten the mistag rate is known to a third.
    tolerance
        How far the reached efficiency may be from the target, relatively, where scores are tied.
    measure_on
        Other jets to measure the efficiencies on; by default those that fix the thresholds.
    splits
        Names of the jets that fix the thresholds, and of those that give the efficiencies.

    Returns
    -------
    WorkingPoints
        A mistag point's eps_b never exceeds its target; an efficiency point's eps_s never falls below it. A point is
        refused when fewer than ``min_jets`` background jets pass or when ties keep it further away than ``tolerance``.

    Raises
    ------
    InputError, EmptySampleError
        For unusable scores, as in `hepcnn.evaluation.metrics`, or a target outside (0, 1).

    Notes
    -----
    The threshold lies half-way to the next lower score, so that rounding on another machine does not move a jet across.
    On the sample that fixed the threshold the target efficiency is met by construction, which is no measurement of it:
    give ``measure_on``.
    """
    return find_working_points(
        make_binary_sample(score, label, weight),
        signal=signal,
        background=background,
        mistags=mistags,
        eps_s=eps_s,
        min_jets=min_jets,
        tolerance=tolerance,
        measure_on=measure_on,
        splits=splits,
    )


def find_working_points(
    sample: BinarySample,
    *,
    signal: str,
    background: str,
    mistags: Sequence[float] = MISTAGS,
    eps_s: Sequence[float] = EPS_S,
    min_jets: float = 10.0,
    tolerance: float = 0.2,
    measure_on: BinarySample | None = None,
    splits: tuple[str, str] = ("test", "test"),
) -> WorkingPoints:
    """Find the thresholds of a checked sample; see `make_working_points`."""
    curve = roc_of_sample(sample)
    measured = None if measure_on is None else rank_sample(measure_on)
    points: list[WorkingPoint] = []
    refused: list[RefusedPoint] = []
    for fixed, target in [("eps_b", t) for t in mistags] + [("eps_s", t) for t in eps_s]:
        if not 0 < target < 1:
            raise InputError(f"a working point at {fixed} = {target:g} was asked for, expected a value between 0 and 1")
        name = f"mistag_{100 * target:g}pct" if fixed == "eps_b" else f"eps_s_{target:g}"
        index = _point_on(curve, fixed, target)
        if reason := _why_not(curve, index, fixed, target, min_jets=min_jets, tolerance=tolerance):
            refused.append(RefusedPoint(name, signal, background, reason))
        else:
            point = _describe(curve, index, name, fixed, target, signal, background)
            points.append(replace(_measure(point, measured), found_on=splits[0], measured_on=splits[1]))
    return WorkingPoints(tuple(points), tuple(refused))


def _point_on(curve: RocCurve, fixed: str, target: float) -> int:
    # The tolerance is for the rounding of cumulated weights.
    if fixed == "eps_b":
        return int(np.searchsorted(curve.eps_b, target + 1e-12, side="right")) - 1
    return int(np.searchsorted(curve.eps_s, target - 1e-12))


def _why_not(
    curve: RocCurve, index: int, fixed: str, target: float, *, min_jets: float, tolerance: float
) -> str | None:
    expected = target * curve.n_background
    if fixed == "eps_b" and expected < min_jets:
        return (
            f"{100 * target:g} % of {curve.n_background:.0f} effective background jets is {expected:.1f}, "
            f"fewer than the {min_jets:g} that a mistag rate needs"
        )
    reached = float((curve.eps_b if fixed == "eps_b" else curve.eps_s)[index])
    if abs(reached - target) > tolerance * target:
        return f"tied scores: the nearest cut has {fixed} = {reached:.4g} where {target:g} was asked for"
    passing = float(curve.eps_b[index]) * curve.n_background
    if passing < min_jets:
        return (
            f"only {passing:.1f} of {curve.n_background:.0f} effective background jets pass, "
            f"fewer than the {min_jets:g} that a mistag rate needs"
        )
    return None


def _describe(
    curve: RocCurve, index: int, name: str, fixed: str, target: float, signal: str, background: str
) -> WorkingPoint:
    at = float(curve.threshold[index])
    below = float(curve.threshold[index + 1]) if index + 1 < len(curve.threshold) else at
    middle = at + (below - at) / 2
    passing_s = measure_fraction(float(curve.eps_s[index]), curve.n_signal)
    passing_b = measure_fraction(float(curve.eps_b[index]), curve.n_background)
    return WorkingPoint(
        name=name,
        signal=signal,
        background=background,
        discriminant=f"p_{signal} / (p_{signal} + p_{background})",
        threshold=middle if middle > below else at,
        eps_s=passing_s.value,
        eps_s_err=passing_s.err_stat or 0.0,
        eps_b=passing_b.value,
        eps_b_err=passing_b.err_stat or 0.0,
        fixed=fixed,
        target=target,
        n_signal=curve.n_signal,
        n_background=curve.n_background,
    )


def _measure(point: WorkingPoint, ranked: RankedSample | None) -> WorkingPoint:
    if ranked is None:
        return point
    n_above = ranked.count_above(point.threshold)
    fractions = [float(x[n_above - 1]) if n_above else 0.0 for x in (ranked.signal_passing, ranked.background_passing)]
    eps_s, eps_b = (measure_fraction(*x) for x in zip(fractions, (ranked.n_signal, ranked.n_background), strict=True))
    return replace(
        point,
        eps_s=eps_s.value,
        eps_s_err=eps_s.err_stat or 0.0,
        eps_b=eps_b.value,
        eps_b_err=eps_b.err_stat or 0.0,
        n_signal=ranked.n_signal,
        n_background=ranked.n_background,
    )


def working_points_to_json(points: WorkingPoints) -> str:
    """Give working points as JSON text: ``{"working_points": [...], "refused": [...]}``."""
    record = {
        "working_points": [dataclasses.asdict(p) for p in points.points],
        "refused": [dataclasses.asdict(p) for p in points.refused],
    }
    return json.dumps(record, indent=2, allow_nan=False) + "\n"


def working_points_from_json(text: str) -> WorkingPoints:
    """Read what `working_points_to_json` gave.

    Raises
    ------
    InputError
        For text that is no JSON, or has missing, unknown or wrongly typed fields.
    """
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"working points: no JSON ({error})") from error
    if not isinstance(record, dict) or not isinstance(record.get("working_points"), list):
        raise InputError("working points: expected an object with a list called 'working_points'")
    return WorkingPoints(
        tuple(WorkingPoint(**_fields(p, WorkingPoint)) for p in record["working_points"]),
        tuple(RefusedPoint(**_fields(p, RefusedPoint)) for p in record.get("refused", [])),
    )


def _fields(record: Any, kind: type[WorkingPoint] | type[RefusedPoint]) -> dict[str, Any]:
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    if not isinstance(record, dict):
        raise InputError(f"working points: found {record!r}, expected an object")
    needed = {field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING}
    if missing := sorted(needed - set(record)):
        raise InputError(f"working point {record.get('name', '?')!r}: the fields {', '.join(missing)} are missing")
    for name, value in record.items():
        if name not in types:
            raise InputError(f"working point {record['name']!r}: unknown field '{name}'{did_you_mean(name, types)}")
        expected = (int, float) if types[name] is float else str
        if isinstance(value, bool) or not isinstance(value, expected):
            raise InputError(f"working point {record['name']!r}: {name} = {value!r}, expected {types[name]}")
    return record
