"""How pixels go with the score, over jets."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepcnn.errors import EmptySampleError, InputError


def correlate_pixels(images: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> NDArray[np.float64]:
    """Pearson's correlation of each pixel with a number per jet.

    Parameters
    ----------
    images
        (N, …), the axes after the first are kept.
    score
        (N,).
    weight
        (N,), not negative; ones by default.

    Returns
    -------
    numpy.ndarray
        Of the shape of one image, in [-1, 1]. NaN where the pixel is the same in all jets, and everywhere where the
        score is.

    Raises
    ------
    EmptySampleError
        For fewer than two jets with a weight.
    InputError
        For values that are not finite, or different numbers of jets.
    """
    pixels, y = np.asarray(images, dtype=np.float64), np.asarray(score, dtype=np.float64)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    if y.ndim != 1 or len(pixels) != len(y) or w.shape != y.shape:
        raise InputError(f"images of {len(pixels)} jets, scores {y.shape}, weights {w.shape}: expected one per jet")
    if not (np.isfinite(pixels).all() and np.isfinite(y).all() and np.isfinite(w).all()) or (w < 0).any():
        raise InputError("images, scores and weights must be finite, and weights not negative")
    if (w > 0).sum() < 2:
        raise EmptySampleError(f"{int((w > 0).sum())} jets have a weight: a correlation needs at least two")
    flat = pixels.reshape(len(y), -1)[w > 0]
    y, share = y[w > 0], w[w > 0] / w.sum()
    flat, y = flat - flat[:1], y - y[0]  # exactly 0 for what is constant
    centred, apart = flat - share @ flat, y - share @ y
    spread = np.sqrt((share @ centred**2) * (share @ apart**2))
    varies = np.any(flat != 0, axis=0) & bool(np.any(y != 0))
    together = (share * apart) @ centred
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(varies & (spread > 0), together / spread, np.nan)
    return np.clip(found, -1.0, 1.0).reshape(pixels.shape[1:])
