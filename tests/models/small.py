"""Every registered network in a size that a test affords: with few channels, where it has the option."""

import torch

from hepcnn.models import create_model, list_models
from hepcnn.models.registry import count_axes

PLANES = list_models(2)
VOLUMES = [*list_models(3), "layers/resnet"]
MODELS = PLANES + VOLUMES
GRID = (24, 24)
GRIDS = {2: GRID, 3: (12, 8, 6)}
ODD_GRIDS = {2: [(37, 37), (33, 40), (45, 16)], 3: [(45, 16, 9), (13, 7, 5), (28, 1, 1)]}
RESIDUAL = {"widths": (4, 4, 8, 8)}
SMALL = {
    "alexnet": {"widths": (4, 6, 8, 8, 8), "hidden": (16, 16)},
    "cnn": {"stem": 4, "widths": (6, 8), "depth": 1},
    "cnn3d": {"stem": 4, "widths": (6, 8), "depth": 1},
    "convnext_atto": {"widths": (4, 4, 8, 8)},
    "convnext_nano": {"widths": (4, 4, 8, 8)},
    "convnext_tiny": {"widths": (4, 4, 8, 8)},
    "deeptop": {"widths": (4, 6, 6, 8), "hidden": (16, 16)},
    "deeptop_minimal": {"widths": (4, 6, 6, 8), "hidden": (16, 16)},
    "inception_v3": {"width": 0.125},
    "landscape_cnn": {"widths": (4, 6, 6, 8), "hidden": (16, 16)},
    "landscape_resnext": {"stem_width": 8},
    "lenet5": {"widths": (4, 6), "hidden": (16,)},
    "mobilenet_v2": {"width": 0.1},
    "layers/resnet": {"widths": (4, 6, 8)},
    "resnet": {"widths": (4, 6, 8)},
    "resnet3d": {"widths": (4, 6, 8)},
    "resnext50": {"widths": (16, 16, 16, 16), "groups": 4},
    "sparse": {"sparse_widths": (4, 6), "widths": (6, 8, 8)},
    **{f"resnet{depth}": RESIDUAL for depth in (18, 34, 50, 101, 152)},
    **{f"sparse_resnet{size}": {"widths": (4, 6, 8, 8)} for size in ("", "_small", "_large", "3d")},
    **{f"vgg{depth}": {"widths": (4, 4, 8, 8, 8)} for depth in (11, 13, 16, 19)},
}


def grid_of(name):
    """A small grid of the axes that a network takes."""
    return GRIDS[count_axes(name)]


def make_images(n, channels=3, grid=GRID, seed=0, dtype=torch.float32):
    """Sparse, non-negative, heavy-tailed images; the last one is empty."""
    generator = torch.Generator().manual_seed(seed)
    active = torch.rand(n, 1, *grid, generator=generator) < 0.04
    images = torch.rand(n, channels, *grid, generator=generator).exp().sub(1) * active
    images[-1] = 0
    return images.to(dtype)


def build(name, grid=None, n_jet_features=0, in_channels=3, periodic=None, **options):
    torch.manual_seed(1)
    return create_model(
        name,
        in_channels=in_channels,
        n_classes=2,
        grid=grid or grid_of(name),
        n_jet_features=n_jet_features,
        periodic=periodic,
        **{**SMALL.get(name, {}), **options},
    )


def is_dense(model):
    return model.input_format == "dense"
