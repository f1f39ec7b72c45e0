"""What a model costs and how far it sees, as a whole and layer by layer."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hepcnn.models.base import JetTagger
from hepcnn.models.field import Field, trace_modules
from hepcnn.sparse.tensor import SparseTensor

# What FLOPs of sparse layers are counted at: the pixels of a typical jet, scattered around the axis.
NOMINAL_PIXELS = 50
NOMINAL_SPREAD = 0.15


@dataclass(frozen=True)
class Layer:
    """A row of `describe_layers`.

    Attributes
    ----------
    name, kind
        As in the state dict, and the class.
    shape
        Of the output for one jet, without the batch; None where it is sparse.
    parameters, flops
        Its own, without those of layers in it; two FLOPs per multiply-add, per jet.
    receptive_field, stride
        Pixels per axis that a cell of the output sees, and from cell to cell; None in the head. A receptive field of
        None along an axis is the whole image.
    """

    name: str
    kind: str
    shape: list[int] | None
    parameters: int
    flops: int
    receptive_field: list[int | None] | None
    stride: list[int] | None


def describe_model(model: JetTagger, grid: Sequence[int], in_channels: int) -> dict[str, Any]:
    """Count parameters and operations, and compute the receptive field.

    Parameters
    ----------
    model
        The model; it is left as it was.
    grid, in_channels
        The shape of the images.

    Returns
    -------
    dict
        ``parameters``; ``flops`` per jet and forward pass, two per multiply-add (sparse layers: at ``NOMINAL_PIXELS``
        active pixels); ``receptive_field`` of one cell of the last feature map, in pixels per axis, None along an axis
        of which it sees everything; ``stride``, the distance between such cells in pixels; ``input_format``.
    """
    with _Evaluating(model):
        counter, n_jets, _ = _count_flops(model, grid, in_channels)
        fields, last = _trace(model, grid, in_channels)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "flops": round(counter.get_total_flops() / n_jets),
        "receptive_field": _pixels(fields[""]),
        "stride": _strides(fields[""], grid, last.shape[1:]),
        "input_format": model.input_format,
    }


def describe_layers(model: JetTagger, grid: Sequence[int], in_channels: int) -> list[dict[str, Any]]:
    """Describe each layer that has parameters, does arithmetic that is counted, or changes the shape, in order.

    Parameters
    ----------
    model
        The model; it is left as it was.
    grid, in_channels
        The shape of the images.

    Returns
    -------
    list of dict
        The fields of `Layer`. Parameters and operations add up to those of `describe_model`, but for operations that no
        layer does.
    """
    with _Evaluating(model):
        counter, n_jets, shapes = _count_flops(model, grid, in_channels)
        fields, _ = _trace(model, grid, in_channels)
    modules = dict(model.named_modules())
    counts = _own_flops(counter, type(model).__name__)
    rows: list[Layer] = []
    before: list[int] | None = [in_channels, *grid]
    for name, shape in shapes.items():
        module = modules[name]
        parameters = sum(p.numel() for p in module.parameters(recurse=False))
        flops = round(counts.get(name, 0) / n_jets)
        leaf = not any(True for _ in module.children())
        if parameters or flops or (leaf and shape != before):
            field = fields.get(name)
            rows.append(
                Layer(
                    name,
                    type(module).__name__,
                    shape,
                    parameters,
                    flops,
                    None if field is None else _pixels(field),
                    None if field is None else _strides(field, grid, shape),
                )
            )
        before = shape if leaf else before
    return [asdict(row) for row in rows]


class _Evaluating:
    """Evaluation mode for a while."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.training = model, model.training

    def __enter__(self) -> None:
        self.model.eval()

    def __exit__(self, *_: object) -> None:
        self.model.train(self.training)


def _count_flops(
    model: JetTagger, grid: Sequence[int], in_channels: int
) -> tuple[FlopCounterMode, int, dict[str, list[int] | None]]:
    """Run typical images; also the shape of what each module gives, in the order in which they finish."""
    # Sparse backends may pad short matrices: over many jets the padding does not count.
    n_jets = 128 if model.input_format == "sparse" else 1
    like = next(model.parameters())
    images: Tensor | SparseTensor = nominal_images(n_jets, in_channels, grid).to(like)
    if isinstance(images, Tensor) and model.input_format == "sparse":
        images = SparseTensor.from_dense(images)
    jet_features = like.new_zeros(n_jets, model.n_jet_features) if model.n_jet_features else None
    shapes: dict[str, list[int] | None] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            del module, inputs
            if isinstance(output, SparseTensor):
                shapes[name] = [output.features.shape[1], *output.spatial_shape]
            elif isinstance(output, Tensor):
                shapes[name] = list(output.shape[1:])

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model(images, jet_features)
    for handle in handles:
        handle.remove()
    return counter, n_jets, shapes


def _trace(model: JetTagger, grid: Sequence[int], in_channels: int) -> tuple[dict[str, Field], Tensor]:
    return trace_modules(model, nominal_images(1, in_channels, grid).to(next(model.parameters())))


def _own_flops(counter: FlopCounterMode, root: str) -> dict[str, int]:
    """What each module counted itself, without the modules that it called."""
    counts = {key: sum(counted.values()) for key, counted in counter.get_flop_counts().items()}
    own = dict(counts)
    for key, count in counts.items():
        above = key.rpartition(".")[0]
        while above and above not in counts:
            above = above.rpartition(".")[0]
        if above:
            own[above] -= count
    return {key.removeprefix(f"{root}."): count for key, count in own.items()}


def _strides(field: Field, grid: Sequence[int], shape: Sequence[int] | None) -> list[int]:
    """Pixels from cell to cell; where that was lost on the way, what the sizes say."""
    sizes = list(shape)[1:] if shape is not None and len(shape) == 3 else [1, 1]
    return [sight.jump or -(-pixels // size) for sight, pixels, size in zip(field, grid, sizes, strict=True)]


def _pixels(field: Field) -> list[int | None]:
    return [int(sight.size) if math.isfinite(sight.size) else None for sight in field]


def nominal_images(n_jets: int, in_channels: int, grid: Sequence[int]) -> Tensor:
    """(n_jets, C, n_eta, n_phi) with up to `NOMINAL_PIXELS` active pixels each, the same for every call."""
    generator = torch.Generator().manual_seed(1)
    images = torch.zeros(n_jets, in_channels, *grid)
    jet = torch.arange(n_jets).unsqueeze(1)
    eta, phi = (
        (size / 2 + torch.randn(n_jets, NOMINAL_PIXELS, generator=generator) * NOMINAL_SPREAD * size)
        .long()
        .clamp(0, size - 1)
        for size in grid
    )
    images[jet, :, eta, phi] = 1.0
    return images
