"""An encoder's operations as nodes of an ONNX graph, from images [n, h, w, 3] to the means of its layers' maps."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common.encoders import Encoder
from common.encoders.encoder_graph import (
    IMAGES,
    Activation,
    AnyOperation,
    Combination,
    Convolution,
    GlobalMean,
    Pad,
    Padding,
    Pool,
    Scale,
)


class GraphBuilder(Protocol):
    """Where nodes and constants are added."""

    def node(self, kind: str, inputs: Sequence[str], out: str = "", **attributes: Any) -> str:
        """Add an operation; the name of its output."""
        ...

    def constant(self, value: NDArray[Any]) -> str:
        """Add an array; its name."""
        ...


def add_encoder(build: GraphBuilder, x: str, encoder: Encoder, layers: Sequence[str]) -> str:
    """The encoder's nodes; the name of their result, float32[n, d]."""
    results = {IMAGES: build.node("Transpose", [x], perm=[0, 3, 1, 2])}
    for operation in encoder.graph.needed_for(layers):
        inputs = [results[name] for name in operation.inputs]
        results[operation.name] = _add(build, operation, inputs, encoder)
    means = [build.node("GlobalAveragePool", [results[layer]]) for layer in layers]
    return build.node("Flatten", [build.node("Concat", means, axis=1)], axis=1)


def _add(build: GraphBuilder, operation: AnyOperation, inputs: list[str], encoder: Encoder) -> str:
    x, arrays = inputs[0], encoder.arrays
    if isinstance(operation, Convolution):
        kernel = arrays[f"{operation.name}/kernel"]
        parts = [x, build.constant(kernel.transpose(3, 2, 0, 1))]
        if (bias := arrays.get(f"{operation.name}/bias")) is not None:
            parts.append(build.constant(bias))
        settings: dict[str, Any] = {"strides": list(operation.strides), "dilations": list(operation.dilation)}
        padding = operation.padding
        if padding == "same" and operation.dilation != (1, 1):  # ONNX Runtime pads by itself where nothing is spread
            reach = [dilation * (side - 1) for dilation, side in zip(operation.dilation, kernel.shape[:2], strict=True)]
            padding = (reach[0] // 2, reach[0] - reach[0] // 2, reach[1] // 2, reach[1] - reach[1] // 2)
        return build.node("Conv", parts, group=operation.groups, **settings, **_padding(padding))
    if isinstance(operation, Scale):
        scaled = build.node("Mul", [x, build.constant(arrays[f"{operation.name}/scale"][:, None, None])])
        return build.node("Add", [scaled, build.constant(arrays[f"{operation.name}/offset"][:, None, None])])
    if isinstance(operation, Activation):
        return _FUNCTIONS[operation.function](build, x)
    if isinstance(operation, Combination):
        return _combined(build, operation, inputs)
    if isinstance(operation, Pool):
        kind = "MaxPool" if operation.by == "max" else "AveragePool"
        sizes: dict[str, Any] = {"kernel_shape": list(operation.size), "strides": list(operation.strides)}
        return build.node(kind, [x], **sizes, **_padding(operation.padding))
    if isinstance(operation, Pad):
        top, bottom, left, right = operation.zeros
        return build.node("Pad", [x, build.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))])
    assert isinstance(operation, GlobalMean)  # noqa: S101 - there is no other
    return build.node("GlobalAveragePool", [x])


def _combined(build: GraphBuilder, operation: Combination, inputs: list[str]) -> str:
    if operation.by == "concatenate":
        return build.node("Concat", inputs, axis=1)
    result = inputs[0]
    for one in inputs[1:]:
        result = build.node("Add" if operation.by == "add" else "Mul", [result, one])
    return result


def _padding(padding: Padding) -> dict[str, Any]:
    if isinstance(padding, str):
        return {"auto_pad": "SAME_UPPER" if padding == "same" else "VALID"}
    top, bottom, left, right = padding
    return {"pads": [top, left, bottom, right]}


def _clipped(build: GraphBuilder, x: str) -> str:
    return build.node("Clip", [x, *(build.constant(np.array(end, np.float32)) for end in (0, 6))])


def _hard_sigmoid(build: GraphBuilder, x: str) -> str:
    three, sixth = (build.constant(np.array(number, np.float32)) for number in (3, 1 / 6))
    return build.node("Mul", [_clipped(build, build.node("Add", [x, three])), sixth])


def _gelu(build: GraphBuilder, x: str) -> str:
    half, one, root = (build.constant(np.array(number, np.float32)) for number in (0.5, 1, 2**-0.5))
    inner = build.node("Add", [build.node("Erf", [build.node("Mul", [x, root])]), one])
    return build.node("Mul", [build.node("Mul", [x, half]), inner])


_FUNCTIONS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "relu": lambda build, x: build.node("Relu", [x]),
    "relu6": _clipped,
    "swish": lambda build, x: build.node("Mul", [x, build.node("Sigmoid", [x])]),
    "sigmoid": lambda build, x: build.node("Sigmoid", [x]),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": lambda build, x: build.node("Mul", [x, _hard_sigmoid(build, x)]),
    "gelu": _gelu,
    "tanh": lambda build, x: build.node("Tanh", [x]),
}
