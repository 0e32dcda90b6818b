"""A frozen network as a list of operations in the order in which they run: data that is checked, never code.

Images are [n, h, w, c]. Kernels are [height, width, inputs / groups, outputs]. Padding is `same` (as TensorFlow pads),
`valid`, or four numbers of zeros: top, bottom, left, right.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=100)]
Side = Annotated[int, Field(ge=1, le=64)]
Zeros = Annotated[int, Field(ge=0, le=64)]
Padding = Literal["same", "valid"] | tuple[Zeros, Zeros, Zeros, Zeros]

IMAGES = "images"
"""The name of the input."""


class Operation(BaseModel):
    """What every operation has; its result is known by `name`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Name
    inputs: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)]

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that it needs, beside those that it may have."""
        return ()


class Convolution(Operation):
    """Convolution with `NAME/kernel` and, if there is one, `NAME/bias`."""

    op: Literal["convolution"]
    strides: tuple[Side, Side] = (1, 1)
    padding: Padding = "same"
    dilation: tuple[Side, Side] = (1, 1)
    groups: Annotated[int, Field(ge=1, le=65536)] = 1

    @property
    def arrays(self) -> tuple[str, ...]:
        """The kernel."""
        return (f"{self.name}/kernel",)

    @model_validator(mode="after")
    def _spreads_or_strides(self) -> Self:
        if self.dilation != (1, 1) and self.strides != (1, 1):
            raise ValueError(f"{self.name}: strides and dilation at once, expected one of them")
        return self


class Scale(Operation):
    """x · `NAME/scale` + `NAME/offset`, by channel: what a batch normalisation is once it is frozen."""

    op: Literal["scale"]

    @property
    def arrays(self) -> tuple[str, ...]:
        """Scale and offset."""
        return (f"{self.name}/scale", f"{self.name}/offset")


class Activation(Operation):
    """A function of each number."""

    op: Literal["activation"]
    function: Literal["relu", "relu6", "swish", "sigmoid", "hard_sigmoid", "hard_swish", "gelu", "tanh"]


class Combination(Operation):
    """Sum or product of results of one shape (or of one pixel a channel), or their channels side by side."""

    op: Literal["combination"]
    by: Literal["add", "multiply", "concatenate"]


class Pool(Operation):
    """Largest or mean of a window; zeros of the padding count in neither."""

    op: Literal["pool"]
    by: Literal["max", "mean"]
    size: tuple[Side, Side]
    strides: tuple[Side, Side]
    padding: Padding = "valid"


class Pad(Operation):
    """Zeros around the maps: top, bottom, left, right."""

    op: Literal["pad"]
    zeros: tuple[Zeros, Zeros, Zeros, Zeros]


class GlobalMean(Operation):
    """Mean of all pixels of a channel: [n, 1, 1, c]."""

    op: Literal["global_mean"]


AnyOperation = Annotated[
    Convolution | Scale | Activation | Combination | Pool | Pad | GlobalMean, Field(discriminator="op")
]


class EncoderGraph(BaseModel):
    """All operations, of which each sees the input and those before it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    operations: Annotated[tuple[AnyOperation, ...], Field(min_length=1, max_length=5000)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        names = {IMAGES}
        for operation in self.operations:
            if operation.name in names:
                raise ValueError(f"two operations are called {operation.name}")
            if missing := sorted(set(operation.inputs) - names):
                raise ValueError(f"{operation.name} takes {missing[0]}, which no operation before it gives")
            if len(operation.inputs) != 1 and not isinstance(operation, Combination):
                raise ValueError(f"{operation.name} takes {len(operation.inputs)} inputs, expected one")
            names.add(operation.name)
        return self

    def needed_for(self, names: Sequence[str]) -> tuple[AnyOperation, ...]:
        """The operations that these results need, in order."""
        targets, needed = set(names), []
        for operation in reversed(self.operations):
            if operation.name in targets:
                targets |= set(operation.inputs)
                needed.append(operation)
        return tuple(reversed(needed))

    def missing_arrays(self, shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
        """Arrays that the operations need and that are not there."""
        return [array for operation in self.operations for array in operation.arrays if array not in shapes]
