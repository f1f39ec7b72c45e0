"""How far the ways to a score are apart: pairs of ways, the largest difference of each, and which ones are let through.

Arrays in, a report out. Shapes: N jets, K classes.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Precision = Literal["fp32", "bf16"]
Input = Literal["float32", "file"]
TOLERANCES: Mapping[Precision, float] = {"fp32": 1e-5, "bf16": 0.05}
"""On a probability. That of bf16 is reported and stops nothing: its eight bits leave a few per mille of a logit."""
REFERENCE, FRIEND_TREE, IN_MEMORY = "torch eager", "friend tree", "tagger in memory"


@dataclass(frozen=True)
class Way:
    """The scores that one way gives, (n, K), of the first n jets.

    ``input`` says what went in: the constituents rounded to float32, as graphs take them, or as the file has them.
    Scores of different inputs are compared, but a constituent on the edge of a pixel may be moved by the rounding, so
    that this difference stops nothing.
    """

    name: str
    scores: NDArray[np.float32]
    precision: Precision = "fp32"
    input: Input = "float32"


@dataclass(frozen=True)
class Pair:
    """Two ways, the largest difference of a probability, and over how many jets; ``binds`` where it must be small."""

    first: str
    second: str
    difference: float
    n_jets: int
    tolerance: float
    binds: bool

    @property
    def is_within(self) -> bool:
        """Whether the difference is at most the tolerance; NaN is not."""
        return self.difference <= self.tolerance


@dataclass(frozen=True)
class ParityReport:
    """What a comparison found.

    ``jets`` says where they came from; ``skipped`` which ways were not gone, and why; ``first_stage`` where the first
    pair above its tolerance differs first: ``image``, ``jet features``, ``features``, ``logits`` or ``score``.
    """

    jets: str
    n_jets: int
    pairs: Sequence[Pair]
    skipped: Mapping[str, str] = field(default_factory=dict)
    first_stage: str = ""

    @property
    def failures(self) -> list[Pair]:
        """The pairs that bind and are above their tolerance."""
        return [pair for pair in self.pairs if pair.binds and not pair.is_within]

    @property
    def largest(self) -> float:
        """The largest difference among the pairs that bind; NaN if one is NaN."""
        return float(np.max([pair.difference for pair in self.pairs if pair.binds], initial=0.0))

    def describe(self) -> dict[str, Any]:
        """Plain values, for JSON; a difference that is no number is null."""
        pairs = [
            {
                "first": pair.first,
                "second": pair.second,
                "difference": pair.difference if np.isfinite(pair.difference) else None,
                "n_jets": pair.n_jets,
                "tolerance": pair.tolerance,
                "binds": pair.binds,
            }
            for pair in self.pairs
        ]
        told: dict[str, Any] = {"jets": self.jets, "n_jets": self.n_jets, "passed": not self.failures}
        told["largest"] = self.largest if np.isfinite(self.largest) else None
        told |= {"tolerance": TOLERANCES["fp32"], "pairs": pairs, "skipped": dict(self.skipped)}
        return told | ({"first_stage": self.first_stage} if self.first_stage else {})

    def list_rows(self) -> list[tuple[str, str, str]]:
        """For a table: every way against torch, what the file gives, and what is farthest or above its tolerance."""
        shown = [pair for pair in self.pairs if REFERENCE in (pair.first, pair.second)]
        others = [pair for pair in self.pairs if pair not in shown and pair.binds]
        shown += [pair for pair in others if not pair.is_within or pair.second == IN_MEMORY]
        bound = [pair for pair in others if pair not in shown]
        if bound:
            shown.append(max(bound, key=lambda pair: pair.difference))
        return [
            (f"{pair.first} - {pair.second}", f"{pair.difference:.1e}", f"{pair.tolerance:.0e}{_remark(pair)}")
            for pair in shown
        ]

    def explain_failure(self) -> str:
        """The worst pair in words, and the stage that differs first."""
        worst = max(self.failures, key=lambda pair: np.nan_to_num(pair.difference, nan=np.inf))
        stage = f"; the stage that differs first is: {self.first_stage}" if self.first_stage else ""
        return (
            f"scores of '{worst.first}' and '{worst.second}' differ by {worst.difference:.2g} on {worst.n_jets} jets "
            f"({self.jets}); at most {worst.tolerance:.0e} is let through{stage}"
        )


def _remark(pair: Pair) -> str:
    if pair.binds:
        return "" if pair.is_within else ", exceeded"
    return ", only reported"


def compare_ways(ways: Sequence[Way]) -> list[Pair]:
    """Compare every two ways, on the jets that both have scored.

    Notes
    -----
    NaN of both is no difference, NaN of one is infinite: a jet without a score must have none on any way.
    """
    pairs = []
    for one, other in itertools.combinations(ways, 2):
        n_jets = min(len(one.scores), len(other.scores))
        precision: Precision = "bf16" if "bf16" in (one.precision, other.precision) else "fp32"
        pairs.append(
            Pair(
                one.name,
                other.name,
                find_difference(one.scores[:n_jets], other.scores[:n_jets]),
                n_jets,
                TOLERANCES[precision],
                binds=precision == "fp32" and one.input == other.input,
            )
        )
    return pairs


def find_difference(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest absolute difference; infinite where only one is NaN, or shapes differ."""
    if one.shape != other.shape:
        return float("inf")
    nan = np.isnan(one)
    if (nan != np.isnan(other)).any():
        return float("inf")
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64))[~nan].max(initial=0.0))


def find_first_stage(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> str:
    """The first stage, in the order of ``one``, at which two ways to a score differ; empty where none does.

    Parameters
    ----------
    one, other
        By stage what it gives, (N, …). Stages that only one has are passed over.

    Notes
    -----
    A stage differs where a value does by more than 1e-5 of the stage's largest (1e-4 in the network, whose sums of
    float32 are taken in another order; 1e-5 of a probability). A constituent in another pixel, or another weight, is
    above.
    """
    for stage, values in one.items():
        if stage not in other:
            continue
        scale = 1.0 if stage == "score" else float(np.abs(np.nan_to_num(values)).max(initial=0.0)) or 1.0
        inside = stage.startswith(("features", "logits"))
        if not find_difference(values, other[stage]) <= TOLERANCES["fp32"] * scale * (10.0 if inside else 1.0):
            return stage
    return ""
