"""Shapes of an encoder's maps, reckoned without running it: whether its arrays fit its operations, and each other."""

from collections.abc import Mapping

from common.encoders.encoder_graph import (
    IMAGES,
    Activation,
    AnyOperation,
    Combination,
    Convolution,
    EncoderGraph,
    Pad,
    Padding,
    Pool,
    Scale,
)  # fmt: skip
from common.errors import EncoderError

Shape = tuple[int, int, int]
"""Height, width and channels."""

MOST_NUMBERS = 2**28
"""In the maps of one operation for one image: 1 GiB."""


def shapes(graph: EncoderGraph, arrays: Mapping[str, tuple[int, ...]], side: int) -> dict[str, Shape]:
    """By name, the shapes of all results for images of side × side.

    Args:
        arrays: the shapes of the arrays.

    Raises:
        EncoderError: naming the operation whose array or inputs do not fit, or whose maps are empty or too large.
    """
    by_name: dict[str, Shape] = {IMAGES: (side, side, 3)}
    for operation in graph.operations:
        inputs = [by_name[name] for name in operation.inputs]
        needed = {name: arrays.get(name, ()) for name in operation.arrays}
        shape = _result(operation, inputs, needed, arrays.get(f"{operation.name}/bias"))
        if min(shape) < 1 or shape[0] * shape[1] * shape[2] > MOST_NUMBERS:
            raise EncoderError(
                f"operation {operation.name} makes maps of {_text(shape)} of images of {side}×{side}, expected one "
                f"number at least and {MOST_NUMBERS:,} at most: another size."
            )
        by_name[operation.name] = shape
    return by_name


def _result(
    operation: AnyOperation, inputs: list[Shape], arrays: Mapping[str, tuple[int, ...]], bias: tuple[int, ...] | None
) -> Shape:
    name, (height, width, channels) = operation.name, inputs[0]
    if isinstance(operation, Convolution):
        kernel = arrays[f"{name}/kernel"]
        if len(kernel) != 4 or kernel[2] * operation.groups != channels or kernel[3] % operation.groups:
            raise EncoderError(
                f"array {name}/kernel is {_text(kernel)} in {operation.groups} groups over {channels} channels, "
                "expected height, width, channels / groups, and a multiple of the groups."
            )
        if bias not in (None, kernel[3:]):
            raise EncoderError(f"array {name}/bias is {_text(bias or ())}, expected {kernel[3]}.")
        reach = tuple((side - 1) * step + 1 for side, step in zip(kernel[:2], operation.dilation, strict=True))
        return (*_sides((height, width), reach, operation.strides, operation.padding), kernel[3])
    if isinstance(operation, Pool):
        return (*_sides((height, width), operation.size, operation.strides, operation.padding), channels)
    if isinstance(operation, Combination):
        return _combined(operation, inputs)
    if isinstance(operation, Scale):
        if wrong := [array for array, shape in arrays.items() if shape != (channels,)]:
            raise EncoderError(f"array {wrong[0]} is {_text(arrays[wrong[0]])}, expected {channels}.")
        return inputs[0]
    if isinstance(operation, Pad):
        top, bottom, left, right = operation.zeros
        return height + top + bottom, width + left + right, channels
    return inputs[0] if isinstance(operation, Activation) else (1, 1, channels)


def _combined(operation: Combination, inputs: list[Shape]) -> Shape:
    first, sides = inputs[0], {shape[:2] for shape in inputs}
    if operation.by == "concatenate":
        fits, channels = len(sides) == 1, sum(shape[2] for shape in inputs)
    else:
        fits, channels = len(sides - {(1, 1)}) <= 1 and len({shape[2] for shape in inputs}) == 1, first[2]
    if not fits:
        raise EncoderError(f"operation {operation.name} combines {' and '.join(map(_text, inputs))}, which do not fit.")
    height, width = max(sides)
    return height, width, channels


def _sides(
    sides: tuple[int, int], reach: tuple[int, ...], strides: tuple[int, int], padding: Padding
) -> tuple[int, int]:
    if padding == "same":
        return -(-sides[0] // strides[0]), -(-sides[1] // strides[1])
    top, bottom, left, right = (0, 0, 0, 0) if padding == "valid" else padding
    room = (sides[0] + top + bottom - reach[0], sides[1] + left + right - reach[1])
    return room[0] // strides[0] + 1, room[1] // strides[1] + 1


def _text(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "nothing"
