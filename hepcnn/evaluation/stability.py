"""How a cut holds against the properties of the jets.

Shapes: N jets, B bins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepcnn.errors import InputError
from hepcnn.evaluation.curves import roc_of_sample
from hepcnn.evaluation.efficiency import BinnedEfficiency, efficiency_in_bins
from hepcnn.evaluation.flat_points import make_edges
from hepcnn.evaluation.intervals import Measurement, jeffreys
from hepcnn.evaluation.metrics import LIMIT_LEVEL
from hepcnn.evaluation.samples import BinarySample, Floats, check_finite

N_BINS = 6


@dataclass(frozen=True)
class Stability:
    """What one cut does in bins of a jet's quantity.

    Attributes
    ----------
    name
        Of the quantity, such as ``pt``.
    eps_s, eps_b
        Efficiencies of signal and background in the same bins.
    rejection
        (B,) ``1 / eps_b``; where no background passes, a lower limit (see ``is_lower_limit``); None without background.
    """

    name: str
    eps_s: BinnedEfficiency
    eps_b: BinnedEfficiency
    rejection: tuple[Measurement | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, null where there are no jets."""
        return {
            "edges": self.eps_s.edges.tolist(),
            "eps_s": self.eps_s.to_dict(),
            "eps_b": self.eps_b.to_dict(),
            "rejection": [m.to_dict() if m else None for m in self.rejection],
        }


def measure_stability(
    sample: BinarySample, quantities: Mapping[str, ArrayLike], *, eps_s: float = 0.5, n_bins: int = N_BINS
) -> dict[str, Stability]:
    """Efficiency and rejection of one cut in bins of each quantity.

    Parameters
    ----------
    sample
        Discriminants.
    quantities
        By name (N,): pT, |eta|, mass, multiplicity, pile-up, whatever is known of the jets.
    eps_s
        Signal efficiency over all jets that fixes the cut.
    n_bins
        Bins with equal numbers of jets of both classes; fewer where a quantity has fewer values.

    Returns
    -------
    dict
        By name; a quantity with a single value is left out, since there is nothing to compare.

    Raises
    ------
    InputError
        For NaN or infinite quantities, or another length.

    Notes
    -----
    Efficiencies have Clopper–Pearson intervals. The interval of a rejection is Jeffreys' of ``eps_b``; the cut is taken
    as given, so that bins are compared with each other.
    """
    passed = sample.score >= roc_of_sample(sample).threshold_at(eps_s)
    found = {}
    for name, quantity in quantities.items():
        values = np.asarray(quantity, dtype=np.float64)
        if values.shape != sample.score.shape:
            raise InputError(f"{name} has shape {values.shape}, expected {sample.score.shape}: one per jet")
        check_finite(values, what=name)
        if values.min() == values.max():
            continue
        edges = _edges(values, n_bins)
        parts = [
            efficiency_in_bins(passed[mine], values[mine], sample.weight[mine], edges=edges)
            for mine in (sample.is_signal, ~sample.is_signal)
        ]
        found[name] = Stability(name, parts[0], parts[1], tuple(_rejections(parts[1])))
    return found


def _edges(values: Floats, n_bins: int) -> Floats:
    # Of narrow quantities, such as |eta|, whole numbers at the ends would be far outside.
    edges = make_edges(values, n_bins)
    edges[0], edges[-1] = values.min(), values.max()
    return edges


def _rejections(eps_b: BinnedEfficiency) -> list[Measurement | None]:
    found: list[Measurement | None] = []
    for value, n in zip(eps_b.value, eps_b.n_jets, strict=True):
        if not n > 0:
            found.append(None)
        elif value <= 0:
            found.append(Measurement(float(1 / (1 - (1 - LIMIT_LEVEL) ** (1 / n))), None, is_lower_limit=True))
        else:
            low, high = jeffreys(value * n, n)
            error = np.sqrt(max(1 - value, 0.0) / (value * n)) / value
            found.append(Measurement(1 / value, float(error), float(1 / value - 1 / high), float(1 / low - 1 / value)))
    return found
