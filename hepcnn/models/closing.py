"""Whether a network closes the axes that it was told to: what is rolled has to come out rolled."""

import copy

import torch
from torch import nn

from hepcnn.errors import ConfigError
from hepcnn.models.base import JetTagger
from hepcnn.models.field import trace_modules
from hepcnn.models.shape import ImageShape

TOLERANCE = 1e-8
LEAST_CELLS = 2


def check_closed(model: JetTagger, name: str, shape: ImageShape) -> None:
    """Compare the maps of an image and of the rolled image, in float64, with weights that shut no branch.

    `hepcnn.models.periodic.close_axes` replaces layers; this finds what is no layer, and models that do not close at
    all. The images are a multiple of the network's stride wide, so the answer does not hang on the grid.

    Raises
    ------
    ConfigError
        When a roll along a periodic axis by the network's stride changes more than the place of the features.
    """
    trial = copy.deepcopy(model).double().eval()
    generator = torch.Generator().manual_seed(1)
    _draw_weights(trial, generator)
    fields, _ = trace_modules(trial, _images(trial, shape.grid, generator))
    # An operation that is not known leaves a jump of 0: any step will then show that cells see where they are.
    strides = [sight.jump or 1 for sight in fields[""]]
    grid = tuple(
        stride * max(LEAST_CELLS, -(-size // stride)) if wrap else size
        for size, stride, wrap in zip(shape.grid, strides, shape.periodic, strict=True)
    )
    images = _images(trial, grid, generator)
    try:
        with torch.no_grad():
            expected = trial.features(images)
            scale = expected.abs().max()
            if not 0 < scale < float("inf"):
                raise ConfigError(f"the model '{name}' gives no features to tell by whether its axes close")
            for axis, (stride, wrap) in enumerate(zip(strides, shape.periodic, strict=True)):
                if not wrap:
                    continue
                rolled, place = trial.features(images.roll(stride, dims=2 + axis)), fields[""][axis].dim
                if (
                    place is None
                    or expected.shape[place] * stride != grid[axis]
                    or not (rolled - expected.roll(1, dims=place)).abs().max() <= TOLERANCE * scale
                ):
                    raise ConfigError(
                        f"the model '{name}' cannot close the axes {shape.periodic}: rolling an image of {grid} pixels "
                        f"by {stride} along axis {axis} does not just roll its features"
                    )
    except RuntimeError as error:
        raise ConfigError(f"the model '{name}' cannot close the axes {shape.periodic}: {error}") from error


def _images(model: JetTagger, grid: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.rand(1, model.in_channels, *grid, generator=generator, dtype=torch.float64)


def _draw_weights(model: nn.Module, generator: torch.Generator) -> None:
    """Weights of a size that lets every branch be seen: scales may start at or near zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                fresh = torch.rand(parameter.shape, generator=generator, dtype=parameter.dtype) + 0.5
            else:
                fresh = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                fresh *= (2 / max(parameter[0].numel(), 1)) ** 0.5
            parameter.copy_(fresh)
