"""Bring pixels and jet-level numbers to order one. Fitted on the training split only; stored in the bundle."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepcnn.data.dataset import ImageDataset, JetColumns
from hepcnn.errors import EmptySampleError


@dataclass(frozen=True)
class Normalisation:
    """``(pixel / scale) ** power`` per channel, and ``(log(1 + x) - mean) / std`` per jet-level number.

    A zero pixel stays zero, so that sparse images stay sparse. Pixel values must not be negative for a ``power`` below
    one.
    """

    channel_scale: tuple[float, ...]
    power: float
    feature_names: tuple[str, ...]
    feature_mean: tuple[float, ...]
    feature_std: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Normalisation":
        """The inverse of `to_dict`."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**plain)


def fit_normalisation(
    train: JetColumns,
    *,
    power: float,
    feature_names: tuple[str, ...],
    values: Iterable[NDArray[np.float32]] | None = None,
) -> Normalisation:
    """Fit scales on training jets.

    Parameters
    ----------
    train
        The training split, an `ImageDataset` unless ``values`` are given.
    power
        Exponent that compresses the pixels' range; 0.5 takes the root.
    feature_names
        Jet-level numbers to standardise.
    values
        The pixels of the split in blocks of (n, C), for one that is not in memory.

    Returns
    -------
    Normalisation
        The scale of a channel is the mean of its non-zero pixels (1 where there is none); a jet-level number that does
        not vary has a standard deviation of 1.

    Raises
    ------
    EmptySampleError
        When there is no jet.
    """
    if len(train) == 0:
        raise EmptySampleError("cannot fit a normalisation: the training split is empty")
    if values is None:
        values = [train.value] if isinstance(train, ImageDataset) else []
    logs: NDArray[np.float64] = np.log1p(train.stack_features(feature_names).astype(np.float64))
    std = logs.std(axis=0)
    return Normalisation(
        channel_scale=_fit_scales(values, len(train.channels)),
        power=power,
        feature_names=feature_names,
        feature_mean=tuple(logs.mean(axis=0).tolist()),
        feature_std=tuple(np.where(std > 0, std, 1.0).tolist()),
    )


def _fit_scales(values: Iterable[NDArray[np.float32]], n_channels: int) -> tuple[float, ...]:
    total, count = np.zeros(n_channels), np.zeros(n_channels)
    for block in values:
        for channel, column in enumerate(block.T):
            active = column[column > 0]
            total[channel] += active.sum(dtype=np.float64)
            count[channel] += len(active)
    return tuple(np.where(count > 0, total / np.maximum(count, 1), 1.0).tolist())
