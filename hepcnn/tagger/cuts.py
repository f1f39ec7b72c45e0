"""Working points of a bundle, as cuts on scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.bundle import Manifest
from hepcnn.errors import InputError, did_you_mean

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Cut:
    """A cut on the discriminant of two classes.

    ``threshold`` is None where the cut depends on pT: then ``thresholds`` (B,) hold in the bins of ``pt_edges`` (B+1,)
    GeV, the nearest outside. ``eps_s`` and ``eps_b`` are the efficiencies that it was measured to have.
    """

    name: str
    signal: str
    background: str
    class_names: tuple[str, ...]
    threshold: float | None
    pt_edges: tuple[float, ...]
    thresholds: tuple[float, ...]
    eps_s: float
    eps_b: float

    def passes(self, scores: ArrayLike, pt: ArrayLike | None = None) -> NDArray[np.bool_]:
        """Which jets of scores (N, n_classes) are tagged, (N,); one whose score is NaN is not.

        Raises
        ------
        InputError
            When the cut depends on pT and the jets' pT, (N,) GeV, is not given.
        """
        ratio = _ratio(scores, self.class_names, self.signal, self.background)
        if self.threshold is not None:
            return np.asarray(ratio >= self.threshold)
        if pt is None:
            raise InputError(f"working point '{self.name}' depends on pT: give the pT of the jets, too")
        from hepcnn.evaluation.flat_points import apply_flat  # brings numba

        return apply_flat(np.array(self.pt_edges), np.array(self.thresholds), ratio, pt)


def list_cuts(manifest: Manifest) -> tuple[Cut, ...]:
    """The working points that a bundle's manifest holds; none for a bundle without."""
    cuts = []
    for record in (manifest.values.get("working_points") or {}).values():
        cuts += [_make_cut(point, manifest, float(point["threshold"])) for point in record["working_points"]]
        cuts += [_make_cut(point, manifest, None) for point in record.get("flat_in_pt", [])]
    return tuple(cuts)


def _make_cut(point: Mapping[str, Any], manifest: Manifest, threshold: float | None) -> Cut:
    efficiencies = [point[name] for name in ("eps_s", "eps_b")]
    eps_s, eps_b = (float(one["value"] if isinstance(one, Mapping) else one) for one in efficiencies)
    return Cut(
        name=str(point["name"]),
        signal=str(point["signal"]),
        background=str(point["background"]),
        class_names=manifest.class_names,
        threshold=threshold,
        pt_edges=tuple(point.get("pt_edges", ())),
        thresholds=tuple(point.get("thresholds", ())),
        eps_s=eps_s,
        eps_b=eps_b,
    )


def list_signals(manifest: Manifest) -> dict[str, str]:
    """The signal classes of a bundle's metrics and the background of each; without metrics, all but the first class."""
    metrics = manifest.values.get("metrics") or {}
    if metrics:
        return {signal: str(measured["background"]) for signal, measured in metrics.items()}
    if not manifest.class_names:
        return {}
    first, *others = manifest.class_names
    return dict.fromkeys(others, first)


def make_discriminant(scores: ArrayLike, manifest: Manifest, signal: str, background: str = "") -> Float:
    """``p_signal / (p_signal + p_background)`` of scores (N, n_classes), (N,); NaN where a score is NaN."""
    signals = list_signals(manifest)
    if not background and signal not in signals:
        raise InputError(f"the bundle has no signal class '{signal}'{did_you_mean(signal, signals)}")
    return _ratio(scores, manifest.class_names, signal, background or signals[signal])


def _ratio(scores: ArrayLike, class_names: tuple[str, ...], signal: str, background: str) -> Float:
    from hepcnn.evaluation.metrics import discriminant  # brings numba

    values = np.asarray(scores)
    known = np.isfinite(values).all(axis=1)
    ratio = np.full(len(values), np.nan)
    ratio[known] = discriminant(values[known], class_names=class_names, signal=signal, background=background)
    return ratio
