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
        (N,) of either sign; ones by default.

    Returns
    -------
    numpy.ndarray
        Of the shape of one image, in [-1, 1]. NaN where the pixel is the same in all jets, and everywhere where the
        score is; also where negative weights leave no variance.

    Raises
    ------
    EmptySampleError
        For fewer than two jets with a weight, or weights that do not add up to more than zero.
    InputError
        For values that are not finite, or different numbers of jets.
    """
    pixels, y = np.asarray(images, dtype=np.float64), np.asarray(score, dtype=np.float64)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
    if y.ndim != 1 or len(pixels) != len(y) or w.shape != y.shape:
        raise InputError(f"images of {len(pixels)} jets, scores {y.shape}, weights {w.shape}: expected one per jet")
    if not (np.isfinite(pixels).all() and np.isfinite(y).all() and np.isfinite(w).all()):
        raise InputError("images, scores and weights must be finite")
    used = w != 0
    if used.sum() < 2 or w.sum() <= 0:
        raise EmptySampleError(
            f"{int(used.sum())} jets have a weight, in all {w.sum():g}: a correlation needs two, and more than 0"
        )
    flat = pixels.reshape(len(y), -1)[used]
    y, share = y[used], w[used] / w.sum()
    flat, y = flat - flat[:1], y - y[0]  # exactly 0 for what is constant
    centred, apart = flat - share @ flat, y - share @ y
    # Negative weights may leave a variance below zero: nothing is known of such a pixel.
    spread = np.sqrt(np.maximum(share @ centred**2, 0.0) * max(float(share @ apart**2), 0.0))
    varies = np.any(flat != 0, axis=0) & bool(np.any(y != 0))
    together = (share * apart) @ centred
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(varies & (spread > 0), together / spread, np.nan)
    return np.clip(found, -1.0, 1.0).reshape(pixels.shape[1:])
