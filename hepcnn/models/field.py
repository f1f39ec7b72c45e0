"""How far the cells of a network see, followed through the operations that it does.

A tensor of the class `Traced` carries, for each axis of the image, which pixels its cells see: cell i those from
i * jump + low to i * jump + high, where a jump of 0 is not known. A window of k cells, d apart, widens that by
d (k - 1) jumps, and its stride multiplies the jump (doi:10.23915/distill.00021). Where branches meet, the union counts;
where a mean over the image comes in, as in squeeze-and-excitation or attention, a cell sees the whole image.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from hepcnn.models.sight import CREATES, POINTWISE, RULES, Field, Sight, lose, unite


class Traced(Tensor):
    """A tensor that knows what its cells see."""

    field: Field

    @classmethod
    def start(cls, images: Tensor) -> "Traced":
        """Images (N, C, and the axes of the grid), whose pixels see themselves."""
        traced = images.as_subclass(cls)
        traced.field = tuple(Sight(dim) for dim in range(2, images.ndim))
        return traced

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do the operation, and follow what its result sees."""
        del types
        kwargs = dict(kwargs or {})
        fields: list[Field] = []
        plain = _unwrap(args, fields), {key: _unwrap(value, fields) for key, value in kwargs.items()}
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*plain[0], **plain[1])
        name = getattr(func, "__name__", "")
        if not fields or name in CREATES:
            return result
        if isinstance(result, tuple | list):
            return type(result)(_follow(name, item, args, kwargs, fields) for item in result)
        return _follow(name, result, args, kwargs, fields)


def _unwrap(value: Any, fields: list[Field]) -> Any:
    """Arguments as plain tensors; what the traced ones among them see is collected."""
    if isinstance(value, Traced):
        if hasattr(value, "field"):
            fields.append(value.field)
        return value.as_subclass(Tensor)
    if isinstance(value, tuple | list):
        return type(value)(_unwrap(item, fields) for item in value)
    return value


def _follow(name: str, result: Any, args: Any, kwargs: dict[str, Any], fields: list[Field]) -> Any:
    if not isinstance(result, Tensor):
        return result
    traced = result.as_subclass(Traced)
    rule = RULES.get(name)
    if rule is not None:
        found = rule(args[0], args, kwargs, result, fields)
    elif name in POINTWISE:
        found = unite(fields, result)
    else:
        found = lose(fields, result)
    traced.field = found
    if isinstance(args[0], Traced) and (name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))):
        args[0].field = found
    return traced


def trace_modules(
    model: nn.Module, images: Tensor, run: Callable[[Tensor], Tensor] | None = None
) -> tuple[dict[str, Field], Tensor]:
    """Run traced images through a model, and return what the output of each module sees, and the last map.

    Parameters
    ----------
    model
        In evaluation mode.
    images
        (N, C, and the axes of the grid).
    run
        What maps the images to the last map; by default ``model.features``.

    Returns
    -------
    dict, Tensor
        A `Field` for each module that ran; of one that ran twice, the later. "" stands for the last map.
    """
    seen: dict[str, Field] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            del module, inputs
            leaves = [output] if isinstance(output, Tensor) else [*tree_leaves(output), getattr(output, "values", None)]
            for leaf in leaves:
                if isinstance(leaf, Traced):
                    seen[name] = leaf.field
                    return

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            last: Any = (run or model.features)(Traced.start(images))  # type: ignore[operator]
    finally:
        for handle in handles:
            handle.remove()
    seen[""] = last.field
    return seen, last.as_subclass(Tensor)
