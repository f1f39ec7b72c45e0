"""Gradients of a score: which pixels would change it, and which feature maps carried it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hepcnn.errors import InputError
from hepcnn.explain.scoring import Score, batches, cut


def gradient_of(score: Score, images: Tensor, jet_features: Tensor | None = None) -> Tensor:
    """Derivative of each jet's score by its pixels, (N, C, and the axes of the grid)."""
    found = [torch.zeros_like(images[:0])]
    for part in batches(len(images)):
        pixels = images[part].detach().clone().requires_grad_()
        total = score(pixels, cut(jet_features, part)).sum()
        # Jets do not know each other in evaluation mode, so the gradient of the sum is that of each.
        found.append(torch.autograd.grad(total, pixels)[0])
    return torch.cat(found)


def make_saliency(
    score: Score,
    images: Tensor,
    jet_features: Tensor | None = None,
    *,
    n_smooth: int = 0,
    noise: float = 0.1,
    seed: int = 0,
) -> Tensor:
    """Gradient times input: to first order, what each pixel adds to the score.

    Parameters
    ----------
    score
        Of a model in evaluation mode.
    images, jet_features
        (N, C, and the axes of the grid) and (N, F), as the model gets them.
    n_smooth
        Average the gradient over so many noisy copies of each image; 0 takes that of the image itself.
    noise
        Standard deviation of the noise, in units of the brightest pixel of the image.
    seed
        Of the noise.

    Returns
    -------
    Tensor
        (N, C, and the axes of the grid); 0 at empty pixels, whatever their gradient.

    Raises
    ------
    InputError
        For a negative number of copies or noise.

    Notes
    -----
    Shrikumar et al., arXiv:1605.01713; averaged over noise it is SmoothGrad (arXiv:1706.03825). Noise is put on active
    pixels only: elsewhere it would make a sparse image dense, which no network has seen.
    """
    if n_smooth < 0 or noise < 0:
        raise InputError(f"n_smooth = {n_smooth} and noise = {noise}: expected numbers that are not negative")
    if n_smooth == 0:
        return gradient_of(score, images, jet_features) * images
    random = torch.Generator().manual_seed(seed)
    width = noise * images.abs().flatten(1).amax(dim=1).view(-1, *(1,) * (images.ndim - 1)) * (images != 0)
    total = torch.zeros_like(images)
    for _ in range(n_smooth):
        noisy = images + width * torch.randn(images.shape, generator=random)
        total += gradient_of(score, noisy, jet_features)
    return total / n_smooth * images


def make_grad_cam(
    maps: Callable[[Tensor], Tensor], score_of_maps: Score, images: Tensor, jet_features: Tensor | None = None
) -> Tensor:
    """Grad-CAM: where the feature maps are that raise the score.

    Parameters
    ----------
    maps
        From images to feature maps (N, D, and their axes).
    score_of_maps
        From feature maps and jet-level inputs to scores (N,).
    images, jet_features
        (N, C, and the axes of the grid) and (N, F), as the model gets them.

    Returns
    -------
    Tensor
        (N, and the axes of the grid), not negative: each map weighted with the mean of its gradient, summed, negative
        sums set to 0, stretched to the image. Maps without the first axis, of networks that take layers as channels,
        are the same in all layers.

    Notes
    -----
    Selvaraju et al., arXiv:1610.02391. The stretching is linear, so that the map is no sharper than the last maps.
    """
    found = [images.new_zeros(0, *images.shape[2:])]
    for part in batches(len(images)):
        with torch.no_grad():
            activation = maps(images[part])
        activation = activation.detach().requires_grad_()
        total = score_of_maps(activation, cut(jet_features, part)).sum()
        (gradient,) = torch.autograd.grad(total, activation)
        axes = tuple(range(2, gradient.ndim))
        weight = gradient.mean(dim=axes, keepdim=True)
        summed = (weight * activation.detach()).sum(dim=1, keepdim=True).relu()
        size, mode = images.shape[-len(axes) :], "trilinear" if len(axes) == 3 else "bilinear"
        stretched = nn.functional.interpolate(summed, size=size, mode=mode, align_corners=False)[:, 0]
        if len(axes) < images.ndim - 2:
            stretched = stretched.unsqueeze(1).expand(-1, *images.shape[2:])
        found.append(stretched)
    return torch.cat(found)
