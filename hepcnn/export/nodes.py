"""ONNX graphs written like NumPy: values with operators, which become nodes.

Only operators are used that ONNX Runtime 1.17 has for float64 on CPUs. It has no cosine and no hyperbolic function
there, and no two-argument arctangent at all: `cosine`, `sinh` and `arctan2` make them of what there is, right to some
1e-16 of what goes in.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

PREFIX = "hepcnn/"
Operand = Any
"""A `Value`, a number, or an array that becomes a constant."""


class Nodes:
    """The nodes and constants of a graph that is being written."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.inputs: list[ValueInfoProto] = []
        self._constants: dict[tuple[Any, ...], TensorProto] = {}

    def input(self, name: str, shape: Sequence[int | str], *, kind: int = TensorProto.FLOAT) -> "Value":
        """An input of the graph; axes of any length have names."""
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return Value(self, name)

    def constant(self, array: NDArray[Any] | float) -> "Value":
        """A constant; a plain number is a float64. One that was there before is used again."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"{PREFIX}constant_{len(self._constants)}")
        return Value(self, self._constants[key].name)

    def add(self, operator: str, *inputs: Operand, outputs: int = 1, **attributes: Any) -> list["Value"]:
        """A node with several outputs."""
        names = [self.lift(item).name for item in inputs]
        made = [f"{PREFIX}{len(self.nodes)}_{operator}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(operator, names, made, **attributes))
        return [Value(self, name) for name in made]

    def lift(self, item: Operand) -> "Value":
        """A value as it is, anything else as a constant."""
        return item if isinstance(item, Value) else self.constant(item)

    def name(self, value: "Value", name: str) -> "Value":
        """Give a value a name of its own, by which it is found outside."""
        self.nodes.append(helper.make_node("Identity", [value.name], [name]))
        return Value(self, name)

    def close(self, name: str, outputs: Sequence[ValueInfoProto]) -> GraphProto:
        """The graph."""
        return helper.make_graph(self.nodes, name, self.inputs, list(outputs), list(self._constants.values()))


class Value:
    """One array of a graph. Operators work elementwise, as NumPy's do."""

    def __init__(self, nodes: Nodes, name: str) -> None:
        self.nodes, self.name = nodes, name

    def apply(self, operator: str, *others: Operand, **attributes: Any) -> "Value":
        """A node of one output whose first input is this value."""
        return self.nodes.add(operator, self, *others, **attributes)[0]

    def __add__(self, other: Operand) -> "Value":
        return self.apply("Add", other)

    def __sub__(self, other: Operand) -> "Value":
        return self.apply("Sub", other)

    def __rsub__(self, other: Operand) -> "Value":
        return self.nodes.lift(other) - self

    def __mul__(self, other: Operand) -> "Value":
        return self.apply("Mul", other)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Operand) -> "Value":
        return self.apply("Div", other)

    def __rtruediv__(self, other: Operand) -> "Value":
        return self.nodes.lift(other) / self

    def __neg__(self) -> "Value":
        return self.apply("Neg")

    def __gt__(self, other: Operand) -> "Value":
        return self.apply("Greater", other)

    def __lt__(self, other: Operand) -> "Value":
        return self.apply("Less", other)

    def __ge__(self, other: Operand) -> "Value":
        return self.apply("GreaterOrEqual", other)

    def __le__(self, other: Operand) -> "Value":
        return self.apply("LessOrEqual", other)

    def __and__(self, other: "Value") -> "Value":
        return self.apply("And", other)

    def __or__(self, other: "Value") -> "Value":
        return self.apply("Or", other)

    def __invert__(self) -> "Value":
        return self.apply("Not")

    def where(self, yes: Operand, no: Operand) -> "Value":
        """One or the other, by this condition."""
        return self.apply("Where", yes, no)

    def cast(self, kind: int) -> "Value":
        """In another type, a constant of `onnx.TensorProto`."""
        return self.apply("Cast", to=kind)

    def double(self) -> "Value":
        """As float64; conditions become 0 and 1."""
        return self.cast(TensorProto.DOUBLE)

    def sum(self) -> "Value":
        """The sum over the last axis, which stays with a length of 1."""
        return self.apply("ReduceSum", np.array([-1]), keepdims=1)

    def sqrt(self) -> "Value":
        """Square root."""
        return self.apply("Sqrt")

    def floor(self) -> "Value":
        """The largest whole number that is not larger."""
        return self.apply("Floor")

    def reshape(self, *shape: int) -> "Value":
        """In another shape; 0 keeps the axis of this place, -1 is what remains."""
        return self.apply("Reshape", np.array(shape, dtype=np.int64))


def concatenate(values: Sequence[Value], *, axis: int) -> Value:
    """One after the other along an axis."""
    return values[0] if len(values) == 1 else values[0].apply("Concat", *values[1:], axis=axis)


def cosine(angle: Value) -> Value:
    """The cosine, by way of the sine."""
    return (angle + math.pi / 2).apply("Sin")


def sinh(x: Value) -> Value:
    """Hyperbolic sine; near zero right to 1e-16, not to 1e-16 of itself."""
    grown = x.apply("Exp")
    return 0.5 * (grown - 1.0 / grown)


def arcsinh(x: Value) -> Value:
    """Its inverse."""
    size = x.apply("Abs")
    return (size + (size * size + 1.0).sqrt()).apply("Log") * (x < 0.0).where(-1.0, 1.0)


def arctan2(y: Value, x: Value) -> Value:
    """The angle of a vector, in [-pi, pi]; NaN of none.

    ONNX Runtime has the arctangent in float32. One step of Newton's takes its error of 1e-7 to the third power.
    """
    radius, beside = (x * x + y * y).sqrt(), x.apply("Abs")
    rough = 2.0 * (y / (radius + beside)).cast(TensorProto.FLOAT).apply("Atan").double()
    # From the vector with positive x: no angle there is near pi.
    angle = rough + (y * cosine(rough) - beside * rough.apply("Sin")) / radius
    return (x >= 0.0).where(angle, (y >= 0.0).where(math.pi, -math.pi) - angle)


def value_info(name: str, shape: Sequence[int | str], *, kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    """What a graph says of an input or an output."""
    return helper.make_tensor_value_info(name, kind, shape)


def set_metadata(model: ModelProto, values: Mapping[str, str]) -> None:
    """Replace the texts that a model carries."""
    helper.set_model_props(model, dict(values))
