"""Working points as correctionlib JSON, for analyses that read cms-nanoAOD's format (schema version 2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.errors import require
from hepcnn.evaluation.efficiency import find_bins
from hepcnn.evaluation.flat_points import FlatCut, JetSample, make_edges
from hepcnn.evaluation.intervals import clopper_pearson
from hepcnn.evaluation.samples import Floats, check_finite
from hepcnn.evaluation.working_points import WorkingPoint

N_PT_BINS, N_ETA_BINS = 4, 3
KINDS = ("value", "low", "high")


@dataclass(frozen=True)
class EfficiencyMap:
    """Efficiency by pT and |eta|, (P, E) each: value and ends of the Clopper–Pearson interval; NaN without jets."""

    pt_edges: Floats
    eta_edges: Floats
    value: Floats
    low: Floats
    high: Floats


class BinnedJets:
    """Jets in bins of pT and |eta|, found once for all cuts; jets outside the edges are left out."""

    def __init__(self, pt: Floats, abs_eta: Floats, weight: Floats, *, pt_edges: Floats, eta_edges: Floats) -> None:
        self._pt_edges, self._eta_edges, self._weight = pt_edges, eta_edges, weight
        # One number for both bins; those outside either are in the border, which is cut off.
        self._number = find_bins(pt, pt_edges) * (len(eta_edges) + 1) + find_bins(abs_eta, eta_edges)
        self._total, self._squared = self._sum(weight), self._sum(weight**2)

    def _sum(self, weight: Floats) -> Floats:
        shape = len(self._pt_edges) + 1, len(self._eta_edges) + 1
        sums = np.bincount(self._number, weight, minlength=shape[0] * shape[1]).reshape(shape)
        return np.asarray(sums[1:-1, 1:-1], dtype=np.float64)

    def measure(self, passed: NDArray[np.bool_]) -> EfficiencyMap:
        """Fraction of jets that pass, (N,) in the order of the jets."""
        total, kept = self._total, self._sum(self._weight * passed)
        filled = total > 0
        n_jets = np.where(filled, total**2 / np.where(filled, self._squared, 1.0), 0.0)
        value = np.where(filled, kept / np.where(filled, total, 1.0), np.nan)
        low, high = clopper_pearson(np.where(filled, value, 0.0) * n_jets, n_jets)
        return EfficiencyMap(self._pt_edges, self._eta_edges, value, low, high)


def make_corrections(
    points: Sequence[WorkingPoint],
    flat: Sequence[FlatCut],
    jets: JetSample,
    eta: Floats,
    *,
    name: str,
    signal: str,
    background: str,
) -> list[Any]:
    """Describe working points as two corrections: thresholds, and efficiencies with their intervals.

    Parameters
    ----------
    points, flat
        Inclusive points, and cuts that are flat in pT; all of one signal and one background.
    jets
        The jets to measure efficiencies on.
    eta
        (N,) of these jets.
    name
        What the names of the corrections begin with.
    signal, background
        Names of the two classes.

    Returns
    -------
    list
        ``correctionlib.schemav2.Correction``: ``<name>_threshold(working_point, pt)`` and
        ``<name>_efficiency(working_point, jet_class, what, pt, abs_eta)`` with ``what`` one of "value", "low" and
        "high". Empty where there are no points.

    Raises
    ------
    InputError
        For NaN or infinite eta.

    Notes
    -----
    Outside the edges a threshold is that of the nearest bin ("clamp"), since a cut must be made on every jet; an
    efficiency is an error there, since nothing was measured. An efficiency of a bin without jets is NaN.
    """
    if not points and not flat:
        return []
    check_finite(eta, what="eta")
    schema = require("correctionlib.schemav2", extra="evaluate")
    cuts: dict[str, Callable[[], NDArray[np.bool_]]] = {}
    thresholds: dict[str, Any] = {}
    score = jets.sample.score
    for point in points:
        thresholds[point.name] = point.threshold
        cuts[point.name] = lambda p=point: np.asarray(score >= p.threshold)  # type: ignore[misc]
    for wide in flat:
        edges = wide.pt_edges.tolist()
        content = wide.thresholds.tolist()
        thresholds[wide.name] = schema.Binning(
            nodetype="binning", input="pt", edges=edges, content=content, flow="clamp"
        )
        cuts[wide.name] = lambda p=wide: p.passes(score, jets.pt)  # type: ignore[misc]
    abs_eta = np.abs(eta)
    edges = {"pt_edges": make_edges(jets.pt, N_PT_BINS), "eta_edges": make_edges(abs_eta, N_ETA_BINS)}
    classes: dict[str, tuple[NDArray[np.bool_], BinnedJets]] = {}
    for class_name, is_signal in ((signal, True), (background, False)):
        mine = jets.members(signal=is_signal)
        binned = BinnedJets(jets.pt[mine], abs_eta[mine], jets.sample.weight[mine], **edges)
        classes[class_name] = mine, binned
    efficiencies: dict[str, Any] = {}
    for key, cut in cuts.items():
        passed, by_class = cut(), {}
        for class_name, (mine, binned) in classes.items():
            found = binned.measure(passed[mine])
            by_kind = {kind: _multibinning(schema, found, kind) for kind in KINDS}
            by_class[class_name] = _category(schema, "what", by_kind)
        efficiencies[key] = _category(schema, "jet_class", by_class)
    about = f"{signal} against {background}, cut on p_{signal} / (p_{signal} + p_{background})"
    return [
        schema.Correction(
            name=f"{name}_threshold",
            description=f"{about}: a jet is tagged when it is at least this. Beyond the last pT bins theirs is taken.",
            version=1,
            inputs=_inputs(schema, "working_point", "pt"),
            output=schema.Variable(name="threshold", type="real", description="of the discriminant"),
            data=_category(schema, "working_point", thresholds),
        ),
        schema.Correction(
            name=f"{name}_efficiency",
            description=f"{about}: fraction that passes, central 68.3 % Clopper-Pearson interval; measured on "
            f"{jets.split} jets. NaN where there was no jet, an error outside the bins.",
            version=1,
            inputs=_inputs(schema, "working_point", "jet_class", "what", "pt", "abs_eta"),
            output=schema.Variable(name="efficiency", type="real", description="from 0 to 1"),
            data=_category(schema, "working_point", efficiencies),
        ),
    ]


def write_corrections(corrections: Sequence[Any], *, description: str) -> str:
    """Give corrections as one correctionlib JSON text, schema version 2."""
    schema = require("correctionlib.schemav2", extra="evaluate")
    whole = schema.CorrectionSet(schema_version=2, description=description, corrections=list(corrections))
    return str(whole.model_dump_json(exclude_unset=True, indent=1)) + "\n"


INPUTS = {
    "working_point": ("string", "such as mistag_1pct, or mistag_1pct_flat where it is flat in pT"),
    "jet_class": ("string", "true class of the jet"),
    "what": ("string", "value, or low or high end of the interval"),
    "pt": ("real", "transverse momentum of the jet, GeV"),
    "abs_eta": ("real", "absolute pseudorapidity of the jet"),
}


def _inputs(schema: Any, *names: str) -> list[Any]:
    return [schema.Variable(name=n, type=INPUTS[n][0], description=INPUTS[n][1]) for n in names]


def _category(schema: Any, variable: str, contents: dict[str, Any]) -> Any:
    items = [schema.CategoryItem(key=key, value=value) for key, value in contents.items()]
    return schema.Category(nodetype="category", input=variable, content=items)


def _multibinning(schema: Any, found: EfficiencyMap, kind: str) -> Any:
    # JSON has no NaN; the logarithm of a negative number is one.
    unknown = schema.Formula(nodetype="formula", expression="log(-1)", parser="TFormula", variables=[])
    return schema.MultiBinning(
        nodetype="multibinning",
        inputs=["pt", "abs_eta"],
        edges=[found.pt_edges.tolist(), found.eta_edges.tolist()],
        content=[float(x) if np.isfinite(x) else unknown for x in getattr(found, kind).ravel()],
        flow="error",
    )
