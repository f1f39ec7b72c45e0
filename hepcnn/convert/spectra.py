"""Histograms of jets by class, filled block by block."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_BINS = 50
TAIL = 0.002
"""The fraction of jets that may lie above or below the axis of a histogram, where it is counted."""
TITLES: Mapping[str, str] = {
    "pt": "jet pT, GeV",
    "eta": "jet eta",
    "mass": "jet mass, GeV",
    "n_constituents": "constituents of a jet",
    "pixels": "pixels of a jet that are not zero",
    "pt_fraction": "fraction of a jet's pT inside the grid",
}


class CountSpectrum:
    """How often each whole number occurs, by class: exact, whatever the numbers are."""

    def __init__(self, n_classes: int) -> None:
        self._counts = np.zeros((n_classes, 1), dtype=np.int64)

    def add(self, numbers: NDArray[np.integer[Any]], label: NDArray[np.integer[Any]]) -> None:
        """Add jets: their number and their class, (N,)."""
        if not len(numbers):
            return
        width = max(int(numbers.max()) + 1, self._counts.shape[1])
        grown = np.zeros((len(self._counts), width), dtype=np.int64)
        grown[:, : self._counts.shape[1]] = self._counts
        cells = label.astype(np.int64) * width + numbers
        self._counts = grown + np.bincount(cells, minlength=grown.size).reshape(grown.shape)

    def add_all(self, other: "CountSpectrum") -> None:
        """Add all of another."""
        width = max(self._counts.shape[1], other._counts.shape[1])
        joined = np.zeros((len(self._counts), width), dtype=np.int64)
        for counts in (self._counts, other._counts):
            joined[:, : counts.shape[1]] += counts
        self._counts = joined

    @property
    def total(self) -> int:
        """The sum of all numbers."""
        return int((self._counts.sum(axis=0) * np.arange(self._counts.shape[1])).sum())

    def quantile(self, fraction: float) -> int:
        """The smallest number that at least this fraction of jets does not exceed; 0 without jets."""
        rising = np.cumsum(self._counts.sum(axis=0))
        return int(np.searchsorted(rising, fraction * rising[-1]))

    def to_json(self, title: str, class_names: Sequence[str]) -> dict[str, Any]:
        """As the data card has it, a bin being some whole numbers wide."""
        filled = np.flatnonzero(self._counts.sum(axis=0))
        first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, 0)
        width = -(-(last - first + 1) // N_BINS)
        edges = np.arange(first, last + width + 1, width)
        padded = np.zeros((len(self._counts), int(edges[-1])), dtype=np.int64)
        padded[:, : last + 1] = self._counts[:, : last + 1]
        counts = np.add.reduceat(padded, edges[:-1], axis=1) if len(edges) > 1 else padded[:, first:]
        return _describe(title, edges.astype(np.float64), counts, class_names)


class Spectrum:
    """How many values of each class lie between edges, below and above them."""

    def __init__(self, edges: NDArray[np.float64], n_classes: int) -> None:
        self._edges = edges
        self._counts = np.zeros((n_classes, len(edges) + 1), dtype=np.int64)

    def add(self, values: NDArray[np.floating[Any]], label: NDArray[np.integer[Any]]) -> None:
        """Add jets: their value and their class, (N,). The last bin holds its upper edge."""
        bins = np.searchsorted(self._edges, values, side="right")
        bins[values == self._edges[-1]] -= 1
        cells = label.astype(np.int64) * self._counts.shape[1] + bins
        self._counts += np.bincount(cells, minlength=self._counts.size).reshape(self._counts.shape)

    def to_json(self, title: str, class_names: Sequence[str]) -> dict[str, Any]:
        """As the data card has it."""
        return _describe(
            title, self._edges, self._counts[:, 1:-1], class_names, self._counts[:, 0], self._counts[:, -1]
        )


def choose_edges(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Edges of equal bins between round numbers that leave out but the tails."""
    finite = values[np.isfinite(values)].astype(np.float64)
    low, high = np.quantile(finite, [TAIL / 2, 1 - TAIL / 2]) if len(finite) else (0.0, 1.0)
    step = _round_up((high - low) / (N_BINS - 2)) if high > low else max(abs(low), 1.0) / N_BINS
    first = np.floor(low / step)
    n_bins = max(int(np.ceil(high / step) - first), 1)
    return np.asarray((first + np.arange(n_bins + 1)) * step)


def _round_up(step: float) -> float:
    """The next of 1, 2, 5, 10, 20, …"""
    power = 10.0 ** np.floor(np.log10(step))
    return float(next(factor for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9)) * power)


def fill_spectra(
    blocks: Iterator[Mapping[str, NDArray[Any]]], edges: Mapping[str, NDArray[np.float64]], n_classes: int
) -> dict[str, Spectrum]:
    """Histograms of columns that come in blocks with their ``label``."""
    spectra = {name: Spectrum(edges[name], n_classes) for name in edges}
    for block in blocks:
        for name, spectrum in spectra.items():
            spectrum.add(block[name], block["label"])
    return spectra


def _describe(
    title: str,
    edges: NDArray[np.float64],
    counts: NDArray[np.int64],
    class_names: Sequence[str],
    below: NDArray[np.int64] | None = None,
    above: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    none = np.zeros(len(class_names), dtype=np.int64)
    columns = {"counts": counts, "below": none if below is None else below, "above": none if above is None else above}
    by_class = {key: dict(zip(class_names, column.tolist(), strict=True)) for key, column in columns.items()}
    return {"title": title, "edges": edges.tolist()} | by_class
