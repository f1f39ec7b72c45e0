"""What a model costs and how far it sees, as a whole and layer by layer."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

import hepcnn.sparse.backends.reference  # noqa: F401 (its operations)
from hepcnn.models.base import JetTagger
from hepcnn.models.field import trace_modules
from hepcnn.models.registry import create_model
from hepcnn.models.sight import Field
from hepcnn.sparse.layout import PairLayout
from hepcnn.sparse.tensor import SparseTensor

# What FLOPs of sparse layers are counted at, by the number of axes: the pixels of a typical jet and the voxels of a
# typical shower, scattered around the middle.
NOMINAL_PIXELS = {2: 50, 3: 600}
NOMINAL_SPREAD = 0.15
LAYOUT_OF_PAIRS = [field.name for field in dataclasses.fields(PairLayout)].index("bags")


@dataclass(frozen=True)
class Layer:
    """A row of `describe_layers`.

    Attributes
    ----------
    name, kind
        As in the state dict, and the class.
    shape
        Of the output for one jet, without the batch.
    parameters, flops
        Its own, without those of layers in it; two FLOPs per multiply-add, per jet.
    receptive_field, stride
        Pixels per axis that a cell of the output sees, and from cell to cell; None in the head. A receptive field of
        None along an axis is the whole image.
    """

    name: str
    kind: str
    shape: list[int]
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
    seen = _observe(model, grid, in_channels)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "flops": round(seen.counter.get_total_flops() / seen.n_jets),
        "receptive_field": _pixels(seen.fields[""]),
        "stride": _strides(seen.fields[""], grid, list(seen.last.shape[1:])),
        "input_format": model.input_format,
    }


def sketch_model(name: str, **arguments: Any) -> JetTagger:
    """A model to be described: its weights are not drawn, which takes most of the time.

    Parameters
    ----------
    name, arguments
        As of `hepcnn.models.create_model`.
    """
    with _NoDraws():
        return create_model(name, **arguments)


class _NoDraws(TorchFunctionMode):
    """Leaves tensors as they are that were to be filled with random numbers."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_", "kaiming_normal_"):
            return (args[0] if args else kwargs["tensor"]).detach().zero_()
        return func(*args, **kwargs)


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
    seen = _observe(model, grid, in_channels)
    modules, counts = dict(model.named_modules()), _own_flops(seen.counter, type(model).__name__)
    rows: list[Layer] = []
    before = [in_channels, *grid]
    for name, shape in seen.shapes.items():
        module = modules[name]
        field = None if name.startswith("head") else seen.fields.get(name)
        parameters = sum(p.numel() for p in module.parameters(recurse=False))
        flops = round(counts.get(name, 0) / seen.n_jets)
        leaf = not any(True for _ in module.children())
        if parameters or flops or (leaf and shape != before):
            sees = None if field is None else _pixels(field)
            steps = None if field is None else _strides(field, grid, shape)
            rows.append(Layer(name, type(module).__name__, shape, parameters, flops, sees, steps))
        before = shape if leaf else before
    return [asdict(row) for row in rows]


@dataclass
class _Observed:
    """What one pass through a model showed: FLOPs, for how many jets, shapes and fields by module, and the last map."""

    counter: FlopCounterMode
    n_jets: int
    shapes: dict[str, list[int]]
    fields: dict[str, Field]
    last: Tensor


def _observe(model: JetTagger, grid: Sequence[int], in_channels: int) -> _Observed:
    """Run typical images through a model, which is left as it was."""
    sparse, training = model.input_format == "sparse", model.training
    # Sparse backends may pad short matrices: over many jets the padding does not count.
    n_jets = 128 if sparse else 1
    like = next(model.parameters())
    images = nominal_images(n_jets, in_channels, grid).to(like)
    jet_features = like.new_zeros(n_jets, model.n_jet_features) if model.n_jet_features else None
    shapes: dict[str, list[int]] = {}
    maps: list[Any] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            del module
            if name == "head":
                maps.append(inputs[0])
            if isinstance(output, SparseTensor):
                shapes[name] = [output.features.shape[1], *output.spatial_shape]
            elif isinstance(output, Tensor):
                shapes[name] = list(output.shape[1:])

        return hook

    def run(entry: Tensor | SparseTensor) -> Tensor:
        with torch.no_grad(), counter:
            model(entry, jet_features)
        return maps[0]  # type: ignore[no-any-return]

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.hepcnn.convolve_pairs: _count_pairs})
    model.eval()
    try:
        if sparse:
            run(SparseTensor.from_dense(images))
        fields, last = trace_modules(model, images[:1], model.features if sparse else run)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return _Observed(counter, n_jets, shapes, fields, last)


def _count_pairs(
    features: Sequence[int], weight: Sequence[int], n_out: int, centre: int, layout: Sequence[Any], **_: Any
) -> int:
    """FLOPs of a sparse convolution, whose operation torch cannot look into: two per pair of sites, and channels."""
    del features
    n_pairs = layout[LAYOUT_OF_PAIRS][0] + (n_out if centre >= 0 else 0)
    return int(2 * n_pairs * weight[1] * weight[2])


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


def _strides(field: Field, grid: Sequence[int], shape: list[int]) -> list[int]:
    """Pixels from cell to cell; where that was lost on the way, what the sizes say."""
    sizes = [1 if sight.dim is None or sight.dim > len(shape) else shape[sight.dim - 1] for sight in field]
    return [sight.jump or -(-pixels // size) for sight, pixels, size in zip(field, grid, sizes, strict=True)]


def _pixels(field: Field) -> list[int | None]:
    return [int(sight.size) if math.isfinite(sight.size) else None for sight in field]


def nominal_images(n_jets: int, in_channels: int, grid: Sequence[int]) -> Tensor:
    """(n_jets, C, and the axes of the grid) with up to `NOMINAL_PIXELS` active pixels each, the same for every call."""
    generator = torch.Generator().manual_seed(1)
    images = torch.zeros(n_jets, in_channels, *grid)
    jet, n_pixels = torch.arange(n_jets).unsqueeze(1), NOMINAL_PIXELS[len(grid)]
    places = [
        (size / 2 + torch.randn(n_jets, n_pixels, generator=generator) * NOMINAL_SPREAD * size)
        .long()
        .clamp(0, size - 1)
        for size in grid
    ]
    images.movedim(1, -1)[(jet, *places)] = 1.0
    return images
