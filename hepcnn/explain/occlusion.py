"""What a score loses when a patch of the image is emptied: no gradient, only the network's own answer."""

import itertools

import torch
from torch import Tensor

from hepcnn.errors import InputError
from hepcnn.explain.scoring import Score, batches, cut


@torch.no_grad()
def make_occlusion(
    score: Score, images: Tensor, jet_features: Tensor | None = None, *, size: int = 4, stride: int | None = None
) -> Tensor:
    """Empty one patch after the other, and map the drop of the score.

    Parameters
    ----------
    score
        Of a model in evaluation mode.
    images, jet_features
        (N, C, n_eta, n_phi) and (N, F), as the model gets them.
    size
        Pixels along each side of a patch; those at the far edges are cut by the grid.
    stride
        Pixels between patches; by default they lie side by side.

    Returns
    -------
    Tensor
        (N, n_eta, n_phi): at each pixel the mean over the patches that cover it of score minus score without the patch;
        positive where the patch spoke for the signal, 0 where it was empty anyway.

    Raises
    ------
    InputError
        When size or stride do not cover the grid.

    Notes
    -----
    Zeiler and Fergus, arXiv:1311.2901, with empty pixels for the grey square. Jet-level inputs stay as they are: only
    what the image adds is seen.
    """
    step = size if stride is None else stride
    if size < 1 or not 1 <= step <= size:
        raise InputError(f"patches of {size} pixels, {step} apart: expected 1 <= stride <= size, to cover all")
    before = torch.cat([images.new_zeros(0), *(score(images[p], cut(jet_features, p)) for p in batches(len(images)))])
    drop = images.new_zeros(len(images), *images.shape[2:])
    covered = images.new_zeros(images.shape[2:])
    corners = (range(0, length, step) for length in images.shape[2:])
    for row, column in itertools.product(*corners):
        patch = (slice(row, row + size), slice(column, column + size))
        covered[patch] += 1
        # A jet that has nothing there would score as before.
        touched = (images[(slice(None), slice(None), *patch)] != 0).flatten(1).any(dim=1).nonzero()[:, 0]
        for part in batches(len(touched)):
            jets = touched[part]
            emptied = images[jets]
            emptied[(slice(None), slice(None), *patch)] = 0
            after = score(emptied, None if jet_features is None else jet_features[jets])
            drop[(jets, *patch)] += (before[jets] - after).view(-1, 1, 1)
    return drop / covered
