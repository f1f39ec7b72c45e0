"""What a score loses when a patch of the image is emptied: no gradient, only the network's own answer."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from hepcnn.errors import InputError
from hepcnn.explain.scoring import Score, batches, cut


@torch.no_grad()
def make_occlusion(
    score: Score,
    images: Tensor,
    jet_features: Tensor | None = None,
    *,
    size: int | Sequence[int] = 4,
    stride: int | Sequence[int] | None = None,
) -> Tensor:
    """Empty one patch after the other, and map the drop of the score.

    Parameters
    ----------
    score
        Of a model in evaluation mode.
    images, jet_features
        (N, C, and the axes of the grid) and (N, F), as the model gets them.
    size
        Pixels along each side of a patch, a number or one per axis; those at the far edges are cut by the grid.
    stride
        Pixels between patches, likewise; by default they lie side by side.

    Returns
    -------
    Tensor
        (N, and the axes of the grid): at each pixel the mean over the patches that cover it of score minus score
        without the patch; positive where the patch spoke for the signal, 0 where it was empty anyway.

    Raises
    ------
    InputError
        When size or stride do not cover the grid.

    Notes
    -----
    Zeiler and Fergus, arXiv:1311.2901, with empty pixels for the grey square. Jet-level inputs stay as they are: only
    what the image adds is seen.
    """
    axes = images.ndim - 2
    sizes = (size,) * axes if isinstance(size, int) else tuple(size)
    steps = sizes if stride is None else (stride,) * axes if isinstance(stride, int) else tuple(stride)
    if (
        len(sizes) != axes
        or len(steps) != axes
        or not all(1 <= step <= s for s, step in zip(sizes, steps, strict=True))
    ):
        raise InputError(
            f"patches of {size} pixels, {stride or size} apart: expected 1 <= stride <= size, to cover all"
        )
    before = torch.cat([images.new_zeros(0), *(score(images[p], cut(jet_features, p)) for p in batches(len(images)))])
    drop = images.new_zeros(len(images), *images.shape[2:])
    covered = images.new_zeros(images.shape[2:])
    corners = (range(0, length, step) for length, step in zip(images.shape[2:], steps, strict=True))
    for corner in itertools.product(*corners):
        patch = tuple(slice(start, start + side) for start, side in zip(corner, sizes, strict=True))
        covered[patch] += 1
        # A jet that has nothing there would score as before.
        touched = (images[(slice(None), slice(None), *patch)] != 0).flatten(1).any(dim=1).nonzero()[:, 0]
        for part in batches(len(touched)):
            jets = touched[part]
            emptied = images[jets]
            emptied[(slice(None), slice(None), *patch)] = 0
            after = score(emptied, None if jet_features is None else jet_features[jets])
            place: tuple[Any, ...] = (jets, *patch)
            drop[place] += (before[jets] - after).view(-1, *(1,) * axes)
    return drop / covered
