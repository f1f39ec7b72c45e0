"""What the jets of a training are like, for those who tag other jets: ranges of numbers, calibration."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.data.dataset import ImageDataset
from hepcnn.grids import Grid
from hepcnn.images.pixelate import Pixels
from hepcnn.images.reach import measure_reach

JET_COLUMNS = ("pt", "eta", "mass")
COUNTS = ("n_constituents",)
QUANTILES = {"q01": 0.01, "median": 0.5, "q99": 0.99}


def describe_ranges(
    jets: Mapping[str, NDArray[Any]], features: Mapping[str, NDArray[Any]], chosen: NDArray[Any]
) -> dict[str, dict[str, float]]:
    """Lowest, highest and quantiles of the training's jets by name: ``jet_pt``, ``jet_eta``, ``jet_mass`` …

    Parameters
    ----------
    jets, features
        Columns (N,) of all jets.
    chosen
        Which are trained on: a mask or numbers.
    """
    columns = {f"jet_{name}": jets[name] for name in JET_COLUMNS if name in jets}
    columns |= {name: features[name] for name in COUNTS if name in features}
    found = {name: summarise(np.asarray(values)[chosen]) for name, values in columns.items()}
    return {name: summary for name, summary in found.items() if summary}


def summarise(values: NDArray[Any]) -> dict[str, float]:
    """Lowest, highest and quantiles of finite numbers; nothing where there is none."""
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return {}
    quantiles = {name: float(np.quantile(values, share)) for name, share in QUANTILES.items()}
    return {"low": float(values.min()), **quantiles, "high": float(values.max())}


def reach_of(dataset: ImageDataset, grid: Grid) -> NDArray[np.float64]:
    """How far the images of a data set are filled, (N,); see `hepcnn.images.reach`."""
    return measure_reach(Pixels(dataset.indptr, dataset.index.astype(np.uint32), dataset.value), grid)


def describe_reach(parts: Iterable[NDArray[np.float64]]) -> dict[str, dict[str, float]]:
    """The same summary of `reach_of` block by block; nothing where the grid does not follow the jet."""
    summary = summarise(np.concatenate([np.zeros(0), *parts]))
    return {"reach": summary} if summary else {}


def pick_calibration(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """By signal class how well probabilities come true, and the temperature that would mend it; it is not applied."""
    found = {signal: measured["calibration"] for signal, measured in metrics.items() if "calibration" in measured}
    return {"applied": False, "by_signal": found} if found else {}
