"""What each operation of torch does to the sight of cells.

Every rule takes the first argument, all arguments, the result and what the traced arguments see, and says what the
result sees. `POINTWISE` operations see the union of what their arguments see; what is neither there nor in `RULES` may
mix all cells.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Sight:
    """What a cell sees along one axis: the dimension of the tensor that the axis is, and pixels."""

    dim: int | None
    low: float = 0.0
    high: float = 0.0
    jump: int = 1

    @property
    def size(self) -> float:
        """Pixels in view; infinite for the whole axis."""
        return self.high - self.low + 1

    def slide(self, kernel: int, stride: int, padding: int, dilation: int) -> "Sight":
        """What the cells see after a window has slid over them."""
        start = -padding * self.jump
        return replace(
            self,
            low=self.low + start,
            high=self.high + start + dilation * (kernel - 1) * self.jump,
            jump=self.jump * stride,
        )

    def shift(self, cells: int) -> "Sight":
        """What the cells see once as many cells stand before them."""
        return replace(self, low=self.low - cells * self.jump, high=self.high - cells * self.jump)

    def everything(self, dim: int | None, *, jump: int | None = None) -> "Sight":
        """Sight of the whole axis."""
        return replace(self, dim=dim, low=-math.inf, high=math.inf, jump=self.jump if jump is None else jump)


Field = tuple[Sight, ...]
"""One for each axis of the grid."""


def unite(fields: list[Field], result: Tensor) -> Field:
    """The union of what several tensors see; they are aligned at their last dimensions, as in broadcasting."""
    axes = []
    for sights in zip(*fields, strict=True):
        dims = [sight.dim for sight in sights if sight.dim is not None]
        known = [sight for sight in sights if math.isfinite(sight.size)]
        whole = len(known) < len(sights)
        first = known[0] if known else sights[0]
        dim = max(dims) if dims else None
        low, high = min(s.low for s in sights), max(s.high for s in sights)
        jumps = {sight.jump for sight in known}
        if whole or len(jumps) > 1 or (dim is not None and dim >= result.ndim):
            axes.append(replace(first, dim=dim, low=-math.inf, high=math.inf))
        else:
            axes.append(replace(first, dim=dim, low=low, high=high))
    return tuple(axes)


def lose(fields: list[Field], result: Tensor) -> Field:
    """An operation that is not known may mix all cells, and leave any distance between them."""
    field = unite(fields, result)
    keeps = result.ndim == len(field) + 2
    return tuple(sight.everything(axis + 2 if keeps else None, jump=0) for axis, sight in enumerate(field))


def _argument(args: Any, kwargs: dict[str, Any], place: int, name: str, default: Any) -> Any:
    value = args[place] if len(args) > place else kwargs.get(name, default)
    return default if value is None else value


def _spread(value: Any, dims: int) -> tuple[int, ...]:
    """One number for each of the last ``dims`` dimensions."""
    values = tuple(int(item) for item in value) if isinstance(value, Sequence) else (int(value),)
    return values * dims if len(values) == 1 else values


def _conv(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    del result
    weight = _argument(args, kwargs, 1, "weight", None)
    kernel, dims = tuple(weight.shape[2:]), weight.ndim - 2
    stride = _spread(_argument(args, kwargs, 3, "stride", 1), dims)
    dilation = _spread(_argument(args, kwargs, 5, "dilation", 1), dims)
    padding = _argument(args, kwargs, 4, "padding", 0)
    if isinstance(padding, str):
        padding = [d * (k - 1) // 2 if padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
    # An axis that has become the channels is summed over.
    channels = source.ndim - dims - 1
    field = tuple(s.everything(None, jump=0) if s.dim == channels else s for s in fields[0])
    return _slide(source, field, kernel, stride, _spread(padding, dims), dilation)


def _pool(dims: int, source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    del result
    kernel = _spread(_argument(args, kwargs, 1, "kernel_size", None), dims)
    stride = _argument(args, kwargs, 2, "stride", kernel)
    padding = _spread(_argument(args, kwargs, 3, "padding", 0), dims)
    stride = _spread(stride if stride != [] else kernel, dims)
    return _slide(source, fields[0], kernel, stride, padding, (1,) * dims)


def _max_pool(dims: int, source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    found = _pool(dims, source, args, kwargs, result, fields)
    dilation = _spread(_argument(args, kwargs, 4, "dilation", 1), dims)
    return found if max(dilation) == 1 else lose(fields, result)


def _slide(
    source: Any,
    field: Field,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Field:
    """What cells see after a window over the last dimensions of ``source``; an axis that is gone has none."""
    first, axes = source.ndim - len(kernel), []
    for sight in field:
        at = -1 if sight.dim is None else sight.dim - first
        axes.append(sight if at < 0 else sight.slide(kernel[at], stride[at], padding[at], dilation[at]))
    return tuple(axes)


def _pad(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    del source
    widths = list(_argument(args, kwargs, 1, "pad", []))
    axes = []
    for sight in fields[0]:
        place = None if sight.dim is None else 2 * (result.ndim - 1 - sight.dim)
        axes.append(sight if place is None or place >= len(widths) else sight.shift(widths[place]))
    return tuple(axes)


def _narrow(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    dim = int(_argument(args, kwargs, 1, "dim", 0)) % result.ndim
    start = int(_argument(args, kwargs, 2, "start", 0)) % source.shape[dim]
    return tuple(sight.shift(-start) if sight.dim == dim else sight for sight in fields[0])


def _cat(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    dim = int(_argument(args, kwargs, 1, "dim", 0)) % result.ndim
    if all(sight.dim != dim for sight in fields[0]):
        return unite(fields, result)
    # Along an axis of the image: circular padding, where the longest part is what the others continue.
    lengths = [part.shape[dim] for part in source]
    longest = lengths.index(max(lengths))
    field = source[longest].field
    before = sum(lengths[:longest])
    return tuple(sight.shift(before) if sight.dim == dim else sight for sight in field)


def _permute(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    order = _argument(args, kwargs, 1, "dims", None)
    order = list(order) if isinstance(order, Sequence) else list(args[1:])
    places = {dim % result.ndim: place for place, dim in enumerate(order)}
    del source
    return tuple(sight if sight.dim is None else replace(sight, dim=places[sight.dim]) for sight in fields[0])


def _reduce(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    dims = _argument(args, kwargs, 1, "dim", None)
    dims = kwargs.get("axis", dims)
    if dims is None:
        return lose(fields, result)
    gone = {int(dim) % source.ndim for dim in (dims if isinstance(dims, Sequence) else [dims])}
    kept = result.ndim == source.ndim
    axes = []
    for sight in fields[0]:
        if sight.dim is None or sight.dim in gone:
            axes.append(sight.everything(sight.dim if kept else None))
        else:
            axes.append(sight if kept else replace(sight, dim=sight.dim - sum(d < sight.dim for d in gone)))
    return tuple(axes)


def _softmax(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    dim = _argument(args, kwargs, 1, "dim", None)
    mixed = dim is None or int(dim) % source.ndim in {sight.dim for sight in fields[0]}
    return lose(fields, result) if mixed else fields[0]


def _layer_norm(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    over = len(_argument(args, kwargs, 1, "normalized_shape", ()))
    del result
    return _mix(fields[0], range(source.ndim - over, source.ndim))


def _batch_norm(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    del source
    training = bool(_argument(args, kwargs, 5, "training", False))
    return lose(fields, result) if training else fields[0]


def _dense(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    del args, kwargs, result
    return _mix(fields[0], (source.ndim - 1,))


def _mix(field: Field, dims: Sequence[int] | range) -> Field:
    """Along these dimensions of the tensor every cell may see all others."""
    return tuple(sight.everything(sight.dim, jump=0) if sight.dim in dims else sight for sight in field)


def _reshape(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    """A view that regroups channels, as a shuffle does, keeps the dimensions after them; an axis among them is lost."""
    del args, kwargs
    axes = []
    for sight in fields[0]:
        last = 0 if sight.dim is None else source.ndim - sight.dim
        if last and result.ndim > last and result.shape[-last:] == source.shape[-last:]:
            axes.append(replace(sight, dim=result.ndim - last))
        else:
            axes.append(sight.everything(None, jump=0))
    return tuple(axes)


def _split(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    dim = int(_argument(args, kwargs, 2, "dim", 0)) % source.ndim
    return lose(fields, result) if dim in {sight.dim for sight in fields[0]} else fields[0]


def _index(source: Any, args: Any, kwargs: dict[str, Any], result: Tensor, fields: list[Field]) -> Field:
    """Slices that leave the axes whole."""
    parts = args[1] if isinstance(args[1], tuple) else (args[1],)
    plain = all(part is None or part is Ellipsis or isinstance(part, slice | int) for part in parts)
    return _reshape(source, args, kwargs, result, fields) if plain else lose(fields, result)


RULES: dict[str, Callable[..., Field]] = {
    **{f"conv{dims}d": _conv for dims in (2, 3)},
    **{f"max_pool{dims}d": partial(_max_pool, dims) for dims in (2, 3)},
    **{f"avg_pool{dims}d": partial(_pool, dims) for dims in (2, 3)},
    "pad": _pad,
    "narrow": _narrow,
    "cat": _cat,
    "concat": _cat,
    "permute": _permute,
    "mean": _reduce,
    "sum": _reduce,
    "amax": _reduce,
    "any": _reduce,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "linear": _dense,
    "reshape": _reshape,
    "view": _reshape,
    "flatten": _reshape,
    "split": _split,
    "chunk": _split,
    "__getitem__": _index,
    "unsqueeze": _reshape,
}
CREATES = {"new_ones", "new_zeros", "new_full", "new_empty", "new_tensor", "zeros_like", "ones_like", "full_like"}
POINTWISE = {
    *("relu", "relu_", "relu6", "gelu", "silu", "silu_", "mish", "elu", "leaky_relu", "leaky_relu_", "selu", "celu"),
    *("prelu", "softplus", "sigmoid", "sigmoid_", "tanh", "tanh_", "hardtanh", "hardtanh_", "hardswish", "hardsigmoid"),
    *("dropout", "dropout_", "add", "add_", "sub", "sub_", "mul", "mul_", "div", "div_", "neg", "abs", "square"),
    *("sqrt", "rsqrt", "pow", "exp", "log", "reciprocal", "clamp", "clamp_", "clamp_min", "clamp_max", "minimum"),
    *("maximum", "where", "ne", "gt", "ge", "lt", "le", "eq", "to", "type", "float", "double", "half", "bfloat16"),
    *("clone", "contiguous", "detach", "__add__", "__radd__", "__iadd__", "__sub__", "__rsub__", "__mul__", "__rmul__"),
    *("__imul__", "__truediv__", "__ne__", "__gt__", "__ge__", "__lt__", "__pow__", "nan_to_num", "type_as"),
    *("addcmul", "addcdiv", "lerp", "true_divide", "rsub"),
}
