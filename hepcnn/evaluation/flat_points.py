"""Working points whose efficiency is the same at every pT: a threshold for each bin of pT."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import InputError
from hepcnn.evaluation.efficiency import BinnedEfficiency, efficiency_in_bins
from hepcnn.evaluation.intervals import Measurement, effective_size, measure_fraction
from hepcnn.evaluation.ranking import pool_negative
from hepcnn.evaluation.samples import BinarySample, Floats, check_finite
from hepcnn.evaluation.working_points import EPS_S, MISTAGS, RefusedPoint

MOST_BINS = 5


@dataclass(frozen=True)
class JetSample:
    """Discriminants with the pT (GeV) of their jets, (N,) each, and what jets these are."""

    sample: BinarySample
    pt: Floats
    split: str = "test"

    def __post_init__(self) -> None:
        if self.pt.shape != self.sample.score.shape:
            raise InputError(f"pt has shape {self.pt.shape}, expected {self.sample.score.shape}: one per jet")
        check_finite(self.pt, what="pt")

    def members(self, *, signal: bool) -> NDArray[np.bool_]:
        """Which jets are signal, or background."""
        return self.sample.is_signal if signal else ~self.sample.is_signal


@dataclass(frozen=True)
class FlatCut:
    """A cut that depends on pT: a jet is tagged when its discriminant is at least the threshold of its bin.

    Attributes
    ----------
    name
        Such as ``mistag_1pct_flat``.
    pt_edges
        (B+1,) rising, GeV. A jet below the first or above the last edge has the threshold of the nearest bin.
    thresholds
        (B,).
    """

    name: str
    pt_edges: Floats
    thresholds: Floats

    def passes(self, score: ArrayLike, pt: ArrayLike) -> NDArray[np.bool_]:
        """Which jets are tagged, (N,)."""
        return apply_flat(self.pt_edges, self.thresholds, score, pt)


@dataclass(frozen=True)
class FlatPoint(FlatCut):
    """A cut that depends on pT, and what it was measured to do.

    Attributes
    ----------
    signal, background, discriminant, fixed, target, found_on, measured_on
        As of a `hepcnn.evaluation.working_points.WorkingPoint`.
    eps_s, eps_b
        Over all pT, with their errors.
    eps_s_in_pt, eps_b_in_pt
        In the bins of ``pt_edges``.
    """

    signal: str
    background: str
    discriminant: str
    fixed: str
    target: float
    eps_s: Measurement
    eps_b: Measurement
    eps_s_in_pt: BinnedEfficiency
    eps_b_in_pt: BinnedEfficiency
    found_on: str = "test"
    measured_on: str = "test"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; null for an efficiency of a bin without jets."""
        plain = {
            name: getattr(self, name)
            for name in ("name", "signal", "background", "discriminant", "fixed", "target", "found_on", "measured_on")
        }
        return plain | {
            "pt_edges": self.pt_edges.tolist(),
            "thresholds": self.thresholds.tolist(),
            "eps_s": self.eps_s.to_dict(),
            "eps_b": self.eps_b.to_dict(),
            "eps_s_in_pt": self.eps_s_in_pt.to_dict(),
            "eps_b_in_pt": self.eps_b_in_pt.to_dict(),
        }


def apply_flat(pt_edges: Floats, thresholds: Floats, score: ArrayLike, pt: ArrayLike) -> NDArray[np.bool_]:
    """Which jets pass the threshold of their pT bin, (N,); outside the edges that of the nearest bin."""
    number = np.clip(np.searchsorted(pt_edges, np.asarray(pt), side="right") - 1, 0, len(thresholds) - 1)
    return np.asarray(np.asarray(score) >= thresholds[number])


def make_flat_points(
    jets: JetSample,
    *,
    signal: str,
    background: str,
    mistags: Sequence[float] = MISTAGS,
    eps_s: Sequence[float] = EPS_S,
    min_jets: float = 10.0,
    measure_on: JetSample | None = None,
) -> tuple[list[FlatPoint], list[RefusedPoint]]:
    """Find a threshold for each bin of pT, so that an efficiency is its target in each.

    Parameters
    ----------
    jets
        The jets that fix the thresholds.
    signal, background
        Names of the two classes.
    mistags, eps_s
        The targets, each in (0, 1).
    min_jets
        How many effective jets of the fixed class must pass in each bin. There are as many bins as this allows, five at
        most, with equal numbers of jets of that class; a point that has not even two is refused.
    measure_on
        Jets to measure the efficiencies on; by default those that fix the thresholds.

    Returns
    -------
    tuple
        Points, and those refused with the reason.

    Notes
    -----
    In each bin a mistag rate is not above its target, a signal efficiency not below it, on the jets that fix it; the
    threshold lies half-way to the next lower score of that class. Where weights are negative, neighbouring scores of a
    bin are pooled as `hepcnn.evaluation.ranking.rank_sample` does. A bin whose weights do not add up to more than zero
    refuses the point.
    """
    measured = measure_on or jets
    falling = {kind: _sort_class(jets, signal=kind == "eps_s") for kind in ("eps_s", "eps_b")}
    points, refused = [], []
    for fixed, target in [("eps_b", t) for t in mistags] + [("eps_s", t) for t in eps_s]:
        if not 0 < target < 1:
            raise InputError(f"a working point at {fixed} = {target:g} was asked for, expected a value between 0 and 1")
        name = f"mistag_{100 * target:g}pct_flat" if fixed == "eps_b" else f"eps_s_{target:g}_flat"
        passing = target * effective_size(falling[fixed][1])
        n_bins = min(MOST_BINS, int(passing / min_jets))
        found = _find_thresholds(*falling[fixed], fixed, target, n_bins) if n_bins > 1 else None
        if found is None:
            few = f"{passing:.1f} effective jets pass, which does not fill two bins of pT with {min_jets:g} each"
            empty = "in a bin of pT the weights add up to nothing or less"
            refused.append(RefusedPoint(name, signal, background, few if n_bins < 2 else empty))
            continue
        edges, thresholds = found
        passed = apply_flat(edges, thresholds, measured.sample.score, measured.pt)
        parts = {kind: _measure(measured, passed, edges, signal=kind == "eps_s") for kind in ("eps_s", "eps_b")}
        points.append(
            FlatPoint(
                name=name,
                signal=signal,
                background=background,
                discriminant=f"p_{signal} / (p_{signal} + p_{background})",
                fixed=fixed,
                target=target,
                pt_edges=edges,
                thresholds=thresholds,
                eps_s=parts["eps_s"][0],
                eps_b=parts["eps_b"][0],
                eps_s_in_pt=parts["eps_s"][1],
                eps_b_in_pt=parts["eps_b"][1],
                found_on=jets.split,
                measured_on=measured.split,
            )
        )
    return points, refused


def _sort_class(jets: JetSample, *, signal: bool) -> tuple[Floats, Floats, Floats]:
    """Scores, weights and pT of a class by falling score, (n,) each."""
    members = jets.members(signal=signal)
    score, weight, pt = jets.sample.score[members], jets.sample.weight[members], jets.pt[members]
    order = np.argsort(score)[::-1]
    return score[order], weight[order], pt[order]


def _find_thresholds(
    score: Floats, weight: Floats, pt: Floats, fixed: str, target: float, n_bins: int
) -> tuple[Floats, Floats] | None:
    edges = make_edges(pt, n_bins)
    number = np.clip(np.searchsorted(edges, pt, side="right") - 1, 0, len(edges) - 2)
    if (np.bincount(number, weight, minlength=len(edges) - 1) <= 0).any():
        return None
    thresholds = [_cut(score[number == i], weight[number == i], fixed, target) for i in range(len(edges) - 1)]
    return edges, np.array(thresholds)


def make_edges(values: Floats, n_bins: int) -> Floats:
    """Edges of bins with equal numbers of jets, outer ones rounded outward to whole numbers."""
    inner = np.quantile(values, np.linspace(0, 1, n_bins + 1)[1:-1])
    low, high = np.floor(values.min()), np.ceil(values.max())
    high = max(high, low + 1.0)
    return np.asarray(np.unique(np.concatenate([[low], inner[(inner > low) & (inner < high)], [high]])))


def _cut(score: Floats, weight: Floats, fixed: str, target: float) -> float:
    """The cut on one class, by falling score, that keeps at most (eps_b) or at least (eps_s) the target."""
    last = np.append(score[1:] != score[:-1], True)
    values, kept = score[last], np.cumsum(weight)[last]
    if (weight < 0).any():
        sums = np.diff(kept, prepend=0.0)
        pool = pool_negative(sums, np.zeros(len(sums)))
        ends = np.append(pool[1:] != pool[:-1], True)
        values, kept = values[ends], np.maximum.accumulate(kept[ends])
    kept /= kept[-1]
    index = int(np.searchsorted(kept, target + 1e-12, "right")) - 1 if fixed == "eps_b" else -1
    index = int(np.searchsorted(kept, target - 1e-12)) if fixed == "eps_s" else index
    if index < 0:
        # Even the highest score is shared by too many: nothing passes.
        return float(np.nextafter(values[0], np.inf))
    at, below = values[index], values[min(index + 1, len(values) - 1)]
    middle = at + (below - at) / 2
    return float(middle if middle > below else at)


def _measure(
    jets: JetSample, passed: NDArray[np.bool_], edges: Floats, *, signal: bool
) -> tuple[Measurement, BinnedEfficiency]:
    members = jets.members(signal=signal)
    weight = jets.sample.weight[members]
    mine = passed[members]
    whole = measure_fraction(float(weight[mine].sum() / weight.sum()), effective_size(weight))
    return whole, efficiency_in_bins(mine, jets.pt[members], weight, edges=edges)
